"""The joint objective on batches of every odd kind, R-Drop, the CTC weight's warm-up."""

import types

import pytest
import torch
import torch.nn.functional as F
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from fairseq.logging import metrics

import st

st.register_plugins()

from st.data.utterances import Utterance  # noqa: E402
from st.errors import ConfigError  # noqa: E402
from st.fairseq_plugin.criterion import (  # noqa: E402
    TranslationCtcConfig,
    TranslationCtcCriterion,
    check_weights,
    smoothed_cross_entropy,
    symmetric_divergence,
)
from st.fairseq_plugin.model import XlsrMbartConfig, XlsrMbartModel, model_config  # noqa: E402
from st.modules.config import ctc_heads  # noqa: E402
from st.modules.ctc_head import ctc_loss, required_frames  # noqa: E402
from st.modules.heads import HEADS  # noqa: E402

SMALL = {
    "preset": "tiny",
    "encoder_conv_layers": "[(16,40,20),(16,4,4)]",
    "encoder_dim": 16,
    "encoder_ffn_dim": 24,
    "encoder_num_heads": 2,
    "encoder_num_layers": 2,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "decoder_dim": 16,
    "decoder_ffn_dim": 24,
    "decoder_num_heads": 2,
    "decoder_num_layers": 1,
}
PAD, EOS = 1, 2
TASK = types.SimpleNamespace(
    text=types.SimpleNamespace(pad=PAD),
    labels={"ctc": types.SimpleNamespace(spell=lambda text, _language: text.strip())},
    kinds=HEADS,
    text_pairs=None,
)


def make_model(**options):
    torch.manual_seed(0)
    cfg = XlsrMbartConfig(**(SMALL | options))
    return XlsrMbartModel(model_config(cfg, vocab_size=30, heads=ctc_heads(8))).train()


def make_criterion(**weights):
    values = {"label_smoothing": 0.1, "translation_weight": 1.0, "ctc_weight": 0.3} | weights
    return TranslationCtcCriterion(TranslationCtcConfig(**values), TASK)


def make_batch(targets, labels, samples=3200, waves=None):
    """Return a batch of one utterance for each target."""
    torch.manual_seed(1)
    rows = len(targets)
    width = max(map(len, targets))
    target = torch.tensor([[*row, *[PAD] * (width - len(row))] for row in targets])
    longest = max(map(len, labels))
    return {
        "id": torch.arange(rows),
        "nsentences": rows,
        "ntokens": sum(map(len, targets)),
        "nlabels": {"ctc": (sum(map(len, labels)), 0)},
        "net_input": {
            "waveforms": torch.randn(rows, samples) if waves is None else waves,
            "lengths": torch.full((rows,), samples),
            "source_rows": torch.arange(rows),
            "prev_output_tokens": torch.cat([torch.full((rows, 1), EOS), target[:, :-1]], 1),
        },
        "target": target,
        "heads": {
            "ctc": (
                torch.tensor([[*row, *[0] * (longest - len(row))] for row in labels]).reshape(rows, longest),
                torch.tensor([len(row) for row in labels]),
            )
        },
    }


USUAL = ([[5, 6, 7, EOS], [8, 9, EOS]], [[4, 5, 6], [5, 5]])


def loss_and_gradient(sample, model=None, **weights):
    model = model or make_model()
    model.zero_grad()
    loss, size, log = make_criterion(**weights)(model, sample)
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return float(loss.detach()), size, log, torch.cat([gradient.flatten() for gradient in gradients])


BATCHES = {
    "one sample": make_batch([[5, 6, EOS]], [[4, 5]]),
    "all silent": make_batch(*USUAL, waves=torch.zeros(2, 3200)),
    "every target the end of the sentence": make_batch([[EOS], [EOS]], [[4], [5]]),
    "no transcript": make_batch(USUAL[0], [[], []]),
    "shortest wave": make_batch([[5, EOS]], [[4]], samples=100),
}


