"""What is written is what was there: shared tensors, exact values, averages."""

from __future__ import annotations

import json

import pytest
import reference_models as ref
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tone_tree import make_tree
from training_checkpoints import assert_same, make_model, save_training

from st import load
from st.checkpoints.average import average
from st.checkpoints.convert import convert, write
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.cli import main
from st.errors import CheckpointError, UsageError
from st.modules.config import ModelConfig
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import mbart50_tags, model_pieces
from st.text.vocabulary import TextVocabulary


def test_k10_output_projection_and_embeddings_are_one_storage_after_load_and_export(training, tmp_path):
    _, path = training
    model = load(path).model
    before = model.decoder.project(torch.ones(1, 16))
    with torch.no_grad():
        model.decoder.embed_tokens.weight.mul_(2)
    torch.testing.assert_close(model.decoder.project(torch.ones(1, 16)), 2 * before)
    assert not any("output_projection" in name for name, _ in model.named_parameters())
    convert(path, tmp_path / "hf", "hf")
    assert not any("lm_head" in name for name in load_file(tmp_path / "hf" / "model.safetensors"))
    from transformers import SpeechEncoderDecoderModel

    theirs = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "hf")
    assert theirs.decoder.lm_head.weight.data_ptr() == theirs.decoder.model.decoder.embed_tokens.weight.data_ptr()


def test_k10_an_output_projection_of_its_own_is_refused(training, tmp_path):
    _, path = training
    folder = tmp_path / "hf"
    convert(path, folder, "hf")
    tensors = load_file(folder / "model.safetensors")
    embeddings = tensors["decoder.model.decoder.embed_tokens.weight"]
    save_file(tensors | {"decoder.lm_head.weight": embeddings.clone()}, folder / "model.safetensors", {"format": "pt"})
    load(folder)
    save_file(tensors | {"decoder.lm_head.weight": embeddings + 1}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"decoder\.lm_head\.weight differs from the embeddings"):
        load(folder)


@pytest.mark.parametrize("target", ["hf", "fairseq"])
def test_k11_export_round_trip_is_bit_exact_and_says_what_it_is(training, tmp_path, target):
    model, path = training
    convert(path, tmp_path / "out", target)
    bundle, original = load(tmp_path / "out"), load(path)
    assert_same(model, bundle.model)
    assert bundle.model.config == model.config
    assert bundle.text.symbols == original.text.symbols
    assert bundle.text.encode("speech translation") == original.text.encode("speech translation")
    assert bundle.ctc.symbols == original.ctc.symbols
    assert bundle.config.directions == original.config.directions
    assert bundle.config.lang_tag_format == original.config.lang_tag_format
    if target == "hf":
        with safe_open(tmp_path / "out" / "model.safetensors", "pt") as opened:
            metadata = opened.metadata()
        assert ModelConfig.from_dict(json.loads(metadata["st_model_config"])) == model.config
        assert len(metadata["sha256"]) == 64
        assert metadata["format"] == "pt"


def test_a_vocabulary_that_transformers_has_no_tokenizer_for_gets_none(tmp_path, caplog):
    tree = make_tree(tmp_path / "tree", train=1, dev=1, directions=("en_de",))
    size, labels = len(TextVocabulary.load(tree)), len(CtcVocabulary.load(tree / "ctc_vocab.json"))
    path = save_training(make_model(size, labels), tree, tmp_path / "checkpoint.pt")
    convert(path, tmp_path / "out", "hf")
    assert "no tokenizer for transformers: the SentencePiece model is of type char" in caplog.text
    assert not list((tmp_path / "out").glob("tokenizer*"))
    assert load(tmp_path / "out").text.encode("rot Baum") == load(path).text.encode("rot Baum")


def test_generation_in_transformers_ends_within_the_positions_of_the_decoder(training, tmp_path):
    from transformers import SpeechEncoderDecoderModel

    convert(training[1], tmp_path / "out", "hf")
    model = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "out").eval()
    model.generation_config.eos_token_id = None  # so that nothing else ends it
    tokens = model.generate(ref.waves([900])[0], forced_bos_token_id=7, num_beams=1)
    assert model.config.decoder.max_position_embeddings == 32
    assert tokens.shape[1] == 31


