from __future__ import annotations

import pytest
import torch
from decoding_models import CONFIG, make_memory, make_model

from st.modules.decoder_cache import FIRST_CAPACITY


def test_cache_grows_up_to_the_length_it_was_made_for() -> None:
    decoder, memory = make_model().decoder, make_memory(2)
    length = 2 * FIRST_CAPACITY + 3
    tokens = torch.randint(4, CONFIG.decoder.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = decoder(tokens, memory.states, memory.lengths)
        cache = decoder.start(memory.states, memory.lengths, max_length=length)
        capacities = set()
        for position in range(length):
            step = decoder.step(tokens[:, position], cache)
            torch.testing.assert_close(step, whole[:, position], atol=1e-4, rtol=1e-4)
            capacities.add(cache.capacity)
        assert capacities == {FIRST_CAPACITY, 2 * FIRST_CAPACITY, length}
        with pytest.raises(ValueError, match=f"made for {length} tokens"):
            decoder.step(tokens[:, 0], cache)


def test_reorder_widens_narrows_and_follows_rows() -> None:
    decoder, memory = make_model().decoder, make_memory(3)
    tokens = torch.tensor([[2, 7, 9, 11], [2, 8, 9, 12], [2, 9, 9, 13]])
    with torch.no_grad():
        cache = decoder.start(memory.states, memory.lengths)
        decoder.step(tokens[:, 0], cache)
        decoder.step(tokens[:, 1], cache)
        cache.reorder(torch.arange(3).repeat_interleave(2))  # one row per sentence becomes two
        third = torch.tensor([20, 21, 22, 23, 24, 25])
        decoder.step(third, cache)
        cache.reorder(torch.tensor([1, 0, 2, 2, 5, 4]), shared=2)  # only the third token differs so far
        cache.keep(torch.tensor([0, 2]))
        found = decoder.step(torch.tensor([30, 31, 32, 33]), cache)
        rows = [[2, 7, 21, 30], [2, 7, 20, 31], [2, 9, 25, 32], [2, 9, 24, 33]]
        kept = memory.select(torch.tensor([0, 0, 2, 2]))
        expected = decoder(torch.tensor(rows), kept.states, kept.lengths)[:, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
