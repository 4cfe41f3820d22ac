"""Files that transformers wrote, opened by us; files that we wrote, opened by transformers; the same numbers."""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings

import pytest
import reference_models as ref
import sentencepiece
import torch
import transformers

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.transformers.writer import write_transformers
from st.checkpoints.start.initialise import load_decoder, load_encoder
from st.data.config import DataConfig
from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.errors import CheckpointError
from st.modules.config import LengthAdaptorConfig, ModelConfig
from st.modules.model import SpeechTranslator
from st.text.sentencepiece_training import covost_tags, dictionary_text, mbart50_tags, model_pieces
from st.text.vocabulary import TextVocabulary

LENGTHS = [[16000], [400], [16000, 9000, 401, 12345]]
WIDE = {**ref.TEXT, "dim": 64}
CLOSE = {"atol": 1e-5, "rtol": 0}
WORDS = ["speech", "translation", "many", "languages", "others", "model", "little", "data"]
SENTENCES = [f"{one} {two} {n}" for n, one in enumerate(WORDS) for two in WORDS]


@pytest.fixture(scope="module")
def spm():
    return ref.make_spm()


@pytest.fixture(scope="module")
def vocab_size(spm):
    return len(model_pieces(spm)) + 4 + len(mbart50_tags())


@pytest.fixture(scope="module", params=[ref.TEXT, WIDE], ids=["300m-like", "1b-like"])
def translator(request, tmp_path_factory, spm, vocab_size):
    """A SpeechEncoderDecoderModel and the folder that it was written to."""
    model = ref.speech_translator(vocab_size, text=request.param)
    return model, ref.save_speech_translator(model, tmp_path_factory.mktemp("st"), spm)


def attention_mask(lengths: torch.Tensor) -> torch.Tensor:
    return (torch.arange(int(lengths.max())) < lengths[:, None]).long()


