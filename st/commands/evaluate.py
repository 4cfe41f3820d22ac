"""``st evaluate``: decode and score all directions of a prepared data set, and write the report."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.shared.late_decoder import LateDecoder, own_device
from st.commands.shared.options import (
    add_compute_arguments,
    add_convention_argument,
    add_overwrite_argument,
    add_shard_argument,
    check_threads,
    number_type,
)
from st.commands.shared.recordings import add_ensemble_argument, add_memory_argument

if TYPE_CHECKING:
    from st.decoding.options import BeamOptions
    from st.evaluation.scoring.results import JsonValue

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Translate and transcribe a subset of a prepared data set and score it: BLEU, chrF++ and TER of every direction, WER and
CER for every spoken language, of the CTC head or, with --joint-ctc-weight, of decoder and CTC head together. Each
recording is encoded once for all its target languages. An interrupted evaluation goes on where it stopped when the same
command is given again. What holds transcripts alone, data or model, is scored by WER and CER alone. A model of MMS takes
the adapter of each language that is spoken.

The work can be divided: start the command under torchrun, or n times with --shard 1/n … n/n, in any order, at any time,
on one machine or many. The last part to finish writes the results, which are those of an undivided run, byte for byte,
but for what the report says of when and how it was made.

A model with a head that classifies (language, emotion, …) is scored by accuracy and macro-F1 on the labels that DATA was
prepared with (--label): labels/<head>.tsv, .json, .md, and a table of what is taken for what.

Writes into --out: hypotheses/<direction>.tsv, transcripts/<language>.tsv, report.json, report.md, report.html, charts/, and
flags.tsv, which lists the hypotheses that look like no translation at all.
"""

EXAMPLES = """\
examples:
  st evaluate --checkpoint run/checkpoint_best.pt --data DATA --out results
  st evaluate --checkpoint model/ --data DATA --directions fr_en,en_de --subset dev --beam 1 --out results-dev
  torchrun --nproc_per_node 4 -m st evaluate --checkpoint run/checkpoint_best.pt --data DATA --out results
  st evaluate --checkpoint model/ --data DATA --dtype int8 --against fp32 --out results-int8
  st evaluate --shard 2/3 --checkpoint run/checkpoint_best.pt --data DATA --out results   # and 1/3 and 3/3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--checkpoint", required=True, type=Path, help="a .pt file of a training, or a model's folder")
    add_ensemble_argument(parser)
    add_memory_argument(parser)
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DATA", help="folder made by `st prepare` or `covost prepare`"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    add_overwrite_argument(parser, "another evaluation in --out")
    parser.add_argument(
        "--directions",
        default="all",
        metavar="LIST",
        help="such as fr_en,en_de, or all, x_en, en_x of those that DATA holds (default: all)",
    )
    parser.add_argument(
        "--subset",
        default="test",
        help="test, dev or train, or one manifest such as dev_fr_en; asr_test: its transcripts alone (default: test)",
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="hypotheses kept; 1 is greedy (default: 5)")
    parser.add_argument(
        "--lenpen", type=float, default=1.0, metavar="X", help="length penalty; above 1 favours long (default: 1.0)"
    )
    parser.add_argument(
        "--joint-ctc-weight",
        type=float,
        metavar="W",
        help="let the decoder write the transcripts, with this weight of the CTC head: 0 the decoder alone, 0.3 is usual; "
        "for models trained with --add-transcripts (default: the CTC head's best path)",
    )
    add_compute_arguments(parser)
    parser.add_argument(
        "--against",
        type=number_type,
        choices=("float32", "bfloat16"),
        help="evaluate with these numbers too, into --out/against-..., and say what --dtype costs against them: share of equal "
        "texts, differences of BLEU, chrF++, WER and CER with intervals; against.md, against.json (default: only --dtype)",
    )
    parser.add_argument(
        "--batch-seconds", type=float, default=120.0, metavar="S", help="audio per batch, padded (default: 120)"
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="recordings per batch at most (default: as --batch-seconds allows)"
    )
    add_shard_argument(parser, "decode only the i-th of n parts; the last part to finish writes the results")
    add_convention_argument(parser)
    parser.add_argument(
        "--published",
        default="auto",
        choices=("auto", "always", "never"),
        help="set published systems beside the scores; auto: where a whole test set of CoVoST 2 was scored "
        "(default: auto)",
    )
    parser.add_argument(
        "--clip-megabytes",
        type=float,
        default=4.0,
        metavar="MB",
        help="recordings of examples to put into report.html, 0 for none, inf for all (default: 4)",
    )
    parser.add_argument(
        "--comet",
        metavar="MODEL",
        help="score with COMET too, such as Unbabel/wmt22-comet-da; needs unbabel-comet, and is skipped without it",
    )
    parser.add_argument(
        "--train-log",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="logs of the training, stage by stage, for the training curves (default: log.jsonl beside the checkpoint, "
        "or *.log of fairseq's --log-format json; or above its folder `checkpoints`)",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the tables."""
    from st.errors import UsageError

    if args.against is None:
        return _evaluate(args)
    if args.against == args.dtype:
        raise UsageError(f"--against is {args.against}, which is --dtype as well; give another one to compare with")
    if args.shard is not None or "WORLD_SIZE" in os.environ:
        raise UsageError(
            "--against compares two whole evaluations; no --shard, no torchrun. Compare the parts' with st compare"
        )
    if args.dtype == "int8":
        _require_cost(args.checkpoint)
    other = argparse.Namespace(**{**vars(args), "dtype": args.against, "out": args.out / f"against-{args.against}"})
    return _evaluate(args) or _evaluate(other) or _compare(args, other)


