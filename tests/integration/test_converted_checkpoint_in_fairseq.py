"""A model that went out to transformers and came back is a training checkpoint to fairseq and the plugin."""

from __future__ import annotations

import pytest
import reference_models as ref
import torch

from st import load
from st.checkpoints.bundle import bundle_files
from st.checkpoints.convert import convert
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.data.config import DataConfig
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces

pytest.importorskip("fairseq")


@pytest.mark.parametrize(
    ("wide", "legacy"),
    [
        pytest.param(False, False, id="plain"),
        pytest.param(True, False, id="projected"),
        pytest.param(False, True, id="legacy-padding"),
        pytest.param(False, "unmasked", id="transformers-padding"),
    ],
)
def test_fairseq_loads_what_convert_wrote(tmp_path, wide, legacy):
    from fairseq import checkpoint_utils

    import st

    st.register_plugins()
    tree = tmp_path / "tree"
    tree.mkdir()
    spm = ref.make_spm(60)
    (tree / "spm.model").write_bytes(spm)
    (tree / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(["en", "fr"])))
    CtcVocabulary.build({"en": ["speech"]}).save(tree / "ctc_vocab.json")
    DataConfig(directions=("fr_en",)).save(tree)
    dim = 24 if wide else 16
    config = ModelConfig(
        encoder=EncoderConfig(
            conv_layers=((8, 10, 5), (8, 3, 2)), dim=16, ffn_dim=24, num_heads=2, num_layers=1, pos_conv_kernel=4,
            pos_conv_groups=2, wave_epsilon=1e-7 if legacy == "unmasked" else 1e-5,
        ),
        length_adaptor=LengthAdaptorConfig(num_layers=1, project=wide, legacy_padding=bool(legacy), mask_input=legacy != "unmasked"),
        decoder=DecoderConfig(
            vocab_size=4 + len((tree / "dict.txt").read_text().splitlines()), dim=dim, ffn_dim=24, num_heads=2,
            num_layers=1, max_positions=32, activation="gelu",
        ),
        heads=ctc_heads(len(CtcVocabulary.load(tree / "ctc_vocab.json"))),
    )  # fmt: skip
    torch.manual_seed(0)
    model = ref.perturb(SpeechTranslator(config))
    bundle = {"format": 1, "model_config": config.to_dict(), "files": bundle_files(tree)}
    torch.save({"model": to_fairseq(model.state_dict()), "task_state": {"st_bundle": bundle}}, tmp_path / "one.pt")
    convert(tmp_path / "one.pt", tmp_path / "hf", "hf")
    convert(tmp_path / "hf", tmp_path / "two.pt", "fairseq")
    assert load(tmp_path / "two.pt").model.config == config
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(tmp_path / "two.pt")], arg_overrides={"data": str(tree)}
    )
    loaded = models[0].translator
    assert loaded.config == config
    waves, lengths = ref.waves([900, 600])
    tokens = torch.tensor([[2, 5, 6], [2, 7, 8]])
    with torch.no_grad():
        assert torch.equal(loaded.eval()(waves, lengths, tokens), model(waves, lengths, tokens))