def tokens_for(rows: int, vocab_size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.cat([torch.full((rows, 1), 2), torch.randint(4, vocab_size, (rows, 7), generator=generator)], 1)


@torch.no_grad()
def their_logits(model, waves, lengths, tokens):
    return model(inputs=waves, attention_mask=attention_mask(lengths), decoder_input_ids=tokens).logits


@pytest.mark.parametrize("lengths", LENGTHS)
def test_k12_translation_logits_are_those_of_transformers(translator, vocab_size, lengths):
    model, folder = translator
    waves, lengths = ref.waves(lengths)
    tokens = tokens_for(len(lengths), vocab_size)
    ours = load(folder).model
    with torch.no_grad():
        torch.testing.assert_close(ours(waves, lengths, tokens), their_logits(model, waves, lengths, tokens), **CLOSE)


def test_k12_masked_padding_gives_each_utterance_what_it_gets_alone(translator, vocab_size):
    model, folder = translator
    waves, lengths = ref.waves(LENGTHS[-1])
    tokens = tokens_for(len(lengths), vocab_size)
    ours = load(folder, padding="masked").model
    with torch.no_grad():
        together = ours(waves, lengths, tokens)
    for row, length in enumerate(lengths.tolist()):
        alone = their_logits(model, waves[row : row + 1, :length], lengths[row : row + 1], tokens[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, **CLOSE)


@pytest.mark.parametrize("layout", ["sharded", "bin"])
def test_other_layouts_of_a_folder_hold_the_same(translator, tmp_path, spm, layout):
    model, folder = translator
    if layout == "sharded":
        other = ref.save_speech_translator(model, tmp_path, spm, max_shard_size="100KB")
        assert len(list(other.glob("model-*.safetensors"))) > 2
    else:
        other = tmp_path
        for name in ("config.json", "sentencepiece.bpe.model"):
            (other / name).write_bytes((folder / name).read_bytes())
        torch.save(model.state_dict(), other / "pytorch_model.bin")
    one, two = load(folder).model.state_dict(), load(other).model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert set(one) == set(two)


@pytest.mark.parametrize("kind", ["Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC"])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_k12_encoder_states_are_those_of_transformers(tmp_path, kind, lengths):
    torch.manual_seed(0)
    model = ref.perturb(getattr(transformers, kind)(ref.wav2vec2_config(vocab_size=12, pad_token_id=0)))
    model.save_pretrained(tmp_path)
    labels = {
        "<pad>": 0,
        "<s>": 1,
        "</s>": 2,
        "<unk>": 3,
        "|": 4,
        **{letter: 5 + n for n, letter in enumerate("abcdefg")},
    }
    (tmp_path / "vocab.json").write_text(json.dumps(labels))
    bundle = load(tmp_path)
    assert bundle.description == f"transformers {kind}"
    waves, lengths = ref.waves(lengths)
    base = model if kind == "Wav2Vec2Model" else model.wav2vec2
    with torch.no_grad():
        expected = base(waves, attention_mask=attention_mask(lengths)).last_hidden_state
        encoded = bundle.model.encode(waves, lengths)
        for row, length in enumerate(encoded.lengths.tolist()):
            torch.testing.assert_close(encoded.states[row, :length], expected[row, :length], **CLOSE)
        if kind == "Wav2Vec2ForCTC":
            logits = model(waves, attention_mask=attention_mask(lengths)).logits
            found = bundle.model.ctc_logits(encoded)
            for row, length in enumerate(encoded.lengths.tolist()):
                torch.testing.assert_close(found[row, :length], logits[row, :length], **CLOSE)


@pytest.mark.parametrize(
    ("symbols", "tokenizer"),
    [
        (["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoinshr"], {}),
        (["|", *"etaoinshr", "[UNK]", "[PAD]"], {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": None, "eos_token": None}),
        (["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHR", "'"], {}),
        ([*"etaoinsh", "_", "<pad>", "<unk>", "<s>", "</s>"], {"word_delimiter_token": "_"}),
        (["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHR"], {"do_lower_case": True}),
    ],
    ids=["usual", "fine-tuned", "capitals", "underscore", "lower-cased"],
)  # fmt: skip
def test_ctc_transcripts_are_those_of_transformers(tmp_path, symbols, tokenizer):
    torch.manual_seed(0)
    (tmp_path / "vocab.json").write_text(json.dumps({symbol: n for n, symbol in enumerate(symbols)}))
    reader = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), **tokenizer)
    blank = symbols.index(tokenizer.get("pad_token", "<pad>"))
    model = ref.perturb(transformers.Wav2Vec2ForCTC(ref.wav2vec2_config(vocab_size=len(symbols), pad_token_id=blank)))
    with torch.no_grad():  # enough blanks and spaces to make words
        model.lm_head.bias[blank] += 0.5
        model.lm_head.bias[symbols.index(tokenizer.get("word_delimiter_token", "|"))] += 0.5
    model.save_pretrained(tmp_path)
    reader.save_pretrained(tmp_path)
    bundle = load(tmp_path)
    waves, lengths = ref.waves([48000, 9000, 32345, 64000, 16000])
    with torch.no_grad():
        theirs = model(waves, attention_mask=attention_mask(lengths)).logits.argmax(-1)
        encoded = bundle.model.encode(waves, lengths)
        ours = bundle.model.ctc_logits(encoded).argmax(-1)
    texts = []
    for row, frames in enumerate(encoded.lengths.tolist()):
        text = reader.decode(theirs[row, :frames])
        # We never write special tokens, and two delimiters in a row are one space for us.
        for token in ("<unk>", "[UNK]", "<s>", "</s>"):
            text = text.replace(token.lower() if tokenizer.get("do_lower_case") else token, "")
        texts.append(" ".join(text.split()))
        assert bundle.ctc.decode(ours[row, :frames].tolist()) == texts[-1]
    assert max(map(len, texts)) > 20
    assert any(" " in text for text in texts)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("scale", [True, False])
def test_k12_decoder_logits_are_those_of_mbart(tmp_path, spm, vocab_size, activation, scale):
    torch.manual_seed(0)
    config = ref.mbart_config(vocab_size, activation_function=activation, scale_embedding=scale)
    model = ref.perturb(transformers.MBartForConditionalGeneration(config))
    model.save_pretrained(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(spm)
    bundle = load(tmp_path)
    memory, lengths = torch.randn(3, 9, 48), torch.tensor([9, 4, 1])
    tokens = tokens_for(3, vocab_size)
    with torch.no_grad():
        mask = attention_mask(lengths)
        states = model.model.decoder(input_ids=tokens, encoder_hidden_states=memory, encoder_attention_mask=mask)
        expected = model.lm_head(states.last_hidden_state)
        torch.testing.assert_close(bundle.model.decoder(tokens, memory, lengths), expected, **CLOSE)
    assert bundle.model.config.parts == ("decoder",)
    with pytest.raises(AttributeError):
        bundle.model.encode(torch.zeros(1, 400), torch.tensor([400]))


def test_k12_what_we_write_loads_in_transformers_without_warnings_and_is_the_same(
    translator, vocab_size, tmp_path, caplog
):
    model, folder = translator
    convert(folder, tmp_path / "fairseq.pt", "fairseq")
    convert(tmp_path / "fairseq.pt", tmp_path / "out", "hf")
    logging.getLogger("transformers").propagate = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, info = transformers.SpeechEncoderDecoderModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    waves, lengths = ref.waves(LENGTHS[-1])
    tokens = tokens_for(len(lengths), vocab_size)
    found = their_logits(again.eval(), waves, lengths, tokens)
    torch.testing.assert_close(found, their_logits(model, waves, lengths, tokens), **CLOSE)
    torch.testing.assert_close(found, load(tmp_path / "out").model(waves, lengths, tokens), **CLOSE)


def ends(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(2)] if 2 in tokens else tokens


def test_beam_5_translations_are_those_of_transformers_generate(tmp_path, spm, vocab_size):
    model = ref.sharpen(ref.speech_translator(vocab_size, text={**ref.TEXT, "positions": 200}))
    folder = ref.save_speech_translator(model, tmp_path / "in", spm)
    convert(folder, tmp_path / "out", "hf")
    exported = transformers.SpeechEncoderDecoderModel.from_pretrained(tmp_path / "out").eval()
    bundle = load(folder)
    options = BeamOptions(beam=5, normalize_scores=False, max_len_b=190)
    generator = torch.Generator().manual_seed(5)
    sizes = []
    for batch in range(7):
        waves, lengths = ref.waves(torch.randint(3000, 20000, (16,), generator=generator).tolist(), seed=batch)
        tags = torch.tensor([bundle.text.language_id(code) for code in ("en", "de", "ca", "zh-CN") * 4])
        with torch.no_grad():
            memory = bundle.model.adapt(bundle.model.encode(waves, lengths))
        ours = [list(best[0].tokens) for best in beam_search(bundle.model, memory, tags, options)]
        start = torch.stack([torch.full_like(tags, 2), tags], 1)
        for theirs in (model, exported) if batch < 2 else (model,):
            found = theirs.generate(
                waves, attention_mask=attention_mask(lengths), decoder_input_ids=start, num_beams=5,
                length_penalty=0.0, early_stopping=True, max_new_tokens=190, do_sample=False,
            )  # fmt: skip
            assert [ends(row[1:].tolist()) for row in found] == ours
        sizes += [len(tokens) for tokens in ours]
    assert len(sizes) >= 100
    assert len(set(sizes)) > 5
    assert max(sizes) < 190


def test_exported_tokenizer_cuts_text_as_the_vocabulary_does(translator, tmp_path):
    _, folder = translator
    convert(folder, tmp_path / "out", "hf")
    text = load(tmp_path / "out").text
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert type(reader).__name__.startswith("MBart50Tokenizer")
    assert len(reader) == len(text)
    assert reader.convert_tokens_to_ids("en_XX") == text.language_id("en")
    assert reader.mask_token_id == len(text) - 1
    for sentence in ("little   data 7", "one and only ☃", *SENTENCES):
        ids = text.encode(sentence)
        assert reader(sentence, add_special_tokens=False).input_ids == ids
        assert reader.decode([text.language_id("en"), *ids, 2], skip_special_tokens=True).strip() == text.decode(ids)


def test_trimmed_vocabulary_comes_out_with_a_model_and_tokenizer_that_fit(tmp_path, spm, vocab_size):
    """Half of the longer pieces are gone, the order is another, tags are CoVoST's."""
    folder = ref.save_speech_translator(ref.speech_translator(vocab_size), tmp_path / "in", spm)
    whole = load(folder)
    pieces = model_pieces(spm)
    kept = [piece for n, piece in enumerate(pieces) if len(piece) < 2 or n % 2][::-1]
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "spm.model").write_bytes(spm)
    (tree / "dict.txt").write_text(dictionary_text(kept, covost_tags(["en", "ca", "es"])))
    DataConfig(directions=("es_en",)).save(tree)
    text = TextVocabulary.load(tree)
    model = fresh(whole, vocab_size=len(text))
    load_decoder(model, folder, text)
    # The cut: every symbol kept its own row, the tags those of their languages' slots.
    embeddings, original = model.decoder.embed_tokens.weight, whole.model.decoder.embed_tokens.weight
    for number, symbol in enumerate(text.symbols):
        code = symbol.removeprefix("<lang:").removesuffix(">") if symbol.startswith("<lang:") else None
        row = whole.text.language_id(code) if code else whole.text.symbols.index(symbol)
        assert torch.equal(embeddings[number], original[row]), symbol
    exported = Exported(config=model.config, state=model.state_dict(), text=text, labels={}, data=DataConfig.load(tree))
    write_transformers(exported, tmp_path / "out")
    bundle = load(tmp_path / "out")
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    spm_alone = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "out" / "sentencepiece.bpe.model"))
    assert bundle.text.symbols == text.symbols
    assert len(spm_alone) == len(kept) + 3
    assert len(reader) == len(text)
    assert reader.convert_tokens_to_ids("<lang:ca>") == text.language_id("ca")
    settings = transformers.GenerationConfig.from_pretrained(tmp_path / "out")
    assert settings.forced_bos_token_id == text.language_id("en")
    for sentence in (
        "  little   data 7 ",
        "zoë one\u00a0and only ☃",
        "",
        "e\u0301",
        *SENTENCES,
    ):
        ids = bundle.text.encode(sentence)
        assert ids == [number + 1 if number else 3 for number in spm_alone.encode(sentence)]
        assert reader(sentence, add_special_tokens=False).input_ids == ids
        assert reader.decode([text.language_id("en"), *ids, 2], skip_special_tokens=True).strip() == text.decode(ids)
    assert 3 not in bundle.text.encode("speech translation of many languages")


