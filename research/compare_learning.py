"""Train with and without CTC, on all directions and on one, and fairseq's own model beside them; compare BLEU.

    python research/compare_learning.py --out docs/learning.md              # all of it: see --help for how long
    python research/compare_learning.py --runs 3                            # the next three trainings, then stop
    python research/compare_learning.py --report --out docs/learning.md     # the page of what is finished

One sample corpus, the same minutes of training for each side, several seeds. What is finished is in results.jsonl of
the --work folder and is never trained again; a training that was interrupted begins anew, as its minutes count.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filterbank_baseline import (
    CURVE_EVERY,
    BaselineOptions,
    average_last,
    decode,
    prepare_features,
    save_step,
    train_command,
)
from learning_corpus import DATA, CorpusSettings, count_rows, prepare_corpus
from learning_plan import (
    CURVE_POINTS,
    DEFAULT_SIDES,
    PILOT_UPDATES,
    SIDES,
    Job,
    Pace,
    Run,
    Stage,
    curve_checkpoints,
    list_runs,
    measure_pace,
    plugin_command,
    read_training,
)
from learning_report import draw_curves, page

from st.errors import StError, UsageError
from st.evaluation.covost2 import covost_directions
from st.evaluation.report.plots import write_plot
from st.files import write_json, write_text
from st.report.curves import read_curves
from st.text.languages import split_direction

BEAM, CURVE_BEAM = 5, 1
EPILOG = """\
sides:
{sides}

