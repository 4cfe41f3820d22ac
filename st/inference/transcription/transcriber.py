"""What was said: by the CTC head alone, by beam search with a language model, or together with the decoder.

Legend: N utterances, S frames, C labels.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from st.audio.reading import SAMPLE_RATE
from st.checkpoints.formats.transformers.reader import ALPHABET_FILENAME
from st.decoding.ctc import blanks, ctc_greedy
from st.decoding.ctc_prefix import PrefixOptions, ctc_prefix_search
from st.decoding.joint import JointScorer
from st.decoding.language_model.letters import LetterModel, has_transcripts
from st.decoding.language_model.ngram import NgramModel
from st.decoding.language_model.word_folder import check_alphabet
from st.decoding.language_model.word_search import WordOptions
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.parts import decode_rows
from st.errors import ConfigError, DecodingError
from st.inference.alignment.word_times import TimedText, time_words
from st.inference.results.decoded import DecodedUtterance
from st.inference.transcription.letters import has_letters, possible_labels
from st.inference.transcription.spoken_language import LanguageEvidence, Spoken, choose
from st.inference.transcription.word_decoder import WordDecoder
from st.modules.model import Encoded, SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels
from st.text.vocabulary import TextVocabulary

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Stands for the languages of a model."""
IMPOSSIBLE = -1e4
"""Score of letters that another script has."""
SURE = 0.99
"""Probability that the blank must have at every frame for nobody to have spoken. A head that has learned nothing, or only
to be silent, has less somewhere."""


@dataclass(kw_only=True, slots=True, frozen=True)
class TranscriptOptions:
    """How to transcribe; the default is the CTC head's best path."""

    language: str | None = None
    """What is spoken everywhere (its code): leaves out the letters of other scripts, and names the decoder's tag."""
    languages: tuple[str, ...] = ()
    """Languages (codes) of which each utterance gets the one that the model takes to be spoken in it, instead of one
    ``language`` everywhere; :data:`AUTO` alone stands for those that :func:`st.load_translator` finds that it knows."""
    times: bool = False
    """Whether to find out when each word was said."""
    search: PrefixOptions | None = None
    """Prefix beam search over the CTC head instead of the best path."""
    words: WordOptions | None = None
    """pyctcdecode's search, for hotwords and the language model of a folder; where there is neither, ``search`` counts."""
    lm: Path | None = None
    """n-gram language model for ``search``: a file (ARPA or KenLM binary), or a prepared tree, of whose training transcripts one
    of letters is made; or the folder of one for ``words``."""
    no_lm: bool = False
    """Whether to leave out the language model that comes with a model. Otherwise it is used, unless ``lm`` is another, the
    decoder writes, or ``search`` is given without ``words``."""
    decoder: BeamOptions | None = None
    """Let the decoder write, with the CTC head's part in ``joint_ctc_weight``; for models that were trained to. Without
    ``language``, whoever transcribes has to say what is spoken in each recording."""
    decoder_if_trained: BeamOptions | None = None
    """The same, for models of which the checkpoint says that they were trained to (``--add-transcripts``), and where the
    language is known; :func:`st.load_translator` looks at it. Everywhere else the other options count."""
    data_dir: Path | None = None
    """Prepared tree whose letters of the language are allowed, rather than those of its script."""
    own_letters: bool = False
    """Whether the CTC head has the letters of ``language`` alone, as with MMS, so that none is left out."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If two contradict each other.
        """
        searches = (self.search, self.words, self.lm)
        if self.decoder_if_trained is not None and (self.decoder is not None or self.lm is not None):
            raise ConfigError("`decoder_if_trained` leaves the choice to the model; leave out `decoder` and `lm`")
        if self.decoder is not None and any(one is not None for one in searches):
            raise ConfigError("the decoder does not go together with a search over the CTC head alone")
        if self.languages and (self.language is not None or self.own_letters):
            raise ConfigError(
                "`language` and `languages` contradict each other; name one language, or several to choose from"
            )
        if self.lm is None:
            return
        folder = self.lm.is_dir() and not has_transcripts(self.lm)
        if folder and self.search is not None and self.words is None:
            raise ConfigError(f"{self.lm}: a folder of a language model needs the search `words`, not `search`")
        if not folder and self.words is not None:
            raise ConfigError(f"{self.lm}: the search `words` needs the folder of a language model, not a file")
        if not folder and self.search is None:
            raise ConfigError("a language model needs a search; the best path does not ask it")

    def word_folder(self, own: Path | None) -> Path | None:
        """Return the folder of the language model to search with by words; None for none.

        Args:
            own: Folder of a model that has a language model of its own.
        """
        if self.lm is not None:
            return self.lm if self.lm.is_dir() and not has_transcripts(self.lm) else None
        unused = self.no_lm or self.decoder is not None or (self.search is not None and self.words is None)
        return None if unused else own


