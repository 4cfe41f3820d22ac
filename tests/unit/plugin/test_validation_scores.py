"""BLEU of validation sets: of the directions that they hold, whatever is trained; no number where nothing was scored."""

import contextlib

import pytest
import torch
from fairseq.logging import metrics
from tone_tree import make_tree
from trainer_in_process import make_trainer

from st.fairseq_plugin.validation import bleu_counts, ctc_error_counts, reduce_bleu, reduce_error_rates
from st.text.ctc_vocabulary import CtcVocabulary

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = make_tree(tmp_path_factory.mktemp("tree"), train=2, dev=4)
    rows = (folder / "dev_de_en.tsv").read_text(encoding="utf-8").splitlines()
    transcripts = [rows[0], *("\t".join([*row.split("\t")[:-1], "de"]) for row in rows[1:])]
    (folder / "asr_dev_de.tsv").write_text("\n".join(transcripts) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trainer(data):
    trainer = make_trainer(data, directions="en_de", eval_bleu=True, eval_bleu_max_len=8)
    for subset in ("dev", "dev_de_en", "asr_dev_de"):
        trainer.task.load_dataset(subset)
    return trainer


@pytest.mark.parametrize(
    ("subset", "directions"), [("dev", ["en_de"]), ("dev_de_en", ["de_en"]), ("asr_dev_de", ["de_de"])]
)
def test_bleu_is_of_the_directions_of_the_subset_beside_others(trainer, subset, directions):
    dataset = trainer.task.datasets[subset]
    batch = dataset.collater([dataset[item] for item in range(len(dataset))])
    right = iter(batch["references"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.task.text, "decode", lambda _tokens: next(right))
        with metrics.aggregate(new_root=True) as meters:
            trainer.valid_step(batch)
    found = meters.get_smoothed_values()
    assert {name for name in found if name.startswith("bleu")} == {"bleu", *(f"bleu_{name}" for name in directions)}
    assert found["bleu"] == pytest.approx(100)


def test_a_batch_is_encoded_once_for_its_losses_and_its_translations(trainer, monkeypatch):
    dataset = trainer.task.datasets["dev"]
    batches = [dataset.collater([dataset[item]]) for item in (0, 1)]
    translator = trainer.model.translator
    encode, calls = translator.encode, []
    monkeypatch.setattr(translator, "encode", lambda *args: calls.append(args[0].shape) or encode(*args))
    logs = [trainer.task.valid_step(batch, trainer.model, trainer.criterion)[2] for batch in batches]
    assert calls == [batch["net_input"]["waveforms"].shape for batch in batches]

    monkeypatch.setattr(trainer.model, "encoding_once", contextlib.nullcontext)
    again = [trainer.task.valid_step(batch, trainer.model, trainer.criterion)[2] for batch in batches]
    assert len(calls) == 6
    assert str(logs) == str(again)


def test_counts_of_several_workers_add_up_though_one_has_none_of_a_direction():
    directions = ["de_en", "en_de"]
    logs = [
        bleu_counts(["a b c d e"], ["a b c d e"], ["de_en"], directions),
        bleu_counts(["a b c d x"], ["a b c d e"], ["de_en"], directions),
    ]
    assert [list(log) for log in logs] == [["bleu/de_en", "bleu/en_de"]] * 2
    with metrics.aggregate(new_root=True) as meters:
        reduce_bleu(logs)
    found = meters.get_smoothed_values()
    assert "bleu_en_de" not in found
    assert found["bleu"] == found["bleu_de_en"]
    assert 0 < found["bleu"] < 100


def test_nothing_scored_is_no_bleu_at_all():
    with metrics.aggregate(new_root=True) as meters:
        reduce_bleu([bleu_counts([], [], [], ["de_en"])])
    assert not meters.get_smoothed_values()


@pytest.mark.parametrize(("spoken", "wer"), [("de", 100.0), ("zh-CN", None)])
def test_no_word_error_rate_of_languages_written_without_spaces(spoken, wer):
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b"]
    ctc = CtcVocabulary({symbol: number for number, symbol in enumerate(symbols)})
    logits = torch.nn.functional.one_hot(torch.tensor([[5, 0, 6, 0]]), 7).float()  # "ab"
    with metrics.aggregate(new_root=True) as meters:
        counts = ctc_error_counts(logits, torch.tensor([4]), ["aa"], [spoken], ctc)
        reduce_error_rates([{f"ctc_{name}": number for name, number in counts.items()}], ["ctc"])
    found = meters.get_smoothed_values()
    assert found.get("wer") == wer
    assert found["cer"] == 50