def _require_cost(checkpoint: Path) -> None:
    """Raise UsageError if a comparison would not tell what 8 bits cost a checkpoint."""
    from st.checkpoints.loading import read_contents, resolve
    from st.errors import UsageError
    from st.kernels.int8_linear import int8_works

    if read_contents(resolve(checkpoint)[0], verify=False, codes=True).scales:
        raise UsageError(
            f"{checkpoint}: its weights have 8 bits already, so that --against would not tell what they cost; give the "
            "model that it was converted from"
        )
    if not int8_works():
        raise UsageError("--dtype int8 is computed in floating point on this CPU; take --against to another one")


def _compare(args: argparse.Namespace, other: argparse.Namespace) -> int:
    """Say what the numbers of one evaluation cost against those of another, and write it to its folder."""
    from st.checkpoints.door import digest_of
    from st.evaluation.scoring.against import compare_folders, write_differences
    from st.evaluation.scoring.conventions import TRUE_CASE
    from st.report.tables import to_text
    from st.text.normalisation import normalise

    convention = args.convention or TRUE_CASE.name
    found = compare_folders(args.out, other.out, convention=convention, normalise=normalise)
    whose = {"checkpoint_sha256": digest_of(args.checkpoint), "dtype": args.dtype, "against": other.dtype}
    table = write_differences(args.out, found, whose)
    sys.stdout.write(f"\n{table.title}\n\n{to_text(table)}\n")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    """Evaluate with the numbers of ``args`` and print the table."""
    from st.evaluation.corpus import are_transcripts, choose_directions, find_manifests
    from st.evaluation.evaluate import EvaluationConfig, evaluate
    from st.evaluation.report.tables import terminal_summary
    from st.evaluation.scoring.conventions import CONVENTIONS, TRUE_CASE
    from st.evaluation.shards import choose_shard, connection
    from st.inference.precision import choose_device
    from st.kernels.settings import numerics, tune
    from st.report.curves import find_logs
    from st.text.normalisation import normalise

    check_threads(args.threads)
    heads, others = _heads(args.checkpoint)
    if heads:
        code = _classify(args, heads)
        if not others or code:
            return code
    # What the command line got wrong is said before a large model is read.
    directions = choose_directions(args.data, args.directions, args.subset)
    manifests = find_manifests(args.data, directions, args.subset)
    options = _beam_options(args)
    shard = choose_shard(args.shard, os.environ)
    tune(args.threads)
    translate, has_adapters = _abilities(args.checkpoint)
    translated = [name for name, path in manifests.items() if translate and not are_transcripts(path)]
    config = EvaluationConfig(
        normalise=normalise,
        subset=args.subset,
        translate=translate,
        batch_seconds=args.batch_seconds,
        batch_size=args.batch_size,
        by_language=has_adapters,
        shard=shard,
        overwrite=args.overwrite,
        settings=_settings(args) | ({"adapters": "of the language"} if has_adapters else {}),
        numerics=numerics(choose_device(own_device(args.device, os.environ))),
        convention=CONVENTIONS[args.convention or TRUE_CASE.name],
        published=args.published,
        clip_megabytes=args.clip_megabytes,
        comet=args.comet,
        train_logs=args.train_log or find_logs(args.checkpoint),
    )
    with connection(shard):
        report = evaluate(
            LateDecoder(args, list(manifests), translated, options, by_language=has_adapters),
            args.data,
            directions,
            args.out,
            config,
        )
    if report is None:
        return 0
    sys.stdout.write(terminal_summary(report) + "\n")
    logger.info("wrote %s", args.out / "report.html")
    broken = report.not_finite()
    if broken:
        logger.error("not a number: %s; the report has null there", ", ".join(broken))
    return 1 if broken else 0


