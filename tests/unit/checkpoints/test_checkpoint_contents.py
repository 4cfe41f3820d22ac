"""Names, shapes and vocabularies: all of a checkpoint or an error, never a part of it in silence."""

from __future__ import annotations

import dataclasses
import json

import pytest
import reference_models as ref
import torch
from safetensors.torch import load_file, save_file
from training_checkpoints import assert_same, save_training

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.formats import fields
from st.checkpoints.formats.fairseq.names import from_fairseq, to_fairseq
from st.checkpoints.formats.names import KEYMAPS
from st.checkpoints.vocabularies import VocabularyFiles
from st.errors import CheckpointError, UsageError
from st.modules.config import DecoderConfig, LengthAdaptorConfig
from st.modules.encoder_config import EncoderConfig
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import mbart50_tags, model_pieces


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
    wide = to_fairseq(
        dict.fromkeys(["length_adaptor.proj.weight", "length_adaptor.proj_ln.bias", "length_adaptor.layers.0.bias"])
    )
    assert list(wide) == [
        "encoder.w2v_encoder.proj.weight", "encoder.w2v_proj_ln.bias", "encoder.adaptor.layers.0.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("name", KEYMAPS)
def test_key_maps_lead_out_and_back(name):
    keymap = KEYMAPS[name]
    for number, (ours, outside) in enumerate(keymap.rows):
        if outside in (theirs for _, theirs in keymap.rows[:number]):
            continue  # The first row of a name of theirs counts: what the tensors are tells which of ours it is.
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
        (
            widen,
            "length_adaptor.layers.0.weight",
            r"encoder\.adaptor\.layers\.0\.weight is \[3, 3\], expected \[32, 16, 3\]",
        ),
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
        CheckpointError, match=rf"vocabulary of head ctc has 8 symbols, the head ctc {model.config.ctc_vocab_size}"
    ):
        load(path)


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


@pytest.mark.parametrize("key", ["vocab_filename", "sentencepiece_model", "ctc_vocab_filename"])
@pytest.mark.parametrize("where", ["absolute", "beside"])
def test_k04_a_checkpoint_leads_to_no_file_outside_of_it(training, tree, tmp_path, key, where):
    _, path = training
    kept = {"vocab_filename": "dict.txt", "sentencepiece_model": "spm.model", "ctc_vocab_filename": "ctc_vocab.json"}
    secret = (tree / kept[key]).rename(tmp_path / "secret")
    secret = str(secret) if where == "absolute" else f"../{tmp_path.name}/secret"
    content = torch.load(path)
    files = content["task_state"]["st_bundle"]["files"]
    files["config.yaml"] = files["config.yaml"].replace(kept[key].encode(), secret.encode())
    del files[kept[key]]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"config\.yaml: \w+ is '.*secret'; expected a file in this folder"):
        load(path)


@pytest.mark.parametrize("key", ["vocab_filename", "bpe_tokenizer"])
def test_k04_a_folder_leads_to_no_file_outside_of_it(training, tmp_path, key):
    _, path = training
    convert(path, tmp_path / "out", "hf")
    notes = json.loads((tmp_path / "out" / "st.json").read_text())
    secret = str(tmp_path / "secret")
    names = {"vocab_filename": secret, "bpe_tokenizer": {"bpe": "sentencepiece", "sentencepiece_model": secret}}
    notes["data_config"][key] = names[key]
    (tmp_path / "secret").write_text("password 1")
    (tmp_path / "out" / "st.json").write_text(json.dumps(notes))
    with pytest.raises(CheckpointError, match=r"st\.json: data_config: \w+ is '.*secret'; expected a file in"):
        load(tmp_path / "out")


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
    with pytest.raises(CheckpointError, match="no floating-point type 'int4'"):
        load(path, dtype="int4")


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
    with pytest.raises(
        CheckpointError, match=r"without a SentencePiece model.*sentencepiece\.bpe\.model.*the file as `spm`"
    ):
        load(folder)
    assert len(load(folder, spm=tmp_path / "elsewhere.model").text) == model.config.decoder.vocab_size
    smaller = ref.make_spm(60)
    (tmp_path / "small.model").write_bytes(smaller)
    with pytest.raises(CheckpointError, match=r"symbols without a dictionary.*dict\.txt.*`dictionary`"):
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
    convert(folder, tmp_path / "out", "hf", files=VocabularyFiles(language_ids={"lv": my_slot}))
    assert load(tmp_path / "out").text.language_id("lv") == my_slot
    with pytest.raises(Exception, match="outside"):
        load(folder, language_ids={"lv": size})


