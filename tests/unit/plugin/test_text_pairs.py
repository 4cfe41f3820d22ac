"""More text that a decoder reads beside transcripts: which pairs are taken, how they are drawn, what they add to a loss."""

import logging

import pytest
import torch
from tone_tree import make_tree
from trainer_in_process import batch, make_config, make_trainer

from st.data.text_pairs import TextPairs
from st.errors import ConfigError, ManifestError
from st.fairseq_plugin.task import SpeechTranslationTask
from st.text.vocabulary import EOS, PAD

TEXT = {
    "length_adaptor_text_layers": 1,
    "transcript_weight": 1.0,
    "transcript_noise": 0.0,
    "length_adaptor_frame_dropout": 0.0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree"), train=6, dev=2, directions=("de_en",))


@pytest.fixture(scope="module")
def table(data, tmp_path_factory):
    """The tree's own texts, and what cannot be used."""
    header, *lines = (data / "train_de_en.tsv").read_text(encoding="utf-8").splitlines()
    places = [header.split("\t").index(name) for name in ("tgt_text", "src_text")]
    rows = [[line.split("\t")[place] for place in places] for line in lines]
    bad = [["", rows[0][1]], [rows[0][0], ""], [rows[0][0], "日本語の文"], [rows[0][0], "ab " * 300]]
    path = tmp_path_factory.mktemp("text") / "pairs.tsv"
    path.write_text(
        "\n".join("\t".join(row) for row in [["tgt_text", "src_text"], *rows, *bad]) + "\n", encoding="utf-8"
    )
    return path, rows


def test_pairs_are_those_of_the_table_and_the_others_are_counted(data, table, caplog):
    path, rows = table
    with caplog.at_level(logging.INFO):
        task = SpeechTranslationTask(make_config(data, text_pairs=str(path)).task)
    assert f"{len(rows)} pairs of text; 4 left out" in caplog.text
    torch.manual_seed(1)
    labels, lengths, target = task.text_pairs.draw(40)
    seen = set()
    for read, length, written in zip(labels.tolist(), lengths.tolist(), target.tolist(), strict=True):
        tokens = [token for token in written if token != PAD]
        assert tokens[0] == task.text.language_id("en")
        assert tokens[-1] == EOS
        seen.add((task.labels["ctc"].decode(read[:length], collapse=False), task.text.decode(tokens[1:-1])))
    known = {(task.labels["ctc"].spell(said, "de"), translation) for translation, said in rows}
    assert seen <= known
    assert len(seen) > len(known) / 2


def test_processes_draw_different_pairs(monkeypatch):
    pairs = TextPairs([([number], [4, EOS], "") for number in range(100)])

    def drawn(rank):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        torch.manual_seed(7)
        return pairs.draw(5)[0].flatten()

    assert torch.equal((drawn(0) + 50) % 100, drawn(1))


def test_loss_is_the_mean_over_transcripts_and_pairs(data, table):
    path, _ = table
    alone = make_trainer(data, **TEXT)
    more = make_trainer(data, **TEXT, text_pairs=str(path))
    sample = batch(more)
    model, criterion, task = more.model.train(), more.criterion, more.task

    def loss_of(criterion):
        torch.manual_seed(3)
        return criterion(model, sample)

    plain, _, log = loss_of(alone.criterion)
    both, size, log_both = loss_of(criterion)
    torch.manual_seed(3)
    rows = sample["net_input"]["source_rows"]
    labels, lengths, tokens = task.text_pairs.draw(len(rows))
    memory = model.translator.read(labels, lengths)
    inputs = torch.cat([torch.full((len(tokens), 1), EOS), tokens[:, :-1]], 1)
    logits = model.translator.decoder(inputs, memory.states, memory.lengths)
    added = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD, reduction="sum")
    tokens_read, tokens_said = int(tokens.ne(PAD).sum()), sample["ntokens"]
    expected = (float(log["transcript_loss"]) + float(added)) * tokens_said / (tokens_read + tokens_said)
    assert float(log_both["transcript_loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(log_both["nll_loss"]) == pytest.approx(float(log["nll_loss"]), rel=1e-5)
    assert size == tokens_said
    assert float(plain) != float(both)


def test_what_cannot_be_read_is_an_error(data, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("src_text\ttgt_text\n日本\t日本\n", encoding="utf-8")
    for name, error, message in (
        (str(path), ManifestError, "no pair of texts that can be used; 1 are empty"),
        (str(tmp_path / "none.tsv"), ManifestError, "no such file"),
    ):
        with pytest.raises(error, match=message):
            SpeechTranslationTask(make_config(data, text_pairs=name).task)
    several = make_tree(tmp_path / "tree", train=2, dev=1)
    with pytest.raises(ConfigError, match="--text-pairs needs a decoder, a CTC head and one direction"):
        SpeechTranslationTask(make_config(several, text_pairs=str(path)).task)


def test_pieces_of_translations_are_drawn_each_time_if_asked_for(table, tmp_path):
    data = make_tree(tmp_path, train=20, dev=2, directions=("de_en",), vocab_type="unigram")
    task = SpeechTranslationTask(make_config(data, text_pairs=str(table[0]), subword_alpha=0.1).task)
    best = {tuple(written) for _, written, _ in task.text_pairs.pairs}
    torch.manual_seed(1)
    drawn = {tuple(token for token in row if token != PAD) for row in task.text_pairs.draw(60)[2].tolist()}
    assert len(drawn) > len(best)
    assert {task.text.decode(row) for row in drawn} <= {task.text.decode(row) for row in best}
