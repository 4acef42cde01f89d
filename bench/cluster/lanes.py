"""Lanes: the kinds of devices of a cluster at work side by side, each with a run folder and a thread a device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.case import Case
from bench.cluster.connection import Cluster, NodesLost, OutOfMemory
from bench.cluster.placement import Placement, write_placement
from bench.cluster.survey import Kind
from bench.cluster.tasks import Measured, look_around, measure_there
from bench.isolation import Isolated
from bench.measure.rates import Rates
from bench.measurer import Ready
from bench.plan import OnCase, PlannedGroup, Tracing
from bench.progress import Watch
from bench.runner import Runner
from bench.store import Store
from bench.trial import Broken, GroupResult
from bench.worker import Task

_GLANCE_SECONDS = 0.5


@dataclass
class Traced:
    """Traces every case once, in a worker of this machine, for all kinds of devices.

    Attributes:
        isolated: who traces.
    """

    isolated: Isolated
    _known: dict[Case, Tracing] = field(default_factory=dict, init=False)

    def trace(self, cases: Sequence[Case], on_case: OnCase) -> Mapping[Case, Tracing]:
        """Static figures of the cases."""
        fresh = [case for case in cases if case not in self._known]
        self._known |= self.isolated.trace(fresh, on_case) if fresh else {}
        return {case: self._known[case] for case in cases}


@dataclass
class Remote:
    """Measures groups on the devices of a kind; a `bench.measurer.Measurer` for several threads.

    Attributes:
        cluster, kind: where.
        task, timeout: of the workers.
        folder: of the run, which is told what was measured where.
        tracer: gives static figures.
        note: told what is out of the ordinary.
    """

    cluster: Cluster
    kind: Kind
    task: Task
    timeout: float
    folder: Path
    tracer: Traced
    note: Callable[[str], None]
    _writing: threading.Lock = field(default_factory=threading.Lock, init=False)

    def prepare(self) -> Ready:
        """What a worker of this kind found."""
        return self.kind.ready

    def trace(self, cases: Sequence[Case], on_case: OnCase) -> Mapping[Case, Tracing]:
        """Static figures of the cases."""
        return self.tracer.trace(cases, on_case)

    def measure(self, group: PlannedGroup, on_step: Callable[[str, int], None]) -> GroupResult:
        """Measure a group on one device; where that is lost again and again, or Ray ends it for memory, the result
        says so.

        Raises:
            NodesLost: no device of this kind is left.
        """
        first = group.members[0].case
        title = f"{first.height}x{first.width}, {first.channels} channels, {first.dtype}, {first.mode}"
        arguments = (self.task, self.timeout, self.kind.share.threads, group, self.kind.ready.facts)
        measured: Measured
        try:
            node, measured = self.cluster.call(
                measure_there,
                arguments,
                self.kind.share,
                lambda told: self.note(f"{title}: lost its node or process, begun again: {told}"),
            )
        except NodesLost as lost:
            if lost.gone:
                raise
            return GroupResult({}, {}, 0.0, Broken(None, "crashed", str(lost), killed=True))
        except OutOfMemory as error:
            fields = {"status": "oom", "reason": str(error)}
            names = {verdict.case.name: verdict.figures for verdict in group.members}
            return GroupResult(dict.fromkeys(names, fields), names, 0.0)
        device = f"{node.id}:{measured.card}" if measured.card else node.id
        keys = tuple(verdict.case.key for verdict in group.members)
        with self._writing:
            write_placement(self.folder, Placement(device, node.name, measured.started, measured.ended, keys))
        return replace(measured.result, node=node.name)

    def rates(self) -> Rates:
        """What a device of this kind achieves now; none where its nodes are gone."""
        share = self.kind.share
        arguments = (replace(self.task, rates=True), self.timeout, share.threads)
        ready: Ready
        try:
            _, ready = self.cluster.call(look_around, arguments, share)
        except NodesLost as lost:
            self.note(f"{self.kind}: not probed again: {lost}")
            return Rates()
        return ready.machine

    def close(self) -> None:
        """Nothing is kept between groups."""


class SharedWatch:
    """One progress for all lanes; a `bench.runner.Watcher`.

    Attributes:
        watch: what shows it.
        total: cases to measure, of all lanes.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch, self.total, self._rows = watch, 0, 0
        self._counting = threading.Lock()

    def group(self, title: str, note: str, done: int, total: int) -> None:
        self.watch.group(title, note, self._rows, self.total)

    def step(self, case: str, round: int) -> None:
        """What is in hand is not told from afar."""

    def row(self, row: Mapping[str, object]) -> None:
        with self._counting:
            self._rows += 1
        self.watch.row(row)

    def note(self, text: str) -> None:
        self.watch.note(text)


@dataclass
class Lane:
    """A kind of device at work.

    Attributes:
        kind: what devices.
        store: its run folder, open.
        runner: takes its groups to rows.
        cases: that the run is to hold.
        lost: why nothing more is measured on it, if so.
    """

    kind: Kind
    store: Store
    runner: Runner
    cases: tuple[Case, ...]
    lost: str | None = None

    @property
    def missing(self) -> int:
        """Cases without a row."""
        return sum(case.key not in self.store.rows for case in self.cases)


def measure_all(lanes: Sequence[Lane], cluster: Cluster) -> bool:
    """Measure what the lanes plan, all at the same time; whether the user stopped it.

    A lane whose last node is lost ends, the others go on.

    Raises:
        Exception: what ended a group other than its node; every other call is cancelled.
    """
    pools = [ThreadPoolExecutor(max_workers=max(1, lane.kind.share.count)) for lane in lanes]
    waiting: dict[Future[None], Lane] = {}
    try:
        for lane, pool in zip(lanes, pools, strict=True):
            lane.runner.begin()
            waiting |= {pool.submit(lane.runner.measure, group): lane for group in lane.runner.plan.groups}
        while waiting:
            ended, _ = wait(waiting, timeout=_GLANCE_SECONDS, return_when=FIRST_COMPLETED)
            for future in ended:
                lane = waiting.pop(future)
                error = None if future.cancelled() else future.exception()
                if isinstance(error, NodesLost):
                    _give_up(lane, str(error), [other for other, its in waiting.items() if its is lane])
                elif error is not None:
                    raise error
        for lane in lanes:
            lane.runner.finish()
            lane.store.arrange([case.key for case in lane.cases])
    except KeyboardInterrupt:
        return True
    finally:
        if waiting:
            cluster.stop()
        for pool in pools:
            pool.shutdown(cancel_futures=True)
    return False


def _give_up(lane: Lane, reason: str, rest: Sequence[Future[None]]) -> None:
    if lane.lost is None:
        lane.lost = reason
        lane.runner.watcher.note(f"{lane.kind.name}: {reason}; what is missing on it is measured by the next call")
    for future in rest:
        future.cancel()