@pytest.mark.parametrize("way", [["hf"], ["fairseq"], ["hf", "fairseq"], ["fairseq", "hf"]], ids="-".join)
def test_languages_that_were_moved_stay_there_whatever_the_format(training, tree, tmp_path, way):
    _, path = training
    place = load(path).text.language_id("en")
    assert place != 20
    assert load(path, language_ids={"en": 20}).text.language_id("en") == 20
    assert load(path, language_ids={"en": 20}, data_dir=tree).text.language_id("en") == 20
    out, given = path, {"en": 20, "de": 21}
    for number, target in enumerate(way):
        source, out = out, tmp_path / f"{number}.{target}"
        convert(source, out, target, files=VocabularyFiles(language_ids=given))
        given = None
        text = load(out).text
        assert [text.language_id(code) for code in ("en", "de", "fr")] == [20, 21, load(path).text.language_id("fr")]
    assert load(out, language_ids={"en": place}).text.language_id("en") == place


@pytest.mark.parametrize("ids", [[1], {"en": "1"}, {1: 1}])
def test_ids_of_languages_that_are_no_table_are_an_error(training, tree, tmp_path, ids):
    model, _ = training
    path = save_training(model, tree, tmp_path / "ids.pt", language_ids=ids)
    with pytest.raises(CheckpointError, match=r"language_ids is .*; expected a table of languages and numbers"):
        load(path)


@pytest.mark.parametrize("way", [["hf"], ["fairseq"], ["hf", "fairseq"]], ids="-".join)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_decoder_that_was_taught_to_transcribe_stays_known(training, tmp_path, weight, way):
    _, path = training
    content = torch.load(path)
    content["cfg"] = {"criterion": {"translation_weight": weight}, "task": {"add_transcripts": True}}
    torch.save(content, path)
    assert load(path).decoder_transcribes is (weight > 0)
    for number, target in enumerate(way):
        source, path = path, tmp_path / f"{number}.{target}"
        convert(source, path, target, parts="whole")
        assert load(path).decoder_transcribes is (weight > 0)


@pytest.mark.parametrize("way", [["hf"], ["fairseq"], ["hf", "fairseq"]], ids="-".join)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_decoder_that_was_never_trained_stays_known(training, tmp_path, weight, way):
    _, path = training
    content = torch.load(path)
    content["cfg"] = {"criterion": {"translation_weight": weight}}
    torch.save(content, path)
    assert load(path).decoder_trained is (weight > 0)
    for number, target in enumerate(way):
        source, path = path, tmp_path / f"{number}.{target}"
        convert(source, path, target, parts="whole")
        assert load(path).decoder_trained is (weight > 0)


@pytest.mark.parametrize(
    ("part", "config"),
    [
        ("encoder", EncoderConfig(dim=64, num_heads=4)),
        ("length_adaptor", LengthAdaptorConfig(stride=2, kernel_size=5)),
        ("decoder", DecoderConfig(dim=64)),
    ],
)
def test_settings_that_are_written_are_those_that_are_read(part, config):
    shared = {ours: getattr(config, ours) for ours, _, _, _ in fields.FIELDS[part]}
    in_fairseq = {ours: shared[ours] for ours, theirs, _, _ in fields.FIELDS[part] if theirs}
    assert fields.from_transformers(part, fields.to_transformers(part, config)) == shared
    assert fields.from_fairseq(part, fields.to_fairseq(part, config)) == in_fairseq


def test_settings_that_a_file_leaves_out_are_the_defaults_of_transformers():
    import transformers

    theirs = {
        "decoder": transformers.MBartConfig(),
        "hubert": transformers.HubertConfig(),
        "data2vec-audio": transformers.Data2VecAudioConfig(),
        "wavlm": transformers.WavLMConfig(),
        "conformer": transformers.Wav2Vec2BertConfig(),
        "log-mel": transformers.SeamlessM4TFeatureExtractor(),
    }
    for part, rows in fields.FIELDS.items():
        defaults = theirs.get(part, transformers.Wav2Vec2Config())
        for _, _, name, default in rows:
            value = getattr(defaults, name)
            assert default == (list(value) if isinstance(value, tuple) else value), name


def test_foreign_architectures_are_refused_with_what_differs(tmp_path):
    import transformers

    base = transformers.Wav2Vec2Model(ref.wav2vec2_config(hidden_act="relu", feat_extract_activation="relu"))
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(CheckpointError, match=r"hidden_act is 'relu'.*feat_extract_activation is 'relu'"):
        load(tmp_path / "base")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="model_type is 'bert'; expected one of: speech-encoder-decoder"):
        load(tmp_path / "bert")
    settings = ref.w2v_settings() | {"layer_type": "conformer"}
    content = {"model": {"feature_extractor.conv_layers.0.0.weight": torch.ones(2, 1, 3)}, "cfg": {"model": settings}}
    torch.save(content, tmp_path / "post.pt")
    with pytest.raises(CheckpointError, match="layer_type is 'conformer', expected 'transformer'"):
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
    assert load(path).model.config.length_adaptor.legacy_padding is False
    convert(path, tmp_path / "out.pt", "fairseq", padding="fairseq")
    assert load(tmp_path / "out.pt").model.config.length_adaptor.legacy_padding is True
    assert load(tmp_path / "out.pt", padding="masked").model.config == dataclasses.replace(load(path).model.config)
    with pytest.raises(CheckpointError, match="choose from: masked, fairseq, transformers"):
        load(path, padding="none")
