"""What pre-training draws at random for an utterance: masked spans, distractors, Gumbel noise.

Each utterance has generators of its own that follow from a key, such as (seed, update, number of the utterance). So a
resume repeats them, whatever was drawn before it, and they are the same with any number of processes.

Legend: N utterances, S frames, M most masked frames of an utterance, P masked frames of all, K distractors, G groups,
V entries of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from st.modules.encoder_config import EncoderConfig
from st.modules.masking import span_mask
from st.modules.pretraining.config import LEAST_TARGETS, PretrainingConfig
from st.modules.pretraining.quantizer import gumbel_noise
from st.modules.speech_encoder import MIN_TIME_SPANS

Key = tuple[int, ...]
"""Numbers from 0 that tell an utterance and an update from others."""
_MASK, _NEGATIVES, _NOISE = 1, 2, 3  # separate streams of chance, so that one setting does not shift another's draws


@dataclass(frozen=True)
class Draws:
    """The draws of a batch."""

    mask: Tensor
    """Boolean ``(N, S)``, true where masked; of an utterance at least two frames or none, which it is left out with."""
    negatives: Tensor
    """Distractors of each masked frame, as numbers among the masked frames of the same utterance ``(N, M, K)``."""
    noise: Tensor | None
    """Gumbel noise of the masked frames, one utterance after the other ``(P, G, V)``; None to quantise without."""

    def to(self, device: torch.device) -> Draws:
        """Return the same on a device."""
        noise = None if self.noise is None else self.noise.to(device)
        return Draws(self.mask.to(device), self.negatives.to(device), noise)


def draw(
    lengths: Tensor,
    size: int,
    keys: Sequence[Key],
    *,
    encoder: EncoderConfig,
    objective: PretrainingConfig,
    noise_on: torch.device | None,
) -> Draws:
    """Draw for a batch.

    Args:
        lengths: Valid frames of each utterance ``(N,)``.
        size: Frames of the padded batch, S.
        keys: Of each utterance.
        encoder: It says how much is masked.
        objective: It says how many distractors there are.
        noise_on: Device that noise is drawn on, whose kind has its own numbers; None for no noise, as in validation.

    Returns:
        Masks and distractors on the device of ``lengths``.
    """
    mask = torch.zeros(len(keys), size, dtype=torch.bool)
    negatives, noises = [], []
    for row, (length, key) in enumerate(zip(lengths.tolist(), keys, strict=True)):
        mask[row, :length] = draw_mask(length, key, encoder)
        targets = int(mask[row].sum())
        negatives.append(draw_negatives(targets, objective.num_negatives, generator(key, _NEGATIVES)))
        if noise_on is not None:
            shape = (targets, objective.latent_groups, objective.latent_vars)
            noises.append(gumbel_noise(shape, generator(key, _NOISE, noise_on)))
    draws = Draws(mask, pad_sequence(negatives, batch_first=True), None).to(lengths.device)
    return draws if noise_on is None else Draws(draws.mask, draws.negatives, torch.cat(noises))


def draw_mask(length: int, key: Key, encoder: EncoderConfig) -> Tensor:
    """Draw the masked spans of an utterance of so many frames, boolean ``(length,)``; none where nothing can be told apart."""
    mask = span_mask(
        (1, length),
        torch.tensor([length]),
        encoder.mask_time_prob,
        encoder.mask_time_length,
        min_spans=MIN_TIME_SPANS,
        generator=generator(key, _MASK),
    )[0]
    return mask if int(mask.sum()) >= LEAST_TARGETS else torch.zeros_like(mask)


def draw_negatives(targets: int, count: int, source: torch.Generator) -> Tensor:
    """Draw distractors evenly, with replacement, among the other masked frames.

    Args:
        targets: Masked frames of the utterance; none or at least two.
        count: Distractors of each, K.
        source: Source of chance.

    Returns:
        Numbers from 0 to ``targets - 1``, never that of the frame itself ``(targets, K)``.
    """
    others = torch.randint(0, max(targets - 1, 1), (targets, count), generator=source)
    return others + (others >= torch.arange(targets)[:, None])


def generator(key: Key, stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of a stream of chance of an utterance."""
    state = np.random.SeedSequence((*key, stream)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))