@pytest.mark.parametrize("weights", [{}, {"translation_weight": 0.0}, {"ctc_weight": 0.0}, {"rdrop_alpha": 1.0}])
@pytest.mark.parametrize("name", BATCHES)
def test_t12_loss_and_gradients_are_finite_on_odd_batches(name, weights):
    model = make_model(encoder_mask_time_prob=0.5, encoder_mask_time_length=4, encoder_dropout=0.1)
    loss, _, log, gradient = loss_and_gradient(BATCHES[name], model, **weights)
    assert torch.isfinite(torch.tensor(loss))
    assert bool(torch.isfinite(gradient).all())
    assert log["nonfinite"] == 0


def test_t11_the_targets_that_are_too_long_add_up_over_the_batches_of_a_log():
    with metrics.aggregate() as meters:
        for too_long in (3, 0, 1):
            TranslationCtcCriterion.reduce_metrics(
                [{"sample_size": 1, "ctc_loss": 1.0, "ctc_labels": 1, "ctc_too_long": too_long}]
            )
    assert meters.get_smoothed_values()["ctc_too_long"] == 4


def test_t11_targets_longer_than_their_frames_are_counted_and_add_nothing():
    fits, too_long = [4, 5, 6], [4] * 200
    frames = make_model().encode(torch.zeros(1, 3200), torch.tensor([3200])).lengths
    assert len(fits) < int(frames) < len(too_long)
    loss, _, log, gradient = loss_and_gradient(make_batch(USUAL[0], [fits, too_long]), translation_weight=0.0)
    assert log["ctc_too_long"] == 1
    assert bool(torch.isfinite(gradient).all())
    alone, _, log_alone, _ = loss_and_gradient(make_batch(USUAL[0], [fits, []]), translation_weight=0.0)
    assert log_alone["ctc_too_long"] == 0
    assert (log["ctc_empty"], log_alone["ctc_empty"]) == (0, 1)
    assert loss == pytest.approx(alone, rel=1e-6), "both sums are the first utterance's"


def test_an_utterance_without_transcript_is_not_learnt_to_be_silence():
    first, both = make_batch(USUAL[0], [[4, 5, 6], []]), make_batch(USUAL[0], [[], []])
    for sample, empty in ((first, 1), (both, 2)):
        loss, _, log, gradient = loss_and_gradient(sample)
        without, _, _, gradient_without = loss_and_gradient(sample, ctc_weight=0.0)
        assert log["ctc_empty"] == empty
        assert (loss == without) == (empty == 2)
        if empty == 2:
            assert gradient.abs().sum() == pytest.approx(float(gradient_without.abs().sum()), rel=1e-5)
    with metrics.aggregate() as meters:
        TranslationCtcCriterion.reduce_metrics([log])
    assert meters.get_smoothed_values()["ctc_empty"] == 2
    assert "ctc_loss" not in meters, "there is none to be the mean of"


@pytest.mark.parametrize(
    ("transcripts", "message"),
    [
        (["a", "1"], ""),
        (
            ["a", "", "?!", "b"],
            "2 of 4 training utterances have no transcript (src_text in the manifests): the head ctc leaves them out",
        ),
        (["", " "], "the head stays untrained"),
    ],
)
def test_missing_transcripts_are_said_once(transcripts, message, caplog):
    utterances = [Utterance("a.flac", 9, text, "de", [(0, "en", "a")]) for text in transcripts]
    subset = types.SimpleNamespace(shuffle=True, dataset=types.SimpleNamespace(utterances=utterances))
    criterion = make_criterion()
    criterion.task = types.SimpleNamespace(**vars(TASK), datasets={"train": subset})
    for _ in range(2):
        criterion(make_model(), make_batch(*USUAL))
    assert len(caplog.records) == bool(message)
    assert message in caplog.text
    criterion = make_criterion(translation_weight=0.0)
    criterion.task = types.SimpleNamespace(**vars(TASK), datasets={"train": subset})
    if "untrained" in message:
        with pytest.raises(ConfigError, match=r"no training utterance has a transcript .* learns from nothing else"):
            criterion(make_model(), make_batch(*USUAL))


