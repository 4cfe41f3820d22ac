"""``st push``: a model's folder to the Hugging Face hub."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from st.commands.shared.options import add_overwrite_argument

DESCRIPTION = """\
Send a model's folder to the Hugging Face hub, in one commit. Sent are the files of the model and its card (README.md), by
name; they are listed first, and everything else in the folder stays here and is listed too. --dry-run lists and sends
nothing. A repository that is not there is made, private unless --public is given.

Log in with `hf auth login`, or set HF_TOKEN. HF_ENDPOINT names another hub than huggingface.co.
"""

EXAMPLES = """\
examples:
  st convert run/checkpoint_best.pt my-model --to hf
  st card my-model --scores results --dataset mozilla-foundation/common_voice_17_0 --license apache-2.0
  st push my-model me/xls-r-300m-frisian --dry-run
  st push my-model me/xls-r-300m-frisian --public
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="written by st convert --to hf")
    parser.add_argument("repository", metavar="OWNER/NAME", help="repository of the hub")
    parser.add_argument("--dry-run", action="store_true", help="list what would be sent, ask nobody, send nothing")
    parser.add_argument("--public", action="store_true", help="let everybody see a repository that is made new")
    parser.add_argument("--revision", metavar="BRANCH", help="branch, made if missing (default: main)")
    parser.add_argument("--message", metavar="TEXT", help="message of the commit (default: one that names xlsr-st)")
    add_overwrite_argument(parser, "the model in OWNER/NAME")


def run(args: argparse.Namespace) -> int:
    """List the files and send them."""
    from st.publishing.push import PushOptions, pack, push, sizes

    parcel = pack(args.folder)
    for line in sizes(parcel):
        sys.stdout.write(line + "\n")
    if args.dry_run:
        return 0
    sys.stdout.flush()
    options = PushOptions(public=args.public, revision=args.revision, message=args.message, overwrite=args.overwrite)
    sys.stdout.write(f"{push(parcel, args.repository, options)}\n")
    return 0
