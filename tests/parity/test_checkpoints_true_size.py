"""The same proofs on models of true size. Needs 16 GB of memory, 40 GB of disk and minutes; run with ``-m slow``."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path

import pytest
import reference_models as ref
import torch
from measure_loading import measure

from st import load
from st.checkpoints.assemble import blueprint
from st.checkpoints.convert import convert
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.transformers.writer import write_transformers
from st.data.config import DataConfig
from st.modules.encoder_config import XLSR_CONV_LAYERS
from st.modules.presets import preset
from st.text.sentencepiece_training import dictionary_text, mbart50_tags, model_pieces
from st.text.vocabulary import TextVocabulary, read_dictionary

pytestmark = pytest.mark.slow

VOCAB_SIZE = 250054
SPEECH = {"dim": 1024, "ffn": 4096, "heads": 16, "layers": 24, "kernel": 128, "groups": 16}
TEXT = {"dim": 1024, "ffn": 4096, "heads": 16, "layers": 12, "positions": 1024}
CONV_TEXT = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
PARAMETERS = 792_989_312
CLOSE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def spm():
    return ref.make_spm()


@pytest.fixture(scope="module")
def symbols(spm):
    """As many symbols as mBART-50 has, most of them unused."""
    pieces, tags = model_pieces(spm), mbart50_tags()
    return [*pieces, *(f"unused{n}" for n in range(VOCAB_SIZE - 4 - len(pieces) - len(tags))), *tags]


def write_vocabulary(folder: Path, spm: bytes, symbols: list[str]) -> None:
    (folder / "sentencepiece.bpe.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(symbols, ()))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    waves, lengths = ref.waves([32000, 9000, 401])
    generator = torch.Generator().manual_seed(3)
    tokens = torch.cat([torch.full((3, 1), 2), torch.randint(4, VOCAB_SIZE, (3, 5), generator=generator)], 1)
    return waves, lengths, tokens


def remember(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return a list that grows by each output of a module."""
    outputs: list[torch.Tensor] = []
    module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    return outputs


def close_valid(found: torch.Tensor, expected: torch.Tensor, lengths: torch.Tensor) -> None:
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length], **CLOSE)


@torch.no_grad()
def test_k12_300m_translation_is_that_of_transformers_both_ways(tmp_path, spm, symbols):
    from transformers import SpeechEncoderDecoderModel

    waves, lengths, tokens = batch()
    mask = (torch.arange(waves.size(1)) < lengths[:, None]).long()
    model = ref.speech_translator(VOCAB_SIZE, speech=SPEECH, text=TEXT, conv_layers=XLSR_CONV_LAYERS)
    ref.save_speech_translator(model, tmp_path / "in", spm)
    write_vocabulary(tmp_path / "in", spm, symbols)
    normed = remember(model.encoder.encoder.layer_norm)
    logits = model(inputs=waves, attention_mask=mask, decoder_input_ids=tokens).logits
    alone = model(inputs=waves[1:2, :9000], decoder_input_ids=tokens[1:2]).logits
    states = normed[0]
    del model, normed
    gc.collect()
    bundle = load(tmp_path / "in")
    assert sum(parameter.numel() for parameter in bundle.model.parameters()) == PARAMETERS
    encoded = bundle.model.encode(waves, lengths)
    close_valid(encoded.states, states, encoded.lengths)
    torch.testing.assert_close(bundle.model(waves, lengths, tokens), logits, **CLOSE)
    torch.testing.assert_close(bundle.model(waves[1:2, :9000], lengths[1:2], tokens[1:2]), alone, **CLOSE)
    convert(tmp_path / "in", tmp_path / "out", "hf")
    again, info = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    found = again.eval()(inputs=waves, attention_mask=mask, decoder_input_ids=tokens).logits
    torch.testing.assert_close(found, logits, **CLOSE)


@torch.no_grad()
def test_k12_300m_translation_is_that_of_fairseq_both_ways(tmp_path, spm, symbols):
    pytest.importorskip("fairseq")
    waves, lengths, tokens = batch()
    args = ref.xm_settings(SPEECH, TEXT, CONV_TEXT)
    model = ref.fairseq_xm(args, symbols)
    torch.save({"args": args, "model": model.state_dict()}, tmp_path / "model.pt")
    write_vocabulary(tmp_path, spm, symbols)
    logits = model(waves, lengths, tokens)[0]
    alone = model(waves[1:2, :9000], lengths[1:2], tokens[1:2])[0]
    bundle = load(tmp_path / "model.pt")
    assert sum(parameter.numel() for parameter in bundle.model.parameters()) == PARAMETERS
    torch.testing.assert_close(bundle.model(waves, lengths, tokens), logits, **CLOSE)
    torch.testing.assert_close(bundle.model(waves[1:2, :9000], lengths[1:2], tokens[1:2]), alone, **CLOSE)
    convert(tmp_path / "model.pt", tmp_path / "out.pt", "fairseq")
    for parameter in model.parameters():
        parameter.zero_()
    model.load_state_dict(torch.load(tmp_path / "out.pt", mmap=True)["model"], strict=True)
    torch.testing.assert_close(model(waves, lengths, tokens)[0], logits, **CLOSE)


