from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from st import runtime


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runtime, "_done", None)
    monkeypatch.delenv(runtime.OFF_SWITCH, raising=False)
    before, threads = runtime._precision(), torch.get_num_threads()
    convolutions = torch.backends.cudnn.allow_tf32
    yield
    runtime._set_precision(before)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_num_threads(threads)


def _measured(monkeypatch: pytest.MonkeyPatch, *, error: float, speedup: float) -> None:
    """Pretend a CPU where oneDNN's products have this error and gain."""
    monkeypatch.setattr(runtime, "relative_error", lambda: error)
    monkeypatch.setattr(runtime, "product_seconds", lambda: 1.0 / speedup if runtime._precision() == "bf16" else 1.0)


def test_exact_and_faster_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _measured(monkeypatch, error=5e-6, speedup=2.0)
    assert runtime.tune_matmul()
    assert runtime._precision() == "bf16"


@pytest.mark.parametrize(("error", "speedup"), [(2.5e-3, 3.0), (1e-7, 1.0), (float("nan"), 3.0)])
def test_rounded_or_no_faster_is_undone(monkeypatch: pytest.MonkeyPatch, error: float, speedup: float) -> None:
    before = runtime._precision()
    _measured(monkeypatch, error=error, speedup=speedup)
    assert not runtime.tune_matmul()
    assert runtime._precision() == before


def test_products_are_fp32_after_tuning_on_this_very_cpu() -> None:
    runtime.tune()
    left, right = torch.randn(512, 768), torch.randn(768, 512)
    exact = left.double() @ right.double()
    assert float(((left @ right).double() - exact).norm() / exact.norm()) < 2e-5


def test_convolutions_on_a_gpu_do_not_round_fp32(recwarn: pytest.WarningsRecorder) -> None:
    torch.backends.cudnn.allow_tf32 = True
    runtime.tune()
    assert "tf32" not in (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    with torch.backends.cudnn.flags(enabled=False):  # what fairseq's criterions do
        pass
    assert not torch.backends.cudnn.allow_tf32
    assert not recwarn.list


def test_error_of_products_rounded_to_bf16_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.relative_error() < runtime.MAX_RELATIVE_ERROR
    monkeypatch.setattr(runtime, "_error", _bf16_error)
    assert runtime.relative_error() > 100 * runtime.MAX_RELATIVE_ERROR


def _bf16_error(left: torch.Tensor, right: torch.Tensor) -> float:
    exact = left.double() @ right.double()
    rounded = (left.bfloat16() @ right.bfloat16()).double()
    return float((rounded - exact).norm() / exact.norm())


def test_environment_variable_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.OFF_SWITCH, "1")
    monkeypatch.setattr(runtime, "tune_allocator", lambda: pytest.fail("touched the allocator"))
    monkeypatch.setattr(runtime, "tune_matmul", lambda: pytest.fail("touched the matrix product"))
    torch.backends.cudnn.allow_tf32 = True
    assert runtime.tune() == runtime.Tuning(allocator=False, matmul=False)
    assert torch.backends.cudnn.allow_tf32


def test_measured_once_and_threads_set_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(runtime, "tune_matmul", lambda: bool(calls.append(1)))
    for threads in (1, 2):
        runtime.tune(threads)
        assert torch.get_num_threads() == threads
    assert len(calls) == 1


def test_allocator_is_left_alone_off_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _: pytest.fail("called the C library"))
    assert not runtime.tune_allocator()
