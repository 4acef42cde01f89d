"""Turns: how two trees take turns on a case, both in one process, or each in its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.case import Case
from bench.company import Guest
from bench.isolation import Isolated, WorkerLost
from bench.plan import Tracing, one_line
from bench.revision import ROOT
from bench.slices import QUADS, SAMPLES, Turn
from bench.trial import Broken
from bench.worker import Task
from modules.options import SpecError

NEW, OLD = 0, 1
SLICES_APART = (*QUADS[0], *QUADS[1], *QUADS[0])


@dataclass(frozen=True)
class Trees:
    """The two trees, and how both are measured.

    Attributes:
        task: what a worker of the new tree loads.
        base: folder that has the old tree's `modules`.
        plugins: those of the old tree.
        timeout: seconds that one step may take.
    """

    task: Task
    base: Path
    plugins: tuple[str, ...]
    timeout: float


class Turns(Protocol):
    """Has two trees take turns. A generation is from `start` to `close`, in fresh processes."""

    def start(self, first: int) -> None:
        """Begin a generation in which `NEW` or `OLD` goes first: is loaded, started, built and called first."""

    def trace(self, cases: Sequence[Case]) -> tuple[Mapping[Case, Tracing], Mapping[Case, Tracing]]:
        """Static figures of the cases in the new and in the old tree."""

    def take(self, case: Case) -> tuple[list[float] | Broken, list[float] | Broken]:
        """Milliseconds a call of a case in the new and in the old tree, or why the block failed."""

    def close(self) -> None:
        """End the generation."""


class NotTogether(Exception):
    """The two trees cannot be in one process, and why."""


class Together:
    """Both trees in one process, so that they share whatever it draws by chance. The first is the process's own tree,
    the other its guest."""

    def __init__(self, trees: Trees) -> None:
        task, base, root = trees.task, Guest(trees.base, trees.plugins), Guest(ROOT, trees.task.plugins)
        hosts = (
            Isolated(replace(task, guest=base), trees.timeout),
            Isolated(replace(task, plugins=trees.plugins, guest=root), trees.timeout, (trees.base,)),
        )
        self._hosts, self._first = hosts, NEW

    def start(self, first: int) -> None:
        """See `Turns`.

        Raises:
            NotTogether: both cannot be in one process.
        """
        self._first = first
        try:
            unfit = self._hosts[first].prepare().unfit
        except SpecError as error:
            unfit = one_line(error)
        if unfit:
            self.close()
            raise NotTogether(unfit)

    def trace(self, cases: Sequence[Case]) -> tuple[Mapping[Case, Tracing], Mapping[Case, Tracing]]:
        host = self._hosts[self._first]
        found = [host.trace(cases, lambda number, total: None, guest) for guest in (False, True)]
        return found[self._side(NEW)], found[self._side(OLD)]

    def take(self, case: Case) -> tuple[list[float] | Broken, list[float] | Broken]:
        found: list[list[float] | Broken] = [[], []]
        times, broken = self._turn(case, (0, 1))
        if broken is None:
            found[self._first], found[1 - self._first] = times
        else:  # the other is then measured alone in a fresh process, where only its own failure can be its end
            seat, found[self._side(broken[0])] = broken[0], broken[1]
            times, broken = self._turn(case, (1 - seat,))
            found[self._side(1 - seat)] = broken[1] if broken is not None else times[1 - seat]
        return found[NEW], found[OLD]

    def close(self) -> None:
        for host in self._hosts:
            host.close()

    def _side(self, seat: int) -> int:
        """The tree of a seat, and the seat of a tree: seat 0 is that of the process's own."""
        return self._first if seat == 0 else 1 - self._first

    def _turn(self, case: Case, who: tuple[int, ...]) -> tuple[tuple[list[float], ...], tuple[int, Broken] | None]:
        host = self._hosts[self._first]
        try:
            turn = host.take_turns(case, who)
        except WorkerLost as lost:
            seat = lost.step if lost.step in who else who[0]
            turn = Turn(([], []), (seat, Broken(case.label, lost.status, one_line(lost), lost.killed)))
        if turn.broken is not None:
            host.close()
        return turn.times, turn.broken


class Apart:
    """Each tree in a process of its own."""

    def __init__(self, trees: Trees) -> None:
        old = Isolated(replace(trees.task, plugins=trees.plugins), trees.timeout, (trees.base,))
        self._workers, self._first = (Isolated(trees.task, trees.timeout), old), NEW

    def trace(self, cases: Sequence[Case]) -> tuple[Mapping[Case, Tracing], Mapping[Case, Tracing]]:
        new, old = (worker.trace(cases, lambda number, total: None) for worker in self._workers)
        return new, old

    def start(self, first: int) -> None:
        self._first = first
        order = [self._workers[side] for side in (first, 1 - first)]
        for worker in order:
            worker.start()
        for worker in order:
            worker.prepare()

    def take(self, case: Case) -> tuple[list[float] | Broken, list[float] | Broken]:
        found: list[list[float] | Broken] = [[], []]
        for place in SLICES_APART:
            side = self._first if place == 0 else 1 - self._first
            so_far = found[side]
            if isinstance(so_far, Broken):
                continue
            taken = self._slice(side, case)
            found[side] = taken if isinstance(taken, Broken) else [*so_far, *taken]
        return found[NEW], found[OLD]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def _slice(self, side: int, case: Case) -> list[float] | Broken:
        try:
            return self._workers[side].slice(case, SAMPLES)
        except WorkerLost as lost:
            return Broken(case.label, lost.status, one_line(lost), lost.killed)


def begin(trees: Trees, cases: Sequence[Case], first: int) -> tuple[Turns, str]:
    """The way in which the trees take turns, its first generation begun, and why it is not `Together`; empty if it is.

    Raises:
        SpecError: a worker cannot be started.
    """
    why = "a compiled block would be compiled anew for each instance" if any(c.compiled for c in cases) else ""
    if not why:
        together = Together(trees)
        try:
            together.start(first)
            return together, ""
        except NotTogether as unfit:
            why = str(unfit)
    apart = Apart(trees)
    apart.start(first)
    return apart, why
