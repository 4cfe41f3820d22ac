"""Files of fairseq's models, opened by us; files that we wrote, loaded by fairseq; the same numbers."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import reference_models as ref
import torch
from torch import Tensor, nn

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.start.initialise import load_encoder
from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.errors import CheckpointError
from st.modules.config import LengthAdaptorConfig
from st.modules.length_adaptor import LengthAdaptor
from st.text.sentencepiece_training import dictionary_text, mbart50_tags, model_pieces

pytest.importorskip("fairseq")

LENGTHS = [[16000], [400], [16000, 9000, 401, 12345]]
WIDE = {**ref.TEXT, "dim": 64}
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def spm():
    return ref.make_spm()


@pytest.fixture(scope="module")
def symbols(spm):
    return [*model_pieces(spm), *mbart50_tags()]


def save_xm(model, args: argparse.Namespace, folder, spm: bytes, style: str = "args"):
    """Write a checkpoint as fairseq did before (``args``) and after (``cfg``) 2021, with its vocabularies beside it."""
    folder.mkdir(exist_ok=True)
    settings = {"args": args, "cfg": None} if style == "args" else {"args": None, "cfg": {"model": args, "task": {}}}
    history = [{"criterion_name": "x", "optimizer_name": "adam", "num_updates": np.int64(5), "lr_scheduler_state": {}}]
    extra = {"val_loss": np.float64(2.5), "train_iterator": {"epoch": 3}}
    content = {"model": model.state_dict(), "optimizer_history": history, "extra_state": extra, **settings}
    torch.save(content, folder / "model.pt")
    (folder / "sentencepiece.bpe.model").write_bytes(spm)
    return folder


@pytest.fixture(scope="module", params=[ref.TEXT, WIDE], ids=["300m-like", "1b-like"])
def translator(request, tmp_path_factory, spm, symbols):
    """Stock fairseq's ``xm_transformer`` and the folder of its release."""
    args = ref.xm_settings(text=request.param)
    model = ref.fairseq_xm(args, symbols)
    return model, args, save_xm(model, args, tmp_path_factory.mktemp("xm"), spm)


def tokens_for(rows: int, symbols: list[str]) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.cat([torch.full((rows, 1), 2), torch.randint(4, 4 + len(symbols), (rows, 7), generator=generator)], 1)


def padding_mask(lengths: Tensor) -> Tensor:
    return torch.arange(int(lengths.max())) >= lengths[:, None]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("style", ["zip", "legacy"])
def test_k12_encoder_states_are_those_of_a_pretraining_checkpoint(tmp_path, lengths, style):
    path = tmp_path / "xlsr.pt"
    model = ref.save_fairseq_wav2vec2(path, _use_new_zipfile_serialization=style == "zip")
    bundle = load(path)
    assert bundle.description == "fairseq wav2vec2"
    assert bundle.config.standardize_audio
    waves, lengths = ref.waves(lengths)
    with torch.no_grad():
        expected = model.extract_features(waves, padding_mask(lengths))["x"]
        encoded = bundle.model.encode(waves, lengths)
    for row, length in enumerate(encoded.lengths.tolist()):
        torch.testing.assert_close(encoded.states[row, :length], expected[row, :length], **CLOSE)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_k12_translation_logits_are_those_of_fairseq(translator, symbols, lengths):
    model, _, folder = translator
    bundle = load(folder)
    assert bundle.description == "fairseq xm_transformer"
    waves, lengths = ref.waves(lengths)
    tokens = tokens_for(len(lengths), symbols)
    with torch.no_grad():
        expected = model(waves, lengths, tokens)[0]
        torch.testing.assert_close(bundle.model(waves, lengths, tokens), expected, **CLOSE)


