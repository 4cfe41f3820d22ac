from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from st.kernels import settings as runtime


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runtime, "_done", None)
    monkeypatch.delenv(runtime.OFF_SWITCH, raising=False)
    before, threads = runtime._precision(), torch.get_num_threads()
    runtime._set_precision("none")  # what another test tuned
    convolutions = torch.backends.cudnn.allow_tf32
    yield
    runtime._set_precision(before)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_num_threads(threads)


def _machine(monkeypatch: pytest.MonkeyPatch, *, vendor: str, error: float, mkl: bool = True) -> None:
    """Pretend a CPU of this vendor where oneDNN's products have this error."""
    monkeypatch.setattr(runtime, "cpu_vendor", lambda: vendor)
    monkeypatch.setattr(runtime, "relative_error", lambda: error)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)


@pytest.mark.parametrize(("vendor", "mkl"), [("AuthenticAMD", True), ("HygonGenuine", True), ("GenuineIntel", False)])
def test_exact_is_kept_where_mkl_is_not_at_home(monkeypatch: pytest.MonkeyPatch, vendor: str, mkl: bool) -> None:
    _machine(monkeypatch, vendor=vendor, error=5e-6, mkl=mkl)
    assert runtime.tune_matmul()
    assert runtime._precision() == "bf16"


@pytest.mark.parametrize(
    ("vendor", "error"),
    [("AuthenticAMD", 2.5e-3), ("GenuineIntel", 1e-7), ("", 1e-7), ("AuthenticAMD", float("nan"))],
)
def test_rounded_or_no_faster_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, vendor: str, error: float) -> None:
    _machine(monkeypatch, vendor=vendor, error=error)
    assert not runtime.tune_matmul()
    assert runtime._precision() == "none"


STARTS = """
import hashlib, os, torch
from st.kernels import settings as runtime

def begin():
    settings = runtime.tune(1)
    product = torch.linspace(-1, 1, 300_000).view(300, 1000) @ torch.linspace(-2, 3, 700_000).view(1000, 700)
    os.write(1, f"{settings} {hashlib.sha256(product.numpy().tobytes()).hexdigest()}\\n".encode())  # in one piece

started = []
for _ in range(8):
    started.append(os.fork())
    if started[-1] == 0:
        begin()
        os._exit(0)
raise SystemExit(any([os.waitpid(process, 0)[1] for process in started]))
"""
BUSY = "while True: pass"


def test_fault_01_starts_on_a_loaded_machine_choose_the_same_products() -> None:
    # Eight at a time, beside others that do nothing but keep the processors busy: what is timed then differs.
    # They share the import of torch, which multiplies nothing yet and so has chosen nothing.
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    try:
        said = subprocess.run([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, check=True).stdout.splitlines()
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert len(said) == 8
    assert len(set(said)) == 1
    assert b"Tuning(" in said[0]


def test_fault_01_a_slow_moment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_000_000))
    for name in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(f"time.{name}", lambda: float(next(clock) ** 3))
    first = runtime.tune_matmul()
    runtime._set_precision("none")
    assert runtime.tune_matmul() == first
    assert next(clock) == 0, "a choice that looks at a clock is another one at each start"


def test_fault_01_numerics_name_what_differs() -> None:
    runtime.tune(1)
    now = runtime.numerics()
    assert now["products"] == ("oneDNN" if runtime.tune().matmul else "torch's choice")
    assert now["threads"] == "1"
    assert runtime.changed_numerics(now, now) == runtime.changed_numerics({}, now) == ""
    before = now | {"threads": "8", "products": "of old"}
    assert (
        runtime.changed_numerics(before, now)
        == f"products of old before and {now['products']} now, threads 8 before and 1 now"
    )
    runtime.untune_matmul()
    assert runtime._precision() == "none"
    assert runtime.numerics()["products"] == "torch's choice"


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
