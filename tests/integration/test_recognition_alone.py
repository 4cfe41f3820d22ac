"""Data and models of recognition alone: no translation, no decoder, no vocabulary of one; WER and CER are what is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest_integration import run, training
from evaluation_oracle import (
    CONFIG,
    DIRECTIONS,
    NUM_CLIPS,
    Oracle,
    data_fixture,  # noqa: F401
    sentence,
    tree,
)
from reference_models import perturb, wav2vec2_config
from tone_tree import sentence as spoken
from tone_tree import wave

from st import load
from st.audio.reading import encode_flac
from st.cli import main
from st.data.config import DataConfig
from st.data.manifest import read_manifest, write_manifest
from st.errors import EvaluationError, UsageError
from st.evaluation.corpus import choose_directions
from st.evaluation.evaluate import evaluate
from st.evaluation.scoring.hypotheses import read_hypotheses
from st.text.ctc_vocabulary import CtcVocabulary

# -- with a model whose answers are known ---------------------------------------------------------------------------


def transcripts_alone(data: Path) -> Path:
    """Make the tree one of French transcripts, as `st prepare` lays it out."""
    rows = [replace(row, tgt_text=row.src_text, tgt_lang="fr") for row in read_manifest(data / "test_fr_en.tsv")]
    write_manifest(data / "asr_test_fr.tsv", rows)
    for path in data.glob("test_*.tsv"):
        path.unlink()
    DataConfig(directions=("fr_fr",)).save(data)
    return data


@pytest.mark.parametrize("subset", ["test", "asr_test", "asr_test_fr", "test_fr_fr"])
def test_a_tree_of_transcripts_has_error_rates_alone(data: Path, tmp_path: Path, subset: str) -> None:
    transcripts_alone(data)
    directions = choose_directions(data, "all", subset)
    assert directions == ("fr_fr",)
    oracle = Oracle()
    report = evaluate(oracle, data, directions, tmp_path / "out", replace(CONFIG, subset=subset))
    assert sum(map(len, oracle.batches)) == NUM_CLIPS
    assert (report.directions, report.averages, report.average_bleu) == ({}, {}, None)
    assert (report.asr["fr"].wer, report.asr["fr"].n) == (0.0, NUM_CLIPS)
    assert sorted(tree(tmp_path / "out")) == [
        "flags.tsv",
        "report.html",
        "report.json",
        "report.md",
        "transcripts/fr.tsv",
    ]
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.replace("\\", "").startswith(f"# Speech recognition, {subset}\n")
    assert "| fr | French | 0.0 | 0.0 | 6 |" in page
    assert not any(word in page for word in ("BLEU", "Examples", "Suspicious", "convention"))
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "1 language, 6 segments of subset" in html
    assert "<h2>Translation</h2>" not in html


def test_transcripts_of_a_tree_with_translations_are_a_subset(data: Path, tmp_path: Path) -> None:
    rows = read_manifest(data / "test_en_de.tsv")
    write_manifest(data / "asr_test_en.tsv", [replace(row, tgt_text=row.src_text, tgt_lang="en") for row in rows[:4]])
    write_manifest(data / "asr_test_fr.tsv", read_manifest(data / "test_fr_en.tsv")[:2])
    assert choose_directions(data, "all", "asr_test_en") == ("en_de", "en_zh-CN")
    directions = choose_directions(data, "en_x", "asr_test")
    report = evaluate(Oracle(), data, directions, tmp_path / "out", replace(CONFIG, subset="asr_test"))
    assert {code: result.n for code, result in report.asr.items()} == {"en": 4}
    with pytest.raises(UsageError, match="holds none of the directions"):
        choose_directions(data, "all", "asr_test_de")


def test_recordings_without_a_translation_are_transcribed(data: Path, tmp_path: Path) -> None:
    rows = read_manifest(data / "test_fr_en.tsv")
    write_manifest(data / "test_fr_en.tsv", [replace(row, tgt_text="", tgt_lang="") for row in rows[:2]] + rows[2:])
    report = evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert (report.directions["fr_en"].n, report.asr["fr"].n) == (NUM_CLIPS - 2, NUM_CLIPS)
    assert report.directions["fr_en"].bleu.value == pytest.approx(100)
    write_manifest(data / "test_fr_en.tsv", [replace(row, tgt_text="", tgt_lang="") for row in rows])
    report = evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert [*report.directions] == ["en_de", "en_zh-CN"]
    assert report.asr["fr"].n == NUM_CLIPS
    assert not (tmp_path / "out" / "hypotheses" / "fr_en.tsv").exists()


def test_a_model_that_cannot_translate_is_not_asked_to(data: Path, tmp_path: Path) -> None:
    asked: list[object] = []

    class Recogniser(Oracle):
        def decode_batch(self, waveforms, target_languages, spoken):
            asked.extend(target for targets in target_languages for target in targets)
            return super().decode_batch(waveforms, target_languages, spoken)

    report = evaluate(Recogniser(), data, DIRECTIONS, tmp_path / "out", replace(CONFIG, translate=False))
    assert asked == []
    assert {code: result.n for code, result in report.asr.items()} == {"fr": NUM_CLIPS, "en": NUM_CLIPS}
    rows = read_hypotheses(tmp_path / "out" / "transcripts" / "fr.tsv")
    assert [row.reference for row in rows] == [sentence("fr", number) for number in range(NUM_CLIPS)]


def test_where_nothing_can_be_scored_nothing_is_decoded(data: Path, tmp_path: Path) -> None:
    oracle = Oracle()
    for direction in DIRECTIONS:
        path = data / f"test_{direction}.tsv"
        write_manifest(path, [replace(row, src_text="") for row in read_manifest(path)])
    with pytest.raises(EvaluationError, match=r"no transcript \(src_text\) and nothing to translate into"):
        evaluate(oracle, data, DIRECTIONS, tmp_path / "out", replace(CONFIG, translate=False))
    assert oracle.batches == []
    transcripts_alone(data)
    with pytest.raises(EvaluationError, match="no transcript"):
        evaluate(oracle, data, ("fr_fr",), tmp_path / "out", CONFIG)


def test_other_transcripts_are_another_evaluation(data: Path, tmp_path: Path) -> None:
    transcripts_alone(data)
    config = replace(CONFIG, overwrite=False)
    evaluate(Oracle(), data, ("fr_fr",), tmp_path / "out", config)
    evaluate(Oracle(), data, ("fr_fr",), tmp_path / "out", config)
    path = data / "asr_test_fr.tsv"
    write_manifest(path, [replace(row, src_text=row.src_text + " oui") for row in read_manifest(path)])
    with pytest.raises(UsageError, match="holds another evaluation"):
        evaluate(Oracle(), data, ("fr_fr",), tmp_path / "out", config)


def test_a_recogniser_of_transformers_spells_with_its_own_letters(data: Path, tmp_path: Path, capsys) -> None:
    transformers = pytest.importorskip("transformers")
    folder, letters = tmp_path / "model", ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoinshr"]
    config = wav2vec2_config(vocab_size=len(letters), pad_token_id=0)
    perturb(transformers.Wav2Vec2ForCTC(config)).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}), encoding="utf-8")
    CtcVocabulary.build({"fr": ["d'autres lettres"]}).save(data / "ctc_vocab.json")
    command = ["evaluate", "--checkpoint", str(folder), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu"]) == 0
    assert "cannot translate; recordings are transcribed only" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (report["directions"], report["published"]) == ({}, {})
    assert {code: result["n"] for code, result in report["asr"].items()} == {"fr": NUM_CLIPS, "en": NUM_CLIPS}
    written = "".join(row.hypothesis for row in read_hypotheses(tmp_path / "out" / "transcripts" / "fr.tsv"))
    assert {*written} <= {*" etaoinshr"}


# -- as a user has it -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of German recordings with their transcripts."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(3)
    lines = ["audio\ttranscript\tspeaker\tsplit"]
    for split, count in (("train", 4), ("dev", 2), ("test", 2)):
        for number in range(count):
            words = generator.integers(0, 6, 4)
            (folder / f"{split}{number}.flac").write_bytes(encode_flac(wave(words, generator)))
            lines.append(f"{split}{number}.flac\t{spoken(words, 'de')}\t{split}{number % 2}\t{split}")
    (folder / "speech.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_table_of_transcripts_is_prepared_trained_evaluated_and_transcribed(corpus: Path, tmp_path, capsys) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    prepared = ["prepare", str(corpus / "speech.tsv"), "--language", "de", "--out", str(data), "--jobs", "1"]
    assert main([*prepared, "--vocab-type", "none"]) == 0
    assert not [name for name in ("dict.txt", "spm.model") if (data / name).exists()]
    assert "Text vocabulary: none." in (data / "report.md").read_text(encoding="utf-8")
    assert main(["verify", str(data)]) == 0
    options = ["--train-subset", "asr_train", "--valid-subset", "asr_dev", "--translation-weight", "0"]
    options += ["--max-update", "2", "--best-checkpoint-metric", "cer", "--freeze", "length-adaptor,decoder"]
    log = run(*training(data, tmp_path / "run", *options)).stdout
    assert "no spm.model and no dict.txt: the model has no decoder" in log
    assert '"asr_dev_cer"' in log
    checkpoint = tmp_path / "run" / "checkpoint_best.pt"
    bundle = load(checkpoint)
    assert (bundle.text, bundle.model.config.parts, bundle.config.directions) == (None, ("encoder",), ("de_de",))
    evaluated = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(out), "--device", "cpu"]
    capsys.readouterr()
    assert main(evaluated) == 0
    captured = capsys.readouterr()
    assert "Recognition" in captured.out or "CER %" in captured.out
    assert "cannot translate; recordings are transcribed only" in captured.err
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (report["directions"], report["asr"]["de"]["n"]) == ({}, 2)
    table = {row.id: row.hypothesis for row in read_hypotheses(out / "transcripts" / "de.tsv")}
    assert main(["transcribe", str(corpus / "test0.flac"), "--checkpoint", str(checkpoint), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == table["test0"]
    assert main(["translate", str(corpus / "test0.flac"), "--to", "de", "--checkpoint", str(checkpoint)]) == 1
    assert "no length_adaptor and no decoder; it cannot translate" in capsys.readouterr().err
    assert main([*prepared, "--vocab-type", "char"]) == 0
    assert (data / "dict.txt").is_file(), "the same tree with a vocabulary"
    assert main([*evaluated[:-2], "--device", "cpu", "--overwrite"]) == 0, "which the model does not need"