@torch.no_grad()
def test_k12_300m_encoder_is_that_of_fairseq_both_ways(tmp_path):
    pytest.importorskip("fairseq")
    waves, lengths, _ = batch()
    model = ref.save_fairseq_wav2vec2(tmp_path / "xlsr.pt", ref.w2v_settings(SPEECH, CONV_TEXT))
    ours = load(tmp_path / "xlsr.pt").model
    expected = model.extract_features(waves, torch.arange(waves.size(1)) >= lengths[:, None])["x"]
    encoded = ours.encode(waves, lengths)
    close_valid(encoded.states, expected, encoded.lengths)
    alone = model.extract_features(waves[1:2, :9000], None)["x"]
    torch.testing.assert_close(ours.encode(waves[1:2, :9000], lengths[1:2]).states, alone, **CLOSE)
    convert(tmp_path / "xlsr.pt", tmp_path / "out.pt", "fairseq")
    for parameter in model.feature_extractor.parameters():
        parameter.zero_()
    for parameter in model.encoder.parameters():
        parameter.zero_()
    missing, unexpected = model.load_state_dict(torch.load(tmp_path / "out.pt", mmap=True)["model"], strict=False)
    assert not unexpected
    assert all(name.startswith(("quantizer", "project_q", "final_proj")) for name in missing)
    again = model.extract_features(waves, torch.arange(waves.size(1)) >= lengths[:, None])["x"]
    close_valid(again, expected, encoded.lengths)


@torch.no_grad()
def test_k12_300m_ctc_model_is_that_of_transformers_both_ways(tmp_path):
    import transformers

    waves, lengths, _ = batch()
    torch.manual_seed(0)
    config = ref.wav2vec2_config(SPEECH, XLSR_CONV_LAYERS, vocab_size=40, pad_token_id=0)
    model = ref.perturb(transformers.Wav2Vec2ForCTC(config))
    model.save_pretrained(tmp_path / "in")
    labels = ["<pad>", "<s>", "</s>", "<unk>", "|", *map(chr, range(0x430, 0x430 + 35))]
    (tmp_path / "in" / "vocab.json").write_text(json.dumps({label: n for n, label in enumerate(labels)}))
    mask = (torch.arange(waves.size(1)) < lengths[:, None]).long()
    normed = remember(model.wav2vec2.encoder.layer_norm)
    logits = model(waves, attention_mask=mask).logits
    ours = load(tmp_path / "in").model
    encoded = ours.encode(waves, lengths)
    close_valid(encoded.states, normed[0], encoded.lengths)
    close_valid(ours.ctc_logits(encoded), logits, encoded.lengths)
    alone = model(waves[1:2, :9000]).logits
    torch.testing.assert_close(ours.ctc_logits(ours.encode(waves[1:2, :9000], lengths[1:2])), alone, **CLOSE)
    # Out by way of fairseq's format, so that both ways of writing are on the path.
    convert(tmp_path / "in", tmp_path / "ctc.pt", "fairseq")
    convert(tmp_path / "ctc.pt", tmp_path / "out", "hf")
    again, info = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    close_valid(again.eval()(waves, attention_mask=mask).logits, logits, encoded.lengths)


def write_random(folder: Path, name: str, spm: bytes, symbols: list[str]) -> Path:
    """Write a model folder of a preset's shape, tensor by tensor."""
    folder.mkdir(exist_ok=True)
    write_vocabulary(folder, spm, symbols)
    text = TextVocabulary(folder / "sentencepiece.bpe.model", read_dictionary(folder / "dict.txt"), "[{}]")
    config = preset(name)
    generator = torch.Generator().manual_seed(0)
    # One row, repeated without memory; it becomes a whole tensor only while it is written.
    state = {
        name: (0.02 * torch.randn(tensor.shape[-1], generator=generator)).expand(tensor.shape)
        for name, tensor in blueprint(config).named_parameters()
    }
    write_transformers(Exported(config=config, state=state, text=text, labels={}, data=DataConfig()), folder)
    return folder


def test_300m_translation_model_is_read_once_and_loaded_within_its_memory(tmp_path, spm, symbols):
    folder = write_random(tmp_path / "300m", "300m", spm, symbols)
    convert(folder, tmp_path / "300m.pt", "fairseq")
    for path in (folder, tmp_path / "300m.pt"):
        found = measure(path)
        print(f"{path.name}: {found['file_bytes']:,} bytes, loaded in {found['seconds']:.2f} s")
        assert found["read_bytes"] <= 1.05 * found["file_bytes"]
        assert max(found["peak_bytes"], found["touched_peak_bytes"]) <= 1.15 * found["file_bytes"]


def test_2b_model_is_written_converted_and_loaded_within_its_memory(tmp_path, spm, symbols):
    start = time.perf_counter()
    folder = write_random(tmp_path / "2b", "2b", spm, symbols)
    size = (folder / "model.safetensors").stat().st_size
    print(f"2B: {size:,} bytes written in {time.perf_counter() - start:.0f} s")
    assert size > 10.5e9
    limits = {None: 1.15, "bfloat16": 0.6}
    single = tmp_path / "2b.pt"
    results = {"hf -> fairseq": measure(folder, "--convert", single, "--to", "fairseq")}
    for path in (folder, single):
        for dtype, limit in limits.items():
            found = measure(path, *(["--dtype", dtype] if dtype else []))
            results[f"{path.name} {dtype or 'float32'}"] = found
            assert found["finite"]
            assert max(found["peak_bytes"], found["touched_peak_bytes"]) <= limit * size
    (folder / "model.safetensors").unlink()
    results["fairseq -> hf"] = measure(single, "--convert", tmp_path / "out", "--to", "hf")
    for name, found in results.items():
        peak = max(found["peak_bytes"], found.get("touched_peak_bytes", 0))
        print(f"2B {name}: {found['seconds']:.1f} s, peak {peak / 1e9:.2f} GB = {peak / size:.2f} of the file")
