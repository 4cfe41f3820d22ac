"""The model that is pre-trained: speech encoder, quantizer, and the projections in which both are compared.

Parameter names are fairseq's, but for ``encoder.`` before those of the encoder. Legend: N utterances, T samples, S frames,
M most masked frames of an utterance, P masked frames of all, C channels of features, D width of the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from st.kernels.dropout import dropout
from st.modules.encoder_config import EncoderConfig
from st.modules.masking import lengths_to_mask
from st.modules.pretraining.config import PretrainingConfig, check_encoder
from st.modules.pretraining.contrastive import Objective, contrastive_logits
from st.modules.pretraining.draws import Draws, Key, draw
from st.modules.pretraining.quantizer import GumbelQuantizer
from st.modules.speech_encoder import SpeechEncoder


class SpeechPretrainer(nn.Module):
    """wav2vec 2.0's pre-training around our speech encoder.

    What is quantised are the features that the encoder's convolutions make, before any of them is masked. Of an encoder
    that reads a spectrogram, too, they are the targets, not the spectrogram itself: so the targets have learned
    convolutions, as in wav2vec 2.0, and the quantizer sees frames of the encoder's length.
    """

    def __init__(self, encoder: EncoderConfig, objective: PretrainingConfig) -> None:
        super().__init__()
        check_encoder(encoder)
        self.config = objective
        self.encoder = SpeechEncoder(encoder)
        self.quantizer = GumbelQuantizer(
            self.encoder.feature_extractor.output_dim,
            groups=objective.latent_groups,
            entries=objective.latent_vars,
            dim=objective.code_dim,
        )
        self.project_q = nn.Linear(objective.code_dim, objective.final_dim)
        self.final_proj = nn.Linear(encoder.dim, objective.final_dim)

    def draw(self, waveforms: Tensor, lengths: Tensor, keys: Sequence[Key]) -> Draws:
        """Draw for a batch; noise in training alone.

        Args:
            waveforms: ``(N, T)``.
            lengths: ``(N,)``.
            keys: Of each utterance; see :mod:`st.modules.pretraining.draws`.
        """
        frames = self.encoder.output_lengths(lengths)
        size = int(self.encoder.output_lengths(torch.tensor(waveforms.size(1))))
        noise_on = waveforms.device if self.training else None
        return draw(frames, size, keys, encoder=self.encoder.config, objective=self.config, noise_on=noise_on)

    def forward(self, waveforms: Tensor, lengths: Tensor, draws: Draws, *, num_updates: int = 0) -> Objective:
        """Compute the terms of the loss of a padded batch.

        Args:
            waveforms: ``(N, T)``, as for :meth:`SpeechEncoder.forward`.
            lengths: Valid samples ``(N,)``.
            draws: Masks, distractors and noise; see :meth:`draw`.
            num_updates: Updates so far, by which the temperature goes.
        """
        raw, frames = self.encoder.extract(waveforms, lengths)
        features = self.encoder.normalise(raw)  # (N, S, C)
        states, _ = self.encoder.contextualise(features, frames, mask=draws.mask)
        targets = dropout(features[draws.mask], self.config.dropout_features, self.training)  # (P, C)
        temperature = self.config.temperature(num_updates)
        quantized = self.quantizer(targets, temperature, draws.noise)
        counts = draws.mask.sum(1)
        inside = lengths_to_mask(counts, draws.negatives.size(1))  # (N, M)
        logits = contrastive_logits(
            spread(self.final_proj(states[draws.mask]), inside),
            spread(self.project_q(quantized.vectors), inside),
            spread(quantized.codes, inside),
            draws.negatives,
            self.config.logit_temp,
        )
        valid = lengths_to_mask(frames, raw.size(1))
        entries = self.config.num_entries
        return Objective(
            logits=logits[inside],
            diversity=(entries - quantized.prob_perplexity) / entries,
            penalty=raw[valid].float().square().mean(),
            prob_perplexity=quantized.prob_perplexity.detach(),
            code_perplexity=quantized.code_perplexity,
            temperature=temperature,
            num_frames=int(frames.sum()),
            left_out=int((counts == 0).sum()),
        )


def spread(values: Tensor, inside: Tensor) -> Tensor:
    """Lay values of frames ``(P, …)`` out in rows ``(N, M, …)``, zero beyond the end of each.

    Args:
        values: One row after the other.
        inside: Boolean ``(N, M)``, true P times.
    """
    rows = values.new_zeros(*inside.shape, *values.shape[1:])
    rows[inside] = values
    return rows
