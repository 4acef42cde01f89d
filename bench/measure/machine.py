"""Machine: what it achieves on a large matrix product and on a large copy, the two ceilings of a roofline."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from bench.case import DTYPES
from bench.measure.clock import Call, Clock

PRODUCTS = {"cpu": ("fp32",), "cuda": ("fp32", "tf32", "bf16", "fp16")}
SECONDS = 0.5
_SIDES = (256, 512, 1024, 2048, 4096, 8192)
_COPIES = tuple(mib * 2**20 for mib in (256, 64, 16))
_LEAST_SIDE = 1024
_LEAST_CALLS = 3


@dataclass(frozen=True)
class Pace:
    """How fast one piece of work of known size went, over several calls.

    Attributes:
        work: FLOPs (two a multiply-add) or bytes (read and written) of a call.
        size: side of the matrices, or bytes of the tensor copied.
        calls: how many were timed.
        fastest_ms, median_ms: milliseconds a call.
    """

    work: int
    size: int
    calls: int
    fastest_ms: float
    median_ms: float

    @property
    def rate(self) -> float:
        """Work a second of the fastest call: a ceiling is what the machine can do, not what it mostly does."""
        return self.work / (self.fastest_ms / 1e3)


def measure_machine(
    device: str, clock: Clock, seconds: float = SECONDS, free_bytes: int | None = None
) -> dict[str, float]:
    """What the device achieves: `gemm_<dtype>_tflops` (TFLOP/s, two FLOPs a multiply-add) and `copy_gb_s` (GB/s).

    On CUDA `gemm_tf32_tflops` is the product of fp32 matrices with TF32 allowed, `gemm_fp32_tflops` with it forbidden.
    What cannot be measured here, for want of memory or of a kernel, has no entry.

    Args:
        clock: of the device.
        seconds: about how long to measure each rate.
        free_bytes: memory to stay well within; not looked at if not given.
    """
    rates: dict[str, float] = {}
    for name in PRODUCTS[device]:
        pace = _attempt(functools.partial(product, name, device, clock, seconds, free_bytes))
        if pace is not None:
            rates[f"gemm_{name}_tflops"] = pace.rate / 1e12
    copied = _attempt(functools.partial(copy, device, clock, seconds, free_bytes))
    if copied is not None:
        rates["copy_gb_s"] = copied.rate / 1e9
    if device == "cuda":
        torch.cuda.empty_cache()
    return rates


def product(name: str, device: str, clock: Clock, seconds: float = SECONDS, free_bytes: int | None = None) -> Pace:
    """Pace of a product of square matrices, as large as `seconds` and the memory allow, up to 8192 a side.

    Small products mostly measure how threads wait for each other: 1024 a side is the least where that is bearable.

    Args:
        name: a dtype of `bench.case.DTYPES`, or `tf32`: fp32 with TF32 allowed.

    Raises:
        RuntimeError: even the smallest cannot be computed here.
    """
    dtype = getattr(torch, DTYPES["fp32" if name == "tf32" else name])
    best: Pace | None = None
    with _precision(name, device):
        for side in _SIDES:
            if best is not None and free_bytes is not None and 3 * side * side * dtype.itemsize > free_bytes / 4:
                break
            try:
                left, right = (_noise(side * side, dtype, device).view(side, side) for _ in range(2))
                result = torch.empty_like(left)
                call = functools.partial(torch.mm, left, right, out=result)
                trial = _pace(call, 2 * side**3, side, clock, 0.0)
            except RuntimeError:  # out of memory is one
                if best is None:
                    raise
                break
            last = side == _SIDES[-1] or trial.fastest_ms > 1e3 * seconds / (2 if side < _LEAST_SIDE else 16)
            pace = _pace(call, 2 * side**3, side, clock, seconds) if last else trial
            best = pace if best is None or pace.rate >= best.rate else best
            if last:
                break
    assert best is not None
    return best


def copy(device: str, clock: Clock, seconds: float = SECONDS, free_bytes: int | None = None) -> Pace:
    """Pace of a copy of 256 MiB, which no cache holds; smaller where the memory does not allow it.

    Raises:
        RuntimeError: there is no memory even for 16 MiB.
    """
    for size in _COPIES:
        smallest = size == _COPIES[-1]
        if free_bytes is not None and 2 * size > free_bytes / 4 and not smallest:
            continue
        try:
            source = _noise(size // 4, torch.float32, device)
            target = torch.empty_like(source)
            return _pace(functools.partial(target.copy_, source), 2 * size, size, clock, seconds)
        except RuntimeError:
            if smallest:
                raise
    raise AssertionError("unreachable: the smallest copy returns or raises")


def _pace(call: Call, work: int, size: int, clock: Clock, seconds: float) -> Pace:
    """Time a call again and again, after one that is not counted."""
    clock.time(call)
    times: list[float] = []
    start = clock.now()
    while len(times) < _LEAST_CALLS or clock.now() - start < seconds:
        times.append(clock.time(call))
    return Pace(work, size, len(times), min(times), statistics.median(times))


def _noise(count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Numbers of a generator of their own, so that nobody else's are drawn differently."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(count, generator=generator, device=device, dtype=torch.float32).to(dtype)


def _attempt(measure: Callable[[], Pace]) -> Pace | None:
    try:
        return measure()
    except RuntimeError:
        return None


@contextmanager
def _precision(name: str, device: str) -> Iterator[None]:
    """On CUDA allow TF32 in products for `tf32` and forbid it for the others; as it was, afterwards."""
    if device != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
