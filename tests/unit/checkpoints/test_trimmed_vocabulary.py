"""A decoder with a trimmed vocabulary: its embeddings are cut by trim.json, and put back on export."""

import dataclasses
import hashlib
import random

import pytest
import reference_models as ref
import torch
from tone_tree import WORDS, make_tree

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.fairseq.writer import write_fairseq
from st.checkpoints.start.initialise import load_decoder
from st.checkpoints.vocabularies import VocabularyFiles
from st.cli import main
from st.data.config import DataConfig
from st.errors import CheckpointError
from st.modules.config import LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import dictionary_text, mbart50_tags, model_pieces, train_sentencepiece
from st.text.trimming import TrimmedVocabulary, trim_sentencepiece
from st.text.vocabulary import TextVocabulary

transformers = pytest.importorskip("transformers")
TEXTS = [" ".join(words) for words in WORDS.values()] * 3


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """An mBART of random weights with its whole vocabulary, as transformers saves it."""
    folder = tmp_path_factory.mktemp("mbart")
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghiklmnorstuw", k=rng.randint(1, 7))) for _ in range(800)]
    spm = train_sentencepiece([*(" ".join(rng.choices(words, k=4)) for _ in range(600)), *TEXTS], vocab_size=300)
    size = 4 + len(model_pieces(spm)) + len(mbart50_tags())
    torch.manual_seed(0)
    model = ref.perturb(transformers.MBartForConditionalGeneration(ref.mbart_config(size)))
    model.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(spm)
    return folder


