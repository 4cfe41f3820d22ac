"""omniASR in both forms, transformers' and fairseq2's: the numbers of transformers, the sizes that are published."""

from __future__ import annotations

import io
import json
import re

import pytest
import reference_models as ref
import sentencepiece
import torch
import transformers

from st import load
from st.checkpoints.assemble import blueprint
from st.checkpoints.convert import convert
from st.checkpoints.start.initialise import load_encoder
from st.errors import CheckpointError
from st.modules.config import ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator

CLOSE = {"atol": 1e-5, "rtol": 0}
LENGTHS = [16000, 9000, 401, 12345]
# fairseq2's files do not say how many heads there are; all published sizes have 16.
SHAPE = {"dim": 64, "ffn": 96, "heads": 16, "layers": 2, "kernel": 16, "groups": 4}

# Names of fairseq2 (its models/wav2vec2/interop.py) beside those of transformers' OmniASRAudioModel.
FAIRSEQ2 = [
    (r"subsampling\.conv_layers\.", "encoder_frontend.feature_extractor.layers."),
    (r"subsampling\.layer_norm", "encoder_frontend.post_extract_layer_norm"),
    (r"subsampling\.projection", "encoder_frontend.model_dim_proj"),
    (r"encode_positions\.conv", "encoder_frontend.pos_encoder.conv"),
    (r"^layers\.(\d+)\.attention\.out_proj", r"encoder.layers.\1.self_attn.output_proj"),
    (r"^layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
    (r"^layers\.(\d+)\.layer_norm", r"encoder.layers.\1.self_attn_layer_norm"),
    (r"^layers\.(\d+)\.feed_forward\.intermediate_dense", r"encoder.layers.\1.ffn.inner_proj"),
    (r"^layers\.(\d+)\.feed_forward\.output_dense", r"encoder.layers.\1.ffn.output_proj"),
    (r"^layers\.(\d+)\.final_layer_norm", r"encoder.layers.\1.ffn_layer_norm"),
    (r"^layer_norm", "encoder.layer_norm"),
]


@pytest.fixture(scope="module")
def spm():
    """A model of characters whose special pieces have the places of omniASR's: ``<s> <pad> </s> <unk>``."""
    sink = io.BytesIO()
    texts = ["the quick brown fox", "jumps over a lazy dog", "she said |x| and sighed"] * 50
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=sink, model_type="char", vocab_size=34, hard_vocab_limit=False,
        bos_id=0, pad_id=1, eos_id=2, unk_id=3, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return sink.getvalue()


@pytest.fixture(scope="module")
def pieces(spm):
    processor = sentencepiece.SentencePieceProcessor(model_proto=spm)
    return [processor.id_to_piece(number) for number in range(len(processor))]


@pytest.fixture(scope="module")
def model(pieces):
    torch.manual_seed(0)
    audio = transformers.OmniASRAudioConfig(
        hidden_size=SHAPE["dim"], intermediate_size=SHAPE["ffn"], num_attention_heads=SHAPE["heads"],
        num_hidden_layers=SHAPE["layers"], num_conv_pos_embeddings=SHAPE["kernel"],
        num_conv_pos_embedding_groups=SHAPE["groups"], conv_dim=[c for c, _, _ in ref.CONV_LAYERS],
        conv_kernel=[k for _, k, _ in ref.CONV_LAYERS], conv_stride=[s for _, _, s in ref.CONV_LAYERS],
    )  # fmt: skip
    config = transformers.OmniASRCTCConfig(vocab_size=len(pieces), audio_config=audio.to_dict())
    model = ref.perturb(transformers.OmniASRForCTC(config))
    with torch.no_grad():  # enough blanks and spaces to make words
        model.ctc_head.weight.mul_(4)
        model.ctc_head.bias[0] += 1.0
        model.ctc_head.bias[pieces.index("▁")] += 1.0
    return model


def write_transformers(model, folder, pieces):
    model.save_pretrained(folder)
    transformers.OmniASRFeatureExtractor().save_pretrained(folder)
    document = {"model": {"type": "Unigram", "vocab": [[piece, 0.0] for piece in pieces]}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    return folder


def write_fairseq2(model, folder, spm, *, kind="asr"):
    """Write a file like ``omniASR-CTC-300M.pt``, or ``omniASR-W2V-300M.pt``, and the tokenizer beside it."""
    state = {}
    for name, tensor in model.model.audio_tower.state_dict().items():
        for theirs, fairseq2 in FAIRSEQ2:
            name = re.sub(theirs, fairseq2, name)
        state[name] = tensor
    plain = state.pop("encoder_frontend.pos_encoder.conv.weight")
    gains = torch.linspace(0.5, 2.0, plain.size(2))  # what weight norm divides out again
    state["encoder_frontend.pos_encoder.conv.weight_v"] = plain * gains
    state["encoder_frontend.pos_encoder.conv.weight_g"] = plain.norm(dim=(0, 1), keepdim=True)
    if kind == "asr":
        state |= {f"final_proj.{name}": tensor for name, tensor in model.ctc_head.state_dict().items()}
    else:
        state |= {"final_proj.weight": torch.ones(16, SHAPE["dim"]), "final_proj.bias": torch.ones(16)}
        state |= {"final_target_proj.weight": torch.ones(16, 16), "quantizer.entries": torch.ones(1, 8, 16)}
        state |= {"quantizer.num_updates": torch.tensor(3), "masker.temporal_mask_embed": torch.ones(SHAPE["dim"])}
    folder.mkdir(exist_ok=True)
    torch.save({"model": state}, folder / "omniASR.pt")
    (folder / "omniASR_tokenizer.model").write_bytes(spm)
    return folder / "omniASR.pt"


@pytest.fixture(scope="module", params=["transformers", "fairseq2"])
def source(request, model, pieces, spm, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "transformers":
        return write_transformers(model, folder, pieces)
    return write_fairseq2(model, folder, spm)


@torch.no_grad()
def their_logits(model, waves, lengths):
    mask = (torch.arange(waves.size(1)) < lengths[:, None]).long()
    return model(waves[:, None], padding_mask=mask).logits


@torch.no_grad()
def test_k12_logits_and_transcripts_are_those_of_transformers(model, source, spm):
    bundle = load(source)
    waves, lengths = ref.waves(LENGTHS)
    expected = their_logits(model, waves, lengths)
    encoded = bundle.model.encode(waves, lengths)
    # Our row 0 is the blank, as theirs is; the others are in our order.
    logits = bundle.model.ctc_logits(encoded)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=spm)
    texts = []
    for row, frames in enumerate(encoded.lengths.tolist()):
        torch.testing.assert_close(
            logits[row, :frames].sort(dim=-1).values, expected[row, :frames].sort(dim=-1).values, **CLOSE
        )
        torch.testing.assert_close(logits[row, :frames, 0], expected[row, :frames, 0], **CLOSE)
        best = torch.unique_consecutive(expected[row, :frames].argmax(-1)).tolist()
        texts.append(" ".join(theirs.decode([number for number in best if number > 3]).split()))
        # The letter | is written as ▁, since | stands between words here.
        assert bundle.ctc.decode(logits[row, :frames].argmax(-1).tolist()).replace("▁", "|") == texts[-1]
    assert max(map(len, texts)) > 10
    assert any(" " in text for text in texts)


def test_recordings_are_standardised_as_omniasr_does(source):
    bundle = load(source)
    assert bundle.config.standardize_audio
    assert bundle.model.config.encoder.wave_epsilon == 1e-5
    wave = torch.full((1, 8000), 1e-3) * torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    theirs = transformers.OmniASRFeatureExtractor()(wave[0].numpy(), sampling_rate=16000)["input_values"][0]
    centred = wave - wave.mean()
    ours = centred / (centred.square().mean() + bundle.model.config.encoder.wave_epsilon).sqrt()
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("to", ["hf", "fairseq"])
def test_converted_they_are_the_same_function(model, source, tmp_path, caplog, to):
    out = tmp_path / ("out" if to == "hf" else "out.pt")
    convert(source, out, to)
    waves, lengths = ref.waves(LENGTHS[:1])
    first, second = load(source), load(out)
    assert second.ctc.symbols == first.ctc.symbols
    assert second.model.config.encoder.wave_epsilon == 1e-5
    expected = first.model.ctc_logits(first.model.encode(waves, lengths))
    torch.testing.assert_close(second.model.ctc_logits(second.model.encode(waves, lengths)), expected, **CLOSE)
    if to == "hf":
        theirs = ref.opens_without_a_word(transformers.Wav2Vec2ForCTC, out, caplog)
        torch.testing.assert_close(theirs(waves).logits, expected, **CLOSE)
    assert model is not None


@torch.no_grad()
@pytest.mark.parametrize("form", ["transformers", "fairseq2"])
def test_pretrained_encoders_start_a_training(model, tmp_path, spm, form):
    tower = model.model.audio_tower
    if form == "transformers":
        tower.save_pretrained(tmp_path)
        source, kind = tmp_path, "transformers OmniASRAudioModel"
    else:
        source, kind = write_fairseq2(model, tmp_path, spm, kind="ssl"), "fairseq2 wav2vec2_ssl"
    assert load(source).description == kind
    encoder = EncoderConfig(
        conv_layers=ref.CONV_LAYERS, dim=SHAPE["dim"], ffn_dim=SHAPE["ffn"], num_layers=SHAPE["layers"],
        pos_conv_kernel=SHAPE["kernel"], pos_conv_groups=SHAPE["groups"],
    )  # fmt: skip
    ours = SpeechTranslator(ModelConfig(encoder=encoder, heads=ctc_heads(7), parts=("encoder",)))
    load_encoder(ours, source)
    waves, lengths = ref.waves(LENGTHS)
    mask = (torch.arange(waves.size(1)) < lengths[:, None]).long()
    expected = tower(waves[:, None], padding_mask=mask).last_hidden_state
    encoded = ours.eval().encode(waves, lengths)
    for row, frames in enumerate(encoded.lengths.tolist()):
        torch.testing.assert_close(encoded.states[row, :frames], expected[row, :frames], **CLOSE)
    if form == "fairseq2":
        assert bool((ours.encoder.mask_emb == 1).all())


@pytest.mark.parametrize(
    ("layers", "dim", "ssl_width", "w2v", "ctc"),
    [
        (24, 1024, (768, 768, 256), 317_390_592, 325_494_996),
        (48, 1280, (1024, 1024, 512), 965_514_752, 975_065_300),
        (60, 2048, (1024, 1024, 512), 3_064_124_672, 3_080_423_636),
        (128, 2048, (1024, 1024, 512), 6_488_487_168, 6_504_786_132),
    ],
    ids=["300M", "1B", "3B", "7B"],
)
def test_parameters_of_the_published_sizes(layers, dim, ssl_width, w2v, ctc):
    """The README of omnilingual-asr has the numbers; self-supervised models have a quantizer and two projections besides."""
    encoder = EncoderConfig(dim=dim, ffn_dim=4 * dim, num_layers=layers)
    model = blueprint(ModelConfig(encoder=encoder, heads=ctc_heads(9812), parts=("encoder",)))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    final, quantized, entry = (ssl_width[0], ssl_width[1], ssl_width[1] // 2)
    quantizer = 640 * entry + 640 * 512 + 640
    projections = dim * final + final + quantized * final + final
    assert count["encoder"] + quantizer + projections == w2v
    assert count["encoder"] - dim + count["ctc"] == ctc  # the recognisers have no vector for masked frames


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content, _: content["model"].pop("final_proj.weight"), r"missing: final_proj\.weight"),
        (lambda content, _: content["model"].update(lang_embeddings=torch.ones(3)), r"no place for: lang_embeddings"),
        (lambda _, folder: (folder / "omniASR_tokenizer.model").unlink(), r"expected omniASR_tokenizer\.model beside it"),
        (lambda _, folder: (folder / "omniASR_tokenizer.model").write_bytes(b"no model"), r"SentencePiece model"),
        (lambda _, folder: (folder / "omniASR_tokenizer.model").write_bytes(ref.make_spm()), r"belong to different models"),
    ],
    ids=["no head", "language model", "no vocabulary", "no SentencePiece", "another vocabulary"],
)  # fmt: skip
def test_what_does_not_belong_to_the_file_is_said(model, tmp_path, spm, change, message):
    path = write_fairseq2(model, tmp_path, spm)
    content = torch.load(path)
    change(content, tmp_path)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"model": {"vocab": {"a": 0, "b": 2}}}, "numbers are not 0 to 1"),
        ({"model": {}}, "vocab"),
        ({"model": {"vocab": [["a", 0.0]]}}, "different models"),
    ],
)
def test_tokenizers_that_cannot_be_read_are_refused(model, tmp_path, pieces, document, message):
    write_transformers(model, tmp_path, pieces)
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_blank_that_is_no_row_is_refused(model, tmp_path, pieces):
    write_transformers(model, tmp_path, pieces)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"blank_token_id": 99999}))
    with pytest.raises(CheckpointError, match="the blank is to be number 99999"):
        load(tmp_path)


def test_a_vocabulary_whose_blank_is_its_beginning_of_sentence_keeps_both_apart(tmp_path):
    """Conversions of omniASR to Wav2Vec2ForCTC have ``<s>`` as their blank, ``<pad>`` as a letter, ``▁`` as space."""
    torch.manual_seed(0)
    symbols = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"abc|"]
    model = ref.perturb(transformers.Wav2Vec2ForCTC(ref.wav2vec2_config(vocab_size=len(symbols), pad_token_id=0)))
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(symbols)}))
    tokens = {"pad_token": "<s>", "bos_token": "<s>", "eos_token": "</s>", "word_delimiter_token": "▁"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens))
    bundle = load(tmp_path)
    assert bundle.ctc.symbols == ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c", "▁"]
    torch.testing.assert_close(bundle.model.ctc.proj.bias, model.lm_head.bias[[0, 1, 2, 3, 4, 5, 6, 7, 8]])
