"""Every setting of the reference classes, changed in a model that is otherwise valid, against the reference itself.

Where the reference's output changes, ours is the same, or the model is refused by a sentence that names the setting.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import re

import pytest
import reference_models as ref
import torch
import transformers
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Adapter

from st import load
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.to_fairseq import write_fairseq
from st.checkpoints.formats.to_transformers import write_transformers
from st.errors import StError
from st.modules.config import LengthAdaptorConfig
from st.modules.length_adaptor import LengthAdaptor
from st.modules.model import SpeechTranslator
from st.text.sentencepiece_training import mbart50_tags, model_pieces

CLOSE = {"atol": 1e-5, "rtol": 0}
LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]

# Values that a rule by type would not find: names of functions, numbers that must divide others.
OTHER = {
    "hidden_act": "relu",
    "feat_extract_activation": "relu",
    "activation_function": "gelu",
    "activation_fn": "relu",
    "feat_extract_norm": "group",
    "extractor_mode": "default",
    "layer_type": "conformer",
    "blank_mode": "set",
    "num_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_attention_heads": 8,
    "num_conv_pos_embedding_groups": 2,
    "conv_pos_groups": 2,
    "conv_stride": [5, 2, 2, 2, 2, 2, 1],
    "conv_feature_layers": "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] + [(32,2,1)]",
    "adapter_act": "gelu",
    "adapter_kernel_size": 5,
    "adaptor_kernel_size": 5,
    "adapter_attn_dim": 8,
    "output_hidden_size": 64,
    "crop_seq_to_multiple": 5,
    "blank_weight": 1.5,
    "layer_norm_eps": 1e-3,
}
# They decide where numbers are computed, what is kept beside them, or which file is read first: never the function.
NO_FUNCTION = re.compile(
    r"_name|dtype|architectures|.*_version|.*path|data|w2v_args|load_.*|.*checkpoint.*|.*freez.*|arch"
)


def another(name, value):
    """Return another value of a setting, None if there is none to try."""
    if name in OTHER:
        return OTHER[name] if OTHER[name] != value else {"relu": "gelu"}.get(value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 or type(value)(1)
    return None


def flips(settings):
    found = ((name, another(name, value)) for name, value in settings.items() if not NO_FUNCTION.fullmatch(name))
    return [(name, value) for name, value in found if value is not None]


def same(one, two):
    return one.shape == two.shape and torch.allclose(one, two, **CLOSE)


def compare(name, expected, base, ours):
    """Return what our loader did about a setting, from outputs of the reference with and without it, and ours."""
    if same(expected, base):
        return "has no effect"
    try:
        found, sentence = ours(), name
    except StError as exc:
        found, sentence = None, str(exc)
    assert name in sentence, f"{name} has an effect, and is refused without a word of it: {sentence}"
    assert found is None or same(found, expected), f"{name} has an effect and is dropped"
    return "refused" if found is None else "followed"


# -- transformers -------------------------------------------------------------------------------------------------------

WAVES = ref.waves([4000])
TOKENS = torch.tensor([[2, 9, 5, 7, 11]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    spm = ref.make_spm()
    size = len(model_pieces(spm)) + 4 + len(mbart50_tags())
    root = tmp_path_factory.mktemp("settings")
    ref.save_speech_translator(ref.speech_translator(size), root / "st", spm)
    torch.manual_seed(0)
    ref.perturb(transformers.Wav2Vec2ForCTC(ref.wav2vec2_config(vocab_size=len(LABELS)))).save_pretrained(root / "ctc")
    (root / "ctc" / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(LABELS)}))
    wavlm = {key: value for key, value in ref.wav2vec2_config().to_diff_dict().items() if key != "model_type"}
    wavlm = transformers.WavLMConfig(**wavlm | {"vocab_size": len(LABELS), "num_buckets": 16, "max_bucket_distance": 9})
    ref.perturb(transformers.WavLMForCTC(wavlm)).save_pretrained(root / "wavlm")
    bert = transformers.Wav2Vec2BertConfig(
        hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(LABELS),
        output_hidden_size=48, add_adapter=True, num_adapter_layers=2, conv_depthwise_kernel_size=5,
    )  # fmt: skip
    ref.perturb(transformers.Wav2Vec2BertForCTC(bert)).save_pretrained(root / "bert")
    for name in ("wavlm", "bert"):
        (root / name / "vocab.json").write_bytes((root / "ctc" / "vocab.json").read_bytes())
    mbart = ref.mbart_config(size)
    ref.perturb(transformers.MBartForConditionalGeneration(mbart)).save_pretrained(root / "mbart")
    (root / "mbart" / "sentencepiece.bpe.model").write_bytes(spm)
    return root


@torch.no_grad()
def of_translator(model):
    if isinstance(model, transformers.PreTrainedModel):
        return model(inputs=WAVES[0], decoder_input_ids=TOKENS).logits
    return model(*WAVES, TOKENS)


@torch.no_grad()
def of_ctc(model):
    if isinstance(model, transformers.PreTrainedModel):
        return model(WAVES[0]).logits
    return model.ctc_logits(model.encode(*WAVES))


@torch.no_grad()
def of_bert(model):
    """Compare from the spectrogram on, which the reference rounds in its own way."""
    features = torch.randn(1, 12, 160, generator=torch.Generator().manual_seed(4))
    if isinstance(model, transformers.PreTrainedModel):
        return model(features).logits
    encoder, frames = model.encoder, torch.tensor([features.size(1)])
    states, _ = encoder.encoder(encoder.post_extract_proj(encoder.layer_norm(features)), frames)
    for layer in encoder.pooling:
        states, frames = layer(states, frames)
    return model.ctc.proj(states)


@torch.no_grad()
def of_decoder(model):
    memory = torch.randn(1, 9, 48, generator=torch.Generator().manual_seed(4))
    if isinstance(model, transformers.PreTrainedModel):
        states = model.model.decoder(input_ids=TOKENS, encoder_hidden_states=memory).last_hidden_state
        return model.lm_head(states)
    return model.decoder(TOKENS, memory, torch.tensor([9]))


def rebuilt(kind, settings, state):
    """Return the reference's model of other settings and the same tensors; None if they do not go together."""
    try:
        model = kind(kind.config_class.from_dict(settings))
        model.load_state_dict(state)
    except Exception:  # whatever its own checks raise
        return None
    return model.eval()