def test_k12_masked_padding_gives_each_utterance_what_fairseq_gives_it_alone(translator, symbols):
    model, _, folder = translator
    masked, legacy = load(folder, padding="masked").model, load(folder).model
    assert legacy.config.length_adaptor.legacy_padding
    waves, lengths = ref.waves(LENGTHS[-1])
    tokens = tokens_for(len(lengths), symbols)
    with torch.no_grad():
        together, as_fairseq = masked(waves, lengths, tokens), legacy(waves, lengths, tokens)
        for row, length in enumerate(lengths.tolist()):
            alone = model(waves[row : row + 1, :length], lengths[row : row + 1], tokens[row : row + 1])[0]
            torch.testing.assert_close(together[row : row + 1], alone, **CLOSE)
    # The known-bad control: fairseq's own results depend on the neighbours.
    assert float((as_fairseq - together).abs().max()) > 1e-3


def test_both_styles_of_settings_open_alike_and_cluster_paths_do_no_harm(translator, tmp_path, spm):
    model, args, folder = translator
    args = argparse.Namespace(
        **vars(args) | {"w2v_path": "/checkpoint/nobody/xlsr.pt", "load_pretrained_decoder_from": "/x"}
    )
    other = save_xm(model, args, tmp_path / "cfg", spm, style="cfg")
    one, two = load(folder), load(other)
    assert one.model.config == two.model.config
    assert all(torch.equal(tensor, two.model.state_dict()[name]) for name, tensor in one.model.state_dict().items())


def test_release_with_config_and_dictionary_opens_with_its_own_tags(translator, tmp_path, spm):
    model, args, _ = translator
    codes = ["en", "de", "ca", "zh-CN"]
    tags = [f"<lang:{code}>" for code in codes]
    filler = [f"unused{n}" for n in range(len(mbart50_tags()) - len(tags))]
    folder = save_xm(model, args, tmp_path / "release", spm)
    (folder / "sentencepiece.bpe.model").rename(folder / "spm_own.model")
    (folder / "dict.mbart50.txt").write_text(dictionary_text(model_pieces(spm), [*tags, *filler]))
    (folder / "config.yaml").write_text(
        "bpe_tokenizer: {bpe: sentencepiece, sentencepiece_model: /checkpoint/nobody/spm_own.model}\n"
        "vocab_filename: /checkpoint/nobody/dict.mbart50.txt\naudio_root: ''\ninput_channels: 1\n"
        "prepend_tgt_lang_tag: false\nuse_audio_input: true\nstandardize_audio: true\n"
    )
    bundle = load(folder)
    assert bundle.text.symbols[bundle.text.language_id("ca")] == "<lang:ca>"
    assert set(bundle.text.languages) == set(codes)
    assert bundle.config.lang_tag_format == "<lang:{}>"


def test_bare_file_asks_for_its_vocabularies_by_name(translator, tmp_path):
    _, _, folder = translator
    bare = tmp_path / "bare.pt"
    bare.write_bytes((folder / "model.pt").read_bytes())
    with pytest.raises(CheckpointError, match=r"without a SentencePiece model.*`spm`"):
        load(bare)
    assert load(bare, spm=folder / "sentencepiece.bpe.model").text is not None


def fairseq_ctc(settings, dictionary):
    """Build stock fairseq's ``wav2vec_ctc``."""
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc
    from omegaconf import OmegaConf

    config = OmegaConf.merge(OmegaConf.structured(Wav2Vec2CtcConfig), settings)
    return ref.perturb(Wav2VecCtc.build_model(config, argparse.Namespace(target_dictionary=dictionary)))


@pytest.fixture
def ctc(tmp_path):
    """A CTC fine-tuning, its settings, its dictionary and its file."""
    dictionary = ref.fairseq_dictionary(["|", *"etaoins"])
    speech = vars(ref.xm_settings())["w2v_args"]
    settings = {"w2v_path": "", "w2v_args": speech, "normalize": True, "data": "", "ddp_backend": "pytorch_ddp",
                "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "final_dropout": 0.0}  # fmt: skip
    torch.manual_seed(0)
    model = fairseq_ctc(settings, dictionary)
    content = {"cfg": {"model": {"_name": "wav2vec_ctc", **settings}, "task": {}}, "model": model.state_dict(),
               "task_state": {"target_dictionary": dictionary}}  # fmt: skip
    torch.save(content, tmp_path / "ctc.pt")
    return model, settings, dictionary, tmp_path / "ctc.pt"


@torch.no_grad()
def ctc_logits(model, waves, lengths) -> Tensor:
    return model(source=waves, padding_mask=padding_mask(lengths))["encoder_out"].transpose(0, 1)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_k12_ctc_logits_and_dictionary_are_those_of_fairseq(ctc, lengths):
    model, _, _, path = ctc
    bundle = load(path)
    assert bundle.description == "fairseq wav2vec_ctc"
    assert bundle.ctc.symbols == ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
    waves, lengths = ref.waves(lengths)
    expected = ctc_logits(model, waves, lengths)
    with torch.no_grad():
        encoded = bundle.model.encode(waves, lengths)
        found = bundle.model.ctc_logits(encoded)
    for row, length in enumerate(encoded.lengths.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length], **CLOSE)


