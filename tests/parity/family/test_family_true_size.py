"""Relatives of XLS-R of true size load as XLS-R does. Needs 10 GB of memory, 12 GB of disk and minutes; run with ``-m slow``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from measure_loading import measure

from st.checkpoints.assemble import blueprint
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.fairseq.writer import write_fairseq
from st.checkpoints.formats.names import KEYMAPS
from st.checkpoints.formats.transformers.reader import OWN_FILENAME
from st.checkpoints.formats.transformers.writer import write_transformers
from st.data.config import DataConfig
from st.modules.config import ModelConfig, ctc_heads
from st.modules.presets import preset
from st.text.ctc_vocabulary import SPECIALS, CtcVocabulary

pytestmark = pytest.mark.slow

LABELS = {symbol: row for row, symbol in enumerate((*SPECIALS, *"etaoins"))}
ADAPTER_DIM = 16


def exported(name: str, *, ctc: bool = False, **changes: Any) -> Exported:
    """Return an encoder of a preset's shape with random weights: one row, repeated without memory until it is written."""
    encoder = dataclasses.replace(preset(name).encoder, **changes)
    config = ModelConfig(encoder=encoder, heads=ctc_heads(len(LABELS) if ctc else 0), parts=("encoder",))
    generator = torch.Generator().manual_seed(0)
    state = {
        name: (0.02 * torch.randn(tensor.shape[-1], generator=generator)).expand(tensor.shape)
        for name, tensor in blueprint(config).named_parameters()
    }
    labels = {"ctc": CtcVocabulary(LABELS)} if ctc else {}
    return Exported(config=config, state=state, text=None, labels=labels, data=DataConfig())


def xlsr(folder: Path) -> Path:
    """Write a file like ``xlsr2_960m_1000k.pt``, the yardstick."""
    write_fairseq(exported("1b"), folder / "xlsr2_960m_1000k.pt")
    return folder / "xlsr2_960m_1000k.pt"


def omniasr(folder: Path) -> Path:
    """Write a file like ``omniASR-W2V-1B.pt``, with the end of its quantizer."""
    state = KEYMAPS["fairseq2 wav2vec2_ssl"].outward(exported("1b").state)
    state = {name: tensor.contiguous() for name, tensor in state.items()} | {"quantizer.num_updates": torch.tensor(3)}
    torch.save({"model": state}, folder / "omniASR-W2V-1B.pt")
    return folder / "omniASR-W2V-1B.pt"


def foreign(model: Exported, folder: Path) -> Path:
    """Write a folder as transformers would."""
    write_transformers(model, folder)
    (folder / OWN_FILENAME).unlink()
    return folder


def mms(folder: Path) -> Path:
    """Write a folder like ``mms-1b-all``, with one language."""
    foreign(exported("1b", ctc=True, adapter_dim=ADAPTER_DIM), folder)
    (folder / "vocab.json").write_text(json.dumps({"eng": LABELS}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"target_lang": "eng"}))
    return folder


KINDS = {
    "XLS-R 1B, fairseq": xlsr,
    "XLS-R 1B, transformers": lambda folder: foreign(exported("1b"), folder),
    "omniASR W2V 1B, fairseq2": omniasr,
    "MMS 1B with adapters, transformers": mms,
    "w2v-BERT 2.0, transformers": lambda folder: foreign(exported("w2v_bert"), folder),
}


@pytest.mark.parametrize("name", KINDS)
def test_1b_shapes_load_within_the_memory_of_their_file(tmp_path, name):
    """What is read is mapped: the process grows by the file when weights are used, and by half of it in bfloat16."""
    path = KINDS[name](tmp_path)
    for _ in range(2):  # the second time the file is in the system's memory
        read = measure(path, "--read")
    for dtype, limit in ((None, 1.15), ("bfloat16", 0.65)):
        found = measure(path, *(["--dtype", dtype] if dtype else []))
        peak = max(found["peak_bytes"], found["touched_peak_bytes"]) / read["file_bytes"]
        print(
            f"{name} {dtype or 'float32'}: {read['file_bytes'] / 1e9:.2f} GB, loaded in {found['seconds']:.1f} s = "
            f"{found['seconds'] / read['seconds']:.2f} of reading it, peak {peak:.2f} of it"
        )
        assert found["finite"]
        assert peak <= limit
