"""What the decoder reads of little speech: the labels that the CTC head hears, through a transformer of their own.

Frames of one label become one state, blanks none (CTC compression: Gaido et al. 2021, arXiv:2102.01578), and layers of text
stand behind the layers of speech (Xu et al. 2021, arXiv:2105.05752). A transcript can be read in the place of a recording.
Legend: N batch, S frames, S' labels, C classes, M model dim.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from st.modules.config import DecoderConfig, LengthAdaptorConfig
from st.modules.ctc_head import BLANK
from st.modules.encoder_config import EncoderConfig
from st.modules.masking import lengths_to_mask
from st.modules.speech_encoder import TransformerEncoder

_MULTIPLE = 16


class LabelAdaptor(nn.Module):
    """Frames and what the CTC head says of them in, a state for each label out; or labels in."""

    def __init__(
        self, config: LengthAdaptorConfig, encoder: EncoderConfig, decoder: DecoderConfig, num_labels: int
    ) -> None:
        super().__init__()
        self.frame_dropout = config.frame_dropout
        self.embed_labels = nn.Embedding(num_labels, decoder.dim)
        nn.init.normal_(self.embed_labels.weight, std=decoder.dim**-0.5)
        self.scale = math.sqrt(decoder.dim)
        self.proj = nn.Linear(encoder.dim, decoder.dim)
        self.layer_norm = nn.LayerNorm(decoder.dim)
        self.encoder = TransformerEncoder(
            dataclasses.replace(
                encoder,
                num_layers=config.text_layers,
                dim=decoder.dim,
                ffn_dim=decoder.ffn_dim,
                num_heads=decoder.num_heads,
                dropout=decoder.dropout,
                attention_dropout=decoder.attention_dropout,
                activation_dropout=decoder.activation_dropout,
            )
        )

    def forward(self, states: Tensor, lengths: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Shorten frames to labels.

        In training ``frame_dropout`` of the utterances are read by their labels alone, as a transcript is.

        Args:
            states: Encoder output ``(N, S, M)``.
            lengths: Valid frames ``(N,)``.
            logits: Of the CTC head ``(N, S, C)``.

        Returns:
            States ``(N, S', M)`` and their lengths ``(N,)``, each at least 1.
        """
        numbers, heard = runs_of_labels(logits.argmax(-1), lengths)
        spoken = logits.float().index_fill(2, torch.tensor(BLANK, device=logits.device), -torch.inf).softmax(-1)
        read = self.scale * (spoken.to(states.dtype) @ self.embed_labels.weight.to(states.dtype))
        frames = self.proj(states)
        if self.training and self.frame_dropout > 0:
            frames = frames * (torch.rand(len(states), 1, 1, device=states.device) >= self.frame_dropout)
        return self._contextualise(mean_of_runs(read + frames, numbers, heard), heard)

    def read(self, labels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read transcripts: labels ``(N, S')`` of ``lengths`` ``(N,)``, each at least 1; returns as :meth:`forward`."""
        return self._contextualise(self.scale * self.embed_labels(labels), lengths)

    def _contextualise(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        states, _ = self.encoder(self.layer_norm(states), lengths)
        return states, lengths


def runs_of_labels(labels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Find the runs of equal labels that are no blanks; an utterance of blanks alone is one run.

    Args:
        labels: Best label of each frame ``(N, S)``.
        lengths: Valid frames ``(N,)``.

    Returns:
        For each frame ``(N, S)`` the number of the run that it is in, from 0, or -1; and the runs ``(N,)`` of each utterance.
    """
    valid = lengths_to_mask(lengths, labels.size(1))
    spoken = valid & (labels != BLANK)
    spoken = torch.where(spoken.any(dim=1, keepdim=True), spoken, valid)
    first = torch.ones_like(spoken)
    first[:, 1:] = labels[:, 1:] != labels[:, :-1]
    numbers = (first & spoken).cumsum(1) - 1
    return numbers.masked_fill(~spoken, -1), numbers[:, -1] + 1


def mean_of_runs(states: Tensor, numbers: Tensor, counts: Tensor) -> Tensor:
    """Return the means ``(N, S', M)`` of the states ``(N, S, M)`` of each run, zero beyond the last; see :func:`runs_of_labels`.

    ``S'`` is a multiple of 16: of products of ever new shapes a CPU keeps a program each.
    """
    rows, size = len(states), multiple(int(counts.max()))
    first = size * torch.arange(rows, device=states.device).unsqueeze(1)
    places = torch.where(
        numbers < 0, rows * size, first + numbers
    ).flatten()  # what is in no run goes to a place of its own
    sums = states.new_zeros(rows * size + 1, states.size(2), dtype=torch.float32)
    sums = sums.index_add(0, places, states.flatten(0, 1).float())[:-1]
    frames = torch.bincount(places, minlength=len(sums) + 1)[:-1].clamp(min=1)
    return (sums / frames.unsqueeze(1)).view(rows, size, -1).to(states.dtype)


def multiple(size: int) -> int:
    """Return the next multiple of 16."""
    return -(-size // _MULTIPLE) * _MULTIPLE


def change_labels(labels: Tensor, lengths: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Spoil transcripts as a recogniser does: of each five changes two replace a label, two drop one, one adds one.

    Args:
        labels: ``(N, L)``; what stands beyond ``lengths`` is ignored.
        lengths: Labels of each transcript ``(N,)``; 0 is read as one blank.
        share: How many of the labels change, 0 to 1; the new ones are drawn from those of the batch.

    Returns:
        Labels ``(N, L')`` padded with the blank, and their lengths ``(N,)``, each at least 1.
    """
    valid = lengths_to_mask(lengths, labels.size(1))
    chance = torch.rand(labels.shape, device=labels.device) / max(share, 1e-9)
    dropped, added, replaced = chance < 0.4, (chance >= 0.4) & (chance < 0.6), (chance >= 0.6) & (chance < 1.0)
    dropped &= ~(dropped | ~valid).all(dim=1, keepdim=True)  # of each transcript something is left
    copies = (1 + added.long() - dropped.long()) * valid
    pool = labels[valid] if bool(valid.any()) else labels.new_full((1,), BLANK)
    drawn = pool[torch.randint(len(pool), labels.shape, device=labels.device)]
    changed_lengths = copies.sum(1).clamp(min=1)
    changed = labels.new_full((len(labels), multiple(int(changed_lengths.max()))), BLANK)
    places = (copies.cumsum(1) - 1).clamp(min=0)
    rows = torch.arange(len(labels), device=labels.device).unsqueeze(1).expand_as(labels)
    twice = copies == 2  # the new label stands before the old one
    changed[rows[twice], places[twice] - 1] = drawn[twice]
    kept = copies > 0
    changed[rows[kept], places[kept]] = torch.where(replaced, drawn, labels)[kept]
    return changed, changed_lengths
