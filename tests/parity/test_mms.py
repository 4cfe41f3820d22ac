"""MMS: adapters and a head for each language, as transformers and as fairseq have them; the same numbers as theirs."""

from __future__ import annotations

import argparse
import json
import logging

import pytest
import reference_models as ref
import soundfile
import torch
import transformers
from safetensors.torch import save_file
from tone_tree import make_tree

from st import load
from st.audio.reading import read_audio
from st.checkpoints.adapters import choose
from st.checkpoints.assemble import blueprint
from st.checkpoints.convert import convert
from st.checkpoints.formats.names import is_of_language
from st.checkpoints.inspect import inspect
from st.checkpoints.start.initialise import load_encoder
from st.cli import main
from st.errors import CheckpointError
from st.evaluation.scoring.hypotheses import read_hypotheses
from st.inference import load_translator
from st.inference.transcription.transcriber import TranscriptOptions
from st.modules.config import ModelConfig, ctc_heads
from st.modules.encoder_config import XLSR_CONV_LAYERS, EncoderConfig
from st.modules.model import SpeechTranslator

CLOSE = {"atol": 1e-5, "rtol": 0}
LENGTHS = [16000, 9000, 401, 12345]
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>", "|"]
LETTERS = {"eng": "etaoins", "fra": "esaitnrulé", "urd-script_latin": "aeik"}
WIDTH = 6


def symbols_of(language):
    return [*SPECIALS, *LETTERS[language]]


def close_valid(found, expected, lengths):
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length], **CLOSE)


