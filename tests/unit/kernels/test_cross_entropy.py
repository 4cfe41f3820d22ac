"""The loss against its definition, in float64 and through torch's own gradient."""

from __future__ import annotations

import pytest
import torch

from st.kernels.cross_entropy import GROUP, smoothed_cross_entropy


def by_definition(logits: torch.Tensor, target: torch.Tensor, smoothing: float, pad: int):
    log_probs = logits.log_softmax(-1)
    valid = target != pad
    nll = -log_probs.gather(-1, target[..., None])[..., 0][valid].sum()
    share = smoothing / (logits.size(-1) - 1)
    return (1 - smoothing - share) * nll - share * log_probs.sum(-1)[valid].sum(), nll


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("vocabulary", [11, GROUP // 3])
def test_losses_and_gradient_are_those_of_the_definition(smoothing, dtype, limit, vocabulary):
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, 4, vocabulary)).to(dtype).requires_grad_()
    target = torch.randint(2, vocabulary, (2, 4))
    target[1, 2:] = 1
    exact = logits.detach().double().requires_grad_()
    expected = by_definition(exact, target, smoothing, 1)
    found = smoothed_cross_entropy(logits, target, smoothing, 1)
    for one, other in zip(found, expected, strict=True):
        assert one.item() == pytest.approx(other.item(), rel=1e-5)
    (0.5 * found[0]).backward()
    (0.5 * expected[0]).backward()
    torch.testing.assert_close(logits.grad.double(), exact.grad, atol=limit, rtol=limit)
    assert not logits.grad[1, 2:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_scores_stay_as_they_are_and_a_second_backward_pass_gives_the_same(dtype):
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 11).to(dtype).requires_grad_()
    before = logits.detach().clone()
    loss, _ = smoothed_cross_entropy(logits, torch.randint(2, 11, (3, 4)), 0.1, 1)
    first = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    assert logits.equal(before)
    assert torch.autograd.grad(loss, logits)[0].equal(first)


def test_extreme_scores_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss, _ = smoothed_cross_entropy(logits, torch.tensor([1]), 0.1, 9)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
