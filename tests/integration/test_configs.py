"""Every recipe of configs/ composes as fairseq-hydra-train composes it, names only options that exist, and trains."""

import copy
import functools
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from conftest_integration import ROOT
from fairseq import options
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import convert_namespace_to_omegaconf, omegaconf_no_object_check
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from head_trees import declare_heads
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from tone_tree import make_tree
from trainer_in_process import batch, changed, parameters, trainer_of

from st.errors import ConfigError, StError
from st.text.class_labels import ClassLabels

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SMALL = {
    "encoder_conv_layers": "[(24,40,20),(24,4,4),(24,4,4)]",
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


@functools.cache
def composed(name, *overrides):
    """Return a recipe as fairseq-hydra-train sees it; not to be changed."""
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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_overrides_in_the_comments_of_a_recipe_can_be_given(path: Path):
    """Hydra wants a plus before what the recipe does not list."""
    comments = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    overrides = re.findall(r"(?<!\S)\+?[a-z_]+\.[a-z_]+=[^\s,]+", "\n".join(comments))
    assert any(override.startswith("task.data=") for override in overrides)
    composed(path.stem, *overrides)


def test_all_configs_were_found():
    sizes = {f"xlsr_{size}_{what}" for size in ("300m", "1b", "2b") for what in ("21_en", "en_15", "22_16")}
    others = {"xlsr_300m_bilingual", "xlsr_300m_lna_21_en", "xlsr_300m_ctc", "xlsr_53_ctc"}
    little = {f"low_resource_{what}" for what in ("ctc", "ctc_masked", "text", "translation", "cooldown", "gpu")}
    own = {"demo_ctc", "demo_translation", "pretraining_small", "pretraining_continued"} | little
    own |= {f"pretraining_xlsr_{size}" for size in ("300m", "1b", "2b")}
    own |= {"language_identification", "small_language_identification"}
    assert {path.stem for path in CONFIGS} == sizes | others | own


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


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A tree for recipes of classification: transcripts, and the spoken language as a label."""
    folder = make_tree(tmp_path_factory.mktemp("labelled"), train=4, dev=1)
    for path in [*folder.glob("train_*_en.tsv"), folder / "train_en_de.tsv"]:
        shutil.copy(path, folder / f"asr_train_{path.stem.split('_')[1]}.tsv")
    ClassLabels(["de", "en"]).save(folder / "labels.json")
    declare_heads(folder, language={"kind": "utterance", "vocab_filename": "labels.json", "column": "src_lang"})
    return folder


def prepared(name, data, save_dir, **more):
    """Return the configuration of a recipe at the size of a test, as fairseq-hydra-train hands it on."""
    published_ctc = name in ("xlsr_300m_ctc", "xlsr_53_ctc")  # which have a decoder of their own size
    changes = {f"model.{option}": value for option, value in SMALL.items()}
    changes |= {"common.user_dir": str(ROOT / "st"), "common.cpu": True, "checkpoint.save_dir": str(save_dir)}
    changes |= {"task.data": str(data), "task.directions": "all", "task.threads": 1, "task.precision": "fp32"}
    changes |= {"distributed_training.distributed_world_size": 1, "lr_scheduler.warmup_updates": 1}
    pretraining = name.startswith("pretraining")
    if pretraining:
        changes = {key: value for key, value in changes.items() if not key.startswith("model.decoder_")}
        del changes["task.directions"]
        changes |= {"task.min_sample_size": 8000, "task.max_sample_size": 24000, "dataset.max_tokens": 100000}
    from_random = name.startswith(("demo", "small", "low_resource")) and name != "low_resource_gpu"
    if from_random:
        changes["checkpoint.finetune_from_model"] = None
        if name.startswith(("low", "small")):
            changes["model.encoder_conv_layers"] = "[(24,3,2),(24,3,2)]"  # over a spectrogram
    elif not pretraining:
        changes |= {"model.encoder": None, "model.decoder": None}
    if name == "pretraining_continued":
        changes["model.start_from"] = None
    if name == "pretraining_small":
        changes["model.encoder_conv_layers"] = "[(24,3,2),(24,3,2)]"
    if name == "language_identification":  # whose schedule goes by shares
        del changes["lr_scheduler.warmup_updates"]
    if published_ctc:
        changes = {key: value for key, value in changes.items() if not key.startswith(("model.decoder_", "lr_sch"))}
    cfg = copy.deepcopy(composed(name))
    for key, value in {**changes, **{key.replace("__", "."): value for key, value in more.items()}}.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    add_defaults(cfg)
    with omegaconf_no_object_check():
        return OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_two_updates_of_every_recipe(path: Path, data, labelled, tmp_path):
    tree = labelled if path.stem.endswith("language_identification") else data
    trainer = trainer_of(prepared(path.stem, tree, tmp_path))
    before = parameters(trainer)
    for _ in range(2):
        log = trainer.train_step([batch(trainer, 0, 1)] * min(2, trainer.cfg.optimization.update_freq[0]))
        assert log["loss"] > 0
        assert torch.isfinite(torch.tensor(log["loss"]))
    assert changed(before, parameters(trainer))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("model__encoder_layer_drop", 0.1, r"encoder_layer_drop .*no such option; did you mean encoder_layerdrop"),
        ("task__nonsense", 1, r"nonsense \(--nonsense\): no such option"),
        ("criterion__ctc_weight", "much", r"ctc_weight \(--ctc-weight\): Value 'much'"),
        ("optimizer__adam_eps", [1], r"adam_eps \(--adam-eps\)"),
        ("task__precision", "fp8", r"precision \(--precision\): Invalid value 'fp8'"),
        ("model__preset", "3b", "no model preset '3b'"),
        ("model__encoder", "nowhere.pt", r"nowhere\.pt"),
        ("model__encoder", "???", r"the config leaves open model\.encoder; add model\.encoder=…"),
        ("task__data", "nowhere", "nowhere"),
        ("model__freeze", "fc9", "`freeze`: 'fc9' matches no parameter"),
        ("optimizer__lr_scale", "head=2", "--lr-scale: 'head=2'"),
        ("model__cache_encoder_states", True, "--cache-encoder-states needs --freeze-encoder"),
        ("criterion__rdrop_alpha", -1, r"--rdrop-alpha is -1\.0"),
    ],
)
def test_t23_what_is_wrong_in_a_config_is_named(data, tmp_path, option, value, message):
    with pytest.raises(StError, match=message):
        _ = trainer_of(prepared("xlsr_300m_21_en", data, tmp_path, **{option: value})).optimizer


def test_t23_two_options_that_exclude_each_other_are_both_named(data, tmp_path):
    excluding = {"model__freeze_encoder": True, "model__freeze_finetune_updates": 3}
    with pytest.raises(ConfigError, match=r"--freeze-finetune-updates .* --freeze-encoder"):
        trainer_of(prepared("xlsr_300m_21_en", data, tmp_path, **excluding))


@pytest.mark.parametrize("name", ["xlsr_300m_21_en", "xlsr_300m_ctc"])
def test_the_fairseq_train_line_of_the_documentation_is_the_recipe(name):
    text = (ROOT / "docs" / "training.md").read_text()
    line = text.split(f"`{name}`")[-1].split("\n\n")[1].replace("\\\n", " ")
    words = shlex.split(line)
    assert words[:4] == ["fairseq-train", "DATA", "--user-dir", "st"]
    parser = options.get_training_parser()
    found = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, [words[1], *words[4:]]))
    files = {("model", "encoder"), ("model", "decoder"), ("task", "data"), ("checkpoint", "save_dir")}
    shown = {("common", "user_dir"), ("common", "log_format"), ("common", "log_interval"), ("model", "_name")}
    for (section, key), value in own_settings(ROOT / "configs" / f"{name}.yaml").items():
        if (section, key) not in files | shown:
            assert found[section][key] == value, f"{section}.{key}"