@pytest.mark.parametrize(
    ("name", "kind", "output", "parts", "followed", "refused"),
    [
        ("st", transformers.SpeechEncoderDecoderModel, of_translator, ("", "encoder", "decoder"),
         {"activation_function", "scale_embedding", "num_attention_heads", "decoder_attention_heads", "conv_stride", "adapter_stride",
          "do_stable_layer_norm"},
         {"hidden_act", "feat_extract_activation", "layer_norm_eps"}),
        ("ctc", transformers.Wav2Vec2ForCTC, of_ctc, ("",),
         {"num_attention_heads", "conv_stride", "do_stable_layer_norm"},
         {"hidden_act", "feat_extract_activation", "layer_norm_eps"}),
        ("wavlm", transformers.WavLMForCTC, of_ctc, ("",),
         {"max_bucket_distance", "conv_stride", "do_stable_layer_norm"}, {"hidden_act", "feat_extract_activation", "layer_norm_eps"}),
        ("bert", transformers.Wav2Vec2BertForCTC, of_bert, ("",),
         set(), {"hidden_act", "layer_norm_eps", "adapter_stride", "adapter_act"}),
        ("mbart", transformers.MBartForConditionalGeneration, of_decoder, ("",),
         {"activation_function", "scale_embedding", "decoder_attention_heads"}, set()),
    ],
    ids=["st", "ctc", "wavlm", "bert", "mbart"],
)  # fmt: skip
def test_fault_08_no_setting_of_transformers_is_dropped(
    folders, tmp_path, name, kind, output, parts, followed, refused
):
    for file in (folders / name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folders / name / "config.json").read_text())
    model = kind.from_pretrained(tmp_path)
    base, state = output(model), model.state_dict()
    done = {}
    for part in parts:
        own = settings[part] if part else settings
        for key, value in flips(own):
            changed = settings | ({part: own | {key: value}} if part else {key: value})
            (tmp_path / "config.json").write_text(json.dumps(changed))
            model = rebuilt(kind, changed, state)
            if model is not None:
                try:
                    expected = output(model)
                except RuntimeError:  # it opens, and computes nothing
                    continue
                done[key] = compare(key, expected, base, lambda: output(load(tmp_path).model))
    assert followed <= {key for key, what in done.items() if what == "followed"}
    assert refused <= {key for key, what in done.items() if what == "refused"}
    assert len(done) > 15