def our_logits(model, waves, lengths):
    encoded = model.encode(waves, lengths)
    return model.ctc_logits(encoded), encoded.lengths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like facebook/mms-1b-all: English inside, three languages in files of their own, one of them a ``.bin``."""
    folder = tmp_path_factory.mktemp("mms-1b-all")
    for seed, language in enumerate(["fra", "urd-script_latin", "eng"]):
        torch.manual_seed(0)
        size = len(symbols_of(language))
        config = ref.wav2vec2_config(vocab_size=size, pad_token_id=0, adapter_attn_dim=WIDTH)
        model = ref.perturb(transformers.Wav2Vec2ForCTC(config))
        own = model._get_adapters()
        generator = torch.Generator().manual_seed(10 + seed)
        with torch.no_grad():
            for tensor in own.values():
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
        own = {name: tensor.detach().clone() for name, tensor in own.items()}
        if language == "fra":
            torch.save(own, folder / "adapter.fra.bin")
        else:
            save_file(own, folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})
    model.save_pretrained(folder)
    tables = {code: {symbol: row for row, symbol in enumerate(symbols_of(code))} for code in LETTERS}
    (folder / "vocab.json").write_text(json.dumps(tables))
    tokenizer = {"target_lang": "eng", "word_delimiter_token": "|", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


@torch.no_grad()
def test_k12_each_language_has_the_logits_of_transformers(folder):
    waves, lengths = ref.waves(LENGTHS)
    mask = (torch.arange(waves.size(1)) < lengths[:, None]).long()
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    found = {}
    for language in LETTERS:
        theirs.load_adapter(language)
        bundle = load(folder, language=language)
        assert bundle.ctc.symbols == symbols_of(language)
        assert bundle.language == language
        found[language], frames = our_logits(bundle.model, waves, lengths)
        close_valid(found[language], theirs(waves, attention_mask=mask).logits, frames)
    assert float((found["eng"][0, :, :5] - found["fra"][0, :, :5]).abs().max()) > 0.05


@torch.no_grad()
def test_without_a_language_the_model_is_what_its_file_has(folder):
    bundle = load(folder)
    assert bundle.language is None
    assert bundle.ctc.symbols == symbols_of("eng")
    waves, lengths = ref.waves(LENGTHS[:1])
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    torch.testing.assert_close(our_logits(bundle.model, waves, lengths)[0], theirs(waves).logits, **CLOSE)


def test_a_language_whose_file_is_not_there_is_not_taken_for_another(folder, tmp_path):
    for path in folder.iterdir():
        if not path.name.startswith("adapter."):
            (tmp_path / path.name).symlink_to(path)
    assert load(tmp_path, language="en").ctc.symbols == symbols_of("eng")
    with pytest.raises(CheckpointError, match="no adapter for fra; it has: eng"):
        load(tmp_path, language="fra")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="has symbols of: eng, fra, urd-script_latin; `language` says which"):
        load(tmp_path)


def test_a_language_by_any_code_and_every_letter_of_its_own_head(folder):
    assert load(folder, language="fr").language == "fra"
    assert load(folder, language="ur").language == "urd-script_latin"
    translator = load_translator(folder, transcripts=TranscriptOptions(language="ur"))
    assert translator.ctc.symbols == symbols_of("urd-script_latin")
    # Urdu is written in Arabic letters as a rule; the head of this language has Latin ones, which stay.
    assert translator.transcriber._impossible is None


def test_an_evaluation_takes_the_adapter_of_each_spoken_language(folder, tmp_path):
    words = {"en": ("red", "tree", "runs", "fast", "home", "now"), "fr": ("feu", "bois", "part", "tard", "chez", "là")}
    tree = make_tree(tmp_path / "tree", train=1, dev=3, directions=("fr_en", "en_fr"), vocabulary=words)
    command = ["evaluate", "--checkpoint", str(folder), "--data", str(tree), "--out", str(tmp_path / "out")]
    assert main([*command, "--threads", "1"]) == 0
    for language in words:
        heard = read_hypotheses(tmp_path / "out" / "transcripts" / f"{language}.tsv")
        translator = load_translator(folder, transcripts=TranscriptOptions(language=language), keep_all=True)
        recordings = [read_audio(str(tree / "audio" / f"{row.id}.flac")) for row in heard]
        expected = [result.transcript for result in translator.decode(recordings, [()] * 3)]
        assert [row.hypothesis for row in heard] == expected
        assert any(set(text) - set(LETTERS["eng" if language == "fr" else "fra"]) - {" "} for text in expected)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["settings"]["adapters"] == "of the language"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_command_transcribes_with_the_head_of_its_language(folder, tmp_path, capsys, dtype):
    recording = tmp_path / "a.wav"
    soundfile.write(recording, ref.waves([16000])[0][0].numpy() * 0.1, 16000)
    texts = {}
    for language in ("eng", "fr"):
        command = ["transcribe", str(recording), "--checkpoint", str(folder), "--lang", language, "--keep-all"]
        assert main([*command, "--dtype", dtype, "--device", "cpu"]) == 0
        texts[language] = capsys.readouterr().out.strip()
    assert set(texts["fr"]) & set("rulé"), "letters that English has not got here"
    assert not set(texts["eng"]) & set("rulé")


@pytest.mark.parametrize(
    ("language", "names", "found"),
    [
        ("fra", ["fra", "fre"], "fra"),
        ("pt-BR", ["por", "spa"], "por"),
        ("az", ["azj-script_latin", "azj-script_cyrillic"], None),
        ("azj-script_cyrillic", ["azj-script_latin", "azj-script_cyrillic"], "azj-script_cyrillic"),
        ("quy", ["quz"], None),
        ("not a code", ["eng"], None),
    ],
)
def test_which_language_is_meant(language, names, found):
    if found is not None:
        assert choose(language, names, "x") == found
        return
    with pytest.raises(CheckpointError, match=f"x: no adapter for {language}; it has: {', '.join(sorted(names))}"):
        choose(language, names, "x")


def test_the_licence_is_said_and_the_languages_are_listed(folder, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert "CC-BY-NC 4.0: not for commercial use" in caplog.text
    assert inspect(folder, digest=False)["adapters"] == sorted(LETTERS)
    caplog.clear()
    transformers.Wav2Vec2Model(ref.wav2vec2_config()).save_pretrained(tmp_path / "xls-r")
    transformers.Wav2Vec2Model(ref.wav2vec2_config()).save_pretrained(tmp_path / "mms-300m")
    with caplog.at_level(logging.WARNING):
        load(tmp_path / "xls-r")
        assert "CC-BY-NC" not in caplog.text
        load(tmp_path / "mms-300m")
        assert "CC-BY-NC" in caplog.text


@torch.no_grad()
def test_one_language_goes_out_as_a_model_of_its_own(folder, tmp_path):
    convert(folder, tmp_path / "out", "hf", language="fra")
    waves, lengths = ref.waves(LENGTHS[:1])
    expected = our_logits(load(folder, language="fra").model, waves, lengths)[0]
    theirs, info = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    torch.testing.assert_close(theirs.eval()(waves).logits, expected, **CLOSE)
    torch.testing.assert_close(our_logits(load(tmp_path / "out").model, waves, lengths)[0], expected, **CLOSE)
    with pytest.raises(CheckpointError, match="adapters in the encoder's layers are not written for fairseq"):
        convert(folder, tmp_path / "out.pt", "fairseq", language="fra")


@torch.no_grad()
def test_an_adapter_alone_goes_from_one_folder_to_another(folder, tmp_path):
    base = tmp_path / "base"
    transformers.Wav2Vec2ForCTC.from_pretrained(folder).save_pretrained(base)
    convert(folder, base, "adapter", language="fra")
    assert json.loads((base / "vocab.json").read_text()) == {
        "fra": {symbol: row for row, symbol in enumerate(symbols_of("fra"))}
    }
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(base, target_lang="fra", ignore_mismatched_sizes=True)
    waves, lengths = ref.waves(LENGTHS[:1])
    expected = our_logits(load(folder, language="fra").model, waves, lengths)[0]
    torch.testing.assert_close(theirs.eval()(waves).logits, expected, **CLOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: own.pop("lm_head.weight"), r"1 missing: lm_head\.weight"),
        (lambda own: own.update({"lm_head.bias": torch.zeros(3)}), r"lm_head\.bias is \[3\], expected \[12\]"),
        (
            lambda own: own.update({"wav2vec2.encoder.layers.9.adapter_layer.norm.bias": torch.zeros(48)}),
            r"1 unexpected: wav2vec2\.encoder\.layers\.9",
        ),
        (lambda own: own.update({"wav2vec2.masked_spec_embed": torch.zeros(48)}), r"1 unexpected"),
        (lambda own: own.update(other=torch.zeros(1)), r"no place for: other"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(folder, tmp_path, change, message):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    own = load_file_of(folder, "eng")
    change(own)
    (tmp_path / "adapter.eng.safetensors").unlink()
    save_file(own, tmp_path / "adapter.eng.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, language="eng")


def load_file_of(folder, language):
    from safetensors.torch import load_file

    return load_file(folder / f"adapter.{language}.safetensors")


# -- fairseq ------------------------------------------------------------------------------------------------------------


def fairseq_model(dictionary):
    """Build fairseq's own recogniser with an adapter in each layer, as the files of MMS have it."""
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc
    from omegaconf import OmegaConf

    adapters = {"layer_type": "trf_adp", "adp_num": 1, "adp_dim": WIDTH, "adp_act_fn": "relu", "adp_trf_idx": "all"}
    speech = OmegaConf.to_container(vars(ref.xm_settings())["w2v_args"])
    speech["model"] |= adapters
    # What the fine-tuning says of adapters replaces what the pre-training did.
    settings = {**adapters, "w2v_path": "", "w2v_args": OmegaConf.create(speech), "normalize": True, "data": "",
                "ddp_backend": "pytorch_ddp", "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
                "final_dropout": 0.0}  # fmt: skip
    torch.manual_seed(0)
    config = OmegaConf.merge(OmegaConf.structured(Wav2Vec2CtcConfig), settings)
    model = ref.perturb(Wav2VecCtc.build_model(config, argparse.Namespace(target_dictionary=dictionary)))
    return model, {"_name": "wav2vec_ctc", **settings}


