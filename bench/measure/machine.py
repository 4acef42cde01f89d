"""Machine: what it achieves on products, 1x1 convolutions and copies, the ceilings of a roofline."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from bench.case import DTYPES
from bench.measure.clock import Call, Clock
from bench.measure.method import Method
from bench.measure.precision import ieee_fp32, set_tf32
from bench.measure.rates import Rates
from bench.measure.telemetry import Probe, disturbance

PRODUCTS = {"cpu": ("fp32",), "cuda": ("fp32", "tf32", "bf16", "fp16")}
KINDS = ("mm", "bmm", "conv1x1")
FOOTPRINTS_MIB = (1, 4, 16, 64, 256)
SECONDS = 0.5
_SIDES = (256, 512, 1024, 2048, 4096, 8192)
_LEAST_SIDE = 1024
_LEAST_CALLS = 3
_BATCH = 8
_SAMPLE_MS = 1.0


@dataclass(frozen=True)
class Pace:
    """How fast one piece of work of known size went, over several calls.

    Attributes:
        work: FLOPs (two a multiply-add) or bytes (read and written) of a call.
        size: side of the matrices, or bytes read and written.
        calls: how many samples were timed.
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
    device: str, clock: Clock, method: Method, free_bytes: int | None = None, probe: Probe | None = None
) -> Rates:
    """What the device achieves, in one pass over all probes.

    On CUDA the rates `tf32` are those of fp32 with TF32 allowed, the rates `fp32` those of IEEE fp32. What cannot be
    measured here, for want of memory or of a kernel, has no entry; a probe during which the machine was disturbed, as a
    round can be, is refused.

    Args:
        clock: of the device.
        method: its bounds for a disturbed round, and its `seconds`, which no probe takes more of than a group would.
        free_bytes: memory to stay well within; not looked at if not given.
        probe: looks at the machine; where there is none, every rate counts.
    """
    seconds = min(SECONDS, method.seconds)
    measures: dict[str, tuple[float, Callable[[], Pace]]] = {}
    for name in PRODUCTS[device]:
        for kind in KINDS:
            work = functools.partial(product, name, device, clock, seconds, free_bytes, kind)
            measures[f"{kind}_{name}_tflops"] = (1e12, work)
    for mib in FOOTPRINTS_MIB:
        if free_bytes is None or mib * 2**20 <= free_bytes / 4:
            measures[f"copy_{mib}_mib_gb_s"] = (1e9, functools.partial(copy, device, clock, seconds, mib))
    best: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, (unit, measure) in measures.items():
        before = probe.read() if probe is not None else None
        pace = _attempt(measure)
        if pace is None:
            continue
        causes = disturbance(before, probe.read(), method) if probe is not None and before is not None else []
        if causes:
            refused[name] = " and ".join(causes)
        else:
            best[name] = pace.rate / unit
    if device == "cuda":
        torch.cuda.empty_cache()
    return Rates(best, refused, 1)


def product(
    name: str, device: str, clock: Clock, seconds: float = SECONDS, free_bytes: int | None = None, kind: str = "mm"
) -> Pace:
    """Pace of products of square matrices, of the fastest size up to the largest that `seconds` and the memory allow.

    Small products mostly measure how threads wait for each other: 1024 a side is the least where that is bearable.

    Args:
        name: a dtype of `bench.case.DTYPES`, or `tf32`: fp32 with TF32 allowed.
        kind: one of `KINDS`, all with the same number of multiply-adds at the same side.

    Raises:
        RuntimeError: even the smallest cannot be computed here.
    """
    dtype = getattr(torch, DTYPES["fp32" if name == "tf32" else name])
    best: tuple[Pace, Call] | None = None
    with _precision(name, device):
        for side in _SIDES:
            if best is not None and free_bytes is not None and 3 * side * side * dtype.itemsize > free_bytes / 4:
                break
            try:
                call = _multiply(kind, side, dtype, device)
                trial = _pace(call, 2 * side**3, side, clock, 0.0)
            except RuntimeError:  # out of memory is one
                if best is None:
                    raise
                break
            best = (trial, call) if best is None or trial.rate >= best[0].rate else best
            if trial.fastest_ms > 1e3 * seconds / (2 if side < _LEAST_SIDE else 16):
                break
        assert best is not None
        trial, call = best
        longer = _pace(call, trial.work, trial.size, clock, seconds)
    return replace(longer, fastest_ms=min(longer.fastest_ms, trial.fastest_ms))


def copy(device: str, clock: Clock, seconds: float = SECONDS, mib: int = FOOTPRINTS_MIB[-1]) -> Pace:
    """Pace of a copy of so many MiB, half of them read and half of them written, again and again.

    Raises:
        RuntimeError: there is no memory for it.
    """
    size = mib * 2**20
    source = torch.ones(size // 8, device=device)
    target = torch.empty_like(source)
    return _pace(functools.partial(target.copy_, source), size, size, clock, seconds)


def _multiply(kind: str, side: int, dtype: torch.dtype, device: str) -> Call:
    """A call of 2 * side^3 FLOPs over operands of side^2 numbers each, or as many over a batch."""
    if kind == "bmm":
        part = side // 2
        left, right = (_noise(_BATCH * part * part, dtype, device).view(_BATCH, part, part) for _ in range(2))
        return functools.partial(torch.bmm, left, right, out=torch.empty_like(left))
    left, right = (_noise(side * side, dtype, device).view(side, side) for _ in range(2))
    if kind == "mm":
        return functools.partial(torch.mm, left, right, out=torch.empty_like(left))
    height = 1 << ((side.bit_length() - 1) // 2)
    x, weight = right.view(1, side, height, side // height), left.view(side, side, 1, 1)
    return torch.no_grad()(functools.partial(functional.conv2d, x, weight))


def _pace(call: Call, work: int, size: int, clock: Clock, seconds: float) -> Pace:
    """Time a call again and again, after one that is not counted; short calls are repeated within a sample."""
    repeats = min(1000, max(1, round(_SAMPLE_MS / max(clock.time(call), 1e-6))))
    times: list[float] = []
    start = clock.now()
    while len(times) < _LEAST_CALLS or clock.now() - start < seconds:
        times.append(clock.time(call, repeats))
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
    """On CUDA allow TF32 for `tf32` and forbid it for the others; IEEE fp32 afterwards."""
    if device != "cuda":
        yield
        return
    set_tf32(name == "tf32", name == "tf32")
    try:
        yield
    finally:
        ieee_fp32()
