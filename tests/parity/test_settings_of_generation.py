"""Settings of how a translation model of transformers writes, and of its length adaptor: followed, refused or named."""

from __future__ import annotations

import dataclasses
import json
import logging
import re

import pytest
import reference_models as ref
import torch
import transformers
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Adapter

from st import load
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.fairseq.writer import write_fairseq
from st.checkpoints.formats.transformers.writer import write_transformers
from st.errors import StError
from st.modules.config import LengthAdaptorConfig
from st.modules.length_adaptor import LengthAdaptor
from st.modules.model import SpeechTranslator
from st.text.sentencepiece_training import mbart50_tags, model_pieces

WAVES = ref.waves([4000])


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """The folder of a translation model."""
    spm = ref.make_spm()
    model = ref.speech_translator(len(model_pieces(spm)) + 4 + len(mbart50_tags()))
    return ref.save_speech_translator(model, tmp_path_factory.mktemp("settings"), spm)


# A value that asks for something, and what the sentence names; None where the caller's language and limits count.
GENERATION = {
    "decoder_start_token_id": (0, "refused"),
    "eos_token_id": (5, "refused"),
    "num_beams": (2, "named"),
    "length_penalty": (0.2, "named"),
    "no_repeat_ngram_size": (3, "named"),
    "repetition_penalty": (1.2, "named"),
    "encoder_no_repeat_ngram_size": (2, "named"),
    "suppress_tokens": ([7], "named"),
    "begin_suppress_tokens": ([7], "named"),
    "bad_words_ids": ([[7]], "named"),
    "min_length": (9, "named"),
    "max_length": (5, "named"),
    "max_new_tokens": (5, "named"),
    "do_sample": (True, "named"),
    "forced_bos_token_id": (6, "asked anew"),
    "forced_eos_token_id": (7, "only at the limit"),
    "pad_token_id": (4, "only after the end"),
}


def test_fault_08_settings_of_generation_are_followed_refused_or_named(translator, tmp_path, caplog):
    for file in translator.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "generation_config.json"
    given = json.loads(path.read_text())
    with caplog.at_level(logging.WARNING, logger="st"):
        load(tmp_path)
    assert not caplog.records
    for name, (value, what) in GENERATION.items():
        path.write_text(json.dumps(given | {name: value}))
        caplog.clear()
        if what == "refused":
            with pytest.raises(StError, match=rf"generation_config\.json: {name} is {value}; expected 2"):
                load(tmp_path)
            continue
        with caplog.at_level(logging.WARNING, logger="st"):
            load(tmp_path)
        assert [name in record.getMessage() for record in caplog.records] == ([True] if what == "named" else [])


@pytest.mark.parametrize(
    ("generation", "top", "decoder", "begins"),
    [(None, 5, 2, 5), (None, None, 6, 6), (None, None, None, 0), ({}, 2, 2, 0), ({"decoder_start_token_id": 2}, 5, 2, 2),
     (None, None, 2, 2), ({"decoder_start_token_id": 2}, None, 7, 2)],
)  # fmt: skip
def test_fault_08_a_folder_that_begins_with_another_token_is_refused(
    translator, tmp_path, generation, top, decoder, begins
):
    """The first token is where transformers finds it: in the generation config alone if there is one."""
    for file in translator.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["decoder"]["decoder_start_token_id"], settings["decoder_start_token_id"] = decoder, top
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "generation_config.json").unlink()
    if generation is not None:
        ends = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        (tmp_path / "generation_config.json").write_text(json.dumps(ends | generation))
    theirs = transformers.SpeechEncoderDecoderModel.from_pretrained(tmp_path)
    assert int(theirs.generate(WAVES[0], max_new_tokens=1, num_beams=1)[0, 0]) == begins
    if begins == 2 and top in (2, None):
        load(tmp_path)
    else:
        with pytest.raises(StError, match=r"decoder_start_token_id is .*expected 2"):
            load(tmp_path)


@pytest.mark.parametrize("kernel", [1, 5])
def test_fault_08_other_kernels_of_the_adapter_are_refused_both_ways(translator, tmp_path, kernel):
    theirs = ref.wav2vec2_config(add_adapter=True, adapter_kernel_size=kernel, num_adapter_layers=2)
    ours = LengthAdaptor(LengthAdaptorConfig(num_layers=2, kernel_size=kernel), 48, 48).eval()
    adapter = Wav2Vec2Adapter(theirs).eval()
    adapter.load_state_dict({re.sub(r"(layers.\d)", r"\1.conv", k): v for k, v in ours.state_dict().items()})
    states = torch.randn(1, 21, 48)
    with torch.no_grad():
        one, two = ours(states, torch.tensor([21]))[0], adapter(states)
    assert one.shape != two.shape or not torch.allclose(one, two, atol=0.01)  # so that neither can stand for the other
    for file in translator.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["encoder"]["adapter_kernel_size"] = kernel
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(StError, match=f"adapter_kernel_size is {kernel}, expected 3"):
        load(tmp_path)
    bundle = load(translator)
    config = bundle.model.config
    for changes, message in (
        ({"kernel_size": kernel}, f"kernel_size is {kernel}; expected 3"),
        ({"project": True}, "projects from a width of 48 to the same"),
    ):
        model = SpeechTranslator(
            dataclasses.replace(config, length_adaptor=dataclasses.replace(config.length_adaptor, **changes))
        )
        exported = Exported(
            config=model.config, state=model.state_dict(), text=bundle.text, labels={}, data=bundle.config
        )
        with pytest.raises(StError, match=message):
            write_transformers(exported, tmp_path / "out")
        assert not [*(tmp_path / "out").iterdir()]
        # What an earlier version wrote is still opened as the function that it was.
        write_fairseq(exported, tmp_path / "kept.pt")
        assert load(tmp_path / "kept.pt").model.config == model.config