def test_ctc_file_without_its_dictionary_asks_for_it_by_name(ctc, tmp_path):
    _, _, dictionary, path = ctc
    content = torch.load(path, weights_only=False)
    del content["task_state"]
    (tmp_path / "other").mkdir()
    torch.save(content, tmp_path / "other" / "ctc.pt")
    with pytest.raises(CheckpointError, match=r"without the symbols of its CTC head.*dict\.ltr\.txt.*`ctc_vocab`"):
        load(tmp_path / "other" / "ctc.pt")
    dictionary.save(str(tmp_path / "other" / "dict.ltr.txt"))
    assert load(tmp_path / "other" / "ctc.pt").ctc.symbols == load(path).ctc.symbols


def test_k12_what_we_write_loads_in_stock_fairseq(ctc, translator, symbols, tmp_path):
    # Pre-training: the modules that fine-tuning throws away are not there, as after remove_pretraining_modules.
    path = tmp_path / "xlsr.pt"
    speech = ref.save_fairseq_wav2vec2(path)
    convert(path, tmp_path / "hf", "hf")
    convert(tmp_path / "hf", tmp_path / "again.pt", "fairseq")
    content = torch.load(tmp_path / "again.pt")
    settings = content["cfg"]["model"]
    rebuilt = ref.fairseq_wav2vec2(settings)
    rebuilt.remove_pretraining_modules()
    rebuilt.load_state_dict(content["model"], strict=True)
    waves, lengths = ref.waves(LENGTHS[-1])
    with torch.no_grad():
        one, two = (net.eval().extract_features(waves, padding_mask(lengths))["x"] for net in (speech, rebuilt))
    torch.testing.assert_close(one, two, **CLOSE)

    model, settings, dictionary, path = ctc
    convert(path, tmp_path / "ctc-hf", "hf")
    convert(tmp_path / "ctc-hf", tmp_path / "out" / "ctc.pt", "fairseq")
    from fairseq.data import Dictionary

    assert Dictionary.load(str(tmp_path / "out" / "dict.ltr.txt")).symbols == dictionary.symbols
    rebuilt = fairseq_ctc(settings, dictionary)
    rebuilt.load_state_dict(torch.load(tmp_path / "out" / "ctc.pt")["model"], strict=True)
    torch.testing.assert_close(ctc_logits(model, waves, lengths), ctc_logits(rebuilt.eval(), waves, lengths), **CLOSE)

    model, args, folder = translator
    convert(folder, tmp_path / "st-hf", "hf")
    convert(tmp_path / "st-hf", tmp_path / "st.pt", "fairseq")
    rebuilt = ref.fairseq_xm(args, symbols)
    rebuilt.load_state_dict(torch.load(tmp_path / "st.pt")["model"], strict=True)
    tokens = tokens_for(len(lengths), symbols)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt.eval()(waves, lengths, tokens)[0], model(waves, lengths, tokens)[0], **CLOSE)


