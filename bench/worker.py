"""Worker: the process that builds, traces and measures, so that a block which dies takes nothing else with it."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from bench.case import Case
from bench.company import Company, Guest, Unfit
from bench.environment import available_bytes
from bench.measure.clock import Clock, clock_for
from bench.measure.method import Method
from bench.measure.telemetry import probe_for
from bench.measurer import get_ready, probe_machine
from bench.plan import PlannedGroup, Tracing, one_line, trace_case
from bench.plugin import load_plugins
from bench.pulse import IDLE, Pulse
from bench.slices import Seat, Slicer, take_turns
from bench.trial import GroupResult, measure_group
from bench.weights import Weights

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Task:
    """What a worker is for: its device and method, what it must load first, whether to measure the machine, and the
    second tree that it holds beside its own, if any."""

    device: str
    method: Method
    plugins: tuple[str, ...] = ()
    weights: Weights | None = None
    rates: bool = False
    guest: Guest | None = None


@dataclass(frozen=True)
class Trace:
    """Trace these cases, one reply each; of the second tree if `guest` says so."""

    cases: tuple[Case, ...]
    guest: bool = False


@dataclass(frozen=True)
class Slice:
    """Take a few samples of a case, one reply."""

    case: Case
    samples: int


@dataclass(frozen=True)
class TakeTurns:
    """Sample a case of both trees in turns, or of one of them, one reply. The pulse shows which has its turn.

    Attributes:
        case: which.
        who: 0 is the worker's own tree, 1 the second; the one that goes first ahead.
    """

    case: Case
    who: tuple[int, ...] = (0, 1)


@dataclass(frozen=True)
class Measure:
    """Measure a group, one reply."""

    group: PlannedGroup


@dataclass(frozen=True)
class Rate:
    """Measure the machine, one reply."""


def serve(connection: Connection, pulse: Pulse) -> None:
    """Answer requests until the driver hangs up."""
    task: Task = connection.recv()
    load_plugins(task.plugins)
    clock, probe = clock_for(task.device), probe_for(task.device)
    company, unfit = _second_tree(task, clock)
    connection.send(replace(get_ready(task.device, clock, task.method, task.rates), unfit=unfit))
    _limit_memory(task.device)
    slicer = Slicer(task.method, clock)
    seats: list[Seat] = [slicer, *([company] if company else [])]
    while True:
        pulse.mark(IDLE)
        try:
            request = connection.recv()
        except EOFError:
            return
        if isinstance(request, Trace):
            for number, case in enumerate(request.cases):
                pulse.mark(number)
                trace = company.trace if request.guest and company else trace_case
                tracing: Tracing = trace(case, bool(task.method.fold))
                connection.send(tracing)
        elif isinstance(request, Slice):
            pulse.mark(0)
            connection.send(slicer.take(request.case, request.samples))
        elif isinstance(request, Rate):
            connection.send(probe_machine(task.device, clock, task.method))
        elif isinstance(request, TakeTurns):
            connection.send(take_turns(request.case, seats, request.who, pulse.mark))
        else:
            result: GroupResult = measure_group(request.group, task.method, clock, task.weights, probe, pulse.mark)
            connection.send(result)


def _second_tree(task: Task, clock: Clock) -> tuple[Company | None, str]:
    """The seat of the task's second tree; or none, and why."""
    if task.guest is None:
        return None, ""
    try:
        return Company(task.guest, task.method, clock), ""
    except Unfit as error:
        return None, one_line(error)


def _limit_memory(device: str) -> None:
    """Let an allocation beyond what is free fail in this process, before the system kills one at random. On CUDA the
    driver's address space must not be bounded."""
    if device == "cuda":
        return
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (used + available_bytes("cpu"), resource.RLIM_INFINITY))


def _die_with_driver() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Entry of the process: descriptors of the connection and of the pulse."""
    _die_with_driver()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    connection, page = (int(argument) for argument in arguments)
    serve(Connection(connection), Pulse(page))
