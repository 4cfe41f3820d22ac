"""The card of a model says what the model knows, what its user says, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import reference_models as ref
import torch
import transformers
import yaml
from huggingface_hub import ModelCard

from st import load
from st.checkpoints.contents import file_name
from st.checkpoints.convert import convert
from st.checkpoints.door import digest_of, sha256_of
from st.checkpoints.formats.names import FAMILIES
from st.checkpoints.origins import origin_name
from st.cli import main
from st.errors import UsageError
from st.publishing.card import _ENCODERS
from st.publishing.origins import SHARE_ALIKE, TABLE, find_licence, find_origin

GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"
SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"


def checkpoint(path, *, origins=None, encoder=None, taught=True):
    """Write the golden checkpoint with other notes."""
    content = torch.load(GOLDEN, weights_only=True)
    if origins is not None:
        content["task_state"]["st_bundle"]["origins"] = origins
    content["cfg"] = {"model": {"encoder": encoder}, "criterion": {"translation_weight": float(taught)}}
    torch.save(content, path)
    return path


def report(folder, digest, **changes):
    """Write the report of an evaluation, with what a card reads."""
    row = {"bleu": 21.456, "signature": SIGNATURE, "chrf": 44.04, "chrf_signature": "chrF2++|x", "ter": None,
           "ter_signature": "TER|y", "n": 7}  # fmt: skip
    content = {
        "subset": "test",
        "settings": {
            "checkpoint": "best.pt",
            "checkpoint_sha256": digest,
            "beam": 5,
            "asr_normalisation": "NFC_x",
            "jiwer": "4",
        },
        "directions": {"en_de": row, "de_en": row | {"signature": "tok:char"}},
        "asr": {"de": {"wer": 12.34, "cer": 3.21, "n": 9}},
    }
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(content | changes))
    return folder


def read(folder):
    """Return the metadata of a card, as the hub's own library reads it, and its text."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    assert ModelCard(text, ignore_metadata_errors=False).data.to_dict() is not None
    return yaml.safe_load(text.split("---\n")[1]), text


@pytest.fixture
def folder(tmp_path):
    path = checkpoint(tmp_path / "best.pt", origins=["xlsr2_300m.pt"])
    assert main(["convert", str(path), str(tmp_path / "out"), "--to", "hf"]) == 0
    return tmp_path / "out"


