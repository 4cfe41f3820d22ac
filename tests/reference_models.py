"""Random models of the published kinds, made with the reference implementations (transformers, fairseq), and their files.

Sizes are tiny unless a shape is given. Layer norms and biases are moved away from 1 and 0, where a mix-up would not show.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import io
import json
import logging
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import nn

CONV_LAYERS = ((32, 10, 5), *((32, 3, 2),) * 4, *((32, 2, 2),) * 2)
CONV_TEXT = "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] + [(32,2,2)]"
SPEECH = {"dim": 48, "ffn": 96, "heads": 4, "layers": 2, "kernel": 16, "groups": 4}
TEXT = {"dim": 48, "ffn": 80, "heads": 4, "layers": 2, "positions": 64}


def perturb(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every parameter a little; wide matrices less, so that deep models of true size stay in range."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            width = parameter.shape[1] if parameter.dim() > 1 else 1
            size = 0.05 * min(1.0, (128 / width) ** 0.5)
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def sharpen(model: nn.Module, *, sharpness: float = 1.6, eos_bias: float = 2.7) -> nn.Module:
    """Scale a random decoder so that tokens depend on memory and history, and sentences end at different lengths.

    Untouched random weights give flat distributions: everything would run into the length limit. Works on our names,
    fairseq's and transformers'.
    """
    named = dict(model.named_parameters())
    head = next(name for name in named if name.endswith("embed_positions.weight")).removesuffix(
        "embed_positions.weight"
    )
    with torch.no_grad():
        named[f"{head}embed_positions.weight"].mul_(16)
        for name, parameter in named.items():
            if name.startswith(f"{head}layers.") and "attn." in name:
                parameter.mul_(4 if name.endswith("v_proj.weight") else 3 if name.endswith("q_proj.weight") else 1)
            if name.startswith(f"{head}layers.") and name.endswith("fc2.weight"):
                parameter.mul_(2)
        named[f"{head}layer_norm.weight"].mul_(sharpness)
        embeddings = named.get(f"{head}embed_tokens.weight", named.get("decoder.lm_head.weight"))
        named[f"{head}layer_norm.bias"].add_(eos_bias * embeddings[2])
    return model


def make_spm(size: int = 120, *, normalisation: str = "nmt_nfkc") -> bytes:
    """Train a SentencePiece model that begins with ``<unk> <s> </s>``, as mBART's."""
    words = [
        "speech",
        "translation",
        "of",
        "many",
        "languages",
        "into",
        "many",
        "others",
        "with",
        "one",
        "model",
        "and",
        "little",
        "data",
    ]
    sentences = [
        f"{words[i % 14]} {words[(i * 5 + 3) % 14]} {i} {words[(i * 11) % 14]} {chr(97 + i % 26)}" for i in range(400)
    ]
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=sink, vocab_size=size, character_coverage=1.0, minloglevel=2,
        num_threads=1, hard_vocab_limit=False, normalization_rule_name=normalisation,
    )  # fmt: skip
    return sink.getvalue()


