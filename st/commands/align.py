"""``st align``: a recording and its text in, the times of words and letters out."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.shared.options import Option, add_compute_arguments, add_options, add_overwrite_argument
from st.commands.shared.recording_files import STDIN, settle_out
from st.commands.shared.recordings import load_model
from st.errors import DecodingError, UsageError

if TYPE_CHECKING:
    from st.inference.alignment.aligned import Alignment

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Find out when each word and each letter of a text was said in a recording, from a sentence to many hours. Memory does not
grow with the recording. The text may lack parts of what is said, and have parts that were not said; both are told.

Each line of the text is a segment. Write <star> where something is said that you do not have; with the default of --star
that is found out without it. Results go to standard output (or --out), everything else to standard error.
"""

EXAMPLES = """\
examples:
  st align talk.mp3 talk.txt --checkpoint run/checkpoint_best.pt                     # start, end and text of each word
  st align talk.mp3 talk.txt --checkpoint run/checkpoint_best.pt --out talk.srt      # a subtitle for each line of the text
  st align talk.mp3 talk.txt --checkpoint run/checkpoint_best.pt --out talk.TextGrid # lines, words, letters, for Praat
  st align talk.mp3 talk.txt --checkpoint run/checkpoint_best.pt --out talk.json     # all of it, and what is missing
  st align book.m4a book.txt --checkpoint run/checkpoint_best.pt --format audacity --times segment --out labels.txt
  st align clip.wav clip.txt --checkpoint run/checkpoint_best.pt --star none --all-words   # the text as it is, no liberties
"""

FORMATS = ("text", "tsv", "json", "srt", "vtt", "textgrid", "ctm", "audacity")
FORMATS_HELP = (
    "text: start, end and text on a line; tsv: with confidence and a header; json: words, letters, segments, words that "
    "were not found, speech that is not in the text; srt, vtt: subtitles; textgrid: Praat's, with all tiers; ctm: NIST's; "
    "audacity: a label track (default: what --out ends in, else text)"
)
STAR_HELP = (
    "where speech may be that is not in the text: around words, around lines, before the first and after the last word "
    "(edges), or nowhere but where the text has <star> (default: words)"
)
PRICES: tuple[Option, ...] = (
    ("--lang", str, "CODE", None, "language of the text, such as tr: its own capitals and apostrophes"),
    ("--star-price", float, "X", 3.0, "nats for each letter that is said and not in the text (default: 3)"),
    ("--skip-price", float, "X", 2.5, "nats for each letter of the text that was not said (default: 2.5)"),
)
MAX_TEXT_BYTES = 64 << 20
MANY_MISSING = 0.5
"""Share of words beyond which text and recording may not belong together."""
LISTED = 40
"""Letters that the head lacks, named at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("audio", metavar="AUDIO", help="the recording: WAV, MP3, FLAC, Ogg, Opus …, up to a day long")
    parser.add_argument("text", metavar="TEXT", help="a file of UTF-8 text; - for standard input")
    parser.add_argument(
        "--checkpoint", required=True, metavar="C", help="a .pt file of a training, the folder of a model, or a hub id"
    )
    parser.add_argument("--data", type=Path, metavar="DATA", help="prepared tree to take the vocabularies from")
    parser.add_argument("--format", choices=FORMATS, help=FORMATS_HELP)
    parser.add_argument(
        "--times",
        choices=("segment", "word", "letter"),
        help="what is timed (default: word; segment in subtitles); json and textgrid have all three",
    )
    parser.add_argument("--star", choices=("words", "lines", "edges", "none"), default="words", help=STAR_HELP)
    parser.add_argument(
        "--all-words",
        action="store_true",
        help="find every word, even where it was hardly said (default: words may be missing in the recording)",
    )
    add_options(parser, PRICES)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of standard output")
    add_overwrite_argument(parser)
    add_compute_arguments(parser)
    parser.set_defaults(keep_all=True)


def run(args: argparse.Namespace) -> int:
    """Align and write."""
    from st.console import progress
    from st.files import atomic_write
    from st.inference.alignment.alignable import AlignOptions
    from st.inference.alignment.formats import write_alignment
    from st.inference.alignment.recording import align_recording

    # What the command line got wrong is said before a large model is read.
    if args.audio == STDIN and args.text == STDIN:
        raise UsageError("standard input (-) can be read only once")
    settle_out(args, FORMATS, [args.audio, args.text])
    options = AlignOptions(
        language=_language(args.lang),
        star=args.star,
        all_words=args.all_words,
        star_price=args.star_price,
        skip_price=args.skip_price,
    )
    text = _text(args.text)
    source = _from_stdin() if args.audio == STDIN else args.audio
    translator = load_model(args)
    alignment = align_recording(
        translator, source, text, options, track=lambda windows: progress(windows, unit="window")
    )
    _report(alignment)
    content = write_alignment(alignment, args.format, args.times)
    if args.out is None:
        sys.stdout.write(content)
        return 0
    with atomic_write(args.out, follow_links=True) as handle:
        handle.write(content)
    logger.info("wrote %s", args.out)
    return 0


def _language(code: str | None) -> str | None:
    from st.text.languages import canonical

    return None if code is None else canonical(code)


def _from_stdin() -> bytes:
    from st.audio.reading import read_stream

    return read_stream(sys.stdin.buffer, "standard input")


def _text(name: str) -> str:
    """Read the text.

    Raises:
        DecodingError: If it is not UTF-8, or too long.
    """
    from st.doors.parsing import parsing
    from st.doors.readers import read_bounded

    path = Path("/dev/stdin" if name == STDIN else name)
    content = read_bounded(path, DecodingError, expected="a text", most=MAX_TEXT_BYTES)
    with parsing(name, DecodingError, expected="UTF-8 text"):
        return content.decode("utf-8-sig")


def _report(alignment: Alignment) -> None:
    """Say what was found and what was not.

    Raises:
        DecodingError: If no word was found.
    """
    words, missing, extra = len(alignment.words), len(alignment.missing), alignment.unwritten
    # What the head cannot spell fills the time that nothing else takes, whatever is said in it.
    if not alignment.letters:
        raise DecodingError(
            f"{alignment.name}: none of the {words} words of the text was heard; do they belong together, and does the "
            "model know the language?"
        )
    seconds = sum(piece.end_s - piece.start_s for piece in extra)
    logger.info(
        "%s: %d of %d words found; %d stretches of speech, %.1f s together, are not in the text",
        *(alignment.name, words - missing, words, len(extra), seconds),
    )
    if missing > MANY_MISSING * words:
        logger.warning(
            "%s: %d of %d words were not heard; text and recording may not belong together",
            alignment.name,
            missing,
            words,
        )
    for letters, what in (
        (alignment.unknown.replaced, "aligned by the letter without its marks, as the model does not have it"),
        (alignment.unknown.left_out, "not in the model's alphabet and left out"),
    ):
        if letters:
            logger.warning("%s: %s: %s", alignment.name, what, _listed(letters))


def _listed(letters: Counter[str]) -> str:
    """Return letters and how often each occurs, the most frequent first."""
    shown = " ".join(f"{letter} ({count})" for letter, count in letters.most_common(LISTED))
    return shown if len(letters) <= LISTED else f"{shown} and {len(letters) - LISTED} others"
