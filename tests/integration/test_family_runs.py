"""``fairseq-train --encoder`` from files of XLS-R's relatives, as people have them: two updates, and what is made of them."""

import dataclasses

import pytest
import reference_models as ref
import torch
import transformers
from conftest_integration import training
from tone_tree import make_tree

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.loading import read_contents
from st.publishing.origins import find_origin

pytestmark = pytest.mark.slow

SHAPE = {"dim": 64, "ffn": 128, "heads": 2, "layers": 2, "kernel": 8, "groups": 4}
CONV_LAYERS = ((24, 40, 20), (24, 4, 4), (24, 4, 4))
POST_NORM = {"extractor_mode": "default", "layer_norm_first": False, "conv_bias": False}
READS_WAVES = (
    "--encoder-conv-layers",
    str([*CONV_LAYERS]),
    "--encoder-pos-conv-kernel",
    "8",
    "--encoder-pos-conv-groups",
    "4",
)


def of_fairseq(name, path):
    """Write a pre-training file of fairseq, with what the fine-tuning leaves out: quantizer, or embeddings of targets."""
    known = ref.w2v_settings(SHAPE, str([*CONV_LAYERS])) | POST_NORM
    settings = known if name == "wav2vec2" else ref.relative_settings(name, **known)
    model = ref.fairseq_wav2vec2(settings) if name == "wav2vec2" else ref.fairseq_relative(settings)
    task = {"_name": "audio_pretraining", "data": "/checkpoint/nobody", "normalize": False}
    torch.save(
        {"args": None, "cfg": {"model": settings | {"_name": name}, "task": task}, "model": model.state_dict()}, path
    )


def w2v_bert(path):
    config = ref.w2v_bert_config(hidden_size=64, intermediate_size=128, num_attention_heads=2, output_hidden_size=64)
    torch.manual_seed(0)
    ref.perturb(transformers.Wav2Vec2BertModel(config)).save_pretrained(path)
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(path)


@dataclasses.dataclass(frozen=True)
class Run:
    """A training: how the file is made that it starts from, its options, and the class that its recogniser leaves as."""

    write: object
    options: tuple[str, ...]
    architecture: str


RUNS = {
    "wav2vec_small.pt": Run(
        lambda path: of_fairseq("wav2vec2", path), ("--arch", "xlsr_mbart_base", *READS_WAVES), "Wav2Vec2ForCTC"
    ),
    "hubert_base_ls960.pt": Run(
        lambda path: of_fairseq("hubert", path), ("--arch", "xlsr_mbart_base", *READS_WAVES), "Wav2Vec2ForCTC"
    ),
    "w2v-bert-2.0": Run(
        w2v_bert, ("--arch", "xlsr_mbart_w2v_bert", "--encoder-conv-module-kernel", "5"), "Wav2Vec2BertForCTC"
    ),
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train=6, dev=2, directions=("de_en",))


@pytest.mark.parametrize("name", RUNS)
def test_a_training_starts_from_a_relative_and_leaves_as_a_recogniser(server, tones, tmp_path, caplog, name):
    run, base = RUNS[name], tmp_path / name
    run.write(base)
    # No gradient scale, dropout or mask is on, so that two updates change every parameter but the vector of masks.
    options = (*run.options, "--encoder", str(base), "--max-update", "2", "--no-epoch-checkpoints")
    server.run(training(tones, tmp_path / "run", *options), tmp_path)
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    assert torch.load(checkpoint, weights_only=True)["optimizer_history"][-1]["num_updates"] == 2
    contents = read_contents(checkpoint)
    assert contents.origins == (name,)
    assert find_origin(name).licence in ("apache-2.0", "mit")
    before, after = load(base).model.encoder.state_dict(), load(checkpoint).model.encoder.state_dict()
    assert before.keys() == after.keys()
    distances = {key: float((after[key] - before[key]).abs().max()) for key in before}
    assert {key for key, distance in distances.items() if not distance} <= {"mask_emb"}
    assert max(distances.values()) < 0.01, "two updates of 0.001 are near where they began"
    convert(checkpoint, tmp_path / "out", "hf", parts="ctc")
    theirs = ref.opens_without_a_word(getattr(transformers, run.architecture), tmp_path / "out", caplog)
    model, wave = load(tmp_path / "out").model, ref.waves([9000])
    with torch.no_grad():
        inputs = model.encoder.extract(*wave)[0] if theirs.config.model_type == "wav2vec2-bert" else wave[0]
        torch.testing.assert_close(model.ctc_logits(model.encode(*wave)), theirs(inputs).logits, atol=1e-5, rtol=0)
