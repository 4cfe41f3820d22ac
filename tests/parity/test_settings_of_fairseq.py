"""Every setting of fairseq's classes, changed in a model that is otherwise valid, against fairseq itself.

Where its output changes, ours is the same, or the file is refused by a sentence that names the setting.
"""

from __future__ import annotations

import argparse

import pytest
import reference_models as ref
import torch
from settings_fuzz import compare, flips

from st import load
from st.modules.model import SpeechTranslator
from st.text.sentencepiece_training import mbart50_tags, model_pieces

pytest.importorskip("fairseq")

LETTERS = [*"|etaoins"]
WAVES = ref.waves([4000])
TOKENS = torch.tensor([[2, 9, 5, 7, 11]])


@torch.no_grad()
def of_encoder(model):
    if isinstance(model, SpeechTranslator):
        return model.encode(*WAVES).states
    output = model.extract_features(WAVES[0], None, mask=False)
    return output["x"] if isinstance(output, dict) else output[0]


@torch.no_grad()
def of_wav2vec_ctc(model):
    if isinstance(model, SpeechTranslator):
        return model.ctc_logits(model.encode(*WAVES))
    return model.get_logits(model(source=WAVES[0], padding_mask=None)).transpose(0, 1)


@torch.no_grad()
def of_xm(model):
    return model(*WAVES, TOKENS) if isinstance(model, SpeechTranslator) else model(*WAVES, TOKENS)[0]


def build_ctc(settings):
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc
    from omegaconf import OmegaConf

    config = OmegaConf.merge(OmegaConf.structured(Wav2Vec2CtcConfig), settings)
    return Wav2VecCtc.build_model(config, argparse.Namespace(target_dictionary=ref.fairseq_dictionary(LETTERS)))


def fairseq_case(name):
    """Return settings, how the reference is built of them, and what is compared."""
    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig

    if name == "wav2vec2":
        return ref.fairseq_defaults(Wav2Vec2Config) | ref.w2v_settings(), ref.fairseq_wav2vec2, of_encoder
    if name in ref.FAIRSEQ_RELATIVES:
        return ref.relative_settings(name), ref.fairseq_relative, of_encoder
    if name == "wav2vec_ctc":
        speech = vars(ref.xm_settings())["w2v_args"]
        given = {"w2v_path": "", "w2v_args": speech, "normalize": True, "data": "", "ddp_backend": "pytorch_ddp"}
        return ref.fairseq_defaults(Wav2Vec2CtcConfig) | given | {"blank_weight": 0.5}, build_ctc, of_wav2vec_ctc
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
        ("hubert", {"encoder_attention_heads", "conv_feature_layers", "layer_norm_first"}, {"activation_fn"}),
        ("data2vec_audio", {"encoder_attention_heads", "conv_feature_layers"}, {"activation_fn"}),
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
    (tmp_path / "dict.ltr.txt").write_text("".join(f"{symbol} 1\n" for symbol in LETTERS))
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
