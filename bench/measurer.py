"""Measurer: whatever traces cases and measures groups, here or in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.case import Case
from bench.environment import available_bytes, cards, describe_environment
from bench.measure.allocator import retain_host_memory
from bench.measure.clock import Clock
from bench.measure.machine import measure_machine
from bench.measure.method import Method
from bench.measure.precision import ieee_fp32
from bench.measure.rates import Rates
from bench.measure.telemetry import probe_for
from bench.plan import OnCase, PlannedGroup, Tracing, trace_all
from bench.trial import GroupResult, measure_group
from bench.weights import Weights


@dataclass(frozen=True)
class Ready:
    """What a measurer found and did before it began.

    Attributes:
        host_allocator: what was done to its host's allocator, in words.
        machine: the machine's rates, see `measure_machine`; none where they were not asked for.
        facts: of the environment, see `describe_environment`.
        free_bytes: memory that a case may take on the device.
        cards: models of the CUDA devices that are visible, the one measured on first.
        niceness: at which it runs; above 0, all else on the machine goes first.
        unfit: why the second tree of the task is not in this process; empty where it is, or where there is none.
    """

    host_allocator: str
    machine: Rates
    facts: Mapping[str, object]
    free_bytes: int
    cards: tuple[str, ...] = ()
    niceness: int = 0
    unfit: str = ""


def get_ready(device: str, clock: Clock, method: Method, rates: bool) -> Ready:
    """Have this process compute IEEE fp32 and look at its machine, ahead of any measurement; `rates` measures it."""
    ieee_fp32()
    free = available_bytes(device)
    machine = probe_machine(device, clock, method) if rates else Rates()
    return Ready(retain_host_memory(), machine, describe_environment(device), free, cards(device), os.nice(0))


def probe_machine(device: str, clock: Clock, method: Method) -> Rates:
    """What the device of this process achieves now."""
    return measure_machine(device, clock, method, available_bytes(device), probe_for(device))


class Measurer(Protocol):
    """Traces and measures."""

    def prepare(self) -> Ready:
        """Get ready; what was found and done on the way."""

    def trace(self, cases: Sequence[Case], on_case: OnCase) -> Mapping[Case, Tracing]:
        """Static figures of the cases."""

    def measure(self, group: PlannedGroup, on_step: Callable[[str, int], None]) -> GroupResult:
        """Measure a group; `on_step` is told now and then (name of the case in hand, round), -1 before sampling."""

    def rates(self) -> Rates:
        """What the machine achieves now."""

    def close(self) -> None:
        """Give everything back."""


@dataclass
class InProcess:
    """Measures in this process, for debuggers: a block that dies ends the sweep."""

    device: str
    method: Method
    clock: Clock
    weights: Weights | None = None
    probing: bool = False

    def prepare(self) -> Ready:
        return get_ready(self.device, self.clock, self.method, self.probing)

    def trace(self, cases: Sequence[Case], on_case: OnCase) -> Mapping[Case, Tracing]:
        return trace_all(cases, on_case, bool(self.method.fold))

    def measure(self, group: PlannedGroup, on_step: Callable[[str, int], None]) -> GroupResult:
        steps, seen = group.steps, -1

        def tell(step: int, round: int) -> None:
            nonlocal seen
            if step < len(steps) and (
                round < 0 or round > seen
            ):  # no more than once a round, so that little is drawn between samples
                seen = round
                on_step(steps[step], round)

        return measure_group(group, self.method, self.clock, self.weights, probe_for(self.device), tell)

    def rates(self) -> Rates:
        return probe_machine(self.device, self.clock, self.method)

    def close(self) -> None:
        return None
