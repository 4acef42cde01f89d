"""Static figures of a case: everything that a result row says of it before it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from bench.case import Case
from bench.fold import folded
from bench.static.attention import FusedAttention
from bench.static.flops import DispatchCount, count_with_fvcore, uncounted
from bench.static.launches import Launches
from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from bench.static.traffic import Traffic
from bench.workload import Workload, build
from modules.placement import standing_for


@dataclass(frozen=True)
class StaticFigures:
    """Figures of one call, found on meta tensors.

    Attributes:
        params: learnable parameters.
        macs: multiply-adds of the forward pass, in both modes; `flops` is twice that.
        macs_fvcore: fvcore's count of the same, null where it was not asked.
        macs_torch: the dispatch counter's.
        macs_uncounted: operators with weight that a counter passed over.
        macs_by_class: `macs_torch` by class of rate, see `bench.static.taps`.
        executed_macs_by_class: the same, of a convolution only the taps inside its map.
        traced_peak_bytes: peak of live storage above weights and inputs (and the gradient that comes in).
        traffic_bytes: inputs and outputs of every operator, backward included in `train` mode.
        compulsory_bytes: inputs and weights that are read, and outputs, once; in `train` mode their gradients too.
        resident_bytes: weights, buffers and inputs.
        launches: operators that launch a kernel; in `train` mode those of the backward pass too.
    """

    params: int
    macs: int
    flops: int
    macs_fvcore: int | None
    macs_torch: int
    macs_uncounted: list[str]
    traced_peak_bytes: int
    traffic_bytes: int
    compulsory_bytes: int
    macs_by_class: dict[str, int]
    executed_macs_by_class: dict[str, int]
    resident_bytes: int
    launches: int

    def row(self) -> dict[str, object]:
        """The fields of a result row."""
        fields = dataclasses.asdict(self)
        del fields["resident_bytes"]
        return fields


def trace_figures(case: Case, fold: bool = False) -> StaticFigures:
    """Find the figures of `case` as its device would compute it, without executing or allocating anything.

    Args:
        case: what.
        fold: whether its batch norms are folded first.

    Raises:
        SpecError: the entry cannot be built for these channels and options.
        ValueError: it cannot take maps of this size, or is to be folded in `train` mode.
    """
    work = build(case, "meta")
    work = folded(work) if fold else work
    live, traffic, launches, count, outputs = _trace_forward(work)
    sources, results = [*work.inputs, *work.module.parameters()], list(outputs)
    if case.mode == "train":
        work.receive(outputs)
        live.ignore(work.incoming)
        with standing_for(case.device), Trace(live, traffic, launches):
            gradients = work.backward(outputs)
        sources += work.incoming
        results += [gradient for gradient in gradients if gradient is not None]
    return StaticFigures(
        params=sum(parameter.numel() for parameter in work.parameters),
        macs=count.macs,
        flops=2 * count.macs,
        macs_fvcore=None,
        macs_torch=count.macs,
        macs_uncounted=uncounted(count.passed_over),
        traced_peak_bytes=live.peak_bytes,
        traffic_bytes=traffic.bytes,
        compulsory_bytes=traffic.compulsory(sources, results),
        macs_by_class=dict(sorted(count.by_class.items())),
        executed_macs_by_class=dict(sorted(count.executed.items())),
        resident_bytes=work.resident_bytes,
        launches=launches.count,
    )


def _trace_forward(work: Workload) -> tuple[LiveStorage, Traffic, Launches, DispatchCount, tuple[Tensor, ...]]:
    """Trace the forward pass. A module that prepares something outside of meta at its first call, such as a draw of
    positions, is traced at its second."""
    for _ in range(2):
        live, traffic, launches, count = LiveStorage(), Traffic(), Launches(), DispatchCount()
        live.ignore([*work.module.parameters(), *work.module.buffers(), *work.inputs])
        with standing_for(work.case.device), FusedAttention(), Trace(live, traffic, launches, count) as trace:
            outputs = work.forward()
        if not trace.strayed:
            break
    return live, traffic, launches, count, outputs


def with_fvcore(figures: StaticFigures, work: Workload) -> StaticFigures:
    """`figures` with fvcore's count beside the dispatch counter's; runs one forward of `work`, which is not on meta.

    A module that fvcore cannot trace has no such count, and `macs_uncounted` says so.
    """
    try:
        count = count_with_fvcore(work.module, work.inputs)
    except Exception as error:  # fvcore's tracer fails in its own ways on modules that run
        told = f"everything, by fvcore ({type(error).__name__})"
        return dataclasses.replace(figures, macs_uncounted=[*figures.macs_uncounted, told])
    names = uncounted(figures.macs_uncounted, count.passed_over)
    return dataclasses.replace(figures, macs_fvcore=count.macs, macs_uncounted=names)