def test_decoder_with_a_symbol_that_the_checkpoint_lacks_is_refused_by_name(tmp_path, spm, vocab_size):
    folder = ref.save_speech_translator(ref.speech_translator(vocab_size), tmp_path / "in", spm)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "spm.model").write_bytes(spm)
    (tree / "dict.txt").write_text(dictionary_text([*model_pieces(spm), "▁xylophone"], covost_tags(["en"])))
    DataConfig().save(tree)
    text = TextVocabulary.load(tree)
    model = fresh(load(folder), vocab_size=len(text))
    with pytest.raises(CheckpointError, match="1 symbols of the dictionary that its vocabulary lacks: ▁xylophone"):
        load_decoder(model, folder, text)


def test_exported_feature_extractor_standardises_as_training_does(translator, tmp_path):
    _, folder = translator
    convert(folder, tmp_path / "out", "hf")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    assert (extractor.sampling_rate, extractor.do_normalize, extractor.return_attention_mask) == (16000, True, True)


@pytest.mark.parametrize("kind", ["Wav2Vec2Model", "Wav2Vec2ForCTC"])
def test_encoders_go_out_to_transformers_unchanged(tmp_path, kind):
    torch.manual_seed(0)
    model = ref.perturb(getattr(transformers, kind)(ref.wav2vec2_config(vocab_size=8, pad_token_id=0)))
    model.save_pretrained(tmp_path / "in")
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "ß"]
    (tmp_path / "in" / "vocab.json").write_text(json.dumps({symbol: n for n, symbol in enumerate(symbols)}))
    convert(tmp_path / "in", tmp_path / "x.pt", "fairseq")
    convert(tmp_path / "x.pt", tmp_path / "out", "hf")
    again, info = getattr(transformers, kind).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    state = again.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    if kind == "Wav2Vec2ForCTC":
        reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
        assert reader.decode([5, 5, 0, 4, 7]) == "a ß"