A training takes --minutes and about one more for scoring, two for the first seed, whose curve is drawn; making the
corpus and the pilots take some minutes once. Run nothing else while it says "pilot": that is when it measures how many
updates fill the minutes. The trainings then make that many, however long other programs let them take.
Other --directions, --little, --clips or --hours need another --work folder.
"""


def say(text: str) -> None:
    """Tell what goes on."""
    print(text, file=sys.stderr, flush=True)


class Comparison:
    """The work folder: corpus, pilots, trainings, results."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.work: Path = args.work.resolve()
        self.data, self.features = self.work / DATA, self.work / "filterbanks"
        self.results = self.work / "results.jsonl"
        self.recipe = BaselineOptions(lr=args.baseline_lr, batch_seconds=args.baseline_batch)
        threads = str(args.threads)
        self.env = dict(os.environ) | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}

    def prepare(self) -> None:
        """Make what is trained on, for both kinds of sides."""
        args = self.args
        settings = CorpusSettings(args.directions, args.little, args.clips, args.hours)
        prepare_corpus(self.work, settings, args.threads, self._call)
        if any(not SIDES[side].ours for side in args.sides):
            prepare_features(self.data, self.features, args.directions)

    def _call(self, command: list[str], log: Path | None = None) -> None:
        """Run a command; what it prints goes to ``log`` if there is one."""
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("w", encoding="utf-8")) if log else sys.stderr
            ended = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=self.env, check=False)
        if ended.returncode:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]) if log else ""
            raise StError(f"{tail}\n{shlex.join(command[:2])} failed with exit code {ended.returncode}; log: {log}")

    # -- training -------------------------------------------------------------------------------------------------------

    def _train(self, job: Job, ours: bool) -> str:
        """Train a stage and return its log."""
        job.folder.mkdir(parents=True, exist_ok=True)
        command = plugin_command(job, self.data) if ours else train_command(job, self.features, self.recipe)
        self._call(command, job.folder / "train.log")
        return (job.folder / "train.log").read_text(encoding="utf-8", errors="replace")

    def pace(self, run: Run, stage: Stage, previous: Path | None) -> Pace:
        """Return how fast a stage trains, by a pilot that is made once."""
        path = self.work / "pilots.json"
        known: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        batch = "" if SIDES[run.side].ours else f"/{self.recipe.batch_seconds:g}s"
        key = f"{run.name}/{stage.name}/{self.args.threads}{batch}"
        if key not in known:
            say(f"pilot: {key}")
            folder = self.work / "pilot"
            shutil.rmtree(folder, ignore_errors=True)
            job = Job(stage, run.directions, 1, self.args.threads, PILOT_UPDATES, folder, previous, pilot=True)
            self._train(job, SIDES[run.side].ours)
            rates = [curve for curve in read_curves([folder / "train.log"]).of("ups") if curve.dataset == "train"]
            known[key] = asdict(measure_pace(rates[0].points if rates else (), cached=stage.cached))
            write_json(path, known)
            shutil.rmtree(folder)
        return Pace(**known[key])

    def run(self, run: Run) -> dict[str, Any]:
        """Train, translate, score; return what is kept."""
        folder = self.work / "runs" / f"{run.name}-seed{run.seed}"
        shutil.rmtree(folder, ignore_errors=True)
        curve = run.seed == self.args.seeds[0]
        stages, checkpoint, parameters = self._train_stages(run, folder, curve)
        bleu = self._translate(run, checkpoint, "test", folder / "test", BEAM)
        points = self._curve(run, stages, checkpoint) if curve else []
        for path in folder.glob("*/checkpoint*.pt"):
            if path != checkpoint:
                path.unlink()
        return {**self.identity(run), "parameters": parameters, "stages": stages, "bleu": bleu, "curve": points}

    def _train_stages(self, run: Run, folder: Path, curve: bool) -> tuple[list[dict[str, Any]], Path, int]:
        """Train one stage after the other; return what they took, the final checkpoint and the number of parameters."""
        side = SIDES[run.side]
        took: list[dict[str, Any]] = []
        previous: Path | None = None
        for stage in side.stages:
            pace = self.pace(run, stage, previous)
            updates = pace.updates_in(self.args.minutes * 60 * stage.share)
            say(f"seed {run.seed} {run.name}: {stage.name}, {updates:,} updates")
            keep = curve and stage is side.stages[-1]
            threads, here = self.args.threads, folder / stage.name
            job = Job(stage, run.directions, run.seed, threads, updates, here, previous, curve=keep)
            seconds, parameters = read_training(self._train(job, side.ours))
            took.append({"name": stage.name, "updates": updates, "seconds": pace.seconds_of(updates), "wall": seconds})
            previous = here / "checkpoint_last.pt" if side.ours else average_last(here)
        assert previous is not None  # noqa: S101 (every side has a stage)
        return took, previous, parameters

    # -- translating and scoring ----------------------------------------------------------------------------------------

    def _translate(self, run: Run, checkpoint: Path, subset: str, out: Path, beam: int) -> dict[str, float]:
        """Translate a subset and return BLEU by direction."""
        out.mkdir(parents=True, exist_ok=True)
        if SIDES[run.side].ours:
            command = [sys.executable, "-m", "st", "evaluate", "--checkpoint", checkpoint, "--data", self.data,
                       "--directions", ",".join(run.directions), "--subset", subset, "--beam", beam, "--out", out,
                       "--threads", self.args.threads, "--clip-megabytes", 0, "--published", "never"]  # fmt: skip
            self._call([str(part) for part in command], out / "evaluate.log")
        else:
            decode(checkpoint, self.features, subset, out, beam=beam, env=self.env)
        return {
            d: score(out / "hypotheses" / f"{d}.tsv", self.data / f"{subset}_{d}.tsv", split_direction(d)[1])
            for d in run.directions
        }

    def _curve(self, run: Run, stages: list[dict[str, Any]], final: Path) -> list[dict[str, Any]]:
        """Translate the development set with the checkpoints of the last stage."""
        folder, updates = final.parent, stages[-1]["updates"]
        step = max(1, updates // CURVE_POINTS) if SIDES[run.side].ours else save_step(updates) * CURVE_EVERY
        before = sum(stage["seconds"] for stage in stages[:-1])
        points = []
        for number, path in [*curve_checkpoints(folder, updates, step), (updates, final)]:
            bleu = self._translate(run, path, "dev", folder.parent / f"dev-{number}", CURVE_BEAM)
            minutes = (before + stages[-1]["seconds"] * number / updates) / 60
            points.append({"minutes": round(minutes, 3), "bleu": bleu})
        return points

    # -- results --------------------------------------------------------------------------------------------------------

    def finished(self) -> list[dict[str, Any]]:
        """Return all results."""
        lines = self.results.read_text(encoding="utf-8").splitlines() if self.results.exists() else []
        return [json.loads(line) for line in lines]

    def planned(self) -> list[tuple[Run, str]]:
        """Return all trainings that the options ask for, each with the key of its result."""
        runs = list_runs(self.args.sides, self.args.seeds, self.args.directions, self.args.little)
        return [(run, key_of(self.identity(run))) for run in runs]

    def missing(self) -> list[Run]:
        """Return what is left to train."""
        done = set(map(key_of, self.finished()))
        return [run for run, key in self.planned() if key not in done]

    def identity(self, run: Run) -> dict[str, Any]:
        """Return what tells a result from others."""
        recipe = {} if SIDES[run.side].ours else asdict(self.recipe)
        return {"side": run.side, "directions": list(run.directions), "seed": run.seed, "minutes": self.args.minutes,
                "threads": self.args.threads, "recipe": recipe}  # fmt: skip

    def add(self, record: dict[str, Any]) -> None:
        """Keep a result."""
        write_text(self.results, "".join(json.dumps(one) + "\n" for one in [*self.finished(), record]))

    def report(self) -> str:
        """Return the page of what is finished; write it and the curves if --out asks for it."""
        found, out = {key_of(record): record for record in self.finished()}, self.args.out
        records = [found[key] for _, key in self.planned() if key in found]
        if not records:
            raise UsageError("nothing is finished yet, so there is nothing to report")
        settings = json.loads((self.work / "settings.json").read_text(encoding="utf-8"))
        settings["rows"] = count_rows(self.data, settings["directions"])
        charts = draw_curves(records, settings["little"]) if out else []
        picture = out.with_suffix(".svg") if charts else None
        text = page(records, settings, picture.name if picture else "", command_line(self.args))
        if out:
            write_text(out, text)
        if picture:
            write_plot(picture, charts, "What learns better")
        return text


def key_of(record: dict[str, Any]) -> str:
    """Return the part of a result that tells it from others."""
    parts = ("side", "directions", "seed", "minutes", "threads", "recipe")
    return json.dumps([record[name] for name in parts], sort_keys=True)


def command_line(args: argparse.Namespace) -> str:
    """Return the command that repeats the comparison."""
    options = ("sides", "seeds", "minutes", "threads", "directions", "little", "clips", "hours", "baseline_lr",
             "baseline_batch")  # fmt: skip
    shown = []
    for name in options:
        value = getattr(args, name)
        if value != DEFAULTS[name]:
            text = ",".join(map(str, value)) if isinstance(value, list) else f"{value:g}"
            shown.append(f"--{name.replace('_', '-')} {text}")
    return " ".join(["python research/compare_learning.py", *shown])


def score(hypotheses: Path, references: Path, target: str) -> float:
    """Return the BLEU that ``st score`` finds."""
    from st.cli import main as st

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = st(["score", "--hyp", str(hypotheses), "--ref", str(references), "--target", target, "--json"])
    if code:
        raise StError(f"st score failed with exit code {code} on {hypotheses}")
    return float(json.loads(printed.getvalue())["bleu"])


DEFAULTS: dict[str, Any] = {
    "sides": list(DEFAULT_SIDES), "seeds": [1, 2, 3], "minutes": 6.0, "threads": 2,
    "directions": ["de_en", "es_en", "id_en", "en_de"], "little": ["es_en", "id_en"], "clips": 150, "hours": 2.4,
    "baseline_lr": BaselineOptions().lr, "baseline_batch": BaselineOptions().batch_seconds,
}  # fmt: skip


def names(text: str) -> list[str]:
    """Split a list at its commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: If a side or direction is unknown.
    """
    texts = "\n".join(
        textwrap.fill(f"{name:<17} {side.text}", 118, initial_indent="  ", subsequent_indent=" " * 20)
        for name, side in SIDES.items()
    )
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG.format(sides=texts),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "st-compare-learning",
        help="folder for corpus, trainings and results; give it again to go on (default: %(default)s)")  # fmt: skip
    add("--out", type=Path, metavar="FILE.md", help="page to write; curves go beside it as .svg (default: print only)")
    add("--report", action="store_true", help="train nothing: report what is finished")
    add("--runs", type=int, metavar="N", help="stop after N trainings (default: all that are missing)")
    add("--sides", type=names, help=f"of those below (default: {','.join(DEFAULT_SIDES)})")
    add("--seeds", type=names, help="one training of every side for each (default: 1,2,3)")
    add("--minutes", type=float, help="of training, all stages of a side together (default: 6)")
    add("--threads", type=int, help="CPU threads of training and of all else (default: 2)")
    add("--directions", type=names, help="to train and score (default: de_en,es_en,id_en,en_de)")
    add("--little", type=names, help="those that get little data (default: es_en,id_en)")
    add("--clips", type=int, help="recordings that each of those trains on (default: 150)")
    add("--hours", type=float, help="of speech in the corpus before that, held-out sets included (default: 2.4)")
    add("--baseline-lr", type=float, help="fairseq's highest learning rate (default: 0.002, as its recipe)")
    add("--baseline-batch", type=float, help="seconds of audio in a batch of fairseq (default: 25, as here)")
    parser.set_defaults(**DEFAULTS)
    args = parser.parse_args(argv)
    args.seeds = [int(seed) for seed in args.seeds]
    args.directions = list(covost_directions(",".join(args.directions)))
    for given, known, what in ((args.sides, SIDES, "--sides"), (args.little, args.directions, "--little")):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise UsageError(f"{what} names {', '.join(unknown)}; expected some of {', '.join(known)}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Train what is missing and report."""
    try:
        args = parse(argv)
        comparison = Comparison(args)
        if not args.report:
            comparison.prepare()
            for run in comparison.missing()[: args.runs]:
                comparison.add(comparison.run(run))
        print(comparison.report())
    except StError as exc:
        say(f"compare_learning: error: {exc}")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