def waves(lengths: list[int], seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardised random waves ``(N, T)``, padded with zeros, and their lengths."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths, strict=True):
        wave = torch.randn(length, generator=generator)
        row[:length] = (wave - wave.mean()) / wave.std(unbiased=False)
    return batch, torch.tensor(lengths)


# -- transformers -------------------------------------------------------------------------------------------------------


def wav2vec2_config(shape: dict[str, int] = SPEECH, conv_layers: tuple = CONV_LAYERS, **changes: Any) -> Any:
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(**{
        "hidden_size": shape["dim"], "intermediate_size": shape["ffn"], "num_attention_heads": shape["heads"],
        "num_hidden_layers": shape["layers"], "num_conv_pos_embeddings": shape["kernel"],
        "num_conv_pos_embedding_groups": shape["groups"], "conv_dim": [c for c, _, _ in conv_layers],
        "conv_kernel": [k for _, k, _ in conv_layers], "conv_stride": [s for _, _, s in conv_layers],
        "conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "mask_time_prob": 0.075,
        "hidden_dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0, "feat_proj_dropout": 0.0,
        "num_codevectors_per_group": 8, "codevector_dim": 16, "proj_codevector_dim": 16, **changes,
    })  # fmt: skip


POST_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
"""Settings of base models, which differ from XLS-R's."""


def family_config(stem: str, shape: dict[str, int] = SPEECH, conv_layers: tuple = CONV_LAYERS, **changes: Any) -> Any:
    """Return a relative's config of the tiny size: its own defaults, and XLS-R's settings where it has the same."""
    import transformers

    kind = getattr(transformers, f"{stem}Config")
    known, xlsr = kind().to_dict(), wav2vec2_config(shape, conv_layers).to_diff_dict()
    given = {key: value for key, value in xlsr.items() if key in known and key not in ("model_type", "architectures")}
    return kind(**given | changes)


def w2v_bert_config(**changes: Any) -> Any:
    """Return a Wav2Vec2BertConfig of the tiny size."""
    from transformers import Wav2Vec2BertConfig

    return Wav2Vec2BertConfig(**{
        "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "conv_depthwise_kernel_size": 5, "output_hidden_size": 48, "layerdrop": 0.0, **changes,
    })  # fmt: skip


def mbart_config(vocab_size: int, shape: dict[str, int] = TEXT, **changes: Any) -> Any:
    from transformers import MBartConfig

    return MBartConfig(**{
        "vocab_size": vocab_size, "d_model": shape["dim"], "max_position_embeddings": shape["positions"],
        "decoder_layers": shape["layers"], "decoder_ffn_dim": shape["ffn"], "decoder_attention_heads": shape["heads"],
        "encoder_layers": shape["layers"], "encoder_ffn_dim": 32, "encoder_attention_heads": shape["heads"],
        "activation_function": "relu", "scale_embedding": True, "dropout": 0.0, **changes,
    })  # fmt: skip


def speech_translator(vocab_size: int, *, speech: dict[str, int] = SPEECH, text: dict[str, int] = TEXT,
                      conv_layers: tuple = CONV_LAYERS) -> Any:  # fmt: skip
    """Return a SpeechEncoderDecoderModel; differing widths give it the projection of the 1B and 2B models."""
    from transformers import SpeechEncoderDecoderConfig, SpeechEncoderDecoderModel

    torch.manual_seed(0)
    encoder = wav2vec2_config(speech, conv_layers, add_adapter=True, num_adapter_layers=3, adapter_kernel_size=3,
                              adapter_stride=2, output_hidden_size=text["dim"])  # fmt: skip
    decoder = mbart_config(vocab_size, text, is_decoder=True, add_cross_attention=True)
    config = SpeechEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.pad_token_id, config.decoder_start_token_id, config.eos_token_id = 1, 2, 2
    model = perturb(SpeechEncoderDecoderModel(config))
    model.generation_config.update(decoder_start_token_id=2, pad_token_id=1, eos_token_id=2, bos_token_id=0)
    return model


def save_speech_translator(model: Any, folder: Path, spm: bytes, **options: Any) -> Path:
    """Write a folder like those of facebook/wav2vec2-xls-r-*-21-to-en."""
    model.save_pretrained(folder, **options)
    (folder / "sentencepiece.bpe.model").write_bytes(spm)
    processor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def opens_without_a_word(kind: Any, folder: Path, caplog: Any) -> Any:
    """Open a folder with transformers; what it would warn of is an error."""
    logging.getLogger("transformers").propagate = True
    caplog.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert not [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    return model.eval()


# -- fairseq ------------------------------------------------------------------------------------------------------------


def w2v_settings(shape: dict[str, int] = SPEECH, conv_text: str = CONV_TEXT) -> dict[str, Any]:
    return {
        "_name": "wav2vec2", "extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True,
        "conv_feature_layers": conv_text, "encoder_layers": shape["layers"], "encoder_embed_dim": shape["dim"],
        "encoder_ffn_embed_dim": shape["ffn"], "encoder_attention_heads": shape["heads"],
        "conv_pos": shape["kernel"], "conv_pos_groups": shape["groups"], "activation_fn": "gelu",
        "quantize_targets": True, "latent_vars": 8, "latent_groups": 2, "final_dim": 16, "dropout": 0.0,
        "attention_dropout": 0.0, "activation_dropout": 0.0, "encoder_layerdrop": 0.0,
    }  # fmt: skip


def fairseq_wav2vec2(settings: dict[str, Any]) -> Any:
    """Build fairseq's pre-training model from settings."""
    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    known = {key: value for key, value in settings.items() if key != "_name"}
    return perturb(Wav2Vec2Model(OmegaConf.merge(OmegaConf.structured(Wav2Vec2Config), known)))


def save_fairseq_wav2vec2(path: Path, settings: dict[str, Any] | None = None, **save: Any) -> Any:
    """Write a file like xlsr2_300m.pt and return the model."""
    settings = settings or w2v_settings()
    model = fairseq_wav2vec2(settings)
    task = {"_name": "audio_pretraining", "data": "/checkpoint/nobody/data", "normalize": True, "sample_rate": 16000}
    content = {"args": None, "cfg": {"model": settings, "task": task}, "model": model.state_dict(),
               "extra_state": {"epoch": 1}, "last_optimizer_state": None}  # fmt: skip
    torch.save(content, path, **save)
    return model


FAIRSEQ_RELATIVES = {
    "hubert": ("fairseq.models.hubert.hubert", "HubertConfig", "HubertModel"),
    "data2vec_audio": ("fairseq.examples.data2vec.models.data2vec_audio", "Data2VecAudioConfig", "Data2VecAudioModel"),
}
"""Relatives of wav2vec 2.0 by their names in fairseq: module, configuration and model."""


def fairseq_defaults(config_class: Any) -> dict[str, Any]:
    """Return the defaults of a configuration of fairseq that are plain values."""
    fields = {item.name: item.default for item in dataclasses.fields(config_class)}
    plain = (int, float, str, tuple, type(None))
    return {name: value for name, value in fields.items() if isinstance(value, plain) and "${" not in str(value)}


def relative_settings(name: str, **changes: Any) -> dict[str, Any]:
    """Return all settings of a model of :data:`FAIRSEQ_RELATIVES` of the tiny size."""
    module, config, _ = FAIRSEQ_RELATIVES[name]
    usual = {"pos_conv_depth": 3, "conv_pos": 15} if name == "data2vec_audio" else {"label_rate": 50.0}
    known = fairseq_defaults(getattr(importlib.import_module(module), config))
    return known | w2v_settings() | usual | changes | {"_name": name}


def fairseq_relative(settings: dict[str, Any]) -> Any:
    """Build a model of settings as of :func:`relative_settings`, with random weights."""
    name = settings["_name"]
    module, _, kind = FAIRSEQ_RELATIVES[name]
    inputs = (argparse.Namespace(sample_rate=16000), [fairseq_dictionary(["1", "2"])]) if name == "hubert" else ()
    torch.manual_seed(0)
    model = getattr(importlib.import_module(module), kind)(argparse.Namespace(**settings), *inputs)
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_()
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return perturb(model)


def patch_fairseq() -> None:
    """Make stock fairseq's speech-to-text models importable on today's torchaudio."""
    sys.modules.setdefault("torchaudio.sox_effects", types.ModuleType("torchaudio.sox_effects"))


def xm_settings(
    speech: dict[str, int] = SPEECH, text: dict[str, int] = TEXT, conv_text: str = CONV_TEXT
) -> argparse.Namespace:
    """Return the arguments of an ``xm_transformer`` of the released kind, its wav2vec 2.0 settings inside."""
    from omegaconf import OmegaConf

    # Interpolations of fairseq's dataclasses are resolved in real files.
    task = {"_name": "audio_pretraining", "data": "/checkpoint/nobody", "normalize": True, "tpu": False,
            "precompute_mask_config": None, "text_compression_level": "none"}  # fmt: skip
    w2v_args = OmegaConf.create({"model": w2v_settings(speech, conv_text), "task": task})
    projected = speech["dim"] != text["dim"]
    return argparse.Namespace(
        arch="xm_transformer", w2v_path=None, w2v_args=w2v_args, encoder_embed_dim=speech["dim"], normalize=True,
        no_pretrained_weights=False, decoder_embed_dim=text["dim"], decoder_ffn_embed_dim=text["ffn"],
        decoder_attention_heads=text["heads"], decoder_layers=text["layers"], max_target_positions=text["positions"],
        decoder_normalize_before=True, decoder_learned_pos=True, layernorm_embedding=True,
        share_decoder_input_output_embed=True, activation_fn="relu", no_scale_embedding=False, adaptor_n_layers=3,
        adaptor_kernel_size=3, adaptor_stride=2, adaptor_proj=projected, adaptor_layernorm=False, encoder_proj=False,
        load_ema=False, freeze_regex=None, is_d2v_multi=False, required_seq_len_multiple=1, remove_weight_norm=False,
        finetune_w2v_params="all", finetune_decoder_params="all", max_source_positions=400000, data="/checkpoint/data",
        checkpoint_activations=False, offload_activations=False, min_params_to_wrap=1, decoder_layerdrop=0.0,
        dropout=0.0, attention_dropout=0.0, layerdrop=0.0, decoder_dropout=0.0, w2v_freezing_updates=None,
    )  # fmt: skip


def fairseq_dictionary(symbols: list[str]) -> Any:
    from fairseq.data import Dictionary

    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    return dictionary


def fairseq_xm(args: argparse.Namespace, symbols: list[str]) -> Any:
    """Build stock fairseq's ``xm_transformer`` with random weights; see :func:`build_fairseq_xm`."""
    return perturb(build_fairseq_xm(args, symbols))


def build_fairseq_xm(args: argparse.Namespace, symbols: list[str]) -> Any:
    """Build stock fairseq's ``xm_transformer``; its wide variants with the adaptor that the released files have."""
    patch_fairseq()
    from fairseq.models.speech_to_text.xm_transformer import Conv1dAdaptor, XMTransformerModel

    torch.manual_seed(0)
    task = argparse.Namespace(target_dictionary=fairseq_dictionary(symbols), multitask_tasks={})
    model = XMTransformerModel.build_model(args, task)
    if args.adaptor_proj:
        width = args.decoder_embed_dim
        model.encoder.adaptor = Conv1dAdaptor(width, width, n_layers=3, kernel_size=3, stride=2, proj=False)
    return model