# A value that asks for something, and what the sentence names; None where the caller's language and limits count.
GENERATION = {
    "decoder_start_token_id": (0, "refused"),
    "eos_token_id": (5, "refused"),
    "num_beams": (2, "named"),
    "length_penalty": (0.2, "named"),
    "no_repeat_ngram_size": (3, "named"),
    "repetition_penalty": (1.2, "named"),
    "encoder_no_repeat_ngram_size": (2, "named"),
    "suppress_tokens": ([7], "named"),
    "begin_suppress_tokens": ([7], "named"),
    "bad_words_ids": ([[7]], "named"),
    "min_length": (9, "named"),
    "max_length": (5, "named"),
    "max_new_tokens": (5, "named"),
    "do_sample": (True, "named"),
    "forced_bos_token_id": (6, "asked anew"),
    "forced_eos_token_id": (7, "only at the limit"),
    "pad_token_id": (4, "only after the end"),
}


def test_fault_08_settings_of_generation_are_followed_refused_or_named(folders, tmp_path, caplog):
    for file in (folders / "st").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "generation_config.json"
    given = json.loads(path.read_text())
    with caplog.at_level(logging.WARNING, logger="st"):
        load(tmp_path)
    assert not caplog.records
    for name, (value, what) in GENERATION.items():
        path.write_text(json.dumps(given | {name: value}))
        caplog.clear()
        if what == "refused":
            with pytest.raises(StError, match=rf"generation_config\.json: {name} is {value}; expected 2"):
                load(tmp_path)
            continue
        with caplog.at_level(logging.WARNING, logger="st"):
            load(tmp_path)
        assert [name in record.getMessage() for record in caplog.records] == ([True] if what == "named" else [])


@pytest.mark.parametrize(
    ("generation", "top", "decoder", "begins"),
    [(None, 5, 2, 5), (None, None, 6, 6), (None, None, None, 0), ({}, 2, 2, 0), ({"decoder_start_token_id": 2}, 5, 2, 2),
     (None, None, 2, 2), ({"decoder_start_token_id": 2}, None, 7, 2)],
)  # fmt: skip
def test_fault_08_a_folder_that_begins_with_another_token_is_refused(
    folders, tmp_path, generation, top, decoder, begins
):
    """The first token is where transformers finds it: in the generation config alone if there is one."""
    for file in (folders / "st").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["decoder"]["decoder_start_token_id"], settings["decoder_start_token_id"] = decoder, top
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "generation_config.json").unlink()
    if generation is not None:
        ends = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        (tmp_path / "generation_config.json").write_text(json.dumps(ends | generation))
    theirs = transformers.SpeechEncoderDecoderModel.from_pretrained(tmp_path)
    assert int(theirs.generate(WAVES[0], max_new_tokens=1, num_beams=1)[0, 0]) == begins
    if begins == 2 and top in (2, None):
        load(tmp_path)
    else:
        with pytest.raises(StError, match=r"decoder_start_token_id is .*expected 2"):
            load(tmp_path)


@pytest.mark.parametrize("kernel", [1, 5])
def test_fault_08_other_kernels_of_the_adapter_are_refused_both_ways(folders, tmp_path, kernel):
    theirs = ref.wav2vec2_config(add_adapter=True, adapter_kernel_size=kernel, num_adapter_layers=2)
    ours = LengthAdaptor(LengthAdaptorConfig(num_layers=2, kernel_size=kernel), 48, 48).eval()
    adapter = Wav2Vec2Adapter(theirs).eval()
    adapter.load_state_dict({re.sub(r"(layers.\d)", r"\1.conv", k): v for k, v in ours.state_dict().items()})
    states = torch.randn(1, 21, 48)
    with torch.no_grad():
        one, two = ours(states, torch.tensor([21]))[0], adapter(states)
    assert one.shape != two.shape or not torch.allclose(one, two, atol=0.01)  # so that neither can stand for the other
    for file in (folders / "st").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["encoder"]["adapter_kernel_size"] = kernel
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(StError, match=f"adapter_kernel_size is {kernel}, expected 3"):
        load(tmp_path)
    bundle = load(folders / "st")
    config = bundle.model.config
    for changes, message in (
        ({"kernel_size": kernel}, f"kernel_size is {kernel}; expected 3"),
        ({"project": True}, "projects from a width of 48 to the same"),
    ):
        model = SpeechTranslator(
            dataclasses.replace(config, length_adaptor=dataclasses.replace(config.length_adaptor, **changes))
        )
        exported = Exported(
            config=model.config, state=model.state_dict(), text=bundle.text, labels={}, data=bundle.config
        )
        with pytest.raises(StError, match=message):
            write_transformers(exported, tmp_path / "out")
        assert not [*(tmp_path / "out").iterdir()]
        # What an earlier version wrote is still opened as the function that it was.
        write_fairseq(exported, tmp_path / "kept.pt")
        assert load(tmp_path / "kept.pt").model.config == model.config