def fresh(bundle, **decoder) -> SpeechTranslator:
    """A model of the same shapes with other weights."""
    config = bundle.model.config
    project = config.encoder.dim != decoder.get("dim", config.decoder.dim)
    torch.manual_seed(9)
    return SpeechTranslator(
        dataclasses.replace(
            config, parts=ModelConfig().parts, length_adaptor=LengthAdaptorConfig(num_layers=1, project=project),
            decoder=dataclasses.replace(config.decoder, **decoder),
        )
    )  # fmt: skip


def test_training_starts_from_an_encoder_and_from_mbart(tmp_path, spm, vocab_size, translator):
    torch.manual_seed(0)
    mbart = ref.perturb(
        transformers.MBartForConditionalGeneration(ref.mbart_config(vocab_size, activation_function="gelu"))
    )
    mbart.save_pretrained(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(spm)
    source = load(tmp_path)
    model = fresh(load(translator[1]), dim=48, activation="relu")
    load_encoder(model, translator[1])
    load_decoder(model, tmp_path, source.text)
    encoder = load(translator[1]).model.encoder.state_dict()
    assert all(torch.equal(tensor, encoder[name]) for name, tensor in model.encoder.state_dict().items())
    decoder = source.model.decoder.state_dict()
    assert all(torch.equal(tensor, decoder[name]) for name, tensor in model.decoder.state_dict().items())
    # gelu is the checkpoint's: a decoder that went on with relu would compute something else.
    assert model.config.decoder.activation == "gelu"
    memory, lengths, tokens = torch.randn(2, 5, 48), torch.tensor([5, 2]), tokens_for(2, vocab_size)
    expected = source.model.decoder(tokens, memory, lengths)
    assert torch.equal(model.eval().decoder(tokens, memory, lengths), expected)


def test_starting_from_a_file_that_does_not_fit_changes_nothing_and_lists_names(tmp_path, translator):
    wide = {**ref.SPEECH, "ffn": 100}
    transformers.Wav2Vec2Model(ref.wav2vec2_config(wide)).save_pretrained(tmp_path / "wide")
    heads = {**ref.SPEECH, "heads": 8}
    transformers.Wav2Vec2Model(ref.wav2vec2_config(heads)).save_pretrained(tmp_path / "heads")
    model = fresh(load(translator[1]), dim=48)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"6 of another shape: encoder\.layers\.0.*intermediate_dense\.weight is \[100"
    ):
        load_encoder(model, tmp_path / "wide")
    with pytest.raises(CheckpointError, match="num_heads is 8, expected 4"):
        load_encoder(model, tmp_path / "heads")
    with pytest.raises(CheckpointError, match="has no decoder; it has: encoder"):
        load_decoder(model, tmp_path / "heads", load(translator[1]).text)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
