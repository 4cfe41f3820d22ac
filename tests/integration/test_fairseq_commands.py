"""fairseq's own commands with this project as their user directory, as subprocesses."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from conftest_integration import ROOT, run, training
from training_server import free_port

from st.checkpoints.convert import convert

NO_EXTRA = ("--no-epoch-checkpoints", "--no-last-checkpoints")


def logged(output, name):
    """Return the JSON objects that fairseq logged under a name."""
    pattern = rf"(?:\| {name} \| |\[{name}\]\[INFO\] - )(\{{.*\}})"
    return [json.loads(match) for match in re.findall(pattern, output)]


def weights(path):
    return torch.load(path, weights_only=True)["model"]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A checkpoint after six updates, and what training printed."""
    folder = tmp_path_factory.mktemp("run")
    command = training(
        data,
        folder,
        "--max-update",
        "6",
        "--eval-bleu",
        "--eval-bleu-max-len",
        "20",
        "--best-checkpoint-metric",
        "bleu",
    )
    result = run(*command, "--maximize-best-checkpoint-metric", cwd=folder)
    return folder, result.stdout + result.stderr


def test_training_reports_loss_ctc_error_rates_and_bleu_of_every_direction(trained):
    [dev] = logged(trained[1], "dev")
    for name in ("loss", "nll_loss", "ctc_loss", "wer", "cer", "bleu", "bleu_de_en", "bleu_en_de", "bleu_en_zh-CN"):
        assert float(dev[f"dev_{name}"]) >= 0, name
    assert (trained[0] / "checkpoint_best.pt").exists()


def test_loss_falls(trained):
    losses = [float(line["loss"]) for line in logged(trained[1], "train_inner")]
    assert len(losses) == 6
    assert losses[-1] < 0.9 * losses[0]


def test_checkpoint_is_plain_data_and_carries_its_vocabularies(trained, data):
    state = torch.load(trained[0] / "checkpoint_best.pt", weights_only=True)
    bundle = state["task_state"]["st_bundle"]
    assert bundle["files"]["dict.txt"] == (data / "dict.txt").read_bytes()
    assert bundle["model_config"]["encoder"]["dim"] == 64
    assert "encoder.w2v_encoder.w2v_model.encoder.layers.0.fc1.weight" in state["model"]
    assert "decoder.embed_tokens.weight" in state["model"]


def generate(folder, data, *options, paths="checkpoint_best.pt"):
    """Run ``fairseq-generate`` over the dev set; ``paths`` are checkpoints in ``folder``."""
    return run(
        *("fairseq-generate", data, "--user-dir", ROOT / "st", "--task", "speech_translation", "--gen-subset", "dev"),
        *("--path", ":".join(str(folder / path) for path in paths.split(":")), "--max-tokens", "600000"),
        *("--scoring", "sacrebleu", "--cpu", "--max-source-positions", "400000", *options),
        cwd=folder,
    )


def lines(output, kind):
    """Return the lines of one kind of a generation's log, by number, without their scores."""
    found = re.findall(rf"^{kind}-(\d+)\t(.*)$", output, flags=re.MULTILINE)
    return {int(number): text.split("\t")[-1] for number, text in found}


def test_fairseq_generate_decodes_every_target_once(trained, data):
    result = generate(trained[0], data, "--beam", "2", "--max-len-b", "10")
    numbers = sorted(int(number) for number in re.findall(r"^D-(\d+)\t", result.stdout, flags=re.MULTILINE))
    rows = sum(len(path.read_text().splitlines()) - 1 for path in data.glob("dev_*.tsv"))
    assert rows > 50
    # fairseq itself would drop the last batch, that of the longest recordings, without a word.
    assert numbers == list(range(rows))
    assert "Generate dev with beam=2" in result.stdout


