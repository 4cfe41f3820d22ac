"""``st evaluate``: decode and score all directions of a prepared data set, and write the report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from st.evaluation.decoder import Decoder
    from st.evaluation.results import JsonValue

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Translate and transcribe a subset of a prepared data set and score it: BLEU, chrF++ and TER of every direction, WER and
CER of the CTC head for every spoken language. Each recording is encoded once for all its target languages. An
interrupted evaluation goes on where it stopped when the same command is given again.

Writes into --out: hypotheses/<direction>.tsv, transcripts/<language>.tsv, report.json, report.md, report.html, charts/.
"""

EXAMPLES = """\
examples:
  st evaluate --checkpoint run/checkpoint_best.pt --data DATA --out results
  st evaluate --checkpoint model/ --data DATA --directions fr_en,en_de --subset dev --beam 1 --out results-dev
"""

NORMALISATION = (
    "NFC, lower case, punctuation and symbols to spaces, digits as written; Arabic script without vowel marks and "
    "tatweel (st.data.ctc_vocabulary.normalise)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--checkpoint", required=True, type=Path, help="a .pt file of a training, or a model's folder")
    parser.add_argument("--data", required=True, type=Path, metavar="DATA", help="folder made by `covost prepare`")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--directions",
        default="all",
        metavar="LIST",
        help="such as fr_en,en_de, or all, x_en, en_x of those that DATA holds (default: all)",
    )
    parser.add_argument(
        "--subset", default="test", help="test, dev or train, or one manifest such as dev_fr_en (default: test)"
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="hypotheses kept; 1 is greedy (default: 5)")
    parser.add_argument(
        "--lenpen", type=float, default=1.0, metavar="X", help="length penalty; above 1 favours long (default: 1.0)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU if any (default: auto)")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="numbers (default: float32)"
    )
    parser.add_argument(
        "--batch-seconds", type=float, default=120.0, metavar="S", help="audio per batch, padded (default: 120)"
    )
    parser.add_argument(
        "--train-log",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="logs of the training, stage by stage (fairseq's --log-format json), for the training curves "
        "(default: *.log beside the checkpoint, or above its folder `checkpoints`)",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from st.data.ctc_vocabulary import normalise
    from st.data.manifest import subset_files
    from st.evaluation.corpus import choose_directions
    from st.evaluation.curves import find_logs
    from st.evaluation.evaluate import EvaluationConfig, evaluate
    from st.evaluation.tables import terminal_summary

    # What the command line got wrong is said before a large model is read.
    directions = choose_directions(args.data, args.directions, args.subset)
    subset_files(args.data, args.subset, directions)
    config = EvaluationConfig(
        normalise=normalise,
        subset=args.subset,
        batch_seconds=args.batch_seconds,
        settings=_settings(args),
        train_logs=args.train_log or find_logs(args.checkpoint),
    )
    report = evaluate(_load(args, directions), args.data, directions, args.out, config)
    sys.stdout.write(terminal_summary(report) + "\n")
    logger.info("wrote %s", args.out / "report.html")
    broken = report.not_finite()
    if broken:
        logger.error("not a number: %s; the report has null there", ", ".join(broken))
    return 1 if broken else 0


def _settings(args: argparse.Namespace) -> dict[str, JsonValue]:
    from st.evaluation.digest import sha256_of

    return {
        "checkpoint": args.checkpoint.resolve().name,
        "checkpoint_sha256": sha256_of(args.checkpoint),
        "beam": args.beam,
        "length_penalty": args.lenpen,
        "dtype": args.dtype,
        "asr_normalisation": NORMALISATION,
        "jiwer": version("jiwer"),
    }


def _load(args: argparse.Namespace, directions: Sequence[str]) -> Decoder:
    from st.data.languages import split_direction
    from st.inference import load_translator

    translator = load_translator(
        args.checkpoint,
        data_dir=args.data,
        device=args.device,
        dtype=args.dtype,
        beam=args.beam,
        length_penalty=args.lenpen,
    )
    # A target that the model has no tag for must not come up after an hour of the other directions.
    translator.check_languages([split_direction(direction)[1] for direction in directions])
    return translator
