"""Who writes transcripts unless somebody says it: the decoder where it was trained to, or else the CTC head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.cli import main
from st.data.config import CONFIG_FILENAME, DataConfig
from st.decoding.options import BeamOptions
from st.errors import ConfigError
from st.inference import TranscriptOptions, load_translator
from st.inference.transcription.choice import settle_transcripts, spoken_languages


@pytest.fixture(scope="module")
def save(tiny_model, tiny_config, tree: Path, tmp_path_factory: pytest.TempPathFactory):
    """Save the tiny model as a training with these directions, which taught the decoder to transcribe or not."""

    def call(*directions: str, transcripts: bool = True) -> Path:
        files = bundle_files(tree)
        files[CONFIG_FILENAME] = DataConfig(directions=directions).to_yaml().encode()
        bundle = {"format": 1, "model_config": tiny_config.to_dict(), "files": files}
        content = {"cfg": {"task": {"add_transcripts": transcripts}}, "task_state": {"st_bundle": bundle}}
        path = tmp_path_factory.mktemp("trained") / "checkpoint.pt"
        torch.save({"model": to_fairseq(tiny_model.state_dict()), **content}, path)
        return path

    return call


@pytest.fixture
def transcribe(recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_NO_TUNE", "1")

    def call(checkpoint: Path, *options: str) -> tuple[str, str]:
        audio = str(recordings / "a.wav")
        assert main(["transcribe", audio, "--checkpoint", str(checkpoint), "--device", "cpu", *options]) == 0
        captured = capsys.readouterr()
        return captured.out, "".join(line for line in captured.err.splitlines(True) if "RTFx" not in line)

    return call


def test_the_decoder_writes_where_it_was_trained_to(save, transcribe) -> None:
    """Its text is that of the option that asks for it, and the language of the training is known."""
    one = save("fr_en", "fr_de")
    asked = transcribe(one, "--lang", "fr", "--joint-ctc-weight", "0.3")
    assert transcribe(one) == asked
    assert "the decoder writes the transcripts, judged by the CTC head with weight 0.3" in asked[1]
    assert transcribe(one, "--lang", "fr", "--writer", "decoder") == asked
    alone = transcribe(one, "--lang", "fr", "--writer", "ctc")
    assert "the CTC head writes the transcripts" in alone[1]
    assert alone[0] == transcribe(save("fr_en", transcripts=False), "--lang", "fr")[0] != asked[0]


def test_it_does_not_where_nobody_says_in_which_language(save, transcribe) -> None:
    several = save("fr_en", "de_en")
    said, logged = transcribe(several)
    assert "the CTC head writes the transcripts; the decoder, which was trained to, would need to know" in logged
    assert said == transcribe(several, "--writer", "ctc")[0]
    assert "the decoder writes" in transcribe(several, "--lang", "de_DE")[1]
    assert "the CTC head writes" in transcribe(several, "--lang", "ja")[1], "a language that it never learned"


def test_an_option_of_the_ctc_head_is_a_choice(save, transcribe) -> None:
    logged = transcribe(save("fr_en"), "--hotword", "mot")[1]
    assert "the CTC head writes" in logged


def test_python_asks_for_it(save) -> None:
    path = save("fr_en")
    wanted = TranscriptOptions(decoder_if_trained=BeamOptions(beam=2))
    found = load_translator(path, device="cpu", transcripts=wanted)
    assert found.transcriber.options.decoder == BeamOptions(beam=2)
    assert found.transcriber.options.language == "fr"
    assert load_translator(path, device="cpu").transcriber.options.decoder is None
    plain = load_translator(save("fr_en", transcripts=False), device="cpu", transcripts=wanted)
    assert plain.transcriber.options == TranscriptOptions()
    with pytest.raises(ConfigError, match="leaves the choice to the model"):
        TranscriptOptions(decoder_if_trained=BeamOptions(), decoder=BeamOptions())


def test_languages_that_are_spoken_are_those_of_the_directions() -> None:
    assert spoken_languages(["fr_en", "de_en", "fr_de"]) == ("fr", "de")
    options = TranscriptOptions(decoder_if_trained=BeamOptions())
    assert settle_transcripts(options, [], decoder_transcribes=True) == TranscriptOptions()


def test_two_choices_at_once_are_refused(checkpoint: Path, recordings: Path, capsys) -> None:
    options = ["--lang", "fr", "--writer", "ctc", "--joint-ctc-weight", "0.3"]
    assert main(["transcribe", str(recordings / "a.wav"), "--checkpoint", str(checkpoint), *options]) == 2
    assert "contradict each other" in capsys.readouterr().err
