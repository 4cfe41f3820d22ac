"""What is said, and registered, before a training makes its first update, and what a killed reader ends with."""

import pytest
from conftest_integration import ROOT, training
from test_training_runs import EXACT, RECORD
from tone_tree import make_tree


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train=14, dev=2)


@pytest.mark.parametrize("way", ["root", "elsewhere", "installed", "foreign not imported"])
def test_t01_t02_the_registry_is_the_same_from_anywhere_and_twice(server, tmp_path, way):
    folder = ROOT if way == "root" else tmp_path
    if way.startswith("foreign"):
        (tmp_path / "st.py").write_text("raise SystemExit('the wrong one')")
    before = f"""
import os, sys
from argparse import Namespace
from fairseq import utils
from fairseq.criterions import CRITERION_REGISTRY as criterions
from fairseq.models import MODEL_REGISTRY as models
from fairseq.optim import OPTIMIZER_REGISTRY as optimizers
from fairseq.tasks import TASK_REGISTRY as tasks
os.chdir({str(folder)!r})
sys.path.insert(0, {str(tmp_path)!r})
known = [set(table) for table in (criterions, models, optimizers, tasks)]
if {way == "installed"}:
    sys.path[0] = {str(ROOT)!r}
    import st
    st.register_plugins()
for _ in range(2):
    utils.import_user_module(Namespace(user_dir={"st" if way == "root" else str(ROOT / "st")!r}))
new = [sorted(set(table) - old) for table, old in zip((criterions, models, optimizers, tasks), known)]
print("registered:", new)
raise SystemExit(0)
"""
    job = server.run(["fairseq-train"], tmp_path, before=before)
    criteria, models = "['speech_pretraining', 'translation_ctc']", "['speech_pretraining', 'xlsr_mbart']"
    tasks = "['speech_pretraining', 'speech_translation']"
    assert f"registered: [{criteria}, {models}, ['fused_adamw'], {tasks}]" in job.text(), job.text()[-2000:]


def test_t01_a_foreign_st_that_was_imported_first_is_an_explicit_error(server, tmp_path):
    (tmp_path / "st").mkdir()
    (tmp_path / "st" / "__init__.py").write_text("")
    before = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import st"
    job = server.start(["fairseq-train", "data", "--user-dir", ROOT / "st"], tmp_path, before=before)
    assert job.wait() == 1
    assert f"--user-dir={ROOT / 'st'} because the corresponding module name (st) is not globally unique" in job.text()


def test_t23_an_option_of_fairseq_that_a_recipe_leaves_open_ends_the_command(server, tones, tmp_path):
    command = [
        *("fairseq-hydra-train", "--config-dir", ROOT / "configs", "--config-name", "demo_translation"),
        *(f"common.user_dir={ROOT / 'st'}", f"task.data={tones}", f"hydra.run.dir={tmp_path / 'hydra'}"),
    ]
    job = server.start(command, tmp_path)
    assert job.wait() == 1
    left = "checkpoint.finetune_from_model, checkpoint.save_dir"
    assert f"fairseq-hydra-train: error: the config leaves open {left}; add checkpoint.f" in job.text()
    assert "Traceback" not in job.text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bf16"], "--bf16 rounds the weights themselves, and moves those that are to rest; use --precision bf16"),
        (["--fp16"], "--fp16 does not go with --optimizer fused_adamw; use --precision bf16, or --optimizer adam"),
        (
            ["--save-dir", "/dev/null/run"],
            "/dev/null/run: cannot be written to: Not a directory; choose another --save-dir",
        ),
    ],
)
def test_t23_what_cannot_be_done_here_is_said_in_one_sentence(server, tones, tmp_path, options, message):
    job = server.start([*training(tones, tmp_path / "run"), *options], tmp_path)
    assert job.wait() == 1
    assert job.text().endswith(f"fairseq-train: error: {message}\n")


def test_a_reading_process_that_is_killed_ends_the_training_in_one_sentence(server, tones, tmp_path):
    act = """
def act(update):
    import multiprocessing, os, signal
    if update == 2:
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
"""
    command = training(
        tones, tmp_path / "run", *EXACT, "--num-workers", "1", "--max-update", "400", "--batch-size", "1"
    )
    job = server.start(command, tmp_path, before=RECORD + act)
    assert job.wait() == 1
    assert "error: a process that reads recordings died (" in job.text()
    assert "fewer --num-workers" in job.text()
    assert "Traceback" not in job.text()