@pytest.mark.slow
def test_fairseq_generate_divided_among_processes_decodes_every_target_once(trained, data):
    # Four batches for three processes.
    shape = ("--beam", "1", "--max-len-b", "3", "--batch-size", "13", "--max-tokens", "1600000")
    found = []
    for rank in "012":
        divided = ("--distributed-world-size", "3", "--distributed-no-spawn", "--distributed-rank", rank)
        output = generate(trained[0], data, *shape, *divided).stdout
        found += re.findall(r"^D-(\d+)\t", output, flags=re.MULTILINE)
    rows = sum(len(path.read_text().splitlines()) - 1 for path in data.glob("dev_*.tsv"))
    assert sorted(int(number) for number in found) == list(range(rows))


@pytest.mark.slow
def test_fairseq_generate_begins_with_the_prefix_and_ends_where_it_ends(trained, data):
    result = generate(trained[0], data, "--beam", "2", "--max-len-b", "40", "--prefix-size", "200")
    found, wanted = lines(result.stdout, "D"), lines(result.stdout, "T")
    # The prefix is the whole reference: there is nothing left to decode.
    short = [number for number, text in wanted.items() if len(text) < 30]
    assert len(short) > 10
    assert [found[number] for number in short] == [wanted[number] for number in short]


@pytest.mark.slow
def test_fairseq_generate_scores_references_with_an_ensemble(trained, data):
    both = "checkpoint_best.pt:checkpoint_last.pt"
    result = generate(trained[0], data, "--score-reference", paths=both)
    assert lines(result.stdout, "D") == lines(result.stdout, "T")


@pytest.mark.slow
def test_fairseq_generate_draws_by_the_seed(trained, data):
    draw = ("--sampling", "--sampling-topp", "0.9", "--beam", "1", "--max-len-b", "10", "--seed", "3")
    first, again = (lines(generate(trained[0], data, *draw).stdout, "D") for _ in range(2))
    assert first == again
    # The best output of a model that has learned nothing would be much the same everywhere.
    assert len(set(first.values())) > 0.8 * len(first)


def test_import_st_loads_neither_fairseq_nor_torchaudio():
    code = "import sys, st; assert not {'fairseq', 'torchaudio'} & set(sys.modules), sorted(sys.modules)"
    run("python", "-c", code)


