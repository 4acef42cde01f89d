"""Isolation: one worker process at a time, watched from outside and replaced when it is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from bench.case import Case
from bench.measure.rates import Rates
from bench.measurer import Ready
from bench.plan import OnCase, PlannedGroup, Tracing, one_line
from bench.pulse import IDLE, Pulse
from bench.repeats import merged
from bench.slices import Turn
from bench.trial import Broken, GroupResult
from bench.worker import Measure, Rate, Slice, TakeTurns, Task, Trace
from modules.options import SpecError

_GLANCE_SECONDS = 0.25
_OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
_START = "import sys; sys.path.remove(''); from bench.worker import main; main(sys.argv[1:])"
_ROOT = Path(__file__).resolve().parents[1]


class WorkerLost(Exception):
    """A worker ended, or had to be ended, while something was in hand.

    Attributes:
        step: number of what was in hand.
        status: `crashed`, `timeout` or `oom`.
        killed: whether another process killed it, for no reason that is known here.
    """

    def __init__(self, step: int, status: str, reason: str, killed: bool = False) -> None:
        super().__init__(reason)
        self.step, self.status, self.killed = step, status, killed


class Worker:
    """One process, from start to end."""

    def __init__(self, task: Task, timeout: float, path: Sequence[Path]) -> None:
        self.timeout = timeout
        self._pulse = Pulse()
        self._pulse.mark(IDLE)
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        self._kills = _memory_kills()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_search_path(path))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs.fileno()), str(self._pulse.descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(theirs.fileno(), self._pulse.descriptor),
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._connection.send(task)

    def ask(self, request: object) -> None:
        """Send a request."""
        with contextlib.suppress(OSError):  # a worker that has just ended is found by the next `answer`
            self._connection.send(request)

    def answer(self, on_beat: Callable[[int, int], None] = lambda step, round: None) -> Any:
        """The next reply; sleeps until it is there.

        Raises:
            WorkerLost: the worker ended, or was ended because one step took longer than the timeout.
        """
        while True:
            try:
                if self._connection.poll(_GLANCE_SECONDS):
                    return self._connection.recv()
            except (EOFError, OSError):
                raise self._lost() from None
            beat = self._pulse.read()
            on_beat(beat.step, beat.round)
            if beat.step != IDLE and beat.seconds > self.timeout:
                self._process.kill()
                self._process.wait()
                told = f"no end after {self.timeout:g} s (--timeout){self._last_output()}"
                raise WorkerLost(beat.step, "timeout", told)

    def close(self) -> None:
        """End the process and give everything back."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._pulse.close()
        self._log.close()

    def _lost(self) -> WorkerLost:
        code = self._process.wait()
        step = self._pulse.read().step
        if code == -signal.SIGKILL and _memory_kills() > self._kills:
            return WorkerLost(step, "oom", "the system ran out of memory and killed the worker")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        killed = code in (-signal.SIGKILL, -signal.SIGTERM)
        return WorkerLost(step, "crashed", f"worker {how}{self._last_output()}", killed)

    def _last_output(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        told = (fatal or lines)[-1:]
        return f"; last output: {told[0]}" if told else ""


@dataclass
class Isolated:
    """Traces and measures in a worker that is started when it is needed and kept until it is lost.

    Attributes:
        task: what each worker loads.
        timeout: seconds that one step (building a block, its warm-up, one sample) may take.
        path: folders in which the worker looks for modules first.
    """

    task: Task
    timeout: float
    path: tuple[Path, ...] = ()
    ready: Ready | None = field(default=None, init=False)
    _worker: Worker | None = field(default=None, init=False)
    _starting: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin to start a worker if there is none, without waiting until it is ready; `prepare` waits."""
        if self._worker is None:
            task = self.task if self.ready is None else replace(self.task, rates=False)
            self._worker, self._starting = Worker(task, self.timeout, self.path), True

    def prepare(self) -> Ready:
        """Have a worker, and what it said when it was ready. Only the first of them measures the machine.

        Raises:
            SpecError: it cannot start; the last line that it printed says why.
        """
        self.start()
        assert self._worker is not None
        if self._starting:
            try:
                ready: Ready = self._worker.answer()
                self.ready, self._starting = self.ready or ready, False
            except WorkerLost as lost:
                self.close()
                raise SpecError(f"no worker could be started: {one_line(lost)}") from None
        assert self.ready is not None
        return self.ready

    def trace(self, cases: Sequence[Case], on_case: OnCase, guest: bool = False) -> Mapping[Case, Tracing]:
        """Static figures of the cases, of the task's second tree if `guest` says so; a case that takes the worker down
        has `crashed`, the others go on."""
        found: dict[Case, Tracing] = {}
        while len(found) < len(cases):
            rest = cases[len(found) :]
            self.prepare()
            assert self._worker is not None
            self._worker.ask(Trace(tuple(rest), guest))
            try:
                for case in rest:
                    on_case(len(found), len(cases))
                    found[case] = self._worker.answer()
            except WorkerLost as lost:
                self.close()
                found[cases[len(found)]] = Tracing(None, lost.status, f"tracing failed: {one_line(lost)}")
        return found

    def measure(self, group: PlannedGroup, on_step: Callable[[str, int], None]) -> GroupResult:
        """Measure a group by as many fresh workers as the method has `repeats`, see `bench.repeats`; where a worker is
        lost, the result says by which block."""
        repeats = self.task.method.repeats
        results: list[GroupResult] = []
        for _ in range(repeats):
            if repeats > 1:
                self.close()
            results.append(self._measure(group, on_step))
            if results[-1].broken is not None:
                return results[-1]
        return merged(results)

    def _measure(self, group: PlannedGroup, on_step: Callable[[str, int], None]) -> GroupResult:
        self.prepare()
        assert self._worker is not None
        steps = group.steps

        def on_beat(step: int, round: int) -> None:
            if 0 <= step < len(steps):
                on_step(steps[step], round)

        self._worker.ask(Measure(group))
        try:
            result: GroupResult = self._worker.answer(on_beat)
        except WorkerLost as lost:
            self.close()
            label = steps[lost.step] if 0 <= lost.step < len(steps) else None
            return GroupResult({}, {}, 0.0, Broken(label, lost.status, one_line(lost), lost.killed))
        if result.broken is not None:
            self.close()
        return result

    def slice(self, case: Case, samples: int) -> list[float] | Broken:
        """A few samples of a case, ms a call; or why its block failed.

        Raises:
            WorkerLost: the block took the worker with it.
        """
        taken: list[float] | Broken = self._asked(Slice(case, samples))
        return taken

    def take_turns(self, case: Case, who: tuple[int, ...]) -> Turn:
        """Samples of a case of both trees, 0 being the worker's own; of one of them, if `who` names one.

        Raises:
            WorkerLost: a block took the worker with it; the step is the number of its tree.
        """
        turn: Turn = self._asked(TakeTurns(case, who))
        return turn

    def _asked(self, request: object) -> Any:
        self.prepare()
        assert self._worker is not None
        self._worker.ask(request)
        try:
            return self._worker.answer()
        except WorkerLost:
            self.close()
            raise

    def rates(self) -> Rates:
        """What the machine achieves now; none where the worker is lost meanwhile."""
        self.prepare()
        assert self._worker is not None
        self._worker.ask(Rate())
        try:
            found: Rates = self._worker.answer()
        except WorkerLost:
            self.close()
            return Rates()
        return found

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _search_path(first: Sequence[Path]) -> list[str]:
    inherited = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [*map(str, first), str(_ROOT), *inherited]


def _memory_kills() -> int:
    """How often the system has killed a process for memory, as far as it tells."""
    for path in _OOM_COUNTERS:
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0
