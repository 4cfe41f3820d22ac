"""Products of 8 bits: as exact as they can be, row by row, and not used where they are wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from st.kernels import int8_linear, int8_vocabulary
from st.kernels.int8_linear import Int8Linear, half_if_it_fits, int8_works, largest_activation, quantise_rows
from st.kernels.int8_vocabulary import CANDIDATES, Int8Projection
from st.kernels.packed_linear import linear_activation

needs_int8 = pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def by_tensor(inputs: torch.Tensor, layer: torch.nn.Linear) -> torch.Tensor:
    """The layer with one scale for all activations, computed in float64: what others do."""
    scale = inputs.abs().max() / 127
    codes, scales = quantise_rows(layer.weight)
    product = (inputs / scale).round().double() @ codes.double().T
    return (product * scale * scales + layer.bias).float()


@needs_int8
@pytest.mark.parametrize("activation", ["none", "gelu", "relu", "silu"])
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_a_layer_is_off_by_about_a_hundredth(activation: str, rows: int) -> None:
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(256, 80), torch.randn(2, rows, 256)
    with torch.inference_mode():
        packed = Int8Linear.join([layer])
        found = packed(inputs, activation)
        exact = layer(inputs) if activation == "none" else linear_activation(layer, inputs, activation)
    assert found.shape == exact.shape
    assert found.dtype == torch.float32
    assert relative(found, exact) < 0.02


@needs_int8
def test_joined_layers_are_those_layers_one_behind_the_other() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, size) for size in (8, 24, 16)]
    inputs = torch.randn(3, 64)
    with torch.inference_mode():
        alone = torch.cat([Int8Linear.join([layer])(inputs) for layer in layers], dim=1)
        assert torch.equal(Int8Linear.join(layers)(inputs), alone)
        assert Int8Linear.join(layers, output=torch.bfloat16)(inputs).dtype == torch.bfloat16


@needs_int8
def test_outlier_channels_cost_other_frames_nothing_with_a_scale_for_each_row() -> None:
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(256, 256), torch.randn(64, 256)
    inputs[::8, [3, 77, 140]] *= 300.0  # XLS-R's: a few channels, in some frames
    usual = torch.ones(64, dtype=torch.bool)
    usual[::8] = False
    with torch.inference_mode():
        exact, found, others = layer(inputs), Int8Linear.join([layer])(inputs), by_tensor(inputs, layer)
    assert relative(found[usual], exact[usual]) < 0.02
    assert relative(others[usual], exact[usual]) > 0.3
    assert relative(found[~usual], exact[~usual]) < 0.03


@needs_int8
def test_a_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(128, 96), torch.randn(40, 128) * torch.logspace(-3, 3, 40)[:, None]
    with torch.inference_mode():
        packed = Int8Linear.join([layer])
        together = packed(inputs)
        assert all(torch.equal(packed(row[None])[0], whole) for row, whole in zip(inputs, together, strict=True))


@needs_int8
def test_rows_of_zeros_and_of_nan_stay_what_they_are() -> None:
    layer = torch.nn.Linear(32, 16)
    inputs = torch.stack([torch.zeros(32), torch.full((32,), torch.nan), torch.ones(32)])
    with torch.inference_mode():
        found = Int8Linear.join([layer])(inputs)
    torch.testing.assert_close(found[0], layer.bias)
    assert found[1].isnan().all()
    assert found[2].isfinite().all()


@needs_int8
def test_the_best_tokens_of_a_vocabulary_are_scored_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_vocabulary, "_PART", 4000)  # the last of three parts is shorter
    torch.manual_seed(0)
    table, states = torch.randn(9000, 64), torch.randn(2, 3, 64)
    exact = states @ table.T
    with torch.inference_mode():
        projection = Int8Projection(table)
        found, coarse = projection(states), projection.coarse(states.flatten(0, 1)).view_as(exact)
    assert relative(coarse, exact) < 0.02
    best = coarse.topk(CANDIDATES // 2, dim=-1).indices
    torch.testing.assert_close(found.gather(-1, best), exact.gather(-1, best), atol=1e-4, rtol=0)
    assert (coarse.gather(-1, best) - exact.gather(-1, best)).abs().max() > 1e-2
    assert torch.equal(found.argmax(-1), exact.argmax(-1))
    assert relative(found, exact) < 0.02


def test_codes_times_scales_are_the_matrix_to_half_a_step() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(20, 50) * torch.logspace(-6, 6, 20)[:, None]
    codes, scales = quantise_rows(matrix)
    assert codes.dtype == torch.int8
    assert codes.abs().amax(dim=1).tolist() == [127] * 20
    assert ((codes * scales[:, None] - matrix).abs() <= 0.5001 * scales[:, None]).all()


def test_a_table_too_large_for_half_precision_is_left_as_it_is() -> None:
    assert half_if_it_fits(torch.tensor([60_000.0])).dtype == torch.float16
    assert half_if_it_fits(torch.tensor([70_000.0])).dtype == torch.float32


@pytest.mark.parametrize("fault", ["saturated", "missing", "no AVX2"])
def test_products_that_are_wrong_or_missing_are_not_used(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise AttributeError("no such operator")

    def saturated(codes: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.full((len(codes), 48), 2.0**15)

    monkeypatch.setattr(int8_linear, "avx2", lambda: fault != "no AVX2")
    if fault != "no AVX2":
        monkeypatch.setattr(int8_linear, "_product", saturated if fault == "saturated" else broken)
    assert largest_activation.__wrapped__() == 0


def sums_of_16_bits(codes: torch.Tensor, zero: int, weight: torch.Tensor, *_: object) -> torch.Tensor:
    """What a CPU without VNNI computes: sums of two products, cut off at 16 bits, added up in 32."""
    pairs = codes.double().view(len(codes), 1, -1, 2) * weight.double().view(1, len(weight), -1, 2)
    sums = pairs.sum(-1).clamp(-(2**15), 2**15 - 1).sum(-1)
    return (sums - zero * weight.double().sum(1)).float()


def test_sums_of_16_bits_get_activations_of_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_linear, "avx2", lambda: True)
    monkeypatch.setattr(int8_linear, "_CHECKED", ((3, 64, 48),))
    monkeypatch.setattr(int8_linear, "_product", sums_of_16_bits)
    monkeypatch.setattr(torch.ops.onednn, "qlinear_prepack", lambda weight, _: weight, raising=False)
    assert largest_activation.__wrapped__() == 63


@needs_int8
@pytest.mark.parametrize("instructions", ["SSE41", "AVX2", "AVX512_CORE"])
def test_a_cpu_without_the_instructions_gets_right_results(instructions: str) -> None:
    program = """if True:
        import torch
        from st.kernels.int8_linear import Int8Linear, largest_activation
        layer, inputs = torch.nn.Linear(256, 80), torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
        layer.weight.data.fill_(1.0)
        layer.weight.data[:, ::3] = -1.0  # codes of 127 and -127: the largest sums
        with torch.inference_mode():
            exact, found = layer(inputs), Int8Linear.join([layer])(inputs)
        print(largest_activation(), float((found - exact).norm() / exact.norm()))
    """
    masked = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    run = subprocess.run([sys.executable, "-c", program], env=masked, capture_output=True, text=True, check=True)
    largest, error = run.stdout.split()
    assert largest == "63"
    assert float(error) < 0.02
