"""Anatomy of a case: its multiply-adds and its traced peak by class of operator, found on meta without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.case import Case
from bench.profiling.classes import class_of
from bench.profiling.record import CLASSES
from bench.profiling.residence import Residence, Resident, Step
from bench.static.attention import FusedAttention
from bench.static.flops import DispatchCount
from bench.static.trace import Trace
from bench.workload import build
from modules.placement import standing_for


@dataclass(frozen=True)
class Anatomy:
    """What one call is made of.

    Attributes:
        class_macs: multiply-adds of the forward pass by class; they add up to the case's `macs`.
        class_peak_bytes: bytes alive at the traced peak by class; they add up to its `traced_peak_bytes`.
        steps: live memory right after each operator.
        backward: number of the first operator of the backward pass in `steps`; null in `forward` mode.
        peak_step: number of the operator that makes the peak; null where nothing is allocated.
        at_peak: what is alive then, in the order in which it was made.
    """

    class_macs: Mapping[str, int]
    class_peak_bytes: Mapping[str, int]
    steps: Sequence[Step]
    backward: int | None
    peak_step: int | None
    at_peak: Sequence[Resident]

    @property
    def peak_operator(self) -> str | None:
        """Name of the operator that makes the peak."""
        return None if self.peak_step is None else self.steps[self.peak_step].operator

    def fields(self) -> dict[str, object]:
        """The fields of a record that are known without running the case."""
        return {
            "macs": sum(self.class_macs.values()),
            "class_macs": dict(self.class_macs),
            "traced_peak_bytes": sum(self.class_peak_bytes.values()),
            "class_peak_bytes": dict(self.class_peak_bytes),
            "peak_operator": self.peak_operator,
        }


def dissect(case: Case) -> Anatomy:
    """Trace a call of `case` on meta, as `bench.static.trace_figures` does.

    Raises:
        SpecError: the entry cannot be built for these channels and options.
        ValueError: it cannot take maps of this size.
    """
    work = build(case, "meta")
    for _ in range(2):  # a module that prepares something outside of meta at its first call is traced at its second
        residence, count = Residence(), DispatchCount()
        residence.ignore([*work.module.parameters(), *work.module.buffers(), *work.inputs])
        with standing_for(case.device), FusedAttention(), Trace(residence, count) as trace:
            outputs = work.forward()
        if not trace.strayed:
            break
    backward = None
    if case.mode == "train":
        work.receive(outputs)
        residence.ignore(work.incoming)
        backward = len(residence.steps)
        with standing_for(case.device), Trace(residence):
            gradients = work.backward(outputs)
        del gradients
    macs = dict.fromkeys(CLASSES, 0)
    for operator, multiplied in count.by_operator.items():
        macs[class_of(operator)] += multiplied
    steps, at_peak = tuple(residence.steps), residence.at_peak
    return Anatomy(macs, residence.peak_by_class, steps, backward, residence.peak_step, at_peak)
