"""Crew: worker processes that each train one run at a time, and are replaced when one dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal

import torch

from bench.plugin import load_plugins
from bench.training.record import make_record
from bench.training.run import Run, perform
from modules.options import SpecError

_BEAT_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """A run, with the command that repeats it and the file of its state."""

    run: Run
    repro: str
    checkpoint: Path


@dataclass(frozen=True)
class News:
    """What a worker tells.

    Attributes:
        job: what it is about.
        what: `step`, or `ended` with the record.
        worker: number of the worker, from 0.
    """

    job: Job
    what: Literal["step", "ended"]
    worker: int
    iteration: int = 0
    iterations: int = 0
    loss: float = 0.0
    miou: float | None = None
    record: dict[str, Any] | None = None


@dataclass
class _Hand:
    process: SpawnProcess
    line: Connection
    job: Job | None = field(default=None)


def train_all(jobs: Sequence[Job], count: int, threads: int, plugins: tuple[str, ...], workers: int) -> Generator[News]:
    """Train the jobs in `count` processes and tell what happens; they are ended when the iteration is left.

    A run whose process dies is `crashed`, with how; the others go on.

    Args:
        jobs: in the order in which they are begun.
        count: processes.
        threads: of each.
        plugins: files that register blocks.
        workers: processes that read data, of each.

    Raises:
        SpecError: a run's data or recipe cannot be.
    """
    waiting = deque(jobs)
    hands: list[_Hand] = []
    try:
        for _ in range(min(count, len(jobs))):
            hands.append(_start(threads, plugins, workers))
        for hand in hands:
            _give(hand, waiting)
        while any(hand.job for hand in hands):
            ready = connection.wait([hand.line for hand in hands if hand.job])
            for place, hand in enumerate(hands):
                if hand.line not in ready or hand.job is None:
                    continue
                job = hand.job
                try:
                    kind, *content = hand.line.recv()
                except (EOFError, OSError):
                    record = _lost(job, hand.process)
                    hand = hands[place] = _start(threads, plugins, workers)
                    _give(hand, waiting)
                    yield News(job, "ended", place, record=record)
                    continue
                if kind == "refused":
                    raise SpecError(content[0])
                if kind == "step":
                    yield News(job, "step", place, *content)
                    continue
                _give(hand, waiting)
                yield News(job, "ended", place, record=content[0])
    finally:
        for hand in hands:
            hand.line.close()
            hand.process.kill()
            hand.process.join()


def _start(threads: int, plugins: tuple[str, ...], workers: int) -> _Hand:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads, plugins, workers), daemon=workers == 0)
    held = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: the driver hears Ctrl-C and ends its workers
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, held)
    theirs.close()
    return _Hand(process, ours)


def _give(hand: _Hand, waiting: deque[Job]) -> None:
    hand.job = waiting.popleft() if waiting else None
    with contextlib.suppress(OSError):  # a worker that has just died is found when it is listened to
        hand.line.send(hand.job)


def _lost(job: Job, process: SpawnProcess) -> dict[str, Any]:
    process.join()
    code = process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return make_record(job.run.facts(job.repro), {"status": "crashed", "reason": f"the training process was {how}"})


def _work(line: Connection, threads: int, plugins: tuple[str, ...], workers: int) -> None:
    """A worker's whole life: takes jobs until there are no more, or until the driver is gone."""
    torch.set_num_threads(threads)
    load_plugins(plugins)
    with contextlib.suppress(EOFError, OSError):
        while (job := line.recv()) is not None:
            line.send(_told(job, line, workers))


def _told(job: Job, line: Connection, workers: int) -> tuple[str, Any]:
    last = time.monotonic()

    def step(iteration: int, iterations: int, loss: float, miou: float | None) -> None:
        nonlocal last
        if miou is not None or time.monotonic() - last >= _BEAT_SECONDS:
            last = time.monotonic()
            line.send(("step", iteration, iterations, loss, miou))

    try:
        return "ended", perform(job.run, job.repro, job.checkpoint, workers, step)
    except SpecError as error:
        return "refused", str(error)


def here(jobs: Sequence[Job], workers: int, tell: Callable[[News], None]) -> Generator[News]:
    """Train the jobs one after the other in this process: for debuggers, and for the processes of torchrun.

    Raises:
        SpecError: a run's data or recipe cannot be.
    """
    for job in jobs:

        def step(iteration: int, iterations: int, loss: float, miou: float | None, job: Job = job) -> None:
            tell(News(job, "step", 0, iteration, iterations, loss, miou))

        yield News(job, "ended", 0, record=perform(job.run, job.repro, job.checkpoint, workers, step))
