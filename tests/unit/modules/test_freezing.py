"""Which parameters learn: sets, expressions, errors."""

import dataclasses

import pytest
import torch

from st.errors import ConfigError
from st.modules.config import ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.freezing import SETS, frozen_names, split_rules
from st.modules.model import SpeechTranslator
from st.modules.presets import preset

GOLDEN_LNA = """\
ctc.proj.{bias,weight}
decoder.layer_norm.{bias,weight}
decoder.layernorm_embedding.{bias,weight}
decoder.layers.N.encoder_attn.{k,out,q,v}_proj.{bias,weight}
decoder.layers.N.encoder_attn_layer_norm.{bias,weight}
decoder.layers.N.final_layer_norm.{bias,weight}
decoder.layers.N.self_attn.{k,out,q,v}_proj.{bias,weight}
decoder.layers.N.self_attn_layer_norm.{bias,weight}
encoder.encoder.layer_norm.{bias,weight}
encoder.encoder.layers.N.final_layer_norm.{bias,weight}
encoder.encoder.layers.N.self_attn.{k,out,q,v}_proj.{bias,weight}
encoder.encoder.layers.N.self_attn_layer_norm.{bias,weight}
encoder.layer_norm.{bias,weight}
length_adaptor.layers.0.{bias,weight}
"""


def expand(text, layers):
    """Write out ``{a,b}`` and the layer numbers ``N`` of a golden list."""
    lines = text.split()
    while any("{" in line or ".N." in line for line in lines):
        done = []
        for line in lines:
            if "{" in line:
                head, rest = line.split("{", 1)
                choices, tail = rest.split("}", 1)
                done += [head + choice + tail for choice in choices.split(",")]
            elif ".N." in line:
                done += [line.replace(".N.", f".{number}.") for number in range(layers[line.split(".")[0]])]
            else:
                done.append(line)
        lines = done
    return set(lines)


@pytest.fixture(scope="module")
def names():
    model = SpeechTranslator(dataclasses.replace(preset("tiny"), heads=ctc_heads(7)))
    return [name for name, _ in model.named_parameters()]


def test_t14_what_lna_trains_is_this_list(names):
    assert set(names) - frozen_names(names, "lna") == expand(GOLDEN_LNA, {"encoder": 6, "decoder": 3})


def test_t14_lna_trains_a_fifth_of_the_published_shape():
    with torch.device("meta"):
        model = SpeechTranslator(ModelConfig())
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    trained = sum(sizes.values()) - sum(sizes[name] for name in frozen_names(sizes, "lna"))
    attention = 4 * (1024 * 1024 + 1024)
    norms = 24 * 2 * 2048 + 2048 + 1024 + 12 * 3 * 2048 + 2 * 2048
    adaptor = 3 * (3 * 1024 * 2048 + 2048)
    assert trained == (24 + 2 * 12) * attention + norms + adaptor


@pytest.mark.parametrize("name", ["encoder", "length-adaptor", "adaptor", "decoder", "ctc", "heads"])
def test_a_set_is_its_part_and_nothing_else(names, name):
    part = {"adaptor": "length_adaptor", "heads": "ctc"}.get(name, name.replace("-", "_"))
    assert frozen_names(names, name) == {other for other in names if other.split(".")[0] == part}


def test_all_sets_find_something(names):
    assert all(frozen_names(names, name) for name in SETS)


def test_rules_add_up_and_expressions_are_searched(names):
    rules = r"ctc,feature-extractor,decoder\.layers\.(0|1)\.fc[12]"
    expected = {
        name
        for name in names
        if name.startswith(("ctc.", "encoder.feature_extractor."))
        or any(f"decoder.layers.{layer}.fc" in name for layer in (0, 1))
    }
    assert frozen_names(names, rules) == expected


def test_commas_inside_brackets_belong_to_the_expression():
    assert split_rules(r"a{1,2}, (b,c) ,[d,e],f\,g,,") == ["a{1,2}", "(b,c)", "[d,e]", r"f\,g"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("fc3", "`freeze`: 'fc3' matches no parameter"),
        ("(", "`freeze`: '\\(' is not a regular expression"),
        ("encoder,adaptor,decoder,ctc", "leaves no parameter to learn"),
    ],
)
def test_t23_a_bad_freeze_names_the_option(names, rules, message):
    with pytest.raises(ConfigError, match=message):
        frozen_names(names, rules)


def test_t23_a_layer_that_the_encoder_lacks_names_the_option():
    with pytest.raises(ConfigError, match="`ctc_layer` is 5; the encoder has layers 1 to 4"):
        ModelConfig(encoder=EncoderConfig(num_layers=4), heads=ctc_heads(7, layer=5))
