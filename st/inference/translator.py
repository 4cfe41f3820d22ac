"""Audio in, text out: one model with its vocabularies and decoding options.

Legend: N utterances, T samples, R targets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from st.audio.reading import SAMPLE_RATE
from st.data.batching import make_batches
from st.data.clips import Clips
from st.data.dataset import pad_rows, standardize
from st.decoding.ctc import ctc_sample
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.parts import decode_rows, score_rows
from st.errors import DecodingError
from st.inference.alignment.word_times import TimedText, time_words
from st.inference.audio_input import AudioLike, Waveform, key_of, load_waveform
from st.inference.ensemble import ctc_logits, memories, require_one_dictionary, require_same_letters
from st.inference.long.recordings import LongRecordings
from st.inference.precision import autocast
from st.inference.results.decoded import DecodedUtterance, Translation
from st.inference.transcription.transcriber import Transcriber, TranscriptOptions, frame_seconds
from st.inference.usable import require_as_many, require_finite, why_unusable
from st.kernels.heap import Gaps
from st.modules.config import PARTS
from st.modules.model import Encoded, SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels
from st.text.languages import is_same, language
from st.text.vocabulary import TextVocabulary

BATCH_SECONDS = 60.0
"""Audio in one batch of :meth:`Translator.decode`, padding counted."""

Rescoring = Callable[["Translator", Sequence[Waveform], Sequence[DecodedUtterance]], list[DecodedUtterance]]
"""Returns the results of a batch with their translations in another order; see :mod:`st.inference.rescoring`."""


class Translator(LongRecordings):
    """Translates and transcribes recordings.

    Attributes:
        model: In evaluation mode, on the device it computes on.
        options: How to search; with :class:`st.decoding.sampling.SamplingOptions` translations are drawn at random instead.
        ensemble: Other models, whose probabilities are averaged with this one's; see :meth:`join`.
        rescorer: What chooses anew among the translations of a batch; None for none.
        languages: Target languages that the model has a tag for (codes); none if it cannot translate.
        trained_directions: Directions that it was trained on; empty if the checkpoint does not say.
        decoder_trained: Whether that training taught the decoder.
        decoder_transcribes: Whether it taught the decoder to write down what is said, too.
        keep_all: Whether to decode recordings in which nobody can be heard too, whatever a model writes there.
        clips: What is known of the recordings that it learned from.

    ``lm`` is the folder of a language model that comes with the model; see :class:`TranscriptOptions`. ``labels`` are the
    vocabularies of its heads by name, which tell languages if a head classifies them.

    Raises:
        DecodingError: On construction, if the model has no speech encoder.
    """

    def __init__(
        self,
        model: SpeechTranslator,
        text: TextVocabulary | None,
        ctc: CtcVocabulary | None,
        *,
        standardize_audio: bool = True,
        options: BeamOptions | None = None,
        dtype: torch.dtype = torch.float32,
        trained_directions: Sequence[str] = (),
        decoder_trained: bool = True,
        decoder_transcribes: bool = False,
        transcripts: TranscriptOptions | None = None,
        keep_all: bool = False,
        lm: Path | None = None,
        labels: Mapping[str, Labels] | None = None,
        clips: Clips | None = None,
    ) -> None:
        if "encoder" not in model.config.parts:
            raise DecodingError("this model has no speech encoder; it is a part of one, not a model for audio")
        self.model, self.text, self.ctc = model.eval(), text, ctc
        self.options = options or BeamOptions()
        self.dtype, self.standardize_audio = dtype, standardize_audio
        self.device = next(model.parameters()).device
        translates = set(PARTS) <= set(model.config.parts)
        self.languages: tuple[str, ...] = tuple(text.languages) if text is not None and translates else ()
        self.trained_directions, self.decoder_trained = tuple(trained_directions), decoder_trained
        self.decoder_transcribes = decoder_transcribes
        self.keep_all, self.clips = keep_all, clips or Clips()
        self._min_samples, self._gaps = model.encoder.receptive_field, Gaps()
        self.ensemble: list[Translator] = []
        self.rescorer: Rescoring | None = None
        self.transcriber: Transcriber | None = None
        if model.config.ctc_vocab_size and ctc is not None:
            self.transcriber = Transcriber(model, ctc, text, transcripts or TranscriptOptions(), lm, labels)

    def translate(
        self, audio: AudioLike, to: str | Sequence[str], *, sample_rate: int = SAMPLE_RATE
    ) -> DecodedUtterance:
        """Translate one recording of at most 30 seconds.

        Args:
            audio: A file, the bytes of one, or samples; see :func:`load_waveform`.
            to: Code of the target language, or of several.
            sample_rate: Samples per second, if ``audio`` is an array.

        Raises:
            AudioError: If the recording cannot be used.
            ConfigError: If the model has no tag for a language.
            UsageError: If something is no code of a language.
            DecodingError: If the model cannot translate, or its scores are not finite.
        """
        targets = [to] if isinstance(to, str) else list(to)
        self.check_languages(targets)
        return self.decode_batch([load_waveform(audio, sample_rate=sample_rate)], [targets])[0]

    def transcribe(self, audio: AudioLike, *, sample_rate: int = SAMPLE_RATE) -> DecodedUtterance:
        """Write down one recording of at most 30 seconds, as the options of transcripts say.

        Raises:
            AudioError: If the recording cannot be used.
            DecodingError: If the model has no CTC head, or its scores are not finite.
        """
        self.check_transcribes()
        return self.decode_batch([load_waveform(audio, sample_rate=sample_rate)], [[]])[0]

    def align(
        self, audio: AudioLike, text: str, *, sample_rate: int = SAMPLE_RATE, language: str | None = None
    ) -> list[TimedText]:
        """Find out when each word of a text was said in a recording of at most 30 seconds.

        Args:
            audio: The recording.
            text: What was said.
            sample_rate: Of samples that are given as an array.
            language: What the text is written in, whose capitals and apostrophes may be its own (``tr``, ``uk``).

        Raises:
            AudioError: If the recording cannot be used.
            DecodingError: If the model has no CTC head, a letter of the text is unknown to it, the text has none, or
                it does not fit into the recording.
        """
        self.check_transcribes()
        waveform = load_waveform(audio, sample_rate=sample_rate)
        if len(waveform) < self._min_samples or self.ctc is None:
            raise DecodingError("nothing to align: the recording is too short for one frame")
        with torch.inference_mode(), autocast(self.device, self.dtype):
            encoded = self._encode([waveform])
            logits = self.model.ctc_logits(encoded)[0, : int(encoded.lengths[0])]
        return time_words(logits, text, self.ctc, frame_s=frame_seconds(self.model), language=language)

    def check_languages(self, codes: Sequence[str]) -> None:
        """Raise unless the model can translate into all of ``codes``; see :meth:`translate`."""
        for code in codes:
            self._text().language_id(code)

    def untrained(self, codes: Sequence[str]) -> list[str]:
        """Return those of ``codes`` that the model has never learned to write, as far as its checkpoint tells."""
        learned = {direction.partition("_")[2] for direction in self.trained_directions}
        return [code for code in dict.fromkeys(codes) if learned and not any(is_same(code, other) for other in learned)]

    def join(self, other: Translator) -> None:
        """Average another model's probabilities with this one's from now on; of letters as :func:`ctc_logits` says.

        Raises:
            ConfigError: If the models do not share a dictionary; of models that only transcribe, letters and frames.
            DecodingError: If this one translates and the other cannot.
        """
        if self.languages:
            require_one_dictionary(self._text().symbols, other._text().symbols)
        else:
            require_same_letters((self, other))
        self._min_samples = max(self._min_samples, other._min_samples)
        self.ensemble.append(other)

    def check_transcribes(self) -> None:
        """Raise DecodingError unless the model has a CTC head and its vocabulary."""
        if not self.model.config.ctc_vocab_size or self.ctc is None:
            use = "st identify says its labels" if self.model.config.classifying_heads else "st inspect lists its parts"
            raise DecodingError(f"this model cannot transcribe: it has no CTC head with a vocabulary; {use}")

    def decode(
        self,
        waveforms: Sequence[Waveform],
        target_languages: Sequence[Sequence[str]],
        *,
        batch_seconds: float = BATCH_SECONDS,
        times: bool | None = None,
    ) -> list[DecodedUtterance]:
        """Decode any number of recordings, in batches of similar length; results come in the order given.

        ``times`` is whether to find out when each word of a transcript was said; None is as the options of transcripts say.

        Raises:
            ValueError: If there are not as many lists of target languages as recordings.
        """
        require_as_many(waveforms, target_languages)
        sizes = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
        order = np.argsort(-sizes, kind="stable")
        results: dict[int, DecodedUtterance] = {}
        for batch in make_batches(order, sizes, int(batch_seconds * SAMPLE_RATE), None):
            waves, targets = [waveforms[i] for i in batch], [target_languages[i] for i in batch]
            results.update(zip(batch, self.decode_batch(waves, targets, times=times), strict=True))
            self._gaps.after_batch()
        return [results[index] for index in range(len(waveforms))]

    def decode_batch(
        self,
        waveforms: Sequence[Waveform],
        target_languages: Sequence[Sequence[str]],
        spoken: Sequence[str] | None = None,
        *,
        times: bool | None = None,
    ) -> list[DecodedUtterance]:
        """Decode a batch; every utterance is encoded once for all its targets and its transcript.

        Args:
            waveforms: Mono samples at 16 kHz, one array ``(T,)`` per utterance, of any length.
            target_languages: For each utterance the codes of languages to translate it into; none to transcribe only.
            spoken: For each utterance the code of what is spoken; see :class:`TranscriptOptions`.
            times: See :meth:`decode`.

        Returns:
            One result per utterance, in order. Utterances too short for one frame are empty and say why; so are those
            in which nobody can be heard, unless ``keep_all`` is set.

        Raises:
            AudioError: If a sample is NaN or infinite; the message says in which utterance of the batch.
            ConfigError: If the model has no tag for a language.
            UsageError: If something is no code of a language.
            DecodingError: If the scores of the model are not finite.
            ValueError: If there are not as many lists of target languages, or spoken languages, as recordings.
        """
        require_as_many(waveforms, target_languages)
        if spoken is not None:
            require_as_many(waveforms, spoken, "languages that are spoken")
        for codes in target_languages:
            self.check_languages(codes)
        for code in spoken or ():
            language(code)
        for number, waveform in enumerate(waveforms):
            require_finite(number, waveform)
        reasons = [why_unusable(waveform, self._min_samples, keep_all=self.keep_all) for waveform in waveforms]
        usable = [n for n, reason in enumerate(reasons) if reason is None]
        transcripts: dict[int, DecodedUtterance] = {}
        nbest: list[dict[str, list[Translation]]] = [{} for _ in waveforms]
        if usable:
            with torch.inference_mode(), autocast(self.device, self.dtype):
                heard = [waveforms[n] for n in usable]
                encoded = [member._encode(heard) for member in self._members()]
                if self.transcriber is not None:
                    languages = None if spoken is None else [spoken[n] for n in usable]
                    found = self.transcriber(
                        encoded[0], languages, times=times, logits=ctc_logits(self._members(), encoded)
                    )
                    transcripts = dict(zip(usable, found, strict=True))
                    for n, transcript in transcripts.items():
                        reasons[n] = None if self.keep_all else transcript.reason
                left = [(row, n) for row, n in enumerate(usable) if reasons[n] is None]
                rows = [(row, code) for row, n in left for code in dict.fromkeys(target_languages[n])]
                if rows:
                    translated = self._translations(heard, encoded, rows)
                    for (row, code), translations in zip(rows, translated, strict=True):
                        nbest[usable[row]][code] = translations
        results = [
            self._result(reason, transcripts.get(n), nbest[n], target_languages[n]) for n, reason in enumerate(reasons)
        ]
        return results if self.rescorer is None else self.rescorer(self, waveforms, results)

    def sample_transcripts(self, waveforms: Sequence[Waveform], count: int) -> list[list[str]]:
        """Draw ``count`` transcripts of each recording as probable as the CTC head finds them; from equal samples equal ones.

        Raises:
            DecodingError: If the model has no CTC head.
            ValueError: If a recording is too short for one frame.
        """
        self.check_transcribes()
        if self.ctc is None or not waveforms:
            return []
        with torch.inference_mode(), autocast(self.device, self.dtype):
            encoded = [member._encode(waveforms) for member in self._members()]
            logits, keys = ctc_logits(self._members(), encoded), [key_of(waveform) for waveform in waveforms]
            drawn = ctc_sample(logits, encoded[0].lengths, count, keys)
        return [[self.ctc.decode(labels, collapse=False) for labels in found] for found in drawn]

    def score(self, audio: AudioLike, text: str, to: str, *, sample_rate: int = SAMPLE_RATE) -> Translation:
        """Score a given translation of one recording of at most 30 seconds, as the beam search would.

        Raises:
            AudioError: If the recording cannot be used.
            ConfigError: If the model has no tag for the language.
            DecodingError: If the model cannot translate, or the recording is too short for one frame.
        """
        return self.score_batch([load_waveform(audio, sample_rate=sample_rate)], [(0, to, text)])[0]

    def score_batch(
        self, waveforms: Sequence[Waveform], targets: Sequence[tuple[int, str, str | Sequence[int]]]
    ) -> list[Translation]:
        """Score translations of a batch; errors as :meth:`score`, for recordings that have targets.

        Args:
            waveforms: As for :meth:`decode_batch`, those with targets long enough for one frame.
            targets: Each (number of the utterance, from 0, language, text). Instead of the text the tokens of a
                hypothesis of this model, language tag first.

        Raises:
            ValueError: If there is no utterance of such a number.
        """
        self.check_languages([code for _, code, _ in targets])
        used = sorted({number for number, _, _ in targets})
        if not used:
            return []
        for number in used:
            if not 0 <= number < len(waveforms):
                raise ValueError(f"a target is for utterance {number}; expected 0 to {len(waveforms) - 1}")
            require_finite(number, waveforms[number])
            if len(waveforms[number]) < self._min_samples:
                raise DecodingError(f"nothing to score: utterance {number} of the batch is too short for one frame")
        rows = torch.tensor([used.index(number) for number, _, _ in targets], device=self.device)
        tokens = [self._target_tokens(code, target) for _, code, target in targets]
        with torch.inference_mode(), autocast(self.device, self.dtype):
            heard = [waveforms[number] for number in used]
            encoded = [member._encode(heard) for member in self._members()]
            found = score_rows(self._models(), memories(self._members(), encoded), rows, tokens, self.options)
        return [self._as_text(hypothesis) for hypothesis in found]

    def can_score(self, waveform: Waveform, code: str, target: str | Sequence[int]) -> bool:
        """Return whether :meth:`score_batch` takes a recording and a target: long enough the one, not too long the other."""
        positions = min(model.config.decoder.max_positions for model in self._models())
        return len(waveform) >= self._min_samples and len(self._target_tokens(code, target)) < positions

    def _target_tokens(self, code: str, target: str | Sequence[int]) -> tuple[int, ...]:
        text = self._text()
        return (text.language_id(code), *text.encode(target)) if isinstance(target, str) else tuple(target)

    def _text(self) -> TextVocabulary:
        missing = [part for part in PARTS if part not in self.model.config.parts]
        if self.text is None or missing:
            lacks = f"no {' and no '.join(missing)}" if missing else "no text vocabulary"
            raise DecodingError(f"this model has {lacks}; it cannot translate")
        return self.text

    def _encode(self, waveforms: Sequence[Waveform]) -> Encoded:
        epsilon = self.model.config.encoder.wave_epsilon
        waves = [standardize(wave, epsilon) if self.standardize_audio else wave for wave in waveforms]
        lengths = torch.tensor([len(wave) for wave in waves], device=self.device)
        return self.model.encode(pad_rows(waves, 0.0, torch.float32).to(self.device), lengths)

    def _members(self) -> list[Translator]:
        return [self, *self.ensemble]

    def _models(self) -> list[SpeechTranslator]:
        return [member.model for member in self._members()]

    def _translations(
        self, waveforms: Sequence[Waveform], encoded: Sequence[Encoded], rows: Sequence[tuple[int, str]]
    ) -> list[list[Translation]]:
        """Translate utterance ``row`` into ``code`` for each pair of ``rows``."""
        text = self._text()
        sources = torch.tensor([row for row, _ in rows], device=self.device)
        forced = torch.tensor([text.language_id(code) for _, code in rows], device=self.device)
        # What is drawn of a recording follows from its samples, whichever batch it is in.
        keys = [key_of(waveform) for waveform in waveforms]
        found = decode_rows(self._models(), memories(self._members(), encoded), sources, forced, self.options, keys)
        return [[self._as_text(hypothesis) for hypothesis in hypotheses] for hypotheses in found]

    def _as_text(self, hypothesis: Hypothesis) -> Translation:
        vocabulary = self._text()
        return Translation(
            vocabulary.decode(hypothesis.tokens),
            hypothesis.score,
            hypothesis.truncated,
            hypothesis.tokens,
            tuple(vocabulary.symbols[token] for token in (*hypothesis.tokens, vocabulary.eos)),
            hypothesis.token_scores,
        )

    def _result(
        self,
        reason: str | None,
        transcript: DecodedUtterance | None,
        nbest: Mapping[str, Sequence[Translation]],
        codes: Sequence[str],
    ) -> DecodedUtterance:
        """Join what was found; where there is a reason for no text, all texts are empty."""
        best = {code: nbest[code][0].text if reason is None else "" for code in codes}
        if self.transcriber is None:
            return DecodedUtterance(None, best, nbest, reason=reason)
        if transcript is None or reason is not None:
            transcript = DecodedUtterance("", {}, words=() if self.transcriber.options.times else None)
        if not transcript.transcript and not best:
            reason = reason or "no_speech"
        return dataclasses.replace(transcript, translations=best, nbest=nbest, reason=reason)