def test_beam_5_translations_are_those_of_fairseqs_generator(tmp_path, spm, symbols):
    from fairseq.sequence_generator import SequenceGenerator

    args = ref.xm_settings()
    model = ref.sharpen(ref.fairseq_xm(args, symbols))
    bundle = load(save_xm(model, args, tmp_path, spm))
    dictionary = ref.fairseq_dictionary(symbols)
    # Its limit grows with the padded width of the batch; ours is each sentence's own. So both get a fixed one.
    generator = SequenceGenerator([model], dictionary, beam_size=5, max_len_a=0, max_len_b=50)
    numbers = torch.Generator().manual_seed(5)
    sizes = []
    for batch in range(7):
        waves, lengths = ref.waves(torch.randint(3000, 20000, (16,), generator=numbers).tolist(), seed=batch)
        tags = torch.tensor([bundle.text.language_id(code) for code in ("en", "de", "ca", "zh-CN") * 4])
        with torch.no_grad():
            memory = bundle.model.adapt(bundle.model.encode(waves, lengths))
            sample = {"net_input": {"src_tokens": waves, "src_lengths": lengths}}
            theirs = generator.generate([model], sample, prefix_tokens=tags[:, None])
        ours = beam_search(bundle.model, memory, tags, BeamOptions(beam=5, max_len_b=50))
        assert [list(best[0].tokens) for best in ours] == [best[0]["tokens"][:-1].tolist() for best in theirs]
        sizes += [len(best[0].tokens) for best in ours]
    assert len(sizes) >= 100
    assert len(set(sizes)) > 5
    assert sum(size < 50 for size in sizes) > len(sizes) // 3


class Conv1dAdaptor012(nn.Module):
    """fairseq 0.12.2's adaptor, written again: padding is zeroed before the first convolution and after the last."""

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(dim, 2 * dim, 3, stride=2, padding=1) for _ in range(num_layers))

    def forward(self, states: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        states = states.masked_fill(padding.unsqueeze(-1), 0.0).transpose(1, 2)
        sizes = (~padding).sum(1).float()
        for layer in self.layers:
            states = nn.functional.glu(layer(states), dim=1)
            sizes = ((sizes - 1) / 2 + 1).floor()
        states = states.transpose(1, 2)
        return states * (torch.arange(states.size(1)) < sizes[:, None]).unsqueeze(-1), sizes.long()


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("lengths", [[57, 33, 8, 1], [9], [64, 63, 62, 61], [5, 5]])
def test_legacy_padding_is_that_of_fairseq_0_12_2(num_layers, lengths):
    torch.manual_seed(0)
    theirs = ref.perturb(Conv1dAdaptor012(16, num_layers))
    sizes = torch.tensor(lengths)
    states = torch.randn(len(lengths), max(lengths), 16)
    adaptors = {}
    for legacy in (True, False):
        adaptor = LengthAdaptor(LengthAdaptorConfig(num_layers=num_layers, legacy_padding=legacy), 16, 16)
        adaptor.load_state_dict(theirs.state_dict())
        adaptors[legacy] = adaptor
    with torch.no_grad():
        expected, expected_sizes = theirs(states, padding_mask(sizes))
        found, found_sizes = adaptors[True](states, sizes)
        masked, _ = adaptors[False](states, sizes)
    assert found_sizes.tolist() == expected_sizes.tolist()
    for row, size in enumerate(found_sizes.tolist()):
        torch.testing.assert_close(found[row, :size], expected[row, :size], **CLOSE)
    if num_layers > 1 and len(set(lengths)) > 1:
        assert any(
            float((found[row, :size] - masked[row, :size]).abs().max()) > 1e-3
            for row, size in enumerate(found_sizes.tolist())
        )


def test_training_starts_from_a_file_like_xlsr(tmp_path):
    path = tmp_path / "xlsr.pt"
    source = ref.save_fairseq_wav2vec2(path)
    from st.modules.config import DecoderConfig, ModelConfig
    from st.modules.model import SpeechTranslator

    encoder = load(path).model.config.encoder
    decoder = DecoderConfig(vocab_size=20, dim=16, ffn_dim=16, num_heads=2, num_layers=1)
    model = SpeechTranslator(
        ModelConfig(encoder=encoder, length_adaptor=LengthAdaptorConfig(project=True), decoder=decoder)
    )
    load_encoder(model, path)
    state = source.state_dict()
    for name, parameter in model.encoder.named_parameters():
        assert torch.equal(parameter, state[name]), name