@pytest.fixture(scope="module")
def fairseq_file(tmp_path_factory):
    """A file like ``mms1b_all.pt``, and its model with each language."""
    pytest.importorskip("fairseq")
    entries, models = {}, {}
    for seed, language in enumerate(["eng", "fra"]):
        dictionary = ref.fairseq_dictionary(symbols_of(language)[4:])
        model, settings = fairseq_model(dictionary)
        generator = torch.Generator().manual_seed(20 + seed)
        own = {n: p for n, p in model.named_parameters() if "adapter_layer" in n or ".proj." in n}
        with torch.no_grad():
            for tensor in own.values():
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
        entries[language] = {
            "model": {name: tensor.detach().clone() for name, tensor in own.items()},
            "task_state": {"target_dictionary": dictionary},
        }
        models[language] = model
    content = {"cfg": {"model": settings, "task": {}}, "model": models["eng"].state_dict(), "adapter": entries,
               "task_state": {"target_dictionary": ref.fairseq_dictionary(symbols_of("eng")[4:])}}  # fmt: skip
    path = tmp_path_factory.mktemp("fairseq") / "mms1b_all.pt"
    torch.save(content, path)
    return path, models


@torch.no_grad()
def test_k12_each_language_has_the_logits_of_fairseq(fairseq_file, caplog):
    path, models = fairseq_file
    waves, lengths = ref.waves(LENGTHS)
    mask = torch.arange(waves.size(1)) >= lengths[:, None]
    found = {}
    for language, model in models.items():
        bundle = load(path, language=language)
        assert bundle.ctc.symbols == symbols_of(language)
        found[language], frames = our_logits(bundle.model, waves, lengths)
        out = model(source=waves, padding_mask=mask, corpus_key=[0] * len(waves))["encoder_out"]
        close_valid(found[language], out.transpose(0, 1), frames)
    assert float((found["eng"][0, :, :5] - found["fra"][0, :, :5]).abs().max()) > 0.05
    assert "CC-BY-NC" in caplog.text
    with pytest.raises(CheckpointError, match="no adapter for deu; it has: eng, fra"):
        load(path, language="deu")


