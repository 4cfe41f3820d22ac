"""Decode fixed waves with a stored checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from st import load
from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions


def wave(number: int) -> torch.Tensor:
    """Return a standardised chirp of ``8000 + 1000 * number`` samples; no random generator is involved."""
    time = torch.arange(8000 + 1000 * number, dtype=torch.float64)
    sound = torch.sin(2 * math.pi * time * (0.004 + 0.003 * number + time * 2e-6)) + 0.3 * torch.cos(
        time * (number + 1)
    )
    return ((sound - sound.mean()) / sound.std(unbiased=False)).float()


@torch.inference_mode()
def decode_all(path: Path) -> dict[str, list[str]]:
    """Return translations into both languages, and transcripts."""
    bundle = load(path)
    results: dict[str, list[str]] = {"en": [], "de": [], "ctc": []}
    for number in range(8):
        waveforms = wave(number)[None]
        encoded = bundle.model.encode(waveforms, torch.tensor([waveforms.size(1)]))
        memory = bundle.model.adapt(encoded)
        for code in ("en", "de"):
            forced = torch.tensor([bundle.text.language_id(code)])
            best = beam_search(bundle.model, memory, forced, BeamOptions(beam=5, max_len_b=30))[0][0]
            results[code].append(bundle.text.decode(best.tokens))
        results["ctc"].append(bundle.ctc.decode(bundle.model.ctc_logits(encoded)[0].argmax(-1).tolist()))
    return results
