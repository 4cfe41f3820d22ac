"""The table of repairs says what is replaced in fairseq, torch and Python's library, neither more nor less."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fairseq_cli.train  # noqa: F401
import replaced_functions
from fairseq import checkpoint_utils
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from tone_tree import make_tree
from trainer_in_process import SMALL

import st

st.register_plugins()

from st.fairseq_plugin.repairs.replace import REPLACED, replacing  # noqa: E402
from st.fairseq_plugin.repairs.table import READING, REPAIRS, TORCHRUN, TRAINING, install  # noqa: E402

PAGE = Path(__file__).parents[4] / "docs" / "architecture-repairs.md"


def table(*processes):
    return {what for what, _, when in REPAIRS if when in ("all", *processes)}


def test_the_table_is_what_a_training_its_readers_and_a_process_of_torchrun_replace(tmp_path):
    data = make_tree(tmp_path / "tree", train=4, dev=2, directions=("de_en",))
    options = SMALL | {"--user-dir": Path(st.__file__).parent, "--valid-subset": "dev", "--max-update": 1}
    command = ["fairseq-train", data, "--cpu", *(f"{name}={value}" for name, value in options.items())]
    out = tmp_path / "replaced.json"
    job = subprocess.run(
        [sys.executable, replaced_functions.__file__, str(out), *map(str, command)],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode == 0, job.stderr[-4000:]
    training, reading, torchrun = [set(names) for names in json.loads(out.read_text())]
    assert (tmp_path / "checkpoints" / "checkpoint_last.pt").is_file()
    assert training == table(TRAINING)
    assert reading == table(TRAINING, READING)
    assert torchrun == table(TRAINING, TORCHRUN)


def test_what_is_replaced_once_is_not_replaced_again_and_leads_to_the_original():
    before, originals = checkpoint_utils.load_checkpoint, dict(REPLACED)
    install()
    assert checkpoint_utils.load_checkpoint is before
    assert before.__wrapped__ is REPLACED["fairseq.checkpoint_utils.load_checkpoint"]
    assert originals == REPLACED


def test_what_replaces_a_function_is_given_it_and_has_its_name():
    def original(number):
        """Add one."""
        return number + 1

    ours = replacing(original, lambda before, number, *, more=0: (before(number), more))
    assert ours(1, more=5) == (2, 5)
    assert (ours.__name__, ours.__doc__) == ("original", "Add one.")


def rows():
    """Return the cells of each row of the page's table."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_row_says_why_and_what_happens_otherwise():
    assert len({what for what, *_ in rows()}) == len(rows())
    assert all(why and without for *_, why, without in rows())


def test_the_page_has_the_table():
    expected = [
        [f"`{what}`", f"`{by.__module__.removeprefix('st.fairseq_plugin.')}.{by.__name__}`", when]
        for what, by, when in REPAIRS
    ]
    found = [row[:3] for row in rows()]
    assert all(len(row) == 5 for row in rows())
    assert found == expected, "the rows of the page should begin with:\n" + "\n".join(map(" | ".join, expected))
