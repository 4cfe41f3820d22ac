"""A tiny model with random weights, its vocabularies, a checkpoint that carries all of them, and recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from chirps import make_wave

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.cli import main
from st.data.config import DataConfig
from st.decoding.options import BeamOptions
from st.evaluation.covost2 import CODES
from st.inference import Translator
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces, train_sentencepiece
from st.text.vocabulary import TextVocabulary

SENTENCES = ("der erste Satz", "un deuxième mot", "three small birds", "二つの文", "ещё одно слово", "a second line")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared tree without data: config and vocabularies, with tags for all 22 languages."""
    folder = tmp_path_factory.mktemp("tree")
    spm = train_sentencepiece(SENTENCES, vocab_type="char")
    (folder / "spm.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(CODES)), encoding="utf-8")
    CtcVocabulary.build({"xx": SENTENCES}).save(folder / "ctc_vocab.json")
    DataConfig().save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tree: Path) -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(
            conv_layers=((16, 10, 5), *((16, 3, 2),) * 4, *((16, 2, 2),) * 2),
            dim=32,
            ffn_dim=48,
            num_heads=2,
            num_layers=2,
            pos_conv_kernel=8,
            pos_conv_groups=2,
        ),
        length_adaptor=LengthAdaptorConfig(num_layers=2),
        decoder=DecoderConfig(
            vocab_size=len(TextVocabulary.load(tree)), dim=32, ffn_dim=48, num_heads=2, num_layers=2, max_positions=64
        ),
        heads=ctc_heads(len(CtcVocabulary.load(tree / "ctc_vocab.json"))),
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: ModelConfig) -> SpeechTranslator:
    """Random weights, scaled so that output depends on the audio and ends at different times."""
    torch.manual_seed(5)
    model = SpeechTranslator(tiny_config).eval()
    decoder = model.decoder
    with torch.no_grad():
        model.ctc.proj.weight.mul_(4)
        for convolution in model.length_adaptor.layers:
            convolution.weight.mul_(10)
        decoder.embed_positions.weight.mul_(8)
        for layer in decoder.layers:
            for attention in (layer.encoder_attn, layer.self_attn):
                attention.v_proj.weight.mul_(4)
                attention.q_proj.weight.mul_(3)
        decoder.layer_norm.weight.mul_(1.6)
        decoder.layer_norm.bias.add_(2.0 * decoder.embed_tokens.weight[2])
    return model


@pytest.fixture(scope="session")
def translator(tiny_model: SpeechTranslator, tree: Path) -> Translator:
    options = BeamOptions(beam=3, max_len_b=30)
    return Translator(
        tiny_model, TextVocabulary.load(tree), CtcVocabulary.load(tree / "ctc_vocab.json"), options=options
    )


@pytest.fixture(scope="session")
def checkpoint(tiny_model: SpeechTranslator, tiny_config: ModelConfig, tree: Path) -> Path:
    path = tree / "checkpoint.pt"
    bundle = {"format": 1, "model_config": tiny_config.to_dict(), "files": bundle_files(tree)}
    torch.save({"model": to_fairseq(tiny_model.state_dict()), "task_state": {"st_bundle": bundle}}, path)
    return path


@pytest.fixture
def waves() -> list[np.ndarray]:
    """Eight recordings of 0.2 to 3 seconds, not sorted."""
    return [make_wave(seconds, seed) for seed, seconds in enumerate((1.0, 0.2, 3.0, 0.7, 2.1, 0.4, 1.6, 2.6))]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real files of every kind, and bad ones."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, (name, kind) in enumerate(
        {"a.wav": None, "b.mp3": "MPEG_LAYER_III", "c.flac": None, "d.opus": "OPUS", "late one.wav": None}.items()
    ):
        rate = 48_000 if kind else 16_000
        container = "OGG" if name.endswith("opus") else None
        soundfile.write(folder / name, np.repeat(make_wave(1.0 + 0.3 * number, number), rate // 16_000), rate,
                        subtype=kind, format=container)  # fmt: skip
    soundfile.write(folder / "long.wav", make_wave(30.5), 16_000)
    soundfile.write(folder / "short.wav", make_wave(0.02), 16_000)
    soundfile.write(folder / "empty.wav", np.zeros(0, dtype=np.float32), 16_000)
    (folder / "page.mp3").write_text("<html>404 not found</html>")
    return folder


@pytest.fixture
def run(checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command in the folder of the recordings; return exit code, standard output and standard error."""
    monkeypatch.setenv("ST_NO_TUNE", "1")
    monkeypatch.chdir(recordings)

    def call(command: str, *arguments: str) -> tuple[int, str, str]:
        options = ["--max-len-b", "20", "--beam", "2"] if command == "translate" else []
        code = main([command, "--checkpoint", str(checkpoint), "--device", "cpu", *options, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