@pytest.mark.slow
def test_two_processes_end_with_the_same_validation_loss(data, tmp_path):
    script = tmp_path / "record.py"
    script.write_text(
        "import json, os, sys\n"
        "import fairseq_cli.train as train\n"
        "inner = train.validate\n"
        "def validate(*args, **kwargs):\n"
        "    losses = inner(*args, **kwargs)\n"
        "    path = os.path.join(sys.argv[1 + sys.argv[1:].index('--save-dir') + 1], f\"rank{os.environ['RANK']}.json\")\n"
        "    json.dump([float(loss) for loss in losses], open(path, 'w'))\n"
        "    return losses\n"
        "train.validate = validate\n"
        "train.cli_main()\n"
    )
    command = training(data, tmp_path / "run", "--max-update", "3", "--ddp-backend", "legacy_ddp")
    result = run(
        *("torchrun", "--nproc_per_node", "2", "--master_port", free_port(), script, *command[1:]),
        *("--distributed-backend", "gloo"),
        cwd=tmp_path,
    )
    first, second = (json.loads((tmp_path / "run" / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first[0] > 0
    # The second process would have found no file of its own had each trained alone.
    assert "training on 2 devices" in result.stdout + result.stderr


@pytest.mark.slow
def test_two_processes_validate_as_one_does(trained, data):
    command = [
        *(shutil.which("fairseq-validate"), data, "--user-dir", ROOT / "st", "--task", "speech_translation"),
        *("--path", trained[0] / "checkpoint_best.pt", "--valid-subset", "dev,test", "--max-tokens", "600000", "--cpu"),
    ]
    group = ("--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo")
    one = run(*command)
    two = run("torchrun", "--nproc_per_node", "2", "--master_port", free_port(), *command, *group)
    figures = [
        {line.partition("valid on ")[2] for line in (result.stdout + result.stderr).splitlines() if "valid on" in line}
        for result in (one, two)
    ]
    assert len(figures[0]) == 2
    assert figures[0] == figures[1]


def test_hydra_train_runs_every_stage_of_the_demo_from_any_directory(server, data, tmp_path):
    small = [
        f"+model.{part}_{name}={value}"
        for part in ("encoder", "decoder")
        for name, value in (("dim", 64), ("ffn_dim", 64))
    ]

    def stage(config, name, *extra):
        return [
            *("fairseq-hydra-train", "--config-dir", ROOT / "configs", "--config-name", config),
            *(f"common.user_dir={ROOT / 'st'}", f"task.data={data}", f"checkpoint.save_dir={tmp_path / name}"),
            *("task.threads=1", "optimization.max_update=2", "common.log_interval=1", *small, *extra),
            f"hydra.run.dir={tmp_path / 'hydra'}",
        ]

    ctc = run(*stage("demo_ctc", "ctc"), cwd=tmp_path)
    assert "dev_cer" in logged(ctc.stdout + ctc.stderr, "dev")[-1]
    before = weights(tmp_path / "ctc" / "checkpoint_best.pt")
    convert(tmp_path / "ctc" / "checkpoint_best.pt", tmp_path / "recogniser", "hf")
    settings = json.loads((tmp_path / "recogniser" / "config.json").read_text())
    assert settings["architectures"] == ["Wav2Vec2ForCTC"]
    start = f"checkpoint.finetune_from_model={tmp_path / 'ctc' / 'checkpoint_best.pt'}"
    translation = server.run(stage("demo_translation", "st", start), tmp_path)
    assert "dev_bleu" in logged(translation.text(), "dev")[-1]
    after = weights(tmp_path / "st" / "checkpoint_best.pt")
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("decoder.", "encoder.adaptor.")) for name in changed)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--directions", "fr_de", "was not prepared for fr_de; it holds: "),
        ("--directions", "fr-de", "no direction 'fr-de'; expected the codes of two languages such as fr_en"),
        ("--directions", "fr_en", "was not prepared for fr_en"),
        ("--preset", "300b", "no model preset '300b'"),
        ("--encoder-conv-layers", "__import__('os')", "expected a list of (channels, kernel, stride)"),
    ],
)
def test_t23_a_bad_option_names_itself(server, data, tmp_path, option, value, message):
    command = training(data, tmp_path, option, value)
    if option == "--preset":
        command[command.index("--arch") + 1] = "xlsr_mbart"
    job = server.run(command, tmp_path, check=False)
    assert job.code in (1, 2)
    assert message in job.text()
    assert "Traceback" not in job.text()


def test_t15_resume_with_another_dictionary_says_so(server, trained, data, corpus, tmp_path):
    run(
        "covost",
        "prepare",
        "--cv-root",
        corpus,
        "--directions",
        "de_en",
        "--out",
        tmp_path / "other",
        "--vocab-type",
        "char",
    )
    command = training(tmp_path / "other", trained[0], "--max-update", "8")
    job = server.run(command, tmp_path, check=False)
    assert job.code not in (0, None)
    sizes = [
        len((folder / "dict.txt").read_text(encoding="utf-8").splitlines()) for folder in (data, tmp_path / "other")
    ]
    assert f"the checkpoint was trained with another dict.txt ({sizes[0]} lines; " in job.text()
    assert f"/other/dict.txt has {sizes[1]}); prepare the data with the checkpoint's vocabularies" in job.text()
    assert "Traceback" not in job.text()


def test_t18_a_recording_that_cannot_be_read_is_named(server, data, tmp_path):
    broken = tmp_path / "data"
    shutil.copytree(data, broken)
    stores = [broken / "audio" / language / "train.zip" for language in ("de", "en")]
    for store in stores:
        store.write_bytes(store.read_bytes()[:1000])
    job = server.run(training(broken, tmp_path / "run", "--max-update", "1"), tmp_path, check=False)
    assert job.code == 1
    assert "train.zip:" in job.text()
    assert "Traceback" not in job.text()


def test_prepared_tree_without_a_subset_is_one_clear_sentence(data, tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "st",
            "evaluate",
            "--checkpoint",
            tmp_path / "no.pt",
            "--data",
            data,
            "--out",
            tmp_path / "out",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "no.pt" in result.stderr
