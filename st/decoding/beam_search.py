"""Beam search with the semantics of fairseq's ``SequenceGenerator``, on a cache, batched.

Every step keeps ``2 * beam`` candidates per sentence. Those among the first ``beam`` that end the sentence become
hypotheses, the best ``beam`` of the others go on. A sentence is done when it has ``beam`` hypotheses or reaches its
length limit, and then leaves the batch. Where it differs from fairseq: the limit ``a * x + b`` uses each sentence's own
length, not the padded width of its batch, so that a result does not depend on its neighbours.

Legend: N sentences in the batch, W rows per sentence (1 while all are equal, then the beam), C candidates, U tokens,
V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from st.decoding.constraints import allow_only, ban_repeats
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.scorer import TokenScorer
from st.decoding.vocabulary import top_tokens
from st.errors import DecodingError
from st.modules.model import Encoded, SpeechTranslator


@dataclass
class _Beams:
    """The hypotheses under way."""

    sentences: Tensor
    """Index in the caller's batch of each sentence still decoded, ``(N,)``."""
    tokens: Tensor
    """``(N, W, U)``; column 0 is the end-of-sentence token that starts every decoder input."""
    scores: Tensor
    """Cumulative log-probability up to each token after column 0, ``(N, W, U - 1)``."""
    limits: Tensor
    """Most tokens of each sentence, ``(N,)``."""
    prefix: Tensor
    """Forced tokens ``(N, P)``, padded."""

    def keep(self, rows: Tensor) -> None:
        """Drop all sentences but ``rows``."""
        for name in ("sentences", "tokens", "scores", "limits", "prefix"):
            setattr(self, name, getattr(self, name).index_select(0, rows))


@torch.inference_mode()
def beam_search(
    model: SpeechTranslator | Sequence[SpeechTranslator],
    memory: Encoded | Sequence[Encoded],
    forced: Tensor,
    options: BeamOptions,
    *,
    eos: int = 2,
    pad: int = 1,
    unk: int = 3,
    scorer: Callable[..., TokenScorer] = TokenScorer,
) -> list[list[Hypothesis]]:
    """Decode a batch.

    Args:
        model: The model, in evaluation mode, or several whose probabilities are averaged.
        memory: Adapted encoder states of N sentences (:meth:`SpeechTranslator.adapt`), one per model.
        forced: First target token of each sentence, the language tag, ``(N,)``; or a longer prefix ``(N, P)``, padded
            on the right with ``pad``; an ``eos`` in it ends the sentence there.
        options: See :class:`BeamOptions`.
        eos: End of sentence, also the first decoder input.
        pad: Never chosen.
        unk: Pays ``options.unk_penalty``.
        scorer: What scores the next tokens, built with the arguments of :class:`TokenScorer`; see
            :func:`st.decoding.joint.joint_scorer`.

    Returns:
        For each sentence ``options.nbest`` hypotheses, best first; fewer if fewer were finished.

    Raises:
        DecodingError: If the scores of a sentence are not finite, so that no hypothesis can be finished.
    """
    models, memories = as_lists(model, memory)
    if forced.size(0) == 0:
        return []
    return Search(models, memories, forced, options, eos=eos, pad=pad, unk=unk, scorer=scorer).run()


def as_lists(
    model: SpeechTranslator | Sequence[SpeechTranslator], memory: Encoded | Sequence[Encoded]
) -> tuple[list[SpeechTranslator], list[Encoded]]:
    """Return models and their memories as lists of equal length."""
    models = [model] if isinstance(model, SpeechTranslator) else list(model)
    memories = [memory] if isinstance(memory, Encoded) else list(memory)
    if not models or len(models) != len(memories):
        raise ValueError(f"{len(models)} models and {len(memories)} memories; expected one memory per model")
    return models, memories


