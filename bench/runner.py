"""Runner: takes a plan through measurement to rows, group by group."""

from __future__ import annotations

import shlex
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Protocol

from bench.case import Case
from bench.measurer import Measurer
from bench.plan import Plan, PlannedGroup, Verdict
from bench.row import make_row
from bench.store import Store
from bench.trial import Broken

_ALONE = "measured alone, after memory ran out beside the rest of its group"


class Watcher(Protocol):
    """Someone who wants to know how far the sweep is."""

    def group(self, title: str, note: str, done: int, total: int) -> None:
        """A group begins; `done` of `total` cases are measured. `note` says what is out of the ordinary with it."""

    def step(self, case: str, round: int) -> None:
        """A case of the current group is in hand; the round is -1 before sampling."""

    def row(self, row: Mapping[str, object]) -> None:
        """A row was written."""

    def note(self, text: str) -> None:
        """Something out of the ordinary happened."""


@dataclass
class Summary:
    """How a sweep went: rows by status, and seconds in warm-up or timed calls."""

    statuses: Counter[str] = field(default_factory=Counter)
    busy_seconds: float = 0.0


@dataclass(frozen=True)
class Stamp:
    """What every row of a run carries.

    Attributes:
        suite: its name.
        env, method: the hashes.
        reproduce: the command before the arguments that name a case, as a list of words.
        device_name: model of the card or the processor.
        git: revision of the code that measures.
    """

    suite: str
    env: str
    method: str
    reproduce: tuple[str, ...]
    device_name: str
    git: str | None

    def fields(self, case: Case, run: str, started_at: str, reference: str | None) -> dict[str, object]:
        """The identity fields of a row; `reference` is what ratios are taken to where the row is measured again."""
        words = [*self.reproduce, *case.arguments(), "--reference", reference or "none"]
        return {
            "run": run,
            "suite": self.suite,
            "git": self.git,
            "method": self.method,
            "env": self.env,
            "started_at": started_at,
            "repro": shlex.join([*words, "--out", f"results/repro-{case.key}"]),
            "device_name": self.device_name,
            **case.row(),
        }


@dataclass
class Runner:
    """Measures what a plan asks for and writes a row for each case.

    Attributes:
        store: where rows go.
        stamp: what they carry.
        measurer: builds, warms and samples groups.
        watcher: is told of progress.
        plan: what to measure.
    """

    store: Store
    stamp: Stamp
    measurer: Measurer
    watcher: Watcher
    plan: Plan
    summary: Summary = field(default_factory=Summary)
    _done: int = field(default=0, init=False)
    _writing: threading.Lock = field(default_factory=threading.Lock, init=False)

    def run(self) -> None:
        """Measure group by group, then write the rows of cases that are not measured: rows keep the suite's order."""
        self.begin()
        for group in self.plan.groups:
            self.measure(group)
        self.finish()

    def begin(self) -> None:
        """Drop the rows that no longer hold."""
        self.store.forget(self.plan.outdated)

    def measure(self, group: PlannedGroup) -> None:
        """Measure a group and write its rows; groups may be measured in several threads."""
        note = f"no ratios: {group.note}" if group.note else ""
        self.watcher.group(_title(group), note, self._done, self.plan.to_measure)
        crowded_out = self._measure(group)
        for verdict in crowded_out:
            self._measure(PlannedGroup((verdict,), None, _ALONE if group.reference else group.note))
        with self._writing:
            self._done += len(group.members)

    def finish(self) -> None:
        """Write the rows of cases that are not measured."""
        for verdict in self.plan.unmeasured:
            self._write(verdict, {"status": verdict.status, "reason": verdict.reason}, _now(), None)

    def _measure(self, group: PlannedGroup) -> list[Verdict]:
        """Measure a group and write its rows; if a block breaks it, the others are measured again without that one, if
        none did, all of them are, once.

        Returns:
            Members that ran out of memory beside the others; they have no row yet and deserve a try alone.
        """
        started_at = _now()
        result = self.measurer.measure(group, self.watcher.step)
        if result.broken is not None and result.broken.label is None and not result.broken.killed:
            told = f"{result.broken.status} with no block in hand, measured again: {result.broken.reason}"
            self.watcher.note(f"{_title(group)}: {told}")
            result = self.measurer.measure(group, self.watcher.step)
        with self._writing:
            self.summary.busy_seconds += result.busy_seconds
        if result.broken is not None:
            return self._measure_without(group, result.broken, started_at, result.node)
        crowded_out = []
        label = group.reference.case.label if group.reference else None
        for verdict in group.members:
            fields = result.fields[verdict.case.name]
            if fields["status"] == "oom" and len(group.members) > 1:
                crowded_out.append(verdict)
            else:
                verdict = replace(verdict, figures=result.figures[verdict.case.name])
                self._write(verdict, {**fields, "node": result.node}, started_at, label)
        return crowded_out

    def _measure_without(self, group: PlannedGroup, broken: Broken, started_at: str, node: str | None) -> list[Verdict]:
        """Write the row of the block that broke the group (of all, where it cannot be told) and measure the rest."""
        label = group.reference.case.label if group.reference else None
        rest = []
        for verdict in group.members:
            if broken.label in (None, verdict.case.name):
                fields = {"status": broken.status, "reason": broken.reason, "node": node}
                self._write(verdict, fields, started_at, label)
            else:
                rest.append(verdict)
        if not rest:
            return []
        if group.reference is None or broken.label != group.reference.case.name:
            forms = tuple(verdict for verdict in group.forms if verdict.case.name != broken.label)
            return self._measure(replace(group, members=tuple(rest), forms=forms))
        note = f"{label} {broken.status}: {broken.reason}"
        self.watcher.note(f"no ratios: {note}")
        return self._measure(PlannedGroup(tuple(rest), None, note))

    def _write(self, verdict: Verdict, fields: Mapping[str, object], started_at: str, reference: str | None) -> None:
        static = verdict.figures.row() if verdict.figures is not None else {}
        identity = self.stamp.fields(verdict.case, self.store.run, started_at, reference)
        row = make_row(identity, static, fields)
        with self._writing:
            self.store.append(row)
            self.summary.statuses[str(row["status"])] += 1
        self.watcher.row(row)


def _title(group: PlannedGroup) -> str:
    case = group.members[0].case
    return f"{case.height}x{case.width}, {case.channels} channels, batch {case.batch}, {case.dtype}, {case.mode}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def count_failed(statuses: Mapping[str, int], names: Sequence[str] = ("crashed", "timeout", "invalid")) -> int:
    """Cases that the harness could not measure, as opposed to results such as out of memory."""
    return sum(statuses.get(name, 0) for name in names)
