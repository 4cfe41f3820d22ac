from __future__ import annotations

import dataclasses

import pytest

from st.decoding.parts import MAX_NUMBERS, parts, score_numbers, search_numbers
from st.modules.presets import preset

SMALL = dataclasses.replace(preset("300m"), decoder=dataclasses.replace(preset("300m").decoder, vocab_size=2_000))


@pytest.mark.parametrize("config", [preset("300m"), SMALL], ids=["250k", "2k"])
@pytest.mark.parametrize("beam", [1, 5, 50])
def test_a_part_fits_into_memory_whatever_the_vocabulary(config, beam):
    """English speech into 15 languages is hundreds of sentences at once, and their caches outweigh a small vocabulary."""
    first = next(iter(parts(100_000, search_numbers([config], beam))))
    decoder = config.decoder
    cache = 2 * decoder.num_layers * decoder.dim * 64
    held = (first.stop - first.start) * beam * (decoder.vocab_size + cache)
    assert MAX_NUMBERS / 20 < held <= MAX_NUMBERS


def test_parts_cover_every_sentence_once():
    assert [list(range(7))[part] for part in parts(7, MAX_NUMBERS // 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(parts(2, MAX_NUMBERS * 10)) == [slice(0, 1), slice(1, 2)]
    assert list(parts(0, 1)) == []


def test_every_model_of_an_ensemble_counts():
    assert search_numbers([SMALL, preset("300m")], 5) == search_numbers([SMALL], 5) + search_numbers(
        [preset("300m")], 5
    )
    assert score_numbers([SMALL, SMALL], 10) == 2 * score_numbers([SMALL], 10)