class Search:
    """One batch being searched; :func:`beam_search` makes it and runs it."""

    def __init__(
        self,
        models: Sequence[SpeechTranslator],
        memories: Sequence[Encoded],
        forced: Tensor,
        options: BeamOptions,
        *,
        eos: int,
        pad: int,
        unk: int,
        scorer: Callable[..., TokenScorer] = TokenScorer,
    ) -> None:
        config = models[0].config.decoder
        self.options, self.eos, self.pad, self.unk = options, eos, pad, unk
        self.beam = min(options.beam, config.vocab_size - 1)
        prefix = forced[:, None] if forced.dim() == 1 else forced
        sentences = torch.arange(forced.size(0), device=forced.device)
        longest = min(model.config.decoder.max_positions for model in models) - 1
        # Each option limited first: what it asks for may be more than an integer holds.
        limits = (min(options.max_len_a, longest) * memories[0].lengths + min(options.max_len_b, longest)).long()
        limits = limits.clamp(min=min(options.min_len, longest), max=longest)
        self.max_limit = int(limits.max())
        start = torch.full((len(sentences), 1, 1), eos, device=forced.device)
        self.beams = _Beams(
            sentences, start, start.new_zeros((len(sentences), 1, 0), dtype=torch.float), limits, prefix
        )
        goes_on = (prefix != pad) & (prefix != eos)
        self.shared_steps = min(int(goes_on.long().cumprod(1).sum(1).min()), int(limits.min()))
        self.scorer = scorer(models, memories, max_length=self.max_limit + 1, temperature=options.temperature)
        self.finished: list[list[Hypothesis]] = [[] for _ in range(len(sentences))]
        # Of each row of a sentence at its limit: whether the model would rather have gone on.
        self.cut = torch.zeros(0, dtype=torch.bool)

    def run(self) -> list[list[Hypothesis]]:
        """Decode until every sentence is done."""
        for step in range(self.max_limit + 1):
            logits, log_norm = self.scorer.step(self.beams.tokens[:, :, -1].flatten())
            logits[:, self.unk] -= self.options.unk_penalty
            if step < self.shared_steps:
                self._follow_prefix(logits, log_norm, step)
                continue
            self._constrain(logits, step)
            scores, tokens, origins = self.candidates(logits, log_norm)
            ends = (tokens == self.eos) & (scores > -math.inf)  # (N, C)
            at_limit = self.beams.limits == step
            if bool(ends[:, : self.beam].any()) or bool(at_limit.any()):
                stay = self._finish(scores, origins, ends, at_limit)
                if stay.numel() == 0:
                    break
                if stay.numel() < ends.size(0):
                    self.beams.keep(stay)
                    self.scorer.keep(stay)
                    scores, tokens, origins, ends = scores[stay], tokens[stay], origins[stay], ends[stay]
            self._advance(scores, tokens, origins, ends)
        return [self._best(sentence) for sentence in range(len(self.finished))]

    def _follow_prefix(self, logits: Tensor, log_norm: Tensor, step: int) -> None:
        """Take a step that every sentence is forced to, on one row per sentence."""
        beams = self.beams
        chosen = beams.prefix[:, step, None]  # (N, 1)
        score = logits.gather(1, chosen) - log_norm[:, None]
        if step > 0:
            score += beams.scores[:, 0, -1:]
        beams.tokens = torch.cat([beams.tokens, chosen[:, None]], dim=2)
        beams.scores = torch.cat([beams.scores, score[:, None]], dim=2)

    def _constrain(self, logits: Tensor, step: int) -> None:
        """Give every token that may not follow a score of minus infinity, in place; what is forced always may."""
        beams, options = self.beams, self.options
        width = beams.tokens.size(1)
        logits[:, self.pad] = -math.inf
        only = torch.full_like(beams.sentences, -1)
        if step < beams.prefix.size(1):
            only = torch.where(beams.prefix[:, step] == self.pad, only, beams.prefix[:, step])
        free = (only < 0).repeat_interleave(width)
        if options.no_repeat_ngram:
            ban_repeats(logits, beams.tokens.flatten(0, 1), options.no_repeat_ngram, rows=free, spare=self.eos)
        if step < min(options.min_len, self.max_limit):
            logits[:, self.eos] = logits[:, self.eos].masked_fill(free, -math.inf)
        at_limit = beams.limits <= step
        if bool(at_limit.any()):
            rows = at_limit.repeat_interleave(width)
            self.cut = torch.zeros_like(rows)
            self.cut[rows] = logits[rows].argmax(dim=-1) != self.eos
        only = only.masked_fill(at_limit, self.eos)
        allow_only(logits, only.repeat_interleave(width))

    def candidates(self, logits: Tensor, log_norm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best ``2 * beam`` continuations: cumulative scores, tokens and rows of origin, all ``(N, C)``."""
        count, width = self.beams.tokens.shape[:2]
        per_row = min(2 * self.beam, logits.size(-1))
        scores, tokens = top_tokens(logits, per_row)  # (N * W, K)
        scores = (scores - log_norm[:, None]).view(count, width, per_row)
        if self.beams.scores.size(2):
            scores = scores + self.beams.scores[:, :, -1:]
        scores, picks = scores.flatten(1).topk(min(2 * self.beam, width * logits.size(-1) - 1), dim=1)
        origins = picks.div(per_row, rounding_mode="floor")
        return scores, tokens.view(count, -1).gather(1, picks), origins

    def _finish(self, scores: Tensor, origins: Tensor, ends: Tensor, at_limit: Tensor) -> Tensor:
        """Turn candidates that end into hypotheses; return the positions of the sentences that go on."""
        beams = self.beams
        stay: list[int] = []
        # Behind a prefix that ends the sentence nothing goes on.
        over = (at_limit | ~((scores > -math.inf) & ~ends).any(dim=1)).tolist()
        sentences = beams.sentences.tolist()
        scores, origins, ends = scores[:, : self.beam], origins[:, : self.beam], ends[:, : self.beam]
        rows, ranks = (part.tolist() for part in ends.nonzero(as_tuple=True))
        for row, rank in zip(rows, ranks, strict=True):
            found = self.finished[sentences[row]]
            if len(found) < self.beam:
                found.append(self._hypothesis(row, int(origins[row, rank]), float(scores[row, rank])))
        for row, sentence in enumerate(sentences):
            if len(self.finished[sentence]) < self.beam and not over[row]:
                stay.append(row)
        return torch.tensor(stay, dtype=torch.long, device=scores.device)

    def _hypothesis(self, row: int, origin: int, score: float) -> Hypothesis:
        beams = self.beams
        width, length = beams.tokens.size(1), beams.tokens.size(2) - 1
        truncated = length >= int(beams.limits[row]) and bool(self.cut[row * width + origin])
        sums = [0.0, *beams.scores[row, origin].tolist(), score]
        steps = tuple(after - before for before, after in pairwise(sums))
        tokens = tuple(beams.tokens[row, origin, 1:].tolist())
        return Hypothesis(tokens, self.options.normalized(score, len(steps)), steps, truncated)

    def _advance(self, scores: Tensor, tokens: Tensor, origins: Tensor, ends: Tensor) -> None:
        """Let the best ``beam`` candidates that do not end go on."""
        beams = self.beams
        count, width = beams.tokens.shape[:2]
        # Stable: candidates keep their order by score, those that end go last and, if still needed, are dead rows.
        order = ends.to(torch.int8).argsort(dim=1, stable=True)[:, : self.beam]
        scores = scores.masked_fill(ends, -math.inf).gather(1, order)
        tokens, origins = tokens.gather(1, order), origins.gather(1, order)
        offsets = torch.arange(count, device=order.device)[:, None] * width
        rows = (origins + offsets).flatten()
        alike = (beams.tokens == beams.tokens[:, :1]).all(dim=1)  # (N, U)
        self.scorer.reorder(rows, shared=int(alike.long().cumprod(dim=1).sum(dim=1).min()))
        shape = (count, self.beam, -1)
        beams.tokens = torch.cat([beams.tokens.flatten(0, 1)[rows].view(shape), tokens[:, :, None]], dim=2)
        history = beams.scores.flatten(0, 1)[rows].view(count, self.beam, beams.scores.size(2))
        beams.scores = torch.cat([history, scores[:, :, None]], dim=2)

    def _best(self, sentence: int) -> list[Hypothesis]:
        found = sorted(self.finished[sentence], key=lambda hypothesis: -hypothesis.score)
        if not found:
            raise DecodingError(
                f"sentence {sentence} of the batch: no hypothesis has a finite score; "
                "the model's weights or the input hold NaN or infinity"
            )
        return found[: self.options.nbest]
