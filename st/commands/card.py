"""``st card``: the card of a model's folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from st.commands.shared.options import add_overwrite_argument

DESCRIPTION = """\
Write the card of a model, README.md in its folder: what it is, its languages and data, its scores with their signatures,
what it was started from and under which licence. st convert --to hf writes one with what the model knows of itself; this
command adds what you know.

Scores come from folders that st evaluate wrote, for this folder or for the file or folder that it was converted from; those of
another model are refused. What --against found there is written too; of a folder of 8 bits the card says if it is not known.
Where all that the model was started from has one licence, the card has that one unless --license is given. A licence that
allows commerce is refused for a model that was started from one that does not, and any but its own where a model was started
from one that is shared alike (CC BY-SA).
"""

EXAMPLES = """\
examples:
  st card my-model --scores results --dataset "CoVoST 2" --license apache-2.0
  st card my-model --scores results-dev --scores results-test --dataset mozilla-foundation/common_voice_17_0
  st card my-int8-model --scores results-int8
  st card my-model --base facebook/wav2vec2-xls-r-300m --title "Frisian speech recognition"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="written by st convert --to hf")
    parser.add_argument(
        "--scores",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of an evaluation; may be repeated",
    )
    parser.add_argument(
        "--dataset", action="append", default=[], metavar="NAME",
        help="what it was trained on: an id of the hub, or a name; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--license", metavar="ID", help="its licence, as the hub calls it, such as apache-2.0, mit, cc0-1.0"
    )
    parser.add_argument(
        "--base", action="append", default=[], metavar="NAME",
        help="model that it was started from; may be repeated (default: what the training wrote down)",
    )  # fmt: skip
    parser.add_argument("--title", metavar="TEXT", help="heading (default: task and languages)")
    add_overwrite_argument(parser, "a README.md of your own")


def run(args: argparse.Namespace) -> int:
    """Write the card."""
    from st.checkpoints.formats.transformers.writer import CARD_FILENAME
    from st.publishing.card import CardOptions, check_options, write_card

    options = CardOptions(
        title=args.title, licence=args.license, base=args.base, datasets=args.dataset, scores=args.scores
    )
    check_options(options)
    if not write_card(args.folder, options, overwrite=args.overwrite):
        return 1
    sys.stdout.write(f"{args.folder / CARD_FILENAME}\n")
    return 0