# -- fairseq ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def of_wav2vec2(model):
    if isinstance(model, SpeechTranslator):
        return model.encode(*WAVES).states
    return model.extract_features(WAVES[0], None)["x"]


@torch.no_grad()
def of_wav2vec_ctc(model):
    if isinstance(model, SpeechTranslator):
        return of_ctc(model)
    return model.get_logits(model(source=WAVES[0], padding_mask=None)).transpose(0, 1)


@torch.no_grad()
def of_xm(model):
    return model(*WAVES, TOKENS) if isinstance(model, SpeechTranslator) else model(*WAVES, TOKENS)[0]


def build_ctc(settings):
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc
    from omegaconf import OmegaConf

    config = OmegaConf.merge(OmegaConf.structured(Wav2Vec2CtcConfig), settings)
    return Wav2VecCtc.build_model(config, argparse.Namespace(target_dictionary=ref.fairseq_dictionary(LABELS[4:])))


def known(config_class):
    """Return the defaults of a configuration of fairseq, as plain values."""
    return {item.name: item.default for item in dataclasses.fields(config_class)}


def fairseq_case(name):
    """Return settings, how the reference is built of them, and what is compared."""
    pytest.importorskip("fairseq")
    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig

    if name == "wav2vec2":
        return known(Wav2Vec2Config) | ref.w2v_settings(), ref.fairseq_wav2vec2, of_wav2vec2
    if name == "wav2vec_ctc":
        speech = vars(ref.xm_settings())["w2v_args"]
        given = {"w2v_path": "", "w2v_args": speech, "normalize": True, "data": "", "ddp_backend": "pytorch_ddp"}
        return known(Wav2Vec2CtcConfig) | given | {"blank_weight": 0.5}, build_ctc, of_wav2vec_ctc
    spm = ref.make_spm()
    symbols = [*model_pieces(spm), *mbart50_tags()]
    args = ref.xm_settings()
    patched = {"cross_self_attention": False, "no_cross_attention": False, "no_decoder_final_norm": False}
    return vars(args) | patched, lambda found: ref.build_fairseq_xm(argparse.Namespace(**found), symbols), of_xm


@pytest.mark.parametrize(
    ("name", "followed", "refused"),
    [
        ("wav2vec2", {"encoder_attention_heads", "conv_feature_layers", "layer_norm_first"},
         {"activation_fn", "crop_seq_to_multiple"}),
        ("wav2vec_ctc", {"blank_weight", "blank_mode"}, set()),
        ("xm_transformer", {"activation_fn", "decoder_attention_heads", "no_scale_embedding", "adaptor_stride"},
         {"cross_self_attention", "adaptor_layernorm"}),
    ],
)  # fmt: skip
def test_fault_08_no_setting_of_fairseq_is_dropped(tmp_path, name, followed, refused):
    settings, build, output = fairseq_case(name)
    model = ref.perturb(build(settings))
    base, state = output(model), model.state_dict()
    (tmp_path / "sentencepiece.bpe.model").write_bytes(ref.make_spm())
    (tmp_path / "dict.ltr.txt").write_text("".join(f"{symbol} 1\n" for symbol in LABELS[4:]))
    done = {}
    for key, value in flips(settings):
        changed = settings | {key: value}
        try:
            model = build(changed)
            model.load_state_dict({**state}, strict=key != "adaptor_layernorm")
            expected = output(model.eval())
        except Exception:  # settings that do not go together, or tensors of another shape
            continue
        plain = changed if name != "xm_transformer" else argparse.Namespace(**changed)
        torch.save({"cfg": {"model": plain, "task": {"normalize": True}}, "model": state}, tmp_path / "model.pt")
        done[key] = compare(key, expected, base, lambda: output(load(tmp_path / "model.pt").model))
    assert followed <= {key for key, what in done.items() if what == "followed"}
    assert refused <= {key for key, what in done.items() if what == "refused"}