def test_a_converted_model_has_a_card_with_languages_licence_and_origin(folder, tmp_path):
    metadata, text = read(folder)
    assert metadata == {
        "language": ["en", "de"], "license": "apache-2.0", "library_name": "transformers",
        "pipeline_tag": "automatic-speech-recognition", "tags": ["speech-translation"],
        "base_model": ["facebook/wav2vec2-xls-r-300m"],
    }  # fmt: skip
    assert "65,198 parameters, numbers in float16" in text
    assert "xlsr2\\_300m.pt ([facebook/wav2vec2-xls-r-300m]" in text
    assert "Not measured." in text
    assert str(tmp_path) not in text
    assert all(str(tmp_path).encode() not in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_scores_stand_there_with_their_signatures(folder, tmp_path):
    results = report(tmp_path / "results", sha256_of(tmp_path / "best.pt"))
    command = ["card", str(folder), "--scores", str(results), "--dataset", "owner/data", "--dataset", "Radio | talks"]
    assert main([*command, "--title", "Of <b>radio</b>", "--license", "cc0-1.0"]) == 0
    metadata, text = read(folder)
    assert "| English → German | 21.5 | 44.0 | – | 7 |" in text
    assert "| German | 12.3 | 3.2 | 9 |" in text
    assert f"- BLEU (en_de): `{SIGNATURE}`" in text
    assert "- BLEU (de_en): `tok:char`" in text
    assert "- chrF++: `chrF2++|x`" in text
    assert "normalised (NFC\\_x), jiwer 4" in text
    assert "Radio \\| talks" in text
    assert "# Of &lt;b&gt;radio&lt;/b&gt;" in text
    assert (metadata["license"], metadata["datasets"]) == ("cc0-1.0", ["owner/data"])
    assert metadata["metrics"] == ["bleu", "chrf", "wer", "cer"]
    (model,) = metadata["model-index"]
    assert [(row["dataset"]["config"], row["metrics"][0]["value"]) for row in model["results"]] == [
        ("en_de", 21.46), ("de_en", 21.46), ("de", 12.34),
    ]  # fmt: skip


def test_scores_of_the_folder_itself_count_whatever_its_card_says(folder, tmp_path):
    results = report(tmp_path / "results", digest_of(folder))
    for title in ("One", "Two"):
        assert main(["card", str(folder), "--scores", str(results), "--title", title]) == 0
    assert "# Two" in read(folder)[1]


def against(folder, digest, *, dtype="int8", **changes):
    """Write what ``st evaluate --against`` writes beside a report."""
    row = {"n": 7, "equal": 0.857, "score": 21.456, "difference": -0.12, "ci": [-0.4, 0.1]}
    content = {"checkpoint_sha256": digest, "dtype": dtype, "against": "float32"}
    content["differences"] = {"en_de": {"BLEU": row}, "de": {"WER": row | {"difference": 0.3}}}
    (folder / "against.json").write_text(json.dumps(content | changes))


@pytest.fixture
def codes(tmp_path):
    path = checkpoint(tmp_path / "best.pt", origins=["xlsr2_300m.pt"])
    assert main(["convert", str(path), str(tmp_path / "int8"), "--to", "hf", "--dtype", "int8"]) == 0
    return tmp_path / "int8"


def with_dtype(dtype, digest):
    return {"settings": {"checkpoint": "best.pt", "checkpoint_sha256": digest, "dtype": dtype}}


def test_a_model_of_8_bits_says_what_it_is_and_what_opens_it(codes, capsys):
    metadata, text = read(codes)
    assert metadata["library_name"] == "xlsr-st"
    assert "65,198 parameters, numbers in int8" in text
    assert "st translate recording.wav --to LANGUAGE --checkpoint MODEL --dtype int8" in text
    assert "from transformers" not in text
    assert "What 8 bits cost this model has not been measured." in text
    assert main(["card", str(codes)]) == 0
    assert "its card does not say what 8 bits cost; give as --scores the folder" in capsys.readouterr().err


def test_the_cost_of_8_bits_stands_in_the_card(codes, tmp_path, capsys):
    digest = sha256_of(tmp_path / "best.pt")
    results = report(tmp_path / "results", digest, **with_dtype("int8", digest))
    against(results, digest)
    assert main(["card", str(codes), "--scores", str(results)]) == 0
    text = read(codes)[1]
    assert "int8 against float32: texts that are equal, and differences of scores" in text
    assert "| en\\_de | 7 | 85.7% | BLEU | 21.46 | -0.12 | -0.40 to +0.10 |" in text
    assert "| de | 7 | 85.7% | WER | 21.46 | +0.30 | -0.40 to +0.10 |" in text
    assert "has not been measured" not in text
    assert "what 8 bits cost" not in capsys.readouterr().err


def test_the_cost_of_other_numbers_is_none_of_8_bits(codes, tmp_path):
    digest = sha256_of(tmp_path / "best.pt")
    results = report(tmp_path / "results", digest, **with_dtype("bfloat16", digest))
    against(results, digest, dtype="bfloat16")
    assert main(["card", str(codes), "--scores", str(results)]) == 0
    text = read(codes)[1]
    assert "bfloat16 against float32" in text
    assert "What 8 bits cost this model has not been measured." in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_sha256": "0" * 64}, "is not of the evaluation beside it, report.json"),
        ({"dtype": "bfloat16"}, "is not of the evaluation beside it, report.json"),
        ({"differences": {"de": {"WER": {"n": 7}}}}, "WER of de is"),
        ({"differences": {"de": []}}, "de is [], expected a table"),
    ],
)
def test_a_cost_that_is_malformed_or_of_another_evaluation_is_refused(codes, tmp_path, capsys, changes, message):
    digest = sha256_of(tmp_path / "best.pt")
    against(report(tmp_path / "results", digest, **with_dtype("int8", digest)), digest, **changes)
    assert main(["card", str(codes), "--scores", str(tmp_path / "results")]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"checkpoint": "x.pt", "checkpoint_sha256": "0" * 64}}, "which is neither"),
        ({"asr": []}, r"asr is \[\], expected a table"),
        (None, "no such report"),
    ],
)
def test_scores_of_another_model_or_none_are_refused(folder, tmp_path, capsys, changes, message):
    before = (folder / "README.md").read_text()
    if changes is not None:
        report(tmp_path / "results", sha256_of(tmp_path / "best.pt"), **changes)
    assert main(["card", str(folder), "--scores", str(tmp_path / "results")]) == 1
    assert message.replace("\\", "") in capsys.readouterr().err
    assert (folder / "README.md").read_text() == before