def test_an_encoder_without_a_mask_vector_stays_in_its_type(tmp_path):
    import transformers

    source = transformers.Wav2Vec2Model(ref.wav2vec2_config(mask_time_prob=0.0, mask_feature_prob=0.0))
    source.half().save_pretrained(tmp_path / "half")
    assert "masked_spec_embed" not in load_file(tmp_path / "half" / "model.safetensors")
    convert(tmp_path / "half", tmp_path / "out", "hf")
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.float16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_a_ctc_model_without_sentence_marks_gets_none(tmp_path):
    import transformers

    symbols = ["|", *"etaoinshr", "[UNK]", "[PAD]"]
    folder = tmp_path / "in"
    config = ref.wav2vec2_config(vocab_size=len(symbols), pad_token_id=11)
    model = ref.perturb(transformers.Wav2Vec2ForCTC(config))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(symbols)}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"unk_token": "[UNK]", "pad_token": "[PAD]"}))
    convert(folder, tmp_path / "out", "hf")
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert [settings[f"{kind}_token_id"] for kind in ("pad", "bos", "eos")] == [0, None, None]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == len(symbols)
    waves, _ = ref.waves([16000])
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        rows, expected = theirs(waves).logits.argmax(-1), model(waves).logits.argmax(-1)
    written = dict(enumerate(symbols)) | {10: "<unk>", 11: "<pad>"}
    assert tokenizer.convert_ids_to_tokens(rows[0]) == [written[row] for row in expected[0].tolist()]
    assert load(tmp_path / "out").ctc.symbols == load(folder).ctc.symbols


def test_k11_every_type_and_shape_survives_our_safetensors_writer(tmp_path):
    whole = torch.randn(6, 4)
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "view": whole[1:3],
        "transposed": whole.t(),
        "shared": whole,
        "half": torch.randn(5).half(),
        "brain": torch.randn(5).bfloat16(),
        "long": torch.tensor([2**62, -1]),
        "flags": torch.tensor([True, False]),
    }
    path = tmp_path / "x.safetensors"
    write_safetensors(path, tensors, {"note": "x"})
    found = load_file(path)
    assert list(found) == sorted(tensors) or set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    again = tmp_path / "y.safetensors"
    write_safetensors(again, tensors, {"note": "x"})
    assert again.read_bytes() == path.read_bytes()


def test_k13_average_of_one_is_the_identity(training):
    model, path = training
    contents = average([path])
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in contents.state.items())


def test_k13_average_is_taken_in_fp32_and_written_in_the_type_of_the_first(training, tree, tmp_path):
    model, _ = training
    paths, values = [], [1.0, 2**-9, 2**-9, 2**-9]
    for number, value in enumerate(values):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        paths.append(save_training(model.bfloat16(), tree, tmp_path / f"{number}.pt"))
    contents = average(paths)
    # Summed in bfloat16, the small ones would vanish beside the large one.
    expected = torch.tensor(sum(values) / 4).bfloat16()
    assert set(contents.state) == set(model.state_dict())
    assert all(bool((tensor == expected).all()) for tensor in contents.state.values())
    assert {tensor.dtype for tensor in contents.state.values()} == {torch.bfloat16}
    write(contents, tmp_path / "mean.pt", "fairseq", name="mean")
    assert load(tmp_path / "mean.pt", dtype="bfloat16").model.length_adaptor.layers[0].bias[0] == expected


def test_k13_integers_stay_those_of_the_first():
    from st.checkpoints.average import _mean

    assert torch.equal(_mean([torch.tensor([3]), torch.tensor([8])]), torch.tensor([3]))


def reverse_some(path, first, last):
    lines = path.read_text().splitlines()
    lines[first:last] = lines[first:last][::-1]
    path.write_text("\n".join(lines) + "\n")


def another_dictionary(tree):
    reverse_some(tree / "dict.txt", 5, 20)


def other_letters(tree):
    vocabulary = CtcVocabulary.load(tree / "ctc_vocab.json").symbols
    vocabulary[6:9] = vocabulary[6:9][::-1]
    CtcVocabulary({symbol: row for row, symbol in enumerate(vocabulary)}).save(tree / "ctc_vocab.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_dictionary, "its dictionary differs .* from row 9"),
        (other_letters, "vocabulary of head ctc differs .* row 6"),
    ],
)
def test_k13_differing_vocabularies_of_one_size_are_refused_by_name(training, tree, tmp_path, change, message):
    model, path = training
    change(tree)
    other = save_training(model, tree, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        average([path, other])
    assert average([other, other]).config == model.config


def test_k13_vocabularies_that_files_lack_may_be_given(tmp_path):
    spm = ref.make_spm()
    model = ref.speech_translator(len(model_pieces(spm)) + 4 + len(mbart50_tags()))
    folder = ref.save_speech_translator(model, tmp_path / "hf", spm)
    (folder / "sentencepiece.bpe.model").rename(tmp_path / "elsewhere.model")
    command = ["average", str(folder), str(folder), "--out", str(tmp_path / "mean.pt")]
    assert main(command) == 1
    assert main([*command, "--spm", str(tmp_path / "elsewhere.model")]) == 0
    assert_same(load(folder, spm=tmp_path / "elsewhere.model").model, load(tmp_path / "mean.pt").model)


def test_k13_differing_architectures_are_refused_with_the_difference(training, tree, tmp_path):
    model, path = training
    other = save_training(
        make_model(model.config.decoder.vocab_size, model.config.ctc_vocab_size, legacy_padding=True), tree,
        tmp_path / "other.pt",
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"adaptor\.legacy_padding is True, not False"):
        average([path, other])
    with pytest.raises(UsageError):
        average([])
