"""Beam search with the semantics of fairseq's ``SequenceGenerator``, on a cache, batched.

Every step keeps ``2 * beam`` candidates per sentence. Those among the first ``beam`` that end the sentence become
hypotheses, the best ``beam`` of the others go on. A sentence is done when it has ``beam`` hypotheses or reaches its
length limit, and then leaves the batch. Where it differs from fairseq: the limit ``a * x + b`` uses each sentence's own
length, not the padded width of its batch, so that a result does not depend on its neighbours.

To wait for a GPU costs more than most of what it does in a step. What is known beforehand, limits and forced tokens, is
kept in lists, and what a step has found comes from the device in one copy; where a sentence ends, its tokens in another.

Legend: N sentences in the batch, W rows per sentence (1 while all are equal, then the beam), C candidates, U tokens,
V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

import torch
from torch import Tensor

from st.decoding.constraints import allow_only, ban_repeats
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.scorer import TokenScorer
from st.errors import DecodingError
from st.kernels.large_vocabulary import top_tokens
from st.modules.model import Encoded, SpeechTranslator
from st.text.vocabulary import EOS, PAD, UNK


@dataclass
class _Beams:
    """The hypotheses under way."""

    sentences: list[int]
    """Index in the caller's batch of each of the N sentences still decoded."""
    tokens: Tensor
    """``(N, W, U)``; column 0 is the end-of-sentence token that starts every decoder input."""
    scores: Tensor
    """Cumulative log-probability up to each token after column 0, ``(N, W, U - 1)``."""
    limits: list[int]
    """Most tokens of each sentence."""
    prefix: list[list[int]]
    """Forced tokens of each sentence, padded."""

    def keep(self, rows: Sequence[int], index: Tensor) -> None:
        """Drop all sentences but ``rows``, the same as a list and as a tensor."""
        self.sentences = [self.sentences[row] for row in rows]
        self.limits = [self.limits[row] for row in rows]
        self.prefix = [self.prefix[row] for row in rows]
        self.tokens, self.scores = self.tokens.index_select(0, index), self.scores.index_select(0, index)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a step has found for one sentence."""

    scores: list[float]
    """Of its first candidates, as many as the beam."""
    origins: list[float]
    """Rows that they continue."""
    ends: list[float]
    """Whether each ends the sentence."""
    goes_on: bool
    """Whether any candidate does not."""
    shared: int
    """How many of the first tokens all its rows have in common."""


@torch.inference_mode()
def beam_search(
    model: SpeechTranslator | Sequence[SpeechTranslator],
    memory: Encoded | Sequence[Encoded],
    forced: Tensor,
    options: BeamOptions,
    scorer: TokenScorer | None = None,
) -> list[list[Hypothesis]]:
    """Decode a batch.

    Args:
        model: The model, in evaluation mode, or several whose probabilities are averaged.
        memory: Adapted encoder states of N sentences (:meth:`SpeechTranslator.adapt`), one per model.
        forced: First target token of each sentence, the language tag, ``(N,)``; or a longer prefix ``(N, P)``, padded
            on the right with ``PAD``; an ``EOS`` in it ends the sentence there.
        options: See :class:`BeamOptions`.
        scorer: What scores the next tokens of this batch, and of no other: a new :class:`TokenScorer` if None, or a
            :class:`st.decoding.joint.JointScorer`.

    Returns:
        For each sentence ``options.nbest`` hypotheses, best first; fewer if fewer were finished.

    Raises:
        DecodingError: If the scores of a sentence are not finite, so that no hypothesis can be finished.
    """
    models, memories = as_lists(model, memory)
    if forced.size(0) == 0:
        return []
    return Search(models, memories, forced, options, scorer or TokenScorer()).run()


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
        scorer: TokenScorer,
    ) -> None:
        self.options, self.scorer = options, scorer
        self.beam = min(options.beam, models[0].config.decoder.vocab_size - 1)
        prefix = forced[:, None] if forced.dim() == 1 else forced
        longest = min(model.config.decoder.max_positions for model in models) - 1
        # Each option limited first: what it asks for may be more than an integer holds.
        lengths = (min(options.max_len_a, longest) * memories[0].lengths + min(options.max_len_b, longest)).long()
        limits: list[int] = lengths.clamp(min=min(options.min_len, longest), max=longest).tolist()
        self.max_limit = max(limits)
        start = torch.full((len(limits), 1, 1), EOS, device=forced.device)
        scores = start.new_zeros((len(limits), 1, 0), dtype=torch.float)
        self.beams = _Beams(list(range(len(limits))), start, scores, limits, prefix.tolist())
        goes_on = [list(takewhile(lambda token: token not in (PAD, EOS), row)) for row in self.beams.prefix]
        self.shared_steps = min(*map(len, goes_on), *limits)
        self.shared_prefix = prefix[:, : self.shared_steps]
        scorer.start(models, memories, max_length=self.max_limit + 1, temperature=options.temperature)
        self.finished: list[list[Hypothesis]] = [[] for _ in limits]
        # For each sentence at its limit, of each of its rows: whether the model would rather have gone on.
        self.cut: dict[int, list[bool]] = {}

    def run(self) -> list[list[Hypothesis]]:
        """Decode until every sentence is done."""
        for step in range(self.max_limit + 1):
            logits, log_norm = self.scorer.step(self.beams.tokens[:, :, -1].flatten())
            logits[:, UNK] -= self.options.unk_penalty
            if step < self.shared_steps:
                self._follow_prefix(logits, log_norm, step)
                continue
            self._constrain(logits, step)
            scores, tokens, origins = self.candidates(logits, log_norm)
            ends = (tokens == EOS) & (scores > -math.inf)  # (N, C)
            found = self._read(scores, origins, ends)
            if self.cut or any(any(sentence.ends) for sentence in found):
                stay = self._finish(found)
                if not stay:
                    break
                if len(stay) < len(found):
                    index = torch.tensor(stay, device=ends.device)
                    self.beams.keep(stay, index)
                    self.scorer.keep(index)
                    scores, tokens, origins, ends = scores[index], tokens[index], origins[index], ends[index]
                    found = [found[row] for row in stay]
            self._advance(scores, tokens, origins, ends, shared=min(sentence.shared for sentence in found))
        return [self._best(sentence) for sentence in range(len(self.finished))]

    def _follow_prefix(self, logits: Tensor, log_norm: Tensor, step: int) -> None:
        """Take a step that every sentence is forced to, on one row per sentence."""
        beams = self.beams
        chosen = self.shared_prefix[:, step, None]  # (N, 1)
        score = logits.gather(1, chosen) - log_norm[:, None]
        if step > 0:
            score += beams.scores[:, 0, -1:]
        beams.tokens = torch.cat([beams.tokens, chosen[:, None]], dim=2)
        beams.scores = torch.cat([beams.scores, score[:, None]], dim=2)

    def _constrain(self, logits: Tensor, step: int) -> None:
        """Give every token that may not follow a score of minus infinity, in place; what is forced always may."""
        beams, options = self.beams, self.options
        width = beams.tokens.size(1)
        logits[:, PAD] = -math.inf
        only = [prefix[step] if step < len(prefix) and prefix[step] != PAD else -1 for prefix in beams.prefix]
        free = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        if max(only) >= 0:
            free = (torch.tensor(only, device=logits.device) < 0).repeat_interleave(width)
        if options.no_repeat_ngram:
            ban_repeats(logits, beams.tokens.flatten(0, 1), options.no_repeat_ngram, rows=free, spare=EOS)
        if step < min(options.min_len, self.max_limit):
            logits[:, EOS] = logits[:, EOS].masked_fill(free, -math.inf)
        at_limit = [row for row, limit in enumerate(beams.limits) if limit <= step]
        self.cut = {}
        if at_limit:
            index = torch.tensor(at_limit, device=logits.device)
            best = logits.view(len(only), width, -1)[index].argmax(dim=-1)
            self.cut = dict(zip(at_limit, (best != EOS).tolist(), strict=True))
        for row in at_limit:
            only[row] = EOS
        allow_only(logits, [token for token in only for _ in range(width)])

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

    def _read(self, scores: Tensor, origins: Tensor, ends: Tensor) -> list[_Found]:
        """Bring what is decided here from the device, in one copy; torch makes float32 of all of it."""
        best = slice(self.beam)
        goes_on = ((scores > -math.inf) & ~ends).any(dim=1, keepdim=True)
        alike = (self.beams.tokens == self.beams.tokens[:, :1]).all(dim=1)  # (N, U)
        shared = alike.long().cumprod(dim=1).sum(dim=1, keepdim=True)
        table = torch.cat([scores[:, best], origins[:, best], ends[:, best], goes_on, shared], dim=1)
        count = scores[:, best].size(1)
        return [
            _Found(row[:count], row[count : 2 * count], row[2 * count : 3 * count], bool(row[-2]), int(row[-1]))
            for row in table.tolist()
        ]

    def _finish(self, found: Sequence[_Found]) -> list[int]:
        """Turn candidates that end into hypotheses; return the positions of the sentences that go on."""
        tokens, scores = self.beams.tokens.cpu(), self.beams.scores.cpu()
        stay = []
        for row, (sentence, best) in enumerate(zip(self.beams.sentences, found, strict=True)):
            finished = self.finished[sentence]
            for score, origin, ends in zip(best.scores, map(int, best.origins), best.ends, strict=True):
                if ends and len(finished) < self.beam:
                    truncated = row in self.cut and self.cut[row][origin]
                    sums = [0.0, *scores[row, origin].tolist(), score]
                    finished.append(self._hypothesis(tokens[row, origin, 1:].tolist(), sums, truncated))
            # Behind a prefix that ends the sentence nothing goes on.
            if len(finished) < self.beam and best.goes_on and row not in self.cut:
                stay.append(row)
        return stay

    def _hypothesis(self, tokens: Sequence[int], sums: Sequence[float], truncated: bool) -> Hypothesis:
        steps = tuple(after - before for before, after in pairwise(sums))
        return Hypothesis(tuple(tokens), self.options.normalized(sums[-1], len(steps)), steps, truncated)

    def _advance(self, scores: Tensor, tokens: Tensor, origins: Tensor, ends: Tensor, *, shared: int) -> None:
        """Let the best ``beam`` candidates that do not end go on."""
        beams = self.beams
        count, width = beams.tokens.shape[:2]
        # Stable: candidates keep their order by score, those that end go last and, if still needed, are dead rows.
        order = ends.to(torch.int8).argsort(dim=1, stable=True)[:, : self.beam]
        scores = scores.masked_fill(ends, -math.inf).gather(1, order)
        tokens, origins = tokens.gather(1, order), origins.gather(1, order)
        offsets = torch.arange(count, device=order.device)[:, None] * width
        rows = (origins + offsets).flatten()
        self.scorer.reorder(rows, shared=shared)
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
