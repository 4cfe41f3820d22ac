"""Every file of configs/ names only options that exist, and says which it leaves to the command line."""

from pathlib import Path

import pytest
from conftest_integration import ROOT
from omegaconf import OmegaConf

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def dataclass_of(section, name):
    import fairseq.dataclass.configs as configs
    import fairseq.tasks  # noqa: F401
    from fairseq.models import MODEL_DATACLASS_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    import st

    st.register_plugins()
    if section == "task":
        return TASK_DATACLASS_REGISTRY[name]
    if section == "model":
        return MODEL_DATACLASS_REGISTRY[name]
    if section in REGISTRIES:
        return REGISTRIES[section]["dataclass_registry"][name]
    return configs.FairseqConfig.__dataclass_fields__[section].type


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_t23_config_has_only_known_options_of_the_right_type(path: Path):
    config = OmegaConf.to_container(OmegaConf.load(path))
    for section, options in config.items():
        structure = OmegaConf.structured(dataclass_of(section, options.get("_name"))())
        # A key that the dataclass lacks, or a value of another type, raises here.
        OmegaConf.merge(structure, {key: value for key, value in options.items() if value != "???"})


def test_all_configs_were_found():
    assert {"demo_ctc", "demo_translation", "xlsr_300m_mbart50"} <= {path.stem for path in CONFIGS}
