"""Every recipe of configs/ composes as fairseq-hydra-train composes it, names only options that exist, and trains."""

from pathlib import Path

import pytest
import torch
from conftest_integration import ROOT
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import omegaconf_no_object_check
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from tone_tree import make_tree
from trainer_in_process import batch, changed, parameters, trainer_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SMALL = {
    "encoder_conv_layers": "'[(24,40,20),(24,4,4),(24,4,4)]'",
    "encoder_num_layers": 2,
    "encoder_dim": 32,
    "encoder_ffn_dim": 48,
    "encoder_num_heads": 2,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 4,
    "encoder_mask_channel_length": 4,
    "decoder_num_layers": 1,
    "decoder_dim": 32,
    "decoder_ffn_dim": 48,
    "decoder_num_heads": 2,
}


def composed(name, *overrides):
    """Return a recipe as fairseq-hydra-train sees it."""
    hydra_init(name)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.1"):
        return compose(name, overrides=list(overrides))


def dataclass_of(section, name):
    if section == "task":
        return TASK_DATACLASS_REGISTRY[name]
    if section == "model":
        return MODEL_DATACLASS_REGISTRY[name]
    if section in REGISTRIES:
        return REGISTRIES[section]["dataclass_registry"][name]
    return FairseqConfig.__dataclass_fields__[section].type


def own_settings(path):
    """Return what the files of a recipe say, section by section, each setting once."""
    text = OmegaConf.to_container(OmegaConf.load(path))
    parts = [OmegaConf.load(ROOT / "configs" / f"{name}.yaml") for name in text.pop("defaults", []) if name != "_self_"]
    settings = {}
    for part in (text, *(OmegaConf.to_container(part) for part in parts)):
        for section, values in part.items():
            for key, value in values.items():
                assert (section, key) not in settings, f"{path.name}: {section}.{key} is set twice"
                settings[section, key] = value
    return settings


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_t23_config_has_only_known_options_of_the_right_type(path: Path):
    settings = own_settings(path)
    names = {section: value for (section, key), value in settings.items() if key == "_name"}
    for section in {section for section, _ in settings}:
        structure = OmegaConf.structured(dataclass_of(section, names.get(section))())
        values = {key: value for (place, key), value in settings.items() if place == section and value != "???"}
        # A key that the dataclass lacks, or a value of another type, raises here.
        OmegaConf.merge(structure, values)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_the_files_of_a_recipe_say_is_what_fairseq_gets(path: Path):
    # The defaults of fairseq come with the recipe's own file and would win over a shared one that is merged earlier.
    found = OmegaConf.to_container(composed(path.stem))
    for (section, key), value in own_settings(path).items():
        # What has a type in fairseq's own sections, and a default, does not stay missing.
        assert found[section][key] == value or value == "???", f"{section}.{key}"


def test_all_configs_were_found():
    sizes = {f"xlsr_{size}_{what}" for size in ("300m", "1b", "2b") for what in ("21_en", "en_15", "22_16")}
    others = {"xlsr_300m_bilingual", "xlsr_300m_lna_21_en", "xlsr_300m_ctc", "xlsr_53_ctc"}
    assert {path.stem for path in CONFIGS} == sizes | others | {"demo_ctc", "demo_translation"}


def test_recipes_say_what_they_assume_of_the_machine():
    for path in CONFIGS:
        comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
        assert any(word in " ".join(comments) for word in ("GPU", "CPU")), path.name
        assert any(path.stem in line for line in comments), path.name


def test_t23_an_unknown_section_of_a_recipe_is_refused():
    with pytest.raises(ConfigCompositionException, match="nonsense"):
        composed("xlsr_300m_21_en", "optimization.nonsense=1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree"), train=4, dev=1)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_two_updates_of_every_recipe(path: Path, data, tmp_path):
    small = dict(SMALL)
    if "ctc" in path.stem and path.stem != "demo_ctc":  # has a decoder of its own size
        small = {name: value for name, value in small.items() if not name.startswith("decoder_")}
    recipe = OmegaConf.load(ROOT / "configs" / "base" / "training.yaml").model
    overrides = [f"++model.{name}={value}" for name, value in small.items()]
    if not path.stem.startswith("demo"):
        overrides += [f"model.{name}=null" for name in recipe if recipe._get_node(name)._is_missing()]
        overrides += ["model.decoder=null"] if "ctc" not in path.stem else []
    else:
        overrides += ["checkpoint.finetune_from_model=null"]
    overrides += [f"common.user_dir={ROOT / 'st'}", f"task.data={data}", f"checkpoint.save_dir={tmp_path}"]
    overrides += ["common.cpu=true", "task.directions=all", "++task.threads=1", "task.precision=fp32"]
    overrides.append("distributed_training.distributed_world_size=1")
    if not path.stem.startswith(("xlsr_300m_ctc", "xlsr_53_ctc")):  # their scheduler goes by shares of max_update
        overrides.append("lr_scheduler.warmup_updates=1")
    cfg = composed(path.stem, *overrides)
    add_defaults(cfg)
    with omegaconf_no_object_check():
        cfg = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
    trainer = trainer_of(cfg)
    before = parameters(trainer)
    for _ in range(2):
        log = trainer.train_step([batch(trainer)] * cfg.optimization.update_freq[0])
        assert log["loss"] > 0
        assert torch.isfinite(torch.tensor(log["loss"]))
    assert changed(before, parameters(trainer))