def _heads(checkpoint: Path) -> tuple[tuple[str, ...], bool]:
    """Return the heads of a checkpoint that classify, and whether it translates or transcribes as well."""
    from st.checkpoints.loading import read_contents
    from st.errors import StError
    from st.modules.config import CTC

    try:
        config = read_contents(checkpoint, verify=False).config
    except (StError, OSError):
        return (), True  # Loading it will say what is wrong with it.
    return config.classifying_heads, CTC in config.heads or "decoder" in config.parts


def _classify(args: argparse.Namespace, heads: Sequence[str]) -> int:
    """Evaluate each head that classifies and print its scores; return the exit code."""
    from st.checkpoints.door import digest_of
    from st.errors import UsageError
    from st.evaluation.classify import FOLDER, evaluate_classes, summary
    from st.inference.identification.identifier import IdentifyOptions, load_identifier
    from st.kernels.settings import tune

    if args.shard is not None or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"{args.checkpoint}: heads that classify ({', '.join(heads)}) are evaluated undivided; no --shard"
        )
    if (args.out / FOLDER).exists() and not args.overwrite:
        raise UsageError(f"{args.out / FOLDER}: exists already; add --overwrite to replace it")
    tune(args.threads)
    settings = {
        "checkpoint": args.checkpoint.resolve().name,
        "checkpoint_sha256": digest_of(args.checkpoint),
        "dtype": args.dtype,
    }
    for head in heads:
        options = IdentifyOptions(head=head, top=1, keep_all=True)
        identifier = load_identifier(args.checkpoint, device=args.device, dtype=args.dtype, options=options)
        scores = evaluate_classes(identifier, args.data, args.subset, args.out, settings=settings)
        sys.stdout.write(summary(head, scores) + "\n")
        logger.info("wrote %s", args.out / FOLDER / f"{head}.md")
    return 0


def _settings(args: argparse.Namespace) -> dict[str, JsonValue]:
    from st.checkpoints.door import digest_of
    from st.inference.translation_memory import memory_digest
    from st.text.normalisation import NORMALISATION

    others = {"ensemble_sha256": ", ".join(map(digest_of, args.ensemble))} if args.ensemble else {}
    if args.memory is not None:
        others["memory"] = args.memory.resolve().name
        others["memory_sha256"] = memory_digest(args.memory)
    if args.joint_ctc_weight is not None:
        others["joint_ctc_weight"] = args.joint_ctc_weight
    return {
        "checkpoint": args.checkpoint.resolve().name,
        "checkpoint_sha256": digest_of(args.checkpoint),
        **others,
        "beam": args.beam,
        "length_penalty": args.lenpen,
        "dtype": args.dtype,
        "asr_normalisation": NORMALISATION,
        "jiwer": version("jiwer"),
    }


def _beam_options(args: argparse.Namespace) -> BeamOptions:
    from st.decoding.options import BeamOptions

    return BeamOptions(beam=args.beam, length_penalty=args.lenpen, joint_ctc_weight=args.joint_ctc_weight or 0.0)


def _abilities(checkpoint: Path) -> tuple[bool, bool]:
    """Return whether a checkpoint has all that translates, which a recogniser has not, and adapters of several languages."""
    from st.checkpoints.loading import read_contents
    from st.errors import StError
    from st.modules.config import PARTS

    try:
        contents = read_contents(checkpoint, verify=False)
    except (StError, OSError):
        return True, False  # Loading it will say what is wrong with it.
    found = set(PARTS) <= {*contents.config.parts}
    if not found:
        logger.info("%s cannot translate; recordings are transcribed only", checkpoint)
    return found, bool(contents.adapters)
