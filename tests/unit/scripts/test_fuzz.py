"""``scripts/fuzz.py``: a small part of it, and that it notices what it is there to notice."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

from fuzzing.containers import FORMS, pickle_operations  # noqa: E402
from fuzzing.kinds import KINDS  # noqa: E402
from fuzzing.trial import Fuzz  # noqa: E402

NUMBER = {
    "archives": 80,
    "corpora": 150,
    "yaml": 100,
    "checkpoints": 60,
    "prepared": 30,
    "partial": 40,
    "hypotheses": 100,
}


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """The fuzz over valid inputs, each of which all of its doors have taken."""
    run = Fuzz("fuzzing.kinds", tmp_path_factory.mktemp("seeds"), seed=15)
    run.make_seeds([*KINDS])
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_15_changed_input_is_taken_or_refused_in_a_sentence(fuzz, kind, tmp_path):
    tried = {number: fuzz.attempt(kind, number, tmp_path / "mutant") for number in range(NUMBER.get(kind, 200))}
    faults = {f"{kind}:{number}": fault for number, fault in tried.items() if fault is not None}
    assert not faults, "\n\n".join(f"{name}\n{fault.door}\n{fault.trace}" for name, fault in faults.items())


def test_15_a_mutant_depends_on_seed_kind_and_number_alone(fuzz, tmp_path):
    def content(run, number, name):
        door = run.write("archives", number, tmp_path / name)
        return door, {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}

    other = Fuzz(fuzz.table, fuzz.seeds, seed=16)
    runs = ((fuzz, 7, "a"), (fuzz, 7, "b"), (fuzz, 8, "c"), (other, 7, "d"))
    first, again, second, elsewhere = (content(*run) for run in runs)
    assert first == again
    assert first[1] != second[1] != elsewhere[1] != first[1]


def test_15_changes_that_know_a_form_work_on_it(fuzz):
    seeds = [path for path in sorted(fuzz.seeds.rglob("*")) if path.suffix in FORMS and "corpora" not in path.parts]
    examples = {path.suffix: path.read_bytes() for path in seeds}
    assert set(examples) >= FORMS.keys() - {".pkl"}
    for suffix, data in examples.items():
        for change in dict.fromkeys(FORMS[suffix]):
            if change is pickle_operations:
                continue  # for files in the format before zip, and for what lies in a zip
            results = [change(data, random.Random(number)) for number in range(5)]
            assert sum(result != data for result in results) > 2, (suffix, change)


def run_planted(*options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "scripts" / "fuzz.py", "--table", "planted_faults", *options]
    return subprocess.run(
        [*command, "--seconds-limit", "1", "--memory-limit", "300MB"], capture_output=True, text=True, env=environment
    )


def test_15_the_fuzz_notices_traces_hangs_memory_and_crashes(tmp_path):
    done = run_planted("--mutants", "9", "--jobs", "2", "--keep", tmp_path)
    assert done.returncode == 1, done.stderr
    found = {(line[8:33].strip(), line[33:].split()[0].rpartition("/")[2]) for line in done.stdout.splitlines()[1:]}
    assert found == {
        ("KeyError", "planted_faults.py:lookup"),
        ("OSError", "planted_faults.py:nameless"),
        ("hang", "planted_faults.py:endless"),
        ("hang", "planted_faults.py:asleep"),
        ("memory", "planted_faults.py:hungry"),
        ("signal 11", "__init__.py:string_at"),
    }
    traces = {path.stem: path.read_text() for path in tmp_path.glob("*.txt")}
    assert "KeyError" in next(text for name, text in traces.items() if name.startswith("lookup"))
    assert all((tmp_path / name / "input.txt").is_file() for name in traces)


def test_15_one_mutant_can_be_tried_again():
    done = run_planted("--one", "lookup:0")
    assert done.returncode == 1
    assert "Traceback" in done.stdout
    assert "in lookup" in done.stdout
    assert run_planted("--one", "refusal:0").returncode == 0
