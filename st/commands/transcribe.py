"""``st transcribe``: recordings in, what was said out."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.shared.cutting_options import add_cutting_arguments
from st.commands.shared.options import Option, add_options
from st.commands.shared.recording_files import settle_files
from st.commands.shared.recordings import FORMATS as PLAIN_FORMATS
from st.commands.shared.recordings import (
    FORMATS_HELP,
    SUBTITLES,
    add_ensemble_argument,
    add_recording_arguments,
    load_model,
    long_work,
    require_one_recording,
    run_recordings,
)

if TYPE_CHECKING:
    from st.decoding.language_model.word_search import WordOptions
    from st.inference import TranscriptOptions, Translator

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Write down what is said in recordings of any length. If the decoder was trained to transcribe (--add-transcripts) and the
language is known, it writes together with the CTC head, with capitals and punctuation. Otherwise the CTC head alone writes,
helped by the language model that came with the model, if any, or by that of --lm. Which of them it was is said. Results go
to standard output (or --out), everything else to standard error. A recording that cannot be used is skipped and listed; the
exit code is then 3. Interrupted with --out or --output-dir, the same command goes on from where it was.
"""

EXAMPLES = """\
examples:
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt
  st transcribe talks/*.wav --checkpoint run/checkpoint_best.pt --out talks.tsv
  st transcribe talks --checkpoint run/checkpoint_best.pt --format srt --output-dir subtitles
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --times word
  st transcribe talk.mp4 --checkpoint run/checkpoint_best.pt --out talk.srt
  st transcribe clip.mp3 --checkpoint out/1/model.pt --ensemble out/2/model.pt --lm DATA
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --lang fr --lm fr.arpa --lm-weight 0.6
  st transcribe clip.mp3 --checkpoint xlsr-french-with-lm --hotword Guadalquivir
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --lang fr --joint-ctc-weight 0.3
"""

FORMATS = (*PLAIN_FORMATS, *SUBTITLES)
AUTO = "auto"
"""As in :mod:`st.inference.transcription.transcriber`."""
LM_BEAM, DECODER_BEAM, WORDS_BEAM = 32, 5, 100
LM_WEIGHT = 0.5
_LM_OPTIONS = {
    "lm_weight": ("FILE", "FOLDER"),
    "label_bonus": ("FILE",),
    "word_bonus": ("FOLDER",),
    "hotword": ("FOLDER",),
    "hotword_weight": ("FOLDER",),
    "no_empty_word": ("FOLDER",),
}
"""Options of a language model, and what ``--lm`` may be."""
_HOT = ("hotword", "hotword_weight")
"""Those that need no language model."""
LABEL_FLOOR = -12.0
"""Letters less probable than e^-12 at a frame are not tried there: the search is several times faster."""