def test_a_card_of_ones_own_is_replaced_only_if_asked_for(folder, tmp_path, capsys):
    own = "# Mine\n"
    (folder / "README.md").write_text(own)
    assert main(["card", str(folder)]) == 1
    assert main(["convert", str(tmp_path / "best.pt"), str(folder), "--to", "hf", "--overwrite"]) == 0
    assert (folder / "README.md").read_text() == own
    assert "is not of this program and stays as it is" in capsys.readouterr().err
    assert main(["card", str(folder), "--overwrite"]) == 0
    assert "# Speech translation: English, German" in read(folder)[1]
    assert main(["convert", str(tmp_path / "best.pt"), str(folder), "--to", "hf", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("origins", "encoder", "said"),
    [
        ([], None, "Random weights."),
        (None, None, "Not recorded."),
        (None, "/data/models/xlsr_53_56k.pt", "wav2vec2-large-xlsr-53"),
        (None, "/secret/run/checkpoint_best.pt", "checkpoint\\_best.pt: its licence is not known"),
        (["facebook/mms-300m"], None, "facebook/mms-300m: licence cc-by-nc-4.0"),
    ],
)
def test_what_it_was_started_from_is_said_as_far_as_it_is_known(tmp_path, origins, encoder, said):
    path = checkpoint(tmp_path / "x.pt", origins=origins, encoder=encoder, taught=False)
    convert(path, tmp_path / "again", "hf")  # notes stay on the way
    assert main(["convert", str(tmp_path / "again"), str(tmp_path / "out"), "--to", "hf"]) == 0
    _, text = read(tmp_path / "out")
    assert said in text
    assert "secret" not in text
    assert 'pipeline("automatic-speech-recognition", MODEL)' in text


def test_a_licence_that_allows_commerce_is_refused_where_an_origin_does_not(tmp_path, capsys):
    path = checkpoint(tmp_path / "x.pt", origins=["mms-1b-all"])
    assert main(["convert", str(path), str(tmp_path / "out"), "--to", "hf"]) == 0
    assert main(["card", str(tmp_path / "out"), "--license", "mit"]) == 2
    assert "--license is mit, but the model was started from mms-1b-all" in capsys.readouterr().err
    assert main(["card", str(tmp_path / "out"), "--license", "cc-by-nc-sa-4.0"]) == 0


@pytest.mark.parametrize(
    ("stem", "called"),
    [
        ("Wav2Vec2", "an encoder like XLS-R (wav2vec 2.0) with a CTC head of 7 symbols"),
        ("WavLM", "an encoder like WavLM with a CTC head of 7 symbols"),
        ("Data2VecAudio", "an encoder like data2vec with"),
    ],
)
def test_the_encoder_is_called_what_it_is(tmp_path, stem, called):
    config = ref.family_config(stem, vocab_size=7, pad_token_id=0)
    getattr(transformers, f"{stem}ForCTC")(config).save_pretrained(tmp_path / "in")
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b"]
    (tmp_path / "in/vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(symbols)}))
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "hf"]) == 0
    _, text = read(tmp_path / "out")
    assert called in text


def test_every_family_has_a_name():
    assert set(_ENCODERS) == set(FAMILIES)


