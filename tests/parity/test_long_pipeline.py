"""Transcripts of long recordings against transformers' pipeline with chunks and strides, on the same random model.

The pipeline's arithmetic of strides loses or doubles frames, as a chunk of k strides has k - 1 frames, unless the right
stride is more than half of the chunk; and attention over another window gives other logits. So that both are exact, the
right stride is long, and attention adds nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import st
from st.inference import Translator, load_translator
from st.inference.long.pieces import Heard, join_transcripts
from st.inference.long.windows import LongEncoder, measure

LETTERS = "abcdefgh"
OPTIONS = st.LongOptions(vad=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser of random weights, as transformers writes it."""
    folder = tmp_path_factory.mktemp("recogniser")
    torch.manual_seed(3)
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
    config = transformers.Wav2Vec2Config(
        vocab_size=len(symbols), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=[16] * 7, conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = transformers.Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention.out_proj" in name:
                parameter.zero_()
        model.lm_head.weight.normal_(std=1.5)
        model.lm_head.bias[3] = -50.0  # <unk> has no text
        model.lm_head.bias[1:3] = -50.0
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: number for number, symbol in enumerate(symbols)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> Translator:
    return load_translator(folder, device="cpu", keep_all=True)


def speech(seconds: float) -> np.ndarray:
    generator = np.random.default_rng(4)
    frequencies = np.repeat(generator.uniform(100, 4000, int(seconds * 10) + 1), 1600)[: int(seconds * 16_000)]
    tone = np.sin(2 * np.pi * np.cumsum(frequencies) / 16_000)
    return (0.4 * tone + 0.05 * generator.standard_normal(len(tone))).astype(np.float32)


@pytest.mark.parametrize("seconds", [61.3, 47.0])
def test_the_text_is_that_of_the_pipeline(folder: Path, ours: Translator, seconds: float) -> None:
    wave = speech(seconds)
    pipeline = transformers.pipeline(
        "automatic-speech-recognition",
        model=transformers.Wav2Vec2ForCTC.from_pretrained(folder),
        tokenizer=transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder),
        feature_extractor=transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder),
        device="cpu",
    )
    expected = pipeline(wave.copy(), chunk_length_s=20, stride_length_s=(2, 11))["text"]
    result = ours.transcribe_long(wave, options=OPTIONS)
    heard = [piece for piece in result.pieces() if isinstance(piece, Heard)]
    text, _ = join_transcripts(heard)
    assert len(heard) >= 3
    assert len(text) > 100
    assert text == " ".join(expected.split())


def test_the_kept_frames_are_those_of_the_undivided_recording(
    ours: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a frame hears directly is in its window; the tolerance is that of sums in another order."""
    import soundfile

    soundfile.write(tmp_path / "a.wav", speech(60.0), 16_000, subtype="FLOAT")
    wave = measure(tmp_path / "a.wav", 1e-5)
    found = torch.cat(list(LongEncoder(ours).logits(tmp_path / "a.wav", wave)))
    monkeypatch.setattr("st.inference.long.windows.SINGLE_S", 1e9)
    whole = torch.cat(list(LongEncoder(ours).logits(tmp_path / "a.wav", wave)))
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=0)
