"""Make ``training_v1.pt`` and what it must decode to; run once per format, never again for the same one.

    python tests/golden/make_training_v1.py

A later version of the project must read the stored file and decode the same text from it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import reference_models as ref  # noqa: E402
from golden.decode import decode_all  # noqa: E402

from st.checkpoints.bundle import bundle_files  # noqa: E402
from st.checkpoints.formats.fairseq.names import to_fairseq  # noqa: E402
from st.data.config import DataConfig  # noqa: E402
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads  # noqa: E402
from st.modules.encoder_config import EncoderConfig  # noqa: E402
from st.modules.model import SpeechTranslator  # noqa: E402
from st.text.ctc_vocabulary import CtcVocabulary  # noqa: E402
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces  # noqa: E402


def main() -> None:
    torch.manual_seed(1)
    spm = ref.make_spm(60, normalisation="identity")
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        (tree / "spm.model").write_bytes(spm)
        symbols = dictionary_text(model_pieces(spm), covost_tags(["en", "de"]))
        (tree / "dict.txt").write_text(symbols)
        CtcVocabulary.build({"en": ["speech translation of many languages"]}).save(tree / "ctc_vocab.json")
        DataConfig(directions=("de_en", "en_de")).save(tree)
        files = bundle_files(tree)
    config = ModelConfig(
        encoder=EncoderConfig(
            conv_layers=((16, 10, 5), (16, 8, 8), (16, 8, 8)), dim=32, ffn_dim=48, num_heads=2, num_layers=2,
            pos_conv_kernel=8, pos_conv_groups=2,
        ),
        length_adaptor=LengthAdaptorConfig(num_layers=2),
        decoder=DecoderConfig(
            vocab_size=4 + symbols.count("\n"), dim=32, ffn_dim=48, num_heads=2, num_layers=2, max_positions=64
        ),
        heads=ctc_heads(len(json.loads(files["ctc_vocab.json"]))),
    )  # fmt: skip
    model = ref.sharpen(ref.perturb(SpeechTranslator(config)), sharpness=1.2, eos_bias=0.8)
    with torch.no_grad():  # let the sound decide
        for layer in model.decoder.layers:
            layer.encoder_attn.out_proj.weight.mul_(6)
    model.half()
    bundle = {"format": 1, "model_config": config.to_dict(), "files": files}
    content = {"args": None, "cfg": {"model": {"_name": "xlsr_mbart"}}, "model": to_fairseq(model.state_dict()),
               "task_state": {"st_bundle": bundle}, "extra_state": {"epoch": 1}}  # fmt: skip
    torch.save(content, HERE / "training_v1.pt")
    expected = decode_all(HERE / "training_v1.pt")
    (HERE / "training_v1.json").write_text(json.dumps(expected, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