def test_t11_required_frames_are_exactly_those_below_which_the_loss_is_infinite():
    torch.manual_seed(0)
    targets = torch.tensor([[4, 4, 5, 5, 5, 6], [4, 5, 4, 5, 0, 0], [7, 0, 0, 0, 0, 0], [0] * 6, [4, 4, 4, 4, 4, 4]])
    lengths = torch.tensor([6, 4, 1, 0, 2])
    needed = required_frames(targets, lengths)
    assert needed.tolist() == [9, 4, 1, 0, 3]
    for row, frames in enumerate(needed.tolist()):
        for size, finite in ((frames, True), (frames - 1, False)):
            if size < 1:
                continue
            log_probs = torch.randn(size, 1, 8).log_softmax(-1)
            loss = F.ctc_loss(
                log_probs, targets[row : row + 1], torch.tensor([size]), lengths[row : row + 1], reduction="none"
            )
            assert bool(torch.isfinite(loss)) is finite


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_t22_half_precision_is_finite_and_ctc_takes_its_softmax_in_fp32(dtype):
    model = make_model()
    with torch.autocast("cpu", dtype=dtype):
        loss, _, _ = make_criterion()(model, make_batch(*USUAL))
    assert loss.dtype == torch.float32
    assert bool(torch.isfinite(loss))
    logits = (torch.randn(1, 400, 8) * 3).to(dtype)
    arguments = (torch.tensor([400]), torch.tensor([[4, 5, 6]]), torch.tensor([3]))
    found = ctc_loss(logits, *arguments)
    exact = ctc_loss(logits.double().float(), *arguments)
    torch.testing.assert_close(found, exact, atol=0, rtol=0)
    rounded = F.ctc_loss(
        logits.log_softmax(-1).float().transpose(0, 1), arguments[1], arguments[0], arguments[2], reduction="none"
    )
    assert float((rounded - exact).abs()) > 1e-2  # what a softmax in half precision would have made of it


# -- R-Drop -----------------------------------------------------------------------------------------------------------