BEAM_HELP = (
    f"hypotheses kept (default: 1, the best path; {WORDS_BEAM} with the folder of a language model or --hotword, {LM_BEAM} with "
    f"an --lm file, {DECODER_BEAM} with the decoder)"
)
LM_HELP = (
    "n-gram language model: a file, ARPA or KenLM binary; a tree of st prepare, of whose training transcripts one of letters is "
    "made, for models of little speech; or a folder of pyctcdecode's, or of a model that has one, which is scored as "
    "pyctcdecode does (default: the one in the folder of the model, if any)"
)
JOINT_WEIGHT = 0.3
JOINT_HELP = (
    "let the decoder write, with this weight of the CTC head: 0 the decoder alone; needs --lang (default: "
    f"{JOINT_WEIGHT} where the decoder was trained to and --lang, or the training, tells the language; otherwise the CTC "
    "head writes)"
)
LANG_HELP = (
    "language that is spoken, such as fr: letters of other scripts are left out, and MMS gets its adapter and head; auto, or "
    "several such as de,fr: each recording, and each segment of a long one, gets the likeliest of those that the model was "
    "trained on, or of these, and JSON tells which and how probable it is"
)
SEARCH: tuple[Option, ...] = (
    ("--lang", str, "CODE", None, LANG_HELP),
    ("--beam", int, "N", None, BEAM_HELP),
    ("--lm", Path, "PATH", None, LM_HELP),
    ("--lm-weight", float, "X", None, f"weight of the language model (default: {LM_WEIGHT}, or what its folder says)"),
    ("--label-bonus", float, "X", None, "added per letter, with an --lm file (default: 0, or 0.5 with a tree)"),
    ("--word-bonus", float, "X", None, "added per word, with the folder of a language model (default: what it says)"),
    ("--joint-ctc-weight", float, "W", None, JOINT_HELP),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_recording_arguments(
        parser, FORMATS, FORMATS_HELP + "; srt, vtt: subtitles of one recording, with --times (default: segment)"
    )
    add_ensemble_argument(parser)
    add_cutting_arguments(parser)
    parser.add_argument(
        "--times",
        choices=("word", "segment"),
        help="when each word, or each stretch between pauses, was said, in seconds; tsv and json also tell how sure the "
        "model is of it",
    )
    add_options(parser, SEARCH)
    parser.add_argument(
        "--writer",
        choices=("ctc", "decoder"),
        help=f"who writes: the CTC head alone, or the decoder with --joint-ctc-weight {JOINT_WEIGHT} (default: see there)",
    )
    parser.add_argument("--no-lm", action="store_true", help="leave out the language model that came with the model")
    parser.add_argument(
        "--hotword",
        action="append",
        default=[],
        metavar="WORD",
        help="a word that is preferred, whatever the language model knows of it; give it again for more",
    )
    parser.add_argument(
        "--no-empty-word",
        action="store_true",
        help="do not score an empty word at the end of some texts, as pyctcdecode does by mistake: results are better then, "
        "but not always the same",
    )
    parser.add_argument(
        "--hotword-weight", type=float, metavar="X", help="added for each of them that is found (default: 10)"
    )


def run(args: argparse.Namespace) -> int:
    """Transcribe and write."""
    from st.inference.ensemble import require_same_letters

    # What the command line got wrong is said before a large model is read.
    settle_files(args, FORMATS)
    _check_usage(args)
    translator = load_model(args, transcripts=_options(args), ensemble=args.ensemble)
    translator.check_transcribes()
    require_same_letters((translator, *translator.ensemble))
    _say_who_writes(translator)
    return run_recordings(args, translator, [], args.times, work=long_work(args, args.times))


def _say_who_writes(translator: Translator) -> None:
    from st.inference.transcription.choice import describe_writer

    if translator.transcriber is not None:
        options = translator.transcriber.options
        logger.info("%s", describe_writer(options, decoder_transcribes=translator.decoder_transcribes))
        if options.languages:
            logger.info("what is spoken is chosen among %s", " ".join(options.languages))
        for group in translator.transcriber.alike:
            logger.warning("the CTC head cannot tell %s apart, which have the same letters", " ".join(group))


def _check_usage(args: argparse.Namespace) -> None:
    from st.errors import UsageError
    from st.text.languages import canonical

    if args.format in SUBTITLES:
        args.times = args.times or "segment"
        require_one_recording(args)
    if args.lang is not None and args.lang != AUTO:
        args.lang = ",".join(dict.fromkeys(canonical(code.strip()) for code in args.lang.split(",")))
    if args.writer == "ctc" and args.joint_ctc_weight is not None:
        raise UsageError("--writer ctc and --joint-ctc-weight contradict each other; choose one")
    if args.writer == "decoder" and args.joint_ctc_weight is None:
        args.joint_ctc_weight = JOINT_WEIGHT
    if args.joint_ctc_weight is not None and args.lang is None:
        raise UsageError("--joint-ctc-weight needs --lang: the decoder is told which language it writes")
    _check_lm(args)


def _check_lm(args: argparse.Namespace) -> None:
    from st.errors import UsageError

    given = _lm_options(args)
    if args.joint_ctc_weight is not None and any(given.values()):
        first = next(name for name in ("lm", *given) if given[name])
        raise UsageError(f"{_flag(first)} and --joint-ctc-weight do not go together; choose one")
    if args.lm is not None and not args.lm.exists():
        raise UsageError(f"--lm {args.lm}: no such file or folder")
    if args.lm is not None and args.no_lm:
        raise UsageError("--lm and --no-lm contradict each other; choose one")
    kind = "FOLDER" if _by_words(args) else "FILE"
    for name, fits in _LM_OPTIONS.items():
        if given[name] and kind not in fits:
            found = "" if args.lm is None else f"; {args.lm} is a {kind.lower()}"
            raise UsageError(f"{_flag(name)} needs --lm {' or '.join(fits)}{found}")
        if given[name] and name not in _HOT and args.lm is None and (args.no_lm or not _may_have_lm(args.checkpoint)):
            raise UsageError(f"{_flag(name)} needs --lm")
    if args.hotword_weight is not None and not args.hotword:
        raise UsageError("--hotword-weight needs --hotword")


def _lm_options(args: argparse.Namespace) -> dict[str, bool]:
    """Return which options of a language model are given."""
    return {name: getattr(args, name) not in (None, False, []) for name in (*_LM_OPTIONS, "lm", "no_lm")}


def _by_words(args: argparse.Namespace) -> bool:
    from st.decoding.language_model.letters import has_transcripts

    return args.lm is None or (args.lm.is_dir() and not has_transcripts(args.lm))


def _may_have_lm(checkpoint: str) -> bool:
    """Return whether a model may bring a language model: its folder does, or it is not on this machine yet."""
    from st.checkpoints.formats.transformers.reader import LM_FOLDER

    return not Path(checkpoint).exists() or (Path(checkpoint) / LM_FOLDER).is_dir()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _options(args: argparse.Namespace) -> TranscriptOptions:
    from st.decoding.ctc_prefix import PrefixOptions
    from st.decoding.options import BeamOptions
    from st.inference import TranscriptOptions

    search = decoder = words = None
    languages = () if args.lang is None else tuple(args.lang.split(","))
    beam = DECODER_BEAM if args.beam is None else args.beam
    chosen = args.joint_ctc_weight is not None or args.writer is not None or any(_lm_options(args).values())
    if args.joint_ctc_weight is not None:
        decoder = BeamOptions(beam=beam, joint_ctc_weight=args.joint_ctc_weight)
    elif _by_words(args):
        words = _word_options(args)
    if decoder is None and (words is None or (args.lm is None and args.beam not in (None, 1))):
        weight = LM_WEIGHT if args.lm_weight is None else args.lm_weight
        search = PrefixOptions(
            beam=args.beam if args.beam is not None else LM_BEAM,
            label_floor=LABEL_FLOOR,
            model_weight=weight if args.lm is not None else 0.0,
            label_bonus=_label_bonus(args),
        )
    return TranscriptOptions(
        language=args.lang if len(languages) == 1 and args.lang != AUTO else None,
        languages=languages if len(languages) > 1 or args.lang == AUTO else (),
        times=args.times is not None,
        search=search,
        words=words,
        lm=args.lm,
        no_lm=args.no_lm,
        decoder=decoder,
        decoder_if_trained=None if chosen else BeamOptions(beam=beam, joint_ctc_weight=JOINT_WEIGHT),
        data_dir=args.data,
    )


def _label_bonus(args: argparse.Namespace) -> float:
    from st.decoding.language_model.letters import SEARCH

    usual = SEARCH.label_bonus if args.lm is not None and args.lm.is_dir() else 0.0
    return usual if args.label_bonus is None else float(args.label_bonus)


def _word_options(args: argparse.Namespace) -> WordOptions:
    from st.decoding.language_model.word_search import WordOptions

    given = {"beam": args.beam, "hotword_weight": args.hotword_weight}
    return WordOptions(
        **{name: value for name, value in given.items() if value is not None},
        model_weight=args.lm_weight,
        word_bonus=args.word_bonus,
        hotwords=tuple(args.hotword),
        empty_word=not args.no_empty_word,
    )
