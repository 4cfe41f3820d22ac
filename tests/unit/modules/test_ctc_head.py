import itertools

import torch

from st.modules.ctc_head import ctc_loss


def collapse(path):
    return [label for label, _ in itertools.groupby(path) if label]


def test_loss_is_minus_log_of_the_summed_probability_of_all_alignments():
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3)
    probabilities = logits[0].softmax(-1)
    total = sum(
        torch.stack([probabilities[frame, label] for frame, label in enumerate(path)]).prod()
        for path in itertools.product(range(3), repeat=4)
        if collapse(path) == [1, 2]
    )
    loss = ctc_loss(logits, torch.tensor([4]), torch.tensor([[1, 2]]), torch.tensor([2]))
    torch.testing.assert_close(loss[0], -total.log())


def test_t11_target_longer_than_its_frames_costs_nothing_and_its_gradient_is_zero():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    targets = torch.tensor([[1, 2, 3, 4], [1, 2, 0, 0]])
    loss = ctc_loss(logits, torch.tensor([3, 3]), targets, torch.tensor([4, 2]))
    loss.sum().backward()
    assert loss[0] == 0
    assert loss[1] > 0
    assert bool(torch.isfinite(logits.grad).all())
    assert logits.grad[0].abs().max() == 0


def test_t22_loss_of_half_precision_logits_is_taken_in_fp32():
    logits = torch.randn(1, 6, 5).bfloat16()
    loss = ctc_loss(logits, torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2]))
    assert loss.dtype == torch.float32
