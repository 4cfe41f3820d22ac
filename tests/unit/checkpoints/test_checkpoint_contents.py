"""Names, shapes and vocabularies: all of a checkpoint or an error, never a part of it in silence."""

from __future__ import annotations

import dataclasses
import json

import pytest
import reference_models as ref
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from st.checkpoints import load
from st.checkpoints.average import average
from st.checkpoints.bundle import bundle_files
from st.checkpoints.convert import convert, write
from st.checkpoints.keymaps import KEYMAPS
from st.checkpoints.names import from_fairseq, to_fairseq
from st.checkpoints.safetensors_file import write_safetensors
from st.data.config import DataConfig
from st.data.ctc_vocabulary import CtcVocabulary
from st.data.sentencepiece_training import covost_tags, dictionary_text, mbart50_tags, model_pieces
from st.errors import CheckpointError, UsageError
from st.modules.config import AdaptorConfig, DecoderConfig, EncoderConfig, ModelConfig
from st.modules.model import SpeechTranslator


@pytest.fixture(scope="module")
def spm():
    return ref.make_spm()


@pytest.fixture
def tree(tmp_path, spm):
    """A prepared tree with its vocabularies and nothing else."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "spm.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(["en", "fr", "ca"])))
    CtcVocabulary.build({"en": ["speech translation", "zwölf"]}).save(folder / "ctc_vocab.json")
    DataConfig(directions=("fr_en",)).save(folder)
    return folder


def make_model(vocab_size: int, labels: int, seed: int = 0, **adaptor) -> SpeechTranslator:
    torch.manual_seed(seed)
    config = ModelConfig(
        encoder=EncoderConfig(
            conv_layers=((8, 10, 5), (8, 3, 2)), dim=16, ffn_dim=24, num_heads=2, num_layers=2, pos_conv_kernel=4,
            pos_conv_groups=2,
        ),
        adaptor=AdaptorConfig(num_layers=1, **adaptor),
        decoder=DecoderConfig(vocab_size=vocab_size, dim=16, ffn_dim=24, num_heads=2, num_layers=1, max_positions=32),
        ctc_vocab_size=labels,
    )  # fmt: skip
    return ref.perturb(SpeechTranslator(config))


def save_training(model: SpeechTranslator, tree, path, **changes):
    bundle = {"format": 1, "model_config": model.config.to_dict(), "files": bundle_files(tree)}
    content = {"model": to_fairseq(model.state_dict()), "task_state": {"st_bundle": bundle | changes}, "cfg": {}}
    torch.save(content, path)
    return path


@pytest.fixture
def training(tree, tmp_path):
    labels = len(CtcVocabulary.load(tree / "ctc_vocab.json"))
    symbols = 4 + len((tree / "dict.txt").read_text().splitlines())
    model = make_model(symbols, labels)
    return model, save_training(model, tree, tmp_path / "checkpoint.pt")


def assert_same(one: SpeechTranslator, other: SpeechTranslator) -> None:
    assert list(one.state_dict()) == list(other.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_training_checkpoint_opens_alone_with_everything_in_it(training, tree):
    model, path = training
    bundle = load(path)
    assert_same(model, bundle.model)
    assert not bundle.model.training
    assert bundle.text.languages == ("en", "fr", "ca")
    assert bundle.config.directions == ("fr_en",)
    assert bundle.ctc.decode(bundle.ctc.encode("zwölf"), collapse=False) == "zwölf"
    assert_same(model, load(path, data_dir=tree).model)


def test_names_map_to_fairseq_and_back(training):
    names = list(training[0].state_dict())
    renamed = to_fairseq(dict.fromkeys(names))
    assert list(from_fairseq(renamed)) == names
    assert len(renamed) == len(names)
    assert "encoder.w2v_encoder.w2v_model.encoder.layers.0.fc1.weight" in renamed
    wide = to_fairseq(dict.fromkeys(["adaptor.proj.weight", "adaptor.proj_ln.bias", "adaptor.layers.0.bias"]))
    assert list(wide) == [
        "encoder.w2v_encoder.proj.weight", "encoder.w2v_proj_ln.bias", "encoder.adaptor.layers.0.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("name", KEYMAPS)
def test_key_maps_lead_out_and_back(name):
    keymap = KEYMAPS[name]
    for ours, _ in keymap.rows:
        sample = ours.replace(".N.", ".11.") + ("x.weight" if ours.endswith(".") else "")
        theirs = keymap.theirs(sample)
        assert theirs is not None
        assert keymap.ours(theirs) == sample


def drop(content, name):
    del content["model"][to_fairseq({name: None}).popitem()[0]]


def add(content, name):
    content["model"][name] = torch.ones(1)


def widen(content, name):
    key = to_fairseq({name: None}).popitem()[0]
    content["model"][key] = torch.ones(3, 3)


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (drop, "encoder.mask_emb", r"1 missing: encoder\.w2v_encoder\.w2v_model\.mask_emb"),
        (add, "encoder.w2v_encoder.w2v_model.stranger", r"1 unexpected: encoder\.w2v_encoder\.w2v_model\.stranger"),
        (add, "stranger", r"1 tensors that our model has no place for: stranger"),
        (widen, "adaptor.layers.0.weight", r"adaptor\.layers\.0\.weight is \[3, 3\], expected \[32, 16, 3\]"),
    ],
)
def test_k08_missing_unexpected_and_misshapen_tensors_are_listed(training, change, name, message):
    _, path = training
    content = torch.load(path)
    change(content, name)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_k08_at_most_ten_names_and_their_count(training):
    _, path = training
    content = torch.load(path)
    gone = [name for name in content["model"] if "encoder.layers.1." in name]
    for name in gone:
        del content["model"][name]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"{len(gone)} missing: .* and {len(gone) - 10} more") as caught:
        load(path)
    assert str(caught.value).count("encoder.layers.1.") == 10


def test_k09_vocabulary_of_another_size_names_both(training, tree, tmp_path):
    model, path = training
    size = model.config.decoder.vocab_size
    with (tree / "dict.txt").open("a") as handle:
        handle.write("<lang:de> 1\n")
    with pytest.raises(CheckpointError, match=rf"dictionary has {size + 1} symbols, the decoder {size}"):
        load(path, data_dir=tree)
    other = CtcVocabulary.build({"en": ["abc"]})
    other.save(tree / "ctc_vocab.json")
    broken = save_training(model, tree, tmp_path / "broken.pt")
    with pytest.raises(CheckpointError, match=rf"dictionary has {size + 1} symbols, the decoder {size}"):
        load(broken)


def test_k09_ctc_vocabulary_of_another_size_names_both(training, tree, tmp_path):
    model, _ = training
    CtcVocabulary.build({"en": ["abc"]}).save(tree / "ctc_vocab.json")
    path = save_training(model, tree, tmp_path / "broken.pt")
    with pytest.raises(
        CheckpointError, match=rf"CTC vocabulary has 8 symbols, the CTC head {model.config.ctc_vocab_size}"
    ):
        load(path)


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
    assert load(tmp_path / "mean.pt", dtype="bfloat16").model.adaptor.layers[0].bias[0] == expected


def test_k13_integers_stay_those_of_the_first():
    from st.checkpoints.average import _mean

    assert torch.equal(_mean([torch.tensor([3]), torch.tensor([8])]), torch.tensor([3]))


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


def test_k15_both_spellings_of_weight_norm_open(training, tmp_path):
    model, path = training
    content = torch.load(path)
    base = "encoder.w2v_encoder.w2v_model.encoder.pos_conv.0."
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        content["model"][f"{base}parametrizations.weight.{new}"] = content["model"].pop(base + old)
    torch.save(content, path)
    assert_same(model, load(path).model)
    folder = tmp_path / "hf"
    convert(path, folder, "hf")
    tensors = load_file(folder / "model.safetensors")
    conv = "encoder.encoder.pos_conv_embed.conv."
    assert f"{conv}parametrizations.weight.original0" in tensors
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        tensors[conv + old] = tensors.pop(f"{conv}parametrizations.weight.{new}")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert_same(model, load(folder).model)


def test_sharded_folder_with_a_missing_shard_or_tensor_is_an_error(training, tmp_path):
    _, path = training
    folder = tmp_path / "hf"
    convert(path, folder, "hf")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / shard)
    index = {name: shard for shard, part in shards.items() for name in part}
    file = folder / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": index}))
    load(folder)
    file.write_text(json.dumps({"weight_map": index | {"ghost": "model-1.safetensors"}}))
    with pytest.raises(CheckpointError, match="no shard has: ghost"):
        load(folder)
    file.write_text(json.dumps({"weight_map": {names[0]: "../model-1.safetensors"}}))
    with pytest.raises(CheckpointError, match="expected a file of the same folder"):
        load(folder)
    file.write_text(json.dumps({"weight_map": index}))
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-2\.safetensors: no such checkpoint"):
        load(folder)


def test_types_of_parameters_are_those_asked_for(training):
    _, path = training
    for name, dtype in ((None, torch.float32), ("bfloat16", torch.bfloat16), (torch.float16, torch.float16)):
        model = load(path, dtype=name).model
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    with pytest.raises(CheckpointError, match="no floating-point type 'int8'"):
        load(path, dtype="int8")


def test_loaded_parameters_can_be_trained_without_touching_the_file(training):
    _, path = training
    before = path.read_bytes()
    model = load(path).model.train()
    logits = model(*ref.waves([600, 500]), torch.tensor([[2, 5], [2, 6]]))
    logits.sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert path.read_bytes() == before


def test_vocabulary_that_a_file_lacks_is_asked_for_by_name(tmp_path, spm):
    model = ref.speech_translator(len(model_pieces(spm)) + 4 + len(mbart50_tags()))
    folder = ref.save_speech_translator(model, tmp_path / "hf", spm)
    (folder / "sentencepiece.bpe.model").rename(tmp_path / "elsewhere.model")
    with pytest.raises(CheckpointError, match=r"without a SentencePiece model.*sentencepiece\.bpe\.model.*spm=.*--spm"):
        load(folder)
    assert len(load(folder, spm=tmp_path / "elsewhere.model").text) == model.config.decoder.vocab_size
    smaller = ref.make_spm(60)
    (tmp_path / "small.model").write_bytes(smaller)
    with pytest.raises(CheckpointError, match=r"symbols without a dictionary.*dict\.txt.*--dict"):
        load(folder, spm=tmp_path / "small.model")


def test_languages_stand_on_their_slots_and_can_be_moved(tmp_path, spm):
    size = len(model_pieces(spm)) + 4 + len(mbart50_tags())
    folder = ref.save_speech_translator(ref.speech_translator(size), tmp_path / "hf", spm)
    text = load(folder).text
    assert text.language_id("ca") == text.language_id("es")
    assert text.symbols[text.language_id("cy")] == "[fi_FI]"
    assert text.symbols[text.language_id("lv")] == "[lv_LV]"
    my_slot = text.symbols.index("[my_MM]")
    moved = load(folder, language_ids={"lv": my_slot})
    assert moved.text.language_id("lv") == my_slot
    assert moved.text.language_id("en") == text.language_id("en")
    convert(folder, tmp_path / "out", "hf", language_ids={"lv": my_slot})
    assert load(tmp_path / "out").text.language_id("lv") == my_slot
    with pytest.raises(Exception, match="outside"):
        load(folder, language_ids={"lv": size})


def test_foreign_architectures_are_refused_with_what_differs(tmp_path):
    import transformers

    base = transformers.Wav2Vec2Model(ref.wav2vec2_config(feat_extract_norm="group", do_stable_layer_norm=False))
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(CheckpointError, match=r"feat_extract_norm is 'group'.*do_stable_layer_norm is False"):
        load(tmp_path / "base")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="model_type is 'bert'; expected one of: speech-encoder-decoder"):
        load(tmp_path / "bert")
    settings = ref.w2v_settings() | {"layer_norm_first": False}
    content = {"model": {"feature_extractor.conv_layers.0.0.weight": torch.ones(2, 1, 3)}, "cfg": {"model": settings}}
    torch.save(content, tmp_path / "post.pt")
    with pytest.raises(CheckpointError, match="layer_norm_first is False, expected True"):
        load(tmp_path / "post.pt")


def test_convert_refuses_to_replace_what_exists(training, tmp_path):
    _, path = training
    convert(path, tmp_path / "out", "hf")
    with pytest.raises(UsageError, match="exists"):
        convert(path, tmp_path / "out", "hf")
    convert(path, tmp_path / "out", "hf", overwrite=True)
    with pytest.raises(UsageError, match="exists"):
        convert(path, path, "fairseq")


def test_padding_is_a_switch_that_travels(training, tmp_path):
    _, path = training
    assert load(path).model.config.adaptor.legacy_padding is False
    convert(path, tmp_path / "out.pt", "fairseq", padding="fairseq")
    assert load(tmp_path / "out.pt").model.config.adaptor.legacy_padding is True
    assert load(tmp_path / "out.pt", padding="masked").model.config == dataclasses.replace(load(path).model.config)
    with pytest.raises(CheckpointError, match="choose from: masked, fairseq, transformers"):
        load(path, padding="none")