@pytest.fixture(scope="module")
def tree(original, tmp_path_factory):
    """A prepared tree whose vocabulary was cut from it."""
    folder = make_tree(tmp_path_factory.mktemp("tree"), train=1, dev=1)
    whole = (original / "sentencepiece.bpe.model").read_bytes()
    spm, table = trim_sentencepiece(whole, TEXTS, num_appended=len(mbart50_tags()))
    (folder / "spm.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(spm), mbart50_tags()), encoding="utf-8")
    (folder / "trim.json").write_text(table.to_json(), encoding="utf-8")
    config = dataclasses.replace(DataConfig.load(folder), lang_tag_format="[{}]")
    config.save(folder)
    assert 60 < len(table) < 0.8 * table.original_size
    return folder


def model_for(original, size, labels=9):
    decoder = dataclasses.replace(load(original).model.config.decoder, vocab_size=size)
    encoder = EncoderConfig(
        conv_layers=((8, 40, 20),), dim=16, ffn_dim=16, num_heads=2, num_layers=1, pos_conv_kernel=4, pos_conv_groups=2
    )
    torch.manual_seed(1)
    adaptor = LengthAdaptorConfig(num_layers=1, project=True)
    return SpeechTranslator(
        ModelConfig(encoder=encoder, length_adaptor=adaptor, decoder=decoder, heads=ctc_heads(labels))
    )


@pytest.fixture(scope="module")
def rows(original):
    return load(original).model.decoder.embed_tokens.weight.detach()


def test_embeddings_are_cut_by_the_table_without_another_file(original, tree, rows, tmp_path):
    text, table = TextVocabulary.load(tree), TrimmedVocabulary.load(tree)
    alone = tmp_path / "without-sentencepiece"
    alone.mkdir()
    for name in ("config.json", "model.safetensors"):
        (alone / name).write_bytes((original / name).read_bytes())
    model = model_for(original, len(text))
    with pytest.raises(CheckpointError):
        load_decoder(model, alone, text)
    load_decoder(model, alone, text, trim=table)
    found = model.decoder.embed_tokens.weight
    assert torch.equal(found, rows[table.rows])
    # Symbol by symbol, where the whole vocabulary is at hand, it is the same.
    other = model_for(original, len(text))
    load_decoder(other, original, text)
    assert torch.equal(other.decoder.embed_tokens.weight, found)


def test_another_vocabulary_of_the_same_size_is_not_cut_by_the_table(original, tree):
    text, table = TextVocabulary.load(tree), TrimmedVocabulary.load(tree)
    expected, found = model_for(original, len(text)), model_for(original, len(text))
    load_decoder(expected, original, text)
    others = [row for row in range(table.original_size) if row > 3][: len(table) - 4]
    of_other = TrimmedVocabulary(table.original_size, (0, 1, 2, 3, *others), "0" * 64)
    assert of_other.rows != table.rows
    load_decoder(found, original, text, trim=of_other)
    assert torch.equal(found.decoder.embed_tokens.weight, expected.decoder.embed_tokens.weight)


@pytest.fixture(scope="module")
def trained(original, tree, tmp_path_factory):
    """A training checkpoint on the trimmed vocabulary, its embeddings changed, carrying the table."""
    text = TextVocabulary.load(tree)
    model = model_for(original, len(text), len(CtcVocabulary.load(tree / "ctc_vocab.json")))
    load_decoder(model, original, text, trim=TrimmedVocabulary.load(tree))
    with torch.no_grad():
        model.decoder.embed_tokens.weight.add_(0.5)
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    exported = Exported(
        config=model.config,
        state=model.state_dict(),
        text=text,
        labels={"ctc": CtcVocabulary.load(tree / "ctc_vocab.json")},
        data=DataConfig.load(tree),
    )
    write_fairseq(exported, path)
    content = torch.load(path, weights_only=True)
    content["task_state"]["st_bundle"]["files"]["trim.json"] = (tree / "trim.json").read_bytes()
    torch.save(content, path)
    return path


@pytest.mark.parametrize("to", ["hf", "fairseq"])
def test_export_puts_the_rows_back(original, tree, trained, rows, tmp_path, to):
    out = tmp_path / ("model" if to == "hf" else "model.pt")
    convert(trained, out, to, full_vocab=original)
    whole, cut, table = load(out), load(trained), TrimmedVocabulary.load(tree)
    embeddings = whole.model.decoder.embed_tokens.weight
    assert torch.equal(embeddings[table.rows], cut.model.decoder.embed_tokens.weight)
    others = sorted(set(range(table.original_size)) - set(table.rows))
    assert torch.equal(embeddings[others], rows[others])
    spm = (original / "sentencepiece.bpe.model").read_bytes()
    assert hashlib.sha256(whole.text.model_bytes()).hexdigest() == hashlib.sha256(spm).hexdigest()
    for sentence in TEXTS:
        assert [table.rows[number] for number in cut.text.encode(sentence)] == whole.text.encode(sentence)
    for code in cut.text.languages:
        assert whole.text.language_id(code) == table.rows[cut.text.language_id(code)]


@pytest.mark.parametrize("way", [["average"], ["fairseq"], ["hf"], ["average", "hf", "fairseq"]], ids="-".join)
def test_the_table_goes_along_until_the_rows_are_back(original, trained, tmp_path, way):
    path = trained
    for number, step in enumerate(way):
        source, path = path, tmp_path / f"{number}.{step}"
        if step == "average":
            assert main(["average", str(source), str(source), "--out", str(path)]) == 0
        else:
            convert(source, path, step)
    convert(trained, tmp_path / "direct.pt", "fairseq", full_vocab=original)
    convert(path, tmp_path / "full.pt", "fairseq", full_vocab=original)
    expected, found = load(tmp_path / "direct.pt"), load(tmp_path / "full.pt")
    assert torch.equal(found.model.decoder.embed_tokens.weight, expected.model.decoder.embed_tokens.weight)
    assert [found.text.language_id(code) for code in found.text.languages] == [
        expected.text.language_id(code) for code in expected.text.languages
    ]
    with pytest.raises(CheckpointError, match=r"carries no trim\.json"):
        convert(tmp_path / "full.pt", tmp_path / "again.pt", "fairseq", full_vocab=original)


def test_languages_may_be_moved_while_the_rows_are_put_back(original, trained, tmp_path):
    place = load(original).text.symbols.index("[my_MM]")
    assert place >= load(trained).model.config.decoder.vocab_size
    convert(
        trained, tmp_path / "full.pt", "fairseq", full_vocab=original, files=VocabularyFiles(language_ids={"lv": place})
    )
    assert load(tmp_path / "full.pt").text.language_id("lv") == place


def test_export_from_another_original_is_refused(original, trained, tree, tmp_path):
    with pytest.raises(CheckpointError, match=r"a decoder of .* symbols; the vocabulary was cut from"):
        convert(trained, tmp_path / "a", "hf", full_vocab=trained)
    plain = tmp_path / "plain.pt"
    content = torch.load(trained, weights_only=True)
    del content["task_state"]["st_bundle"]["files"]["trim.json"]
    torch.save(content, plain)
    with pytest.raises(CheckpointError, match=r"carries no trim\.json"):
        convert(plain, tmp_path / "b", "hf", full_vocab=original)
    convert(plain, tmp_path / "b", "hf", full_vocab=original, files=VocabularyFiles(data_dir=tree))
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "model.safetensors"):
        (other / name).write_bytes((original / name).read_bytes())
    pieces = len(model_pieces((original / "sentencepiece.bpe.model").read_bytes()))
    (other / "sentencepiece.bpe.model").write_bytes(ref.make_spm(pieces + 3))
    with pytest.raises(CheckpointError, match=r"another SentencePiece model|symbols"):
        convert(trained, tmp_path / "c", "hf", full_vocab=other)


def test_inspect_lists_the_names_that_freeze_goes_by(trained, capsys):
    assert main(["inspect", str(trained), "--quick", "--names"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = dict(load(trained).model.named_parameters())
    for name, parameter in expected.items():
        assert f"{name}  {' x '.join(map(str, parameter.shape))}" in lines


def test_a_head_on_an_inner_layer_stays_there(trained, tmp_path):
    content = torch.load(trained, weights_only=True)
    bundle = content["task_state"]["st_bundle"]
    bundle["model_config"]["heads"]["ctc"]["layer"] = 1
    torch.save(content, tmp_path / "inner.pt")
    for to, name in (("hf", "folder"), ("fairseq", "again.pt")):
        convert(tmp_path / "inner.pt", tmp_path / name, to)
        assert load(tmp_path / name).model.config.ctc_layer == 1
