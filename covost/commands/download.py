"""``covost download``: the translation tables of CoVoST 2, and how to come by Common Voice."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

PUBLISHER = "https://dl.fbaipublicfiles.com/covost"
"""Where the tables are published."""

DESCRIPTION = """\
Fetch the translation tables of CoVoST 2 (36 archives of some megabytes each) and lay them out as covost prepare
reads them:

  DIR/<source>/covost_v2.<source>_<target>.tsv     path, translation, split
  DIR/covost2.lock.json                            SHA-256 of every archive and table

Each archive is checked before it is used: it must be a sound archive with the expected table, and the table must
have the published number of rows, or up to one per cent less. A killed run goes on with the table it was at; a further
run verifies the tables.
The recordings are Common Voice's, for which one needs an account at the Mozilla Data Collective; the command ends by
saying what to fetch and where to put it.
"""

EPILOG = """\
examples:
  covost download --out CV
  covost download --out CV --directions fr_en,en_de
  covost download --out CV --mirror https://mirror.example.org/covost
  covost download --out CV --mirror /media/disk/covost       # a folder of covost_v2.<source>_<target>.tsv.tar.gz

Proxies are taken from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the tables go; made if missing")
    parser.add_argument(
        "--directions", default="all", help="comma-separated, such as fr_en,en_de; or x_en, en_x, all (default: all)"
    )
    parser.add_argument(
        "--mirror",
        default=PUBLISHER,
        metavar="URL|DIR",
        help="where covost_v2.<source>_<target>.tsv.tar.gz are found (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Fetch the tables, print one line for each, and say what comes next.

    Raises:
        StError: If a table cannot be had or is not the one wanted.
    """
    from covost.corpus.translations import fetch_tables
    from st.data.manifest import SPLITS
    from st.doors.addresses import quiet_requests
    from st.evaluation.covost2 import covost_directions
    from st.preparation.archives.release_names import find_releases
    from st.text.languages import source_languages

    directions = covost_directions(args.directions)
    quiet_requests()
    print("\t".join(["direction", *SPLITS, "state", "sha256"]))
    for direction, table in fetch_tables(args.out, directions, mirror=args.mirror):
        print(
            "\t".join([direction, *(str(table.rows[split]) for split in SPLITS), table.state, table.sha256]), flush=True
        )
    missing = [code for code in source_languages(directions) if not find_releases(args.out, code)]
    print(guidance(args.out, args.directions, missing), file=sys.stderr)
    return 0


def guidance(out: Path, directions: str, missing: Sequence[str]) -> str:
    """Return what is left to do.

    Args:
        out: Folder of the tables.
        directions: As they were given.
        missing: Spoken languages of which there is no Common Voice release in ``out``.
    """
    command = f"covost prepare --cv-root {out} --directions {directions} --out DATA"
    if not missing:
        return f"\nThe tables and the recordings are in {out}. Next:\n\n  {command}\n"
    return f"""
The tables are in {out}. What is missing are the recordings. They are Common Voice's, which the Mozilla Data Collective
gives out: https://datacollective.mozillafoundation.org, with an account there, and for downloads by a program an API
key. Needed is the scripted speech (not the spontaneous) of

  {" ".join(missing)}

CoVoST 2 was made of release 4.0, which is no longer offered; any later one will do. Recordings are matched by name, and
covost prepare says how many of the published ones it found. Put the archives into {out} as they come, without unpacking
them (mcv-scripted-{missing[0]}-v….tar.gz, cv-corpus-…-{missing[0]}.tar.gz or {missing[0]}.tar.gz), or unpacked as
{out}/{missing[0]}/validated.tsv and {out}/{missing[0]}/clips. Deltas of a release go beside it. Next:

  {command}
"""
