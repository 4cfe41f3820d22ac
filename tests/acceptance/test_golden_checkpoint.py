"""A checkpoint that an earlier version wrote still opens and decodes to the same text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden.decode import decode_all

from st.checkpoints.convert import convert

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("through", [None, "hf", "fairseq"])
def test_k14_stored_checkpoint_decodes_to_the_identical_text(tmp_path, through):
    path = GOLDEN / "training_v1.pt"
    if through is not None:
        convert(path, tmp_path / "out", through)
        path = tmp_path / "out"
    expected = json.loads((GOLDEN / "training_v1.json").read_text())
    assert decode_all(path) == expected
    assert len(set(expected["en"] + expected["de"])) > 6
    assert all(any(text for text in texts) for texts in expected.values())
