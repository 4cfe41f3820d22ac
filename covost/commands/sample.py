"""``covost sample``: make a speech-translation corpus in the layout of Common Voice and CoVoST 2."""

from __future__ import annotations

import argparse
from pathlib import Path

from st.cpus import allotted_cpus

HELP = "make a sample corpus in the layout of Common Voice and CoVoST 2"

DESCRIPTION = """\
Make a speech-translation corpus where CoVoST 2's audio cannot be had: sentences in up to 22 languages, composed
from CLDR (dates, countries, languages, money, measures), which are true translations of each other, spoken by
eSpeak NG in several voices. Needs no network. The layout is that of Common Voice 4.0 with CoVoST 2:

  DIR/<lang>/clips/common_voice_<lang>_<number>.mp3    48 kHz mono
  DIR/<lang>/validated.tsv
  DIR/<source>/covost_v2.<source>_<target>.tsv         path, translation, split (train, dev, test)

No sentence and no speaker of dev or test occurs in train. The same settings give the same files, byte for byte,
whatever --jobs is; an interrupted run goes on where it stopped. Mongolian is read by eSpeak NG's Tatar voice, since
it has none of its own.
"""

EPILOG = """\
examples:
  covost sample --out corpus --languages en,fr,de,es --hours 3
  covost sample --out corpus --languages en,ta --targets zh-CN,ja,ar --hours 0.5 --seed 7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to make: new, empty, or of the same settings"
    )
    parser.add_argument(
        "--languages",
        default="en,fr,de,es",
        metavar="LANGS",
        help="spoken languages, CoVoST codes (default: %(default)s)",
    )
    parser.add_argument(
        "--targets",
        default="",
        metavar="LANGS",
        help="further languages to translate English into, as text only, such as zh-CN,ja (default: none)",
    )
    parser.add_argument(
        "--hours",
        type=float,
        default=1.0,
        help="hours of speech, all languages and splits together (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="another number, other sentences (default: %(default)s)")
    parser.add_argument(
        "--voices", type=int, default=32, metavar="N", help="speakers of train, per language (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one per CPU core)")


def _codes(text: str) -> tuple[str, ...]:
    return tuple(code.strip() for code in text.split(",") if code.strip())


def run(args: argparse.Namespace) -> int:
    """Make the corpus and print what came out, one line per language and split."""
    from covost.sample.config import SampleConfig
    from covost.sample.corpus import make_corpus
    from st.errors import UsageError

    if args.jobs < 0:
        raise UsageError(f"--jobs is {args.jobs}; expected a number of processes, or 0 for one per CPU core")
    config = SampleConfig(
        languages=_codes(args.languages),
        targets=_codes(args.targets),
        hours=args.hours,
        seed=args.seed,
        num_train_voices=args.voices,
    )
    summaries = make_corpus(args.out, config, jobs=args.jobs or allotted_cpus())
    print("language\tsplit\tclips\tspeakers\thours")
    for row in summaries:
        print(f"{row.language}\t{row.split}\t{row.num_clips}\t{row.num_speakers}\t{row.duration_s / 3600:.3f}")
    return 0