class Transcriber:
    """Transcribes what the encoder has made of utterances.

    Raises:
        ConfigError: On construction, if the language model cannot be used, or the decoder has no tag for the language.
        DecodingError: If the model has no decoder and is asked for it.
        UsageError: If what is spoken is no code of a language.
    """

    def __init__(
        self,
        model: SpeechTranslator,
        ctc: CtcVocabulary,
        text: TextVocabulary | None,
        options: TranscriptOptions,
        own_lm: Path | None = None,
        labels: Mapping[str, Labels] | None = None,
    ) -> None:
        self.model, self.ctc, self.text, self.options = model, ctc, text, options
        self._frame_s = frame_seconds(model)
        self._impossible: Tensor | None = None
        self._lm: NgramModel | LetterModel | None = None
        if options.language is not None and not options.own_letters:
            self._impossible = ~possible_labels(ctc, options.language, options.data_dir)
            if options.decoder is None and not has_letters(ctc, options.language):
                logger.warning(
                    "the CTC head has no letters that %s is written in; expect transcripts of no worth",
                    options.language,
                )
        self._evidence: LanguageEvidence | None = None
        if options.languages:
            self._evidence = LanguageEvidence(model, ctc, options.languages, labels or {}, options.data_dir)
        possible = [True] * len(ctc) if self._impossible is None else (~self._impossible).tolist()
        self._words = self._word_decoder(own_lm, possible)
        if options.lm is not None and self._words is None and options.lm.is_dir():
            self._lm = LetterModel.from_tree(options.lm, ctc, options.language)
        elif options.lm is not None and self._words is None:
            symbols = [symbol if may else "" for symbol, may in zip(ctc.symbols, possible, strict=True)]
            self._lm = NgramModel(options.lm, symbols, ctc.separator, options.language)
        if options.decoder is not None:
            if text is None or "decoder" not in model.config.parts:
                raise DecodingError("this model has no decoder; it transcribes with its CTC head alone")
            for code in options.languages or ([] if options.language is None else [options.language]):
                text.language_id(code)

    def _word_decoder(self, own_lm: Path | None, possible: Sequence[bool]) -> WordDecoder | None:
        """Return what decodes by words; None if there is neither a language model's folder nor a hotword."""
        options = self.options
        folder, words = options.word_folder(own_lm), options.words or WordOptions()
        if folder is None and not words.hotwords and not words.needs_model:
            return None
        try:
            if folder is not None and options.lm is None:
                check_alphabet(folder / ALPHABET_FILENAME, self.ctc.symbols)
            return WordDecoder(self.ctc, words, folder=folder, possible=possible, language=options.language)
        except ConfigError as error:
            if folder is None or options.lm is not None:
                raise
            raise ConfigError(f"{error}; no_lm (--no-lm) transcribes without it") from None

    def __call__(
        self,
        encoded: Encoded,
        spoken: Sequence[str] | None = None,
        *,
        times: bool | None = None,
        logits: Tensor | None = None,
    ) -> list[DecodedUtterance]:
        """Transcribe a batch; where the CTC head is sure that nobody speaks, the result has a reason.

        Args:
            encoded: What the encoder made of it.
            spoken: Language of each utterance (codes), which the decoder needs unless the options have one.
            times: Whether to find out when each word was said; None is as the options say.
            logits: What CTC heads make of it ``(N, S, C)``; None for this model's.

        Raises:
            ConfigError: If the decoder has no tag for a language.
            DecodingError: If it is to write and nobody says in which language, or the CTC head's scores are not finite.
        """
        logits = self.model.ctc_logits(encoded) if logits is None else logits
        return self._transcribe(logits, encoded.lengths, encoded, spoken, times)

    @property
    def by_frames(self) -> bool:
        """Whether the CTC head's logits are all that is needed, so that a recording may be encoded in any windows."""
        return self.options.decoder is None and self._evidence is None

    @property
    def alike(self) -> list[list[str]]:
        """Return the groups of languages to choose from that cannot be told apart."""
        return [] if self._evidence is None or self.options.decoder is not None else self._evidence.alike

    def of_logits(self, logits: Tensor, *, times: bool | None = None) -> DecodedUtterance:
        """Transcribe frames ``(S, C)`` of which only the CTC head's logits are kept; errors and ``times`` as above.

        Raises:
            DecodingError: If the decoder is to write, which needs the states of the encoder.
        """
        lengths = torch.tensor([len(logits)], device=logits.device)
        return self._transcribe(logits[None], lengths, None, None, times)[0]

    def _transcribe(
        self,
        logits: Tensor,
        valid: Tensor,
        encoded: Encoded | None,
        spoken: Sequence[str] | None,
        times: bool | None,
    ) -> list[DecodedUtterance]:
        blank = blanks(logits, valid)
        if self._impossible is not None:
            logits = logits.masked_fill(self._impossible.to(logits.device), IMPOSSIBLE)
        chosen: Sequence[Spoken | None] = [None] * len(logits)
        if self.options.language is not None:
            spoken = [self.options.language] * len(logits)
        elif spoken is None and self._evidence is not None:
            found_languages = self._choose(self._evidence, encoded, logits, valid)
            chosen, spoken = found_languages, [one.code for one in found_languages]
            logits = logits.masked_fill(~self._evidence.letters_of(spoken)[:, None].to(logits.device), IMPOSSIBLE)
        timed = self.options.times if times is None else times
        lengths = valid.tolist()
        found = []
        for row, ([text, *others], truncated) in enumerate(self._texts(logits, valid, encoded, spoken)):
            code = None if spoken is None else spoken[row]
            words = self._times(text, logits[row, : lengths[row]], code) if timed else None
            least, mean = blank[row]
            reason = "no_speech" if least >= SURE else None
            decoded = DecodedUtterance(
                text, {}, reason=reason, words=words, truncated=truncated, mean_blank=mean, alternatives=tuple(others)
            )
            language = chosen[row]
            if language is not None:
                decoded = dataclasses.replace(
                    decoded, language=language.code, language_probability=language.probability
                )
            found.append(decoded)
        return found

    def _choose(
        self, evidence: LanguageEvidence, encoded: Encoded | None, logits: Tensor, lengths: Tensor
    ) -> list[Spoken]:
        """Return what is spoken in each utterance."""
        if self.options.decoder is None or encoded is None or evidence.head is not None:
            return choose(evidence.codes, evidence(encoded, logits, lengths))
        quick = dataclasses.replace(self.options.decoder, beam=1)
        totals = [
            # Without the tag, which is forced.
            [sum(best.token_scores[1:]) for best in self._search(encoded, logits, [code] * len(logits), quick)]
            for code in evidence.codes
        ]
        return choose(evidence.codes, torch.tensor(totals).T)

    def _texts(
        self, logits: Tensor, lengths: Tensor, encoded: Encoded | None, spoken: Sequence[str] | None
    ) -> list[tuple[list[str], bool]]:
        """Return what was said in each utterance, likeliest first, and whether the length limit cut it off."""
        options = self.options
        if options.decoder is not None:
            if spoken is None:
                raise DecodingError("the decoder needs to know the language that is spoken")
            if encoded is None:
                raise DecodingError("the decoder needs the states of the encoder, not the logits of the CTC head")
            return self._written(encoded, logits, spoken, options.decoder)
        if self._words is not None:
            return [([text], False) for text in self._words(logits, lengths)]
        labels: list[list[Sequence[int]]] = [[best] for best in ctc_greedy(logits, lengths)]
        if options.search is not None:
            found = ctc_prefix_search(logits, lengths, options.search, model=self._lm)
            labels = [[hypothesis.labels for hypothesis in hypotheses] for hypotheses in found]
        return [([self.ctc.decode(each, collapse=False) for each in sequences], False) for sequences in labels]

    def _written(
        self, encoded: Encoded, logits: Tensor, spoken: Sequence[str], options: BeamOptions
    ) -> list[tuple[list[str], bool]]:
        found, text = self._search(encoded, logits, spoken, options), self._text()
        return [([text.decode(best.tokens)], best.truncated) for best in found]

    def _text(self) -> TextVocabulary:
        if self.text is None:
            raise DecodingError("this model has no text vocabulary")
        return self.text

    def _search(
        self, encoded: Encoded, logits: Tensor, spoken: Sequence[str], options: BeamOptions
    ) -> list[Hypothesis]:
        """Return what the decoder writes in each utterance, judged by the CTC head."""
        text, memory = self._text(), self.model.adapt(encoded)
        codes = {text.language_id(code): code for code in spoken}
        tags = torch.tensor([text.language_id(code) for code in spoken], device=logits.device)

        def labels_of(tokens: Sequence[int]) -> list[int]:
            """Spell the text behind a tag with the CTC head's letters."""
            return self.ctc.encode(text.decode(tokens), codes.get(next(iter(tokens), -1)))

        def scorer(part: slice) -> JointScorer:
            """Let the CTC head judge the utterances of a part."""
            return JointScorer(
                logits[part],
                encoded.lengths[part],
                labels_of,
                weight=options.joint_ctc_weight,
                candidates=2 * options.beam,
                always=tags[part][:, None].tolist(),
            )

        rows = torch.arange(len(logits), device=logits.device)
        best_only = dataclasses.replace(options, nbest=1)
        judge = scorer if options.joint_ctc_weight else None
        found = decode_rows([self.model], [memory], rows, tags, best_only, scorer=judge)
        return [best for [best] in found]

    def _times(self, text: str, logits: Tensor, language: str | None) -> tuple[TimedText, ...]:
        if not self.ctc.spell(text, language):
            return ()
        try:
            words = time_words(logits, text, self.ctc, frame_s=self._frame_s, language=language, skip_unknown=True)
            return tuple(words)
        except DecodingError as error:
            logger.warning("no times: %s", error)
            return ()


def frame_seconds(model: SpeechTranslator) -> float:
    """Return the seconds from one frame of the encoder to the next."""
    return model.encoder.hop / SAMPLE_RATE
