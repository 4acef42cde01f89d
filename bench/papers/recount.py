"""Recount: one case taken apart on meta tensors, once, for all conventions."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from bench.case import Case
from bench.papers.tally import Tally
from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from bench.workload import build


@dataclass(frozen=True)
class Recount:
    """What one forward call of a case is made of.

    Attributes:
        params: learnable parameters.
        tally: its calls, for the conventions to count.
        peak_bytes: most live storage at once above weights and inputs.
        resident_bytes: weights, buffers and inputs.
    """

    params: int
    tally: Tally
    peak_bytes: int
    resident_bytes: int


@functools.lru_cache(maxsize=512)
def recount(case: Case) -> Recount:
    """Take the forward call of `case` apart without executing or allocating anything; remembered for each case.

    Raises:
        SpecError: the entry cannot be built for these channels and options.
        ValueError: it cannot take maps of this size.
    """
    work = build(case, "meta")
    for _ in range(2):  # a first call may prepare something outside of meta, such as a draw of positions
        live, tally = LiveStorage(), Tally()
        live.ignore([*work.module.parameters(), *work.module.buffers(), *work.inputs])
        with tally.watch(work.module), Trace(live, tally) as trace:
            work.forward()
        if not trace.strayed:
            break
    return Recount(
        params=sum(parameter.numel() for parameter in work.parameters),
        tally=tally,
        peak_bytes=live.peak_bytes,
        resident_bytes=work.resident_bytes,
    )
