"""The adaptor that reads labels: runs against itertools, padding, transcripts, and how they are spoilt."""

from itertools import groupby

import pytest
import torch
from rapidfuzz.distance import Levenshtein

from st.errors import ConfigError
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.label_adaptor import LabelAdaptor, change_labels, mean_of_runs, runs_of_labels
from st.modules.model import SpeechTranslator

ENCODER = EncoderConfig(
    conv_layers=((8, 10, 5), (8, 3, 2)),
    dim=16,
    ffn_dim=32,
    num_heads=2,
    num_layers=1,
    pos_conv_kernel=4,
    pos_conv_groups=2,
)
DECODER = DecoderConfig(vocab_size=31, dim=24, ffn_dim=32, num_heads=2, num_layers=1, max_positions=32)
LABELS = 7


def config(**options):
    adaptor = LengthAdaptorConfig(**{"text_layers": 2, **options})
    return ModelConfig(encoder=ENCODER, length_adaptor=adaptor, decoder=DECODER, heads=ctc_heads(LABELS))


def adaptor(**options):
    torch.manual_seed(0)
    return LabelAdaptor(LengthAdaptorConfig(**{"text_layers": 2, **options}), ENCODER, DECODER, LABELS).eval()


def utterances(lengths, seed=1):
    generator = torch.Generator().manual_seed(seed)
    size = max(lengths)
    states = torch.randn(len(lengths), size, ENCODER.dim, generator=generator)
    logits = 3 * torch.randn(len(lengths), size, LABELS, generator=generator)
    return states, torch.tensor(lengths), logits


def test_a_state_is_the_mean_of_a_run_of_frames():
    states, lengths, logits = utterances([40, 23, 1, 9])
    logits[3, :, 0] = 99.0  # blanks alone
    labels = logits.argmax(-1)
    numbers, counts = runs_of_labels(labels, lengths)
    means = mean_of_runs(states, numbers, counts)
    for row, length in enumerate(lengths.tolist()):
        runs, start = [], 0
        for label, frames in groupby(labels[row, :length].tolist()):
            stop = start + len(list(frames))
            if label != 0:
                runs.append(states[row, start:stop].mean(0))
            start = stop
        expected = torch.stack(runs or [states[row, :length].mean(0)])
        assert int(counts[row]) == len(expected)
        torch.testing.assert_close(means[row, : len(expected)], expected)
        assert not means[row, len(expected) :].any()


def test_padding_never_reaches_a_valid_state():
    module = adaptor()
    states, lengths, logits = utterances([37, 20, 1])
    together, heard = module(states, lengths, logits)
    for row, length in enumerate(lengths.tolist()):
        alone, _ = module(states[row : row + 1, :length], lengths[row : row + 1], logits[row : row + 1, :length])
        size = int(heard[row])
        torch.testing.assert_close(together[row, :size], alone[0, :size], atol=1e-5, rtol=0)


def test_sure_labels_without_frames_are_read_as_their_transcript():
    module = adaptor()
    torch.nn.init.zeros_(module.proj.weight)
    torch.nn.init.zeros_(module.proj.bias)
    said = torch.tensor([[3, 3, 0, 3, 5, 1, 1]])
    logits = 200.0 * torch.nn.functional.one_hot(said, LABELS).float()
    heard, count = module(torch.randn(1, 7, ENCODER.dim), torch.tensor([7]), logits)
    read, _ = module.read(torch.tensor([[3, 3, 5, 1]]), torch.tensor([4]))
    assert int(count) == 4
    torch.testing.assert_close(heard[:, :4], read, atol=1e-5, rtol=0)


def test_gradients_reach_the_encoder_by_the_frames_and_by_the_labels():
    module = adaptor(frame_dropout=1.0).train()
    states, lengths, logits = utterances([12, 8])
    states.requires_grad_()
    logits.requires_grad_()
    module(states, lengths, logits)[0].square().sum().backward()
    assert logits.grad.abs().sum() > 0
    assert not states.grad.any()  # of every utterance the labels alone were read
    module.eval()(states, lengths, logits)[0].square().sum().backward()
    assert states.grad.any()


def test_unchanged_labels_are_the_labels():
    labels, lengths = torch.randint(1, LABELS, (5, 9)), torch.tensor([9, 4, 1, 7, 0])
    changed, changed_lengths = change_labels(labels, lengths, 0.0)
    assert changed_lengths.tolist() == [9, 4, 1, 7, 1]
    for row, length in enumerate(lengths.tolist()):
        assert changed[row, :length].tolist() == labels[row, :length].tolist()
        assert not changed[row, length:].any()


@pytest.mark.parametrize("share", [0.04, 0.1])
def test_share_and_kinds_of_changes(share):
    torch.manual_seed(3)
    labels, lengths = torch.randint(1, 1000, (400, 60)), torch.full((400,), 60)
    changed, changed_lengths = change_labels(labels, lengths, share)
    kinds = {"insert": 0, "delete": 0, "replace": 0}
    for row in range(400):
        found = changed[row, : changed_lengths[row]].tolist()
        assert set(found) <= set(labels.flatten().tolist())
        for step in Levenshtein.editops(labels[row].tolist(), found):
            kinds[step.tag] += 1
    expected = {"insert": 0.2, "delete": 0.4, "replace": 0.4}
    for kind, number in kinds.items():
        assert number / labels.numel() == pytest.approx(expected[kind] * share, rel=0.15)


def test_something_is_left_of_every_transcript():
    torch.manual_seed(4)
    _, lengths = change_labels(torch.ones(500, 2, dtype=torch.long), torch.randint(0, 3, (500,)), 1.0)
    assert int(lengths.min()) >= 1


def test_a_model_reads_recordings_and_transcripts():
    torch.manual_seed(5)
    model = SpeechTranslator(config()).eval()
    memory = model.adapt(model.encode(torch.randn(2, 800), torch.tensor([800, 500])))
    assert memory.states.size(-1) == DECODER.dim
    read = model.read(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    assert read.states.shape == (1, 3, DECODER.dim)
    plain = SpeechTranslator(
        ModelConfig(encoder=ENCODER, length_adaptor=LengthAdaptorConfig(project=True), decoder=DECODER)
    )
    with pytest.raises(ValueError, match="reads no transcripts"):
        plain.read(torch.tensor([[1]]), torch.tensor([1]))


@pytest.mark.parametrize(
    ("options", "heads", "message"),
    [
        ({"text_layers": -1}, ctc_heads(LABELS), "text_layers"),
        ({"frame_dropout": 1.5}, ctc_heads(LABELS), "frame_dropout is 1.5; expected 0 to 1"),
        ({}, {}, "and the model has none; prepare the data with transcripts"),
    ],
)
def test_settings_that_make_no_model(options, heads, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(
            encoder=ENCODER,
            length_adaptor=LengthAdaptorConfig(**{"text_layers": 2, **options}),
            decoder=DECODER,
            heads=heads,
        )
