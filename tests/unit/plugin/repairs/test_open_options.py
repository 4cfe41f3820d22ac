"""Options that a recipe leaves open, in a run of fairseq-hydra-train and in the processes that it starts."""

from pathlib import Path

import fairseq.tasks  # noqa: F401 (fairseq registers its own things first)
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from st.errors import ConfigError
from st.fairseq_plugin.repairs.open_options import refuse_open_options

ROOT = Path(__file__).parents[4]


@pytest.fixture
def process_of_a_run(tmp_path, monkeypatch):
    """Return a function that makes this process one that fairseq-hydra-train started, for one GPU, in a run's folder."""
    monkeypatch.setattr("sys.argv", ["/usr/bin/fairseq-hydra-train"])
    monkeypatch.setattr("st.fairseq_plugin.repairs.clear_errors.in_fairseq_command", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert not HydraConfig.initialized()

    def start(recipe, *overrides, composed=None):
        source = {"path": str(ROOT / "configs"), "schema": "file", "provider": "command-line"}
        packaged = {"path": "fairseq.config", "schema": "pkg", "provider": "main"}
        notes = {
            "job": {"config_name": recipe, "id": "???"},
            "runtime": {"config_sources": [packaged, source], "output_dir": str(tmp_path)},
            "overrides": {"task": list(overrides)},
            "output_subdir": ".hydra",
        }
        (tmp_path / ".hydra").mkdir()
        OmegaConf.save({"hydra": notes}, tmp_path / ".hydra" / "hydra.yaml")
        OmegaConf.save(composed or {}, tmp_path / ".hydra" / "config.yaml")

    return start


GIVEN = ("common.user_dir=st", "task.data=data", "+checkpoint.save_dir=run")


def test_t23_every_open_option_is_named(process_of_a_run):
    process_of_a_run("demo_translation", *GIVEN[1:])
    with pytest.raises(ConfigError, match=r"leaves open checkpoint\.finetune_from_model, common\.user_dir; add"):
        refuse_open_options()


def test_t23_what_a_shared_file_leaves_open_is_named_too(process_of_a_run):
    process_of_a_run("xlsr_300m_21_en", composed={"model": {"encoder": "???", "preset": "300m"}})
    with pytest.raises(ConfigError, match=r"leaves open model\.encoder; add model\.encoder=… to the command"):
        refuse_open_options()


def test_what_is_given_is_not_open_even_if_it_is_null(process_of_a_run):
    process_of_a_run("demo_translation.yaml", *GIVEN, "checkpoint.finetune_from_model=null")
    refuse_open_options()


def test_outside_the_command_nothing_is_read(process_of_a_run, monkeypatch):
    process_of_a_run("demo_translation")
    monkeypatch.setattr("sys.argv", ["fairseq-train"])
    refuse_open_options()