def test_rdrop_is_half_of_the_papers_loss_over_both_passes():
    """Wu et al. 2021, equations 2 to 4, with torch's own KL divergence."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 4, 30), torch.randn(2, 4, 30)
    sample = make_batch(*USUAL)
    target = sample["target"]
    valid = target.ne(PAD)
    sides = [logits.log_softmax(-1)[valid] for logits in (first, second)]
    divergence = sum(F.kl_div(q, p, reduction="sum", log_target=True) for p, q in (sides, sides[::-1]))
    entropies = [smoothed_cross_entropy(logits, target, 0.1, PAD)[0] for logits in (first, second)]
    papers = sum(entropies) + 5.0 * divergence / 2

    class Fixed(torch.nn.Module):
        def forward(self, *, copies, **_):
            assert copies == 2
            return {"logits": torch.cat([first, second]), "states": first, "frames": None, "heads": {}}

    loss, size, log = make_criterion(rdrop_alpha=5.0, ctc_weight=0.0)(Fixed(), sample)
    torch.testing.assert_close(loss, papers / 2)
    assert size == sample["ntokens"]
    assert float(log["rdrop_loss"]) == pytest.approx(float(divergence / 2))
    torch.testing.assert_close(symmetric_divergence(first, second, valid), divergence / 2)


def test_rdrop_without_dropout_is_the_plain_loss():
    sample = make_batch(*USUAL)
    plain, _, log, gradient = loss_and_gradient(sample)
    twice, _, log_twice, gradient_twice = loss_and_gradient(sample, rdrop_alpha=5.0)
    assert plain == pytest.approx(twice, rel=1e-5)
    torch.testing.assert_close(gradient, gradient_twice, atol=1e-4, rtol=1e-3)
    for name in ("nll_loss", "ctc_loss", "translation_loss"):
        assert float(log[name]) == pytest.approx(float(log_twice[name]), rel=1e-5)
    assert log["correct"] == log_twice["correct"]


def test_rdrop_draws_the_two_passes_apart_and_only_in_training():
    sample = make_batch(*USUAL)
    model = make_model(decoder_dropout=0.3)
    assert float(loss_and_gradient(sample, model, rdrop_alpha=1.0)[2]["rdrop_loss"]) > 0.01
    validated = sample | {"texts": {"ctc": ["", ""]}, "spoken": ["de", "de"]}
    assert "rdrop_loss" not in make_criterion(rdrop_alpha=1.0)(model.eval(), validated)[2]


# -- transcripts read by the decoder --------------------------------------------------------------------------------


def test_loss_of_transcripts_is_that_of_the_decoder_which_reads_them():
    sample = make_batch([[5, 6, 7, EOS], [8, 9, EOS], [5, EOS]], [[4, 5, 6], [5, 5], []])
    model = make_model(length_adaptor_text_layers=1, length_adaptor_frame_dropout=0.0)
    without, _, _, _ = loss_and_gradient(sample, model)
    loss, _, log, _ = loss_and_gradient(sample, model, transcript_weight=0.7, transcript_noise=0.0)
    memory = model.translator.read(torch.tensor([[4, 5, 6], [5, 5, 0]]), torch.tensor([3, 2]))
    tokens = sample["net_input"]["prev_output_tokens"][:2]
    logits = model.translator.decoder(tokens, memory.states, memory.lengths)
    smoothed, nll = smoothed_cross_entropy(logits, sample["target"][:2], 0.1, PAD)  # the third has no transcript
    scale = 9 / 7  # tokens of all targets, and of those with a transcript
    assert loss == pytest.approx(without + 0.7 * scale * smoothed.item(), rel=1e-4)
    assert float(log["transcript_loss"]) == pytest.approx(scale * nll.item(), rel=1e-4)


def test_transcripts_alone_listen_to_nothing(monkeypatch):
    sample = make_batch(*USUAL)
    model = make_model(length_adaptor_text_layers=1, length_adaptor_frame_dropout=0.0)
    weights = {"transcript_weight": 1.0, "transcript_noise": 0.0, "ctc_weight": 0.0}
    both, _, _, _ = loss_and_gradient(sample, model, **weights)
    heard, _, _, _ = loss_and_gradient(sample, model, ctc_weight=0.0)
    monkeypatch.setattr(model.translator, "encode", None)
    loss, size, log, _ = loss_and_gradient(sample, model, translation_weight=0.0, **weights)
    assert loss == pytest.approx(both - heard, rel=1e-4)
    assert size == sample["ntokens"]
    assert all(parameter.grad is None for parameter in model.translator.encoder.parameters())
    assert "nll_loss" not in log


def test_a_model_that_reads_no_transcripts_says_so():
    with pytest.raises(ConfigError, match="--transcript-weight: this model reads no transcripts"):
        loss_and_gradient(make_batch(*USUAL), transcript_weight=1.0)


# -- the CTC weight -----------------------------------------------------------------------------------------------


def test_the_weight_of_ctc_grows_linearly_and_then_stays():
    sample = make_batch(*USUAL)
    model = make_model()

    def loss(update, **weights):
        model.set_num_updates(update)
        return loss_and_gradient(sample, model, **weights)[0]

    without, full = loss(0, ctc_weight=0.0), loss(0)
    for update, share in ((0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (100, 1.0)):
        expected = without + share * (full - without)
        assert loss(update, ctc_weight_warmup_updates=4) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"translation_weight": 0.0, "ctc_weight": 0.0}, "--translation-weight and --ctc-weight are both 0"),
        ({"ctc_weight": -1.0}, "--ctc-weight is -1.0"),
        ({"label_smoothing": 1.0}, "--label-smoothing is 1.0"),
        ({"rdrop_alpha": 1.0, "translation_weight": 0.0}, "--rdrop-alpha compares translations"),
        ({"transcript_noise": 1.5}, "--transcript-noise is 1.5; expected 0 to 1"),
        ({"ctc_weight_warmup_updates": -5}, "--ctc-weight-warmup-updates is -5"),
    ],
)
def test_t23_weights_that_make_no_objective_name_the_flag(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_weights(TranslationCtcConfig(**changes))
