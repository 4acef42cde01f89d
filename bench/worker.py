"""Worker: the process that builds, traces and measures, so that a block which dies takes nothing else with it."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from bench.case import Case
from bench.environment import available_bytes
from bench.measure.clock import clock_for
from bench.measure.method import Method
from bench.measure.telemetry import probe_for
from bench.measurer import get_ready, probe_machine
from bench.plan import PlannedGroup, Tracing, trace_case
from bench.plugin import load_plugins
from bench.pulse import IDLE, Pulse
from bench.slices import Slicer
from bench.trial import GroupResult, measure_group
from bench.weights import Weights

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Task:
    """What a worker is for: its device and method, what it must load first, and whether to measure the machine."""

    device: str
    method: Method
    plugins: tuple[str, ...] = ()
    weights: Weights | None = None
    rates: bool = False


@dataclass(frozen=True)
class Trace:
    """Trace these cases, one reply each."""

    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Slice:
    """Take a few samples of a case, one reply."""

    case: Case
    samples: int


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
    connection.send(get_ready(task.device, clock, task.method, task.rates))
    _limit_memory(task.device)
    slicer = Slicer(task.method, clock)
    while True:
        pulse.mark(IDLE)
        try:
            request = connection.recv()
        except EOFError:
            return
        if isinstance(request, Trace):
            for number, case in enumerate(request.cases):
                pulse.mark(number)
                tracing: Tracing = trace_case(case, bool(task.method.fold))
                connection.send(tracing)
        elif isinstance(request, Slice):
            pulse.mark(0)
            connection.send(slicer.take(request.case, request.samples))
        elif isinstance(request, Rate):
            connection.send(probe_machine(task.device, clock, task.method))
        else:
            result: GroupResult = measure_group(request.group, task.method, clock, task.weights, probe, pulse.mark)
            connection.send(result)


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