@torch.no_grad()
def test_a_language_of_fairseq_goes_to_transformers(fairseq_file, tmp_path):
    path, _ = fairseq_file
    convert(path, tmp_path / "out", "hf", language="fra")
    waves, lengths = ref.waves(LENGTHS[:1])
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "out").eval()
    expected = our_logits(load(path, language="fra").model, waves, lengths)[0]
    torch.testing.assert_close(theirs(waves).logits, expected, **CLOSE)


@torch.no_grad()
def test_k12_a_classifier_of_fairseq_gives_its_encoder(fairseq_file, tmp_path):
    path, models = fairseq_file
    content = torch.load(path, weights_only=False)
    state = {name: tensor for name, tensor in content["model"].items() if ".proj." not in name}
    for name, shape in (("linear", (8, 48)), ("projection", (3, 8))):
        state |= {f"pooling_layer.{name}.weight": torch.ones(shape), f"pooling_layer.{name}.bias": torch.ones(shape[0])}
    torch.save({"cfg": content["cfg"], "model": state}, tmp_path / "lid.pt")
    bundle = load(tmp_path / "lid.pt")
    assert bundle.description == "fairseq wav2vec_classification"
    waves, lengths = ref.waves(LENGTHS[:1])
    expected = models["eng"].w2v_encoder.w2v_model.extract_features(waves, None, corpus_key=[0])["x"]
    torch.testing.assert_close(bundle.model.encode(waves, lengths).states, expected, **CLOSE)


# -- language identification --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_k12_the_encoder_of_mms_lid_has_its_adapters(tmp_path):
    torch.manual_seed(0)
    config = ref.wav2vec2_config(adapter_attn_dim=WIDTH, num_labels=3, classifier_proj_size=8)
    model = transformers.Wav2Vec2ForSequenceClassification(config)
    ref.perturb(model)
    model.save_pretrained(tmp_path)
    assert load(tmp_path).description == "transformers Wav2Vec2ForSequenceClassification"
    shape = {"dim": 48, "ffn_dim": 96, "num_heads": 4, "num_layers": 2, "pos_conv_kernel": 16, "pos_conv_groups": 4}
    encoder = EncoderConfig(conv_layers=ref.CONV_LAYERS, **shape, adapter_dim=WIDTH)
    ours = SpeechTranslator(ModelConfig(encoder=encoder, heads=ctc_heads(7), parts=("encoder",))).eval()
    load_encoder(ours, tmp_path)
    waves, lengths = ref.waves(LENGTHS)
    mask = (torch.arange(waves.size(1)) < lengths[:, None]).long()
    encoded = ours.encode(waves, lengths)
    close_valid(encoded.states, model.wav2vec2(waves, attention_mask=mask).last_hidden_state, encoded.lengths)
    plain = SpeechTranslator(
        ModelConfig(encoder=EncoderConfig(conv_layers=ref.CONV_LAYERS, **shape), parts=("encoder",))
    )
    with pytest.raises(CheckpointError, match=f"adapter_dim is {WIDTH}, expected 0"):
        load_encoder(plain, tmp_path)


@pytest.mark.parametrize(
    ("dim", "layers", "encoder", "of_language"),
    [(1024, 24, 315_438_720, 1_018_394), (1280, 48, 962_497_408, 2_348_442)],
    ids=["300M", "1B"],
)
def test_parameters_of_the_published_sizes(dim, layers, encoder, of_language):
    """An encoder as large as XLS-R's, and for English (154 symbols) a file of adapters of 2.35 million numbers with 1B."""
    shape = {"dim": dim, "ffn": 4 * dim, "heads": 16, "layers": layers, "kernel": 128, "groups": 16}
    with torch.device("meta"):
        settings = ref.wav2vec2_config(shape, XLSR_CONV_LAYERS, vocab_size=154, adapter_attn_dim=16)
        reference = transformers.Wav2Vec2ForCTC(settings)
    config = EncoderConfig(dim=dim, ffn_dim=4 * dim, num_layers=layers, adapter_dim=16)
    model = blueprint(ModelConfig(encoder=config, heads=ctc_heads(154), parts=("encoder",)))
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    own = {name: count for name, count in counts.items() if is_of_language(name)}
    assert sum(counts.values()) == sum(parameter.numel() for parameter in reference.parameters())
    assert sum(counts.values()) - sum(own.values()) == encoder
    assert sum(own.values()) == of_language
    assert len(own) == len(reference._get_adapters()) == 6 * layers + 2