@pytest.mark.parametrize(
    ("origin", "chosen", "expected"),
    [
        ("WavLM-Large.pt", "mit", "cc-by-sa-3.0 or cc-by-sa-4.0"),
        ("WavLM-Large.pt", "cc-by-4.0", "cc-by-sa-3.0 or cc-by-sa-4.0"),
        ("WavLM-Large.pt", "CC-BY-SA-4.0", None),
        ("WavLM-Large.pt", "cc-by-sa-3.0", None),
        ("utter-project/mHuBERT-147", "cc-by-sa-4.0", "cc-by-nc-sa-4.0"),
        ("utter-project/mHuBERT-147", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
        ("utter-project/mHuBERT-147", "cc-by-nc-sa-4.0", None),
        ("facebook/mms-300m", "cc-by-nc-4.0", None),
    ],
)
def test_what_is_shared_alike_is_given_on_alike(origin, chosen, expected):
    origins = [find_origin("xlsr2_300m.pt"), find_origin(origin)]
    if expected is None:
        assert find_licence(origins, chosen) == chosen
        return
    with pytest.raises(UsageError, match=f"{chosen}, but .*{origin}.* has the same; expected {expected}$"):
        find_licence(origins, chosen)


def test_the_card_says_that_an_origin_is_shared_alike(tmp_path, capsys):
    path = checkpoint(tmp_path / "x.pt", origins=["WavLM-Large.pt"])
    assert main(["convert", str(path), str(tmp_path / "out"), "--to", "hf"]) == 0
    metadata, text = read(tmp_path / "out")
    assert metadata["license"] == "cc-by-sa-3.0"
    assert (
        "as the licence file that its card on the hub names says, which asks that what is made from it has the same"
        in text
    )
    assert main(["card", str(tmp_path / "out"), "--license", "mit"]) == 2
    assert "--license is mit, but the model was started from WavLM-Large.pt" in capsys.readouterr().err


def test_every_licence_of_the_table_that_is_shared_alike_is_known_to_be():
    licences = {line.split("\t")[2] for line in TABLE.read_text().splitlines()[1:]}
    assert {name for name in licences if "-sa" in name} == set(SHARE_ALIKE)


def test_one_licence_of_all_origins_is_the_models_and_several_are_none():
    xlsr, mbart = find_origin("XLSR2_300M.pt"), find_origin("mbart50.ft.nn")
    assert find_licence([xlsr, find_origin("facebook/wav2vec2-large-xlsr-53")], None) == "apache-2.0"
    assert find_licence([xlsr, mbart], None) == ""
    assert find_licence([xlsr, find_origin("somebody/else")], None) == ""
    assert find_licence([], None) == ""
    assert find_licence([xlsr, mbart], "mit") == "mit"


def test_every_name_of_the_table_is_found_once():
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    names = [name for row in rows for name in (*row[0].split(), row[1])]
    assert len(names) == len(set(names))
    assert all(find_origin(name).hub_id == row[1] for row in rows for name in row[0].split())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("facebook/wav2vec2-xls-r-300m@abc", "facebook/wav2vec2-xls-r-300m"),
        ("/data/mbart50.ft.nn/model.pt", "mbart50.ft.nn"),
        ("/home/somebody/run/checkpoint_best.pt", "checkpoint_best.pt"),
        ("models/mbart50.ft.nn", "mbart50.ft.nn"),
    ],
)
def test_names_say_nothing_of_where_a_file_lies(source, name):
    assert file_name(source) == name


def test_a_folder_here_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/best").mkdir(parents=True)
    assert origin_name("runs/best") == "best"
    assert origin_name("owner/best@main") == "owner/best"


@pytest.mark.parametrize("origins", ["x", [1], {"a": 1}])
def test_origins_that_are_no_names_are_refused(tmp_path, origins):
    with pytest.raises(Exception, match=r"origins is .*; expected a list of names"):
        load(checkpoint(tmp_path / "x.pt", origins=origins))


def test_a_title_of_several_lines_is_refused(folder, capsys):
    assert main(["card", str(folder), "--title", "a\nlicense: mit"]) == 2
    assert "expected one line of text" in capsys.readouterr().err
