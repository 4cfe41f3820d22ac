"""Translations of the training set as candidates: what a person translated once need not be composed anew.

With a few hours of speech a decoder writes worse than the training sentence that sounds most alike. Of these sentences the
nearest are put beside the hypotheses of the beam, and the model chooses (translation memory: Nagao 1984; Gu et al. 2018).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Indel

from st.data.manifest import SPLITS, TRANSCRIPTS, read_manifest
from st.errors import ConfigError
from st.inference.audio_input import Waveform
from st.inference.results.decoded import DecodedUtterance, Translation
from st.inference.translator import Translator
from st.options import check_fields

SHORTEST, LONGEST = 2, 6
"""Letters in the n-grams that are compared."""
MOST_SENTENCES = 100_000
"""Beyond it the search takes gigabytes, and a decoder that learned from as much writes better itself."""


@dataclass(kw_only=True, slots=True, frozen=True)
class MemoryOptions:
    """How a sentence of the memory is weighed: its score, and ``weight * (similarity - least)`` more.

    The similarity, 0 to 1, is the mean of that of :class:`SimilarSentences` and of the share of letters that both have in the
    same order, spaces apart, and the mean over what may have been said: the transcript and its alternatives, or where there are none
    ``drawn`` more, at random. The single transcript is wrong in every fourth letter or so, and what it mistakes one of the others has
    right. Defaults are of the middle of what was good on the dev set of Mboshi.
    """

    count: int = 15
    """Sentences of the memory that are scored for a recording."""
    drawn: int = 16
    """Transcripts drawn from what the CTC head says of each frame."""
    weight: float = 30.0
    least: float = 0.2
    """Similarity at which a sentence of the memory counts as one of the beam with the same score."""

    def __post_init__(self) -> None:
        """Raise ConfigError if a value is out of range."""
        check_fields(
            self,
            ("count", self.count >= 1, "at least 1"),
            ("drawn", self.drawn >= 0, "at least 0"),
            ("weight", math.isfinite(self.weight) and self.weight >= 0, "at least 0"),
            ("least", 0 <= self.least <= 1, "from 0 to 1"),
        )


class SimilarSentences:
    """Finds the sentences whose letters are most alike, by the cosine of TF-IDF vectors of n-grams of letters."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.size = len(sentences)
        counts = [Counter(_ngrams(sentence)) for sentence in sentences]
        places: defaultdict[str, list[int]] = defaultdict(list)
        for number, grams in enumerate(counts):
            for gram in grams:
                places[gram].append(number)
        self._rarity = {gram: math.log((1 + self.size) / (1 + len(found))) + 1 for gram, found in places.items()}
        lengths = [_length(self._weights(grams)) for grams in counts]
        self._found = {
            gram: (
                np.array(numbers, dtype=np.int32),
                np.array(
                    [_damped(counts[n][gram]) * self._rarity[gram] / lengths[n] for n in numbers], dtype=np.float32
                ),
            )
            for gram, numbers in places.items()
        }

    def nearest(self, asked: Sequence[str], count: int) -> list[tuple[int, float]]:
        """Return numbers of the ``count`` nearest sentences, nearest first, and their mean similarities to those asked for.

        Similarities are above 0 and at most 1.
        """
        similarity = np.zeros(self.size, dtype=np.float32)
        for sentence in asked:
            weights = self._weights(Counter(_ngrams(sentence)))
            share = 1 / (len(asked) * _length(weights))
            for gram, weight in weights.items():
                if gram in self._found:
                    numbers, values = self._found[gram]
                    similarity[numbers] += share * weight * values
        best = np.argsort(-similarity, kind="stable")[:count]
        return [(int(number), float(similarity[number])) for number in best if similarity[number] > 0]

    def _weights(self, grams: Mapping[str, int]) -> dict[str, float]:
        unknown = math.log(1 + self.size) + 1
        return {gram: _damped(times) * self._rarity.get(gram, unknown) for gram, times in grams.items()}


