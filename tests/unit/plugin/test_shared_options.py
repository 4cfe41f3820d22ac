"""Options of fairseq's commands that are fields of our configs: declared once, and read back as what they were."""

import argparse
from dataclasses import dataclass, replace

import pytest
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.utils import gen_parser_from_dataclass

import st

st.register_plugins()

from st.audio.augmentation import AugmentationConfig  # noqa: E402
from st.errors import ConfigError  # noqa: E402
from st.fairseq_plugin.data.options import DataOptions, augmentation_config  # noqa: E402
from st.fairseq_plugin.model_options import XlsrMbartConfig, model_config  # noqa: E402
from st.fairseq_plugin.options import with_options_of  # noqa: E402
from st.modules.encoder_config import XLSR_CONV_LAYERS  # noqa: E402
from st.modules.presets import PRESETS  # noqa: E402
from st.options import option, options  # noqa: E402


@dataclass
class Base(FairseqDataclass):
    first: int = option(1, "is first")


@dataclass(frozen=True)
class Config:
    size: int = option(2, "a size")
    inner: int = 5
    speeds: tuple[float, ...] = option((0.5, 2.0), "some speeds")


def parsed(kind, *line):
    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, kind())
    return parser.parse_args(line)


def test_described_fields_are_options_with_their_defaults_after_those_of_the_base():
    kind = with_options_of(Base, {"": Config})
    assert vars(parsed(kind)) == {"first": 1, "size": 2, "speeds": "0.5,2"}
    assert list(vars(kind())) == ["_name", "first", "size", "speeds"]
    assert [item.metadata["help"] for item in options(kind)] == ["is first", "a size", "some speeds"]
    assert [item.name for item in options(Config)] == ["size", "speeds"]


def test_options_without_a_default_of_their_own_keep_their_type():
    kind = with_options_of(Base, {"a_": Config, "b_": Config}, unset=True)
    assert set(vars(parsed(kind)).values()) == {1, None}
    assert parsed(kind, "--b-size=7", "--a-speeds=1,2").b_size == 7


def test_what_nobody_sets_is_what_the_configs_say():
    assert augmentation_config(parsed(DataOptions)) == AugmentationConfig()
    config = model_config(parsed(XlsrMbartConfig, "--preset=300m"), vocab_size=99, heads={})
    assert config == replace(PRESETS["300m"], decoder=replace(PRESETS["300m"].decoder, vocab_size=99))


def test_what_is_set_arrives():
    changes = augmentation_config(parsed(DataOptions, "--speed-perturb=0.9,1.1", "--noise-snr=1,2", "--band-masks=3"))
    assert changes == AugmentationConfig(speed_perturb=(0.9, 1.1), noise_snr=(1.0, 2.0), band_masks=3)
    cfg = parsed(XlsrMbartConfig, "--encoder-conv-layers=[(512,10,5),(512,3,2)]", "--adaptor-stride=3")
    config = model_config(cfg, vocab_size=99, heads={})
    assert (config.encoder.conv_layers, config.length_adaptor.stride) == (XLSR_CONV_LAYERS[:2], 3)
    with pytest.raises(ConfigError, match="--noise-snr is '1'; expected two numbers"):
        augmentation_config(parsed(DataOptions, "--noise-snr=1"))
