"""Times by operator: calls under the profiler, the same calls without it, and each moment credited to one operator."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from bench.measure.clock import Call, Clock
from bench.measure.method import Method
from bench.measure.sampler import Member, Sampler
from bench.profiling.classes import class_of, credited
from bench.profiling.record import CLASSES
from bench.static.flops import plain_name

SAMPLES, LEAST = 10, 3
"""Samples of a case, as many as ANN's Figure 2 averages, and those that even the slowest one gets."""
SECONDS = 10.0
"""Beyond this the profiled calls of a case take fewer samples, and so do the unprofiled ones."""
CALL = "call"
"""Name of each call in a trace."""


class NoKernels(RuntimeError):
    """The profiler saw nothing of what ran on the card."""


@dataclass(frozen=True)
class Times:
    """Where the time of a call went; milliseconds a call, means over all calls.

    Attributes:
        calls: profiled, and as many unprofiled.
        profiled: samples of the profiled calls, in time order.
        unprofiled: samples of the calls without the profiler.
        by_operator: what each operator took, by its plain name and class.
    """

    calls: int
    profiled: tuple[float, ...]
    unprofiled: tuple[float, ...]
    by_operator: dict[tuple[str, str], float]

    def fields(self) -> dict[str, object]:
        """The fields of a record that profiling gives."""
        kinds = {kind: sum((ms for (_, of), ms in self.by_operator.items() if of == kind), 0.0) for kind in CLASSES}
        total = fmean(self.profiled)
        longest = sorted(self.by_operator.items(), key=lambda item: -item[1])
        return {
            "calls": self.calls,
            "total_ms": total,
            "class_ms": kinds,
            "remainder_ms": total - sum(kinds.values()),
            "operators": [[name, kind, ms] for (name, kind), ms in longest],
            "profiled_samples_ms": list(self.profiled),
            "unprofiled_ms": fmean(self.unprofiled),
            "unprofiled_samples_ms": list(self.unprofiled),
        }


def profile_calls(call: Call, clock: Clock, device: str, trace: Path | None = None) -> Times:
    """Warm a call up, then time it with and without the profiler; half of the unprofiled calls come before, half after.

    Args:
        call: one call of the case.
        clock: the device's.
        device: `cpu` or `cuda`; on `cuda` the operators' times are those of the kernels that they launched.
        trace: file to write the profiled calls to, in Chrome's trace format.

    Raises:
        NoKernels: the profiler saw no kernel on the card.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]

    def named() -> None:
        with record_function(CALL):
            call()

    with _no_collection():
        member = Member(CALL, call)
        Sampler(clock, Method()).warm_up(member)
        repeats = member.repeats
        with profile(activities=activities):  # the first use of the profiler is slow, and so is the first call under it
            clock.time(named)
        before = [clock.time(call, repeats)]
        samples = max(LEAST, min(SAMPLES, math.floor(SECONDS * 1e3 / max(before[0] * repeats, 1e-6))))
        before += [clock.time(call, repeats) for _ in range(samples // 2 - 1)]
        with profile(activities=activities) as profiler:
            profiled = [clock.time(named, repeats) for _ in range(samples)]
        after = [clock.time(call, repeats) for _ in range(samples - samples // 2)]
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    events = profiler.events() or ()
    spent = time_by_operator(events, device)
    if device == "cuda" and not spent and min(profiled) > 0.1 and time_by_operator(events, "cpu"):
        raise NoKernels("the profiler saw no kernel on the card; it may lack the permission to read its counters")
    calls = samples * repeats
    return Times(calls, tuple(profiled), (*before, *after), {key: us / 1e3 / calls for key, us in spent.items()})


def time_by_operator(events: Iterable[Any], device: str) -> dict[tuple[str, str], float]:
    """Microseconds by (plain name, class) of the operator that they are credited to; what ran outside of operators,
    such as Python, autograd's own work and annotations, is left out.

    Args:
        events: of `torch.profiler`, with `cpu_parent`, `self_cpu_time_total` and `kernels`.
        device: `cpu` counts the self time of every operator on the host, `cuda` the kernels that it launched.
    """
    spent: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.device_type.name != "CPU" or event.is_async:
            continue
        if device == "cuda":
            microseconds = sum(kernel.duration for kernel in event.kernels)
        else:
            microseconds = event.self_cpu_time_total
        if not microseconds:
            continue
        operator = credited(_chain(event))
        if operator is not None:
            spent[plain_name(operator).removesuffix("_"), class_of(operator)] += microseconds
    return dict(spent)


def _chain(event: Any) -> Sequence[str]:
    """Names of an event and of those around it, the outermost first."""
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    return names[::-1]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage now, and none inside the block."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