class TranslationMemory:
    """What a :class:`Translator` calls with what it found, to choose among that and sentences of a training set.

    Raises:
        ConfigError: On construction, if no sentence has both a transcript and a translation, or there are very many.
    """

    def __init__(
        self, sentences: Mapping[str, Sequence[tuple[str, str]]], options: MemoryOptions | None = None, keep: int = 1
    ) -> None:
        """Remember pairs of transcript and translation by the code of the target language; ``keep`` translations are kept."""
        self.options, self.keep = options or MemoryOptions(), keep
        pairs = {code: [pair for pair in dict.fromkeys(found) if all(pair)] for code, found in sentences.items()}
        if not any(pairs.values()):
            raise ConfigError("the translation memory has no sentence with a transcript and a translation")
        if (longest := max(map(len, pairs.values()))) > MOST_SENTENCES:
            raise ConfigError(
                f"the translation memory has {longest:,} sentences, and is for models of little speech: at most {MOST_SENTENCES:,}"
            )
        self._pairs = pairs
        self._similar = {code: SimilarSentences([said for said, _ in found]) for code, found in pairs.items()}

    @classmethod
    def from_tree(cls, tree: Path, options: MemoryOptions | None = None, keep: int = 1) -> TranslationMemory:
        """Remember the training sentences of a prepared tree, of all its directions.

        Raises:
            ConfigError: If it has none.
            ManifestError: If a manifest cannot be read.
        """
        sentences: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for path in _manifests(tree):
            for row in read_manifest(path):
                sentences[row.tgt_lang].append((row.src_text, row.tgt_text))
        return cls(sentences, options, keep)

    def nearest(self, heard: Sequence[str], code: str) -> list[tuple[str, float]]:
        """Return translations into a language of the sentences that are most like what was heard, and their similarities.

        ``heard`` are the transcripts that a recording may have.
        """
        if code not in self._similar:
            return []
        pairs, letters = self._pairs[code], [_letters(transcript) for transcript in heard]
        return [
            (pairs[n][1], (cosine + _shared(letters, _letters(pairs[n][0]))) / 2)
            for n, cosine in self._similar[code].nearest(heard, self.options.count)
        ]

    def __call__(
        self, translator: Translator, waveforms: Sequence[Waveform], results: Sequence[DecodedUtterance]
    ) -> list[DecodedUtterance]:
        """Return the results with the chosen translations, best first, under their new scores."""
        rows = [row for row, result in enumerate(results) if result.transcript and set(result.nbest) & set(self._pairs)]
        single = [row for row in rows if not results[row].alternatives]
        drawn = translator.sample_transcripts([waveforms[row] for row in single], self.options.drawn)
        others = {row: results[row].alternatives for row in rows} | dict(zip(single, drawn, strict=True))
        heard = {row: [results[row].transcript or "", *others[row]] for row in rows}
        wanted = [
            (row, code, translation, similarity)
            for row in rows
            for code in results[row].nbest
            for translation, similarity in self.nearest(heard[row], code)
            if translator.can_score(waveforms[row], code, translation)
        ]
        scored = translator.score_batch(waveforms, [(row, code, text) for row, code, text, _ in wanted])
        nbest = [{code: list(found) for code, found in result.nbest.items()} for result in results]
        for (row, code, text, similarity), item in zip(wanted, scored, strict=True):
            bonus = self.options.weight * (similarity - self.options.least)
            nbest[row][code].append(dataclasses.replace(item, text=text, score=item.score + bonus))
        return [self._chosen(result, found) for result, found in zip(results, nbest, strict=True)]

    def _chosen(self, result: DecodedUtterance, nbest: Mapping[str, Sequence[Translation]]) -> DecodedUtterance:
        ordered = {code: sorted(found, key=lambda item: -item.score)[: self.keep] for code, found in nbest.items()}
        best = {code: found[0].text for code, found in ordered.items() if found and result.reason is None}
        return dataclasses.replace(result, translations={**result.translations, **best}, nbest=ordered)


def memory_digest(tree: Path) -> str:
    """Return the SHA-256 of the training manifests of a prepared tree, translations and transcripts.

    Raises:
        ConfigError: If it has none.
    """
    transcripts = sorted(tree.glob(f"{TRANSCRIPTS}{SPLITS[0]}_*.tsv"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*_manifests(tree), *transcripts])).hexdigest()


def _manifests(tree: Path) -> list[Path]:
    found = sorted(tree.glob(f"{SPLITS[0]}_*_*.tsv"))
    if not found:
        raise ConfigError(f"{tree}: no {SPLITS[0]}_*.tsv; a translation memory is a folder that `st prepare` wrote")
    return found


def _ngrams(sentence: str) -> Iterator[str]:
    """Yield the n-grams of letters, spaces between words among them."""
    letters = " ".join(sentence.lower().split())
    for size in range(SHORTEST, LONGEST + 1):
        yield from (letters[start : start + size] for start in range(len(letters) - size + 1))


def _letters(sentence: str) -> str:
    return "".join(sentence.lower().split())


def _shared(heard: Sequence[str], sentence: str) -> float:
    """Return the mean share of letters that texts have in the same order as a sentence."""
    return sum(Indel.normalized_similarity(text, sentence) for text in heard) / len(heard)


def _damped(times: int) -> float:
    return 1 + math.log(times)


def _length(weights: Mapping[str, float]) -> float:
    return math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
