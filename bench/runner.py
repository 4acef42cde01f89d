"""Runner: takes a plan through measurement to rows, group by group."""

from __future__ import annotations

import gc
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Protocol

import torch

from bench.case import Case
from bench.environment import git_revision
from bench.measure.clock import Clock
from bench.measure.method import Method
from bench.measure.peak import CudaPeak, cuda_peak
from bench.measure.sampler import Member, Sampler, timing_row
from bench.plan import Plan, PlannedGroup, Verdict, one_line
from bench.row import make_row
from bench.static import with_fvcore
from bench.store import Store
from bench.workload import Workload, build

TWIN = "A/A twin"


class Watcher(Protocol):
    """Someone who wants to know how far the sweep is."""

    def group(self, title: str, done: int, total: int) -> None:
        """A group begins; `done` of `total` cases are measured."""

    def round(self, number: int, members: int) -> None:
        """A round of the current group begins."""

    def row(self, row: Mapping[str, object]) -> None:
        """A row was written."""


@dataclass
class Summary:
    """How a sweep went: rows by status, seconds in all, and seconds in warm-up or timed calls."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    busy_seconds: float = 0.0


@dataclass(frozen=True)
class Stamp:
    """What every row of a run carries.

    Attributes:
        suite: its name.
        env, method: the hashes.
        reproduce: the command before the arguments that name a case, as a list of words.
    """

    suite: str
    env: str
    method: str
    reproduce: tuple[str, ...]

    def fields(self, case: Case, run: str, started_at: str) -> dict[str, object]:
        """The identity fields of a row."""
        return {
            "run": run,
            "suite": self.suite,
            "git": git_revision(),
            "method": self.method,
            "env": self.env,
            "started_at": started_at,
            "repro": shlex.join([*self.reproduce, *case.arguments(), "--out", f"results/repro-{case.key}"]),
            **case.row(),
        }


@dataclass
class Runner:
    """Measures what a plan asks for and writes a row for each case.

    Attributes:
        store: where rows go.
        stamp: what they carry.
        clock: tells time on the device.
        method: how to sample.
        watcher: is told of progress.
    """

    store: Store
    stamp: Stamp
    clock: Clock
    method: Method
    watcher: Watcher
    summary: Summary = field(default_factory=Summary)

    def run(self, plan: Plan) -> Summary:
        """Write the rows of settled cases, then measure group by group."""
        start = time.perf_counter()
        for verdict in plan.settled:
            self._write(verdict, {"status": verdict.status, "reason": verdict.reason}, _now())
        done = 0
        for group in plan.groups:
            self.watcher.group(_title(group), done, plan.to_measure)
            self._measure(group)
            done += len(group.members)
        self.summary.seconds += time.perf_counter() - start
        return self.summary

    def _measure(self, group: PlannedGroup) -> None:
        started_at = _now()
        sampler = Sampler(self.clock, self.method, self.watcher.round)
        verdicts = list(group.members)
        if group.reference and group.reference.case not in [verdict.case for verdict in verdicts]:
            verdicts.append(group.reference)
        paced = group.reference or verdicts[0]
        works = {verdict.case.label: self._build(verdict.case) for verdict in verdicts}
        members = {label: _member(label, work) for label, work in works.items()}
        twin = _member(TWIN, self._build(paced.case))
        figures = {verdict.case.label: verdict.figures for verdict in group.members}
        peaks: dict[str, CudaPeak] = {}

        def look(member: Member) -> None:
            work, known = works.get(member.name), figures.get(member.name)
            if isinstance(work, Workload) and known is not None:
                figures[member.name] = with_fvcore(known, work)
            if paced.case.device == "cuda":
                peaks[member.name] = cuda_peak(member.call)

        sampler.run([*members.values(), twin], seed=_seed(paced.case), prepare=look)
        self.summary.busy_seconds += sampler.busy_seconds
        pace = members[paced.case.label]
        usable = pace.failure is None and twin.failure is None
        for verdict in group.members:
            member = members[verdict.case.label]
            verdict = replace(verdict, figures=figures[member.name])
            if member.failure is not None:
                self._write(verdict, _failure(member.failure), started_at)
                continue
            timing = sampler.timing(member, pace if usable else None, twin if usable else None)
            fields = {**timing_row(timing), **_peak_row(peaks.get(member.name)), "status": "ok"}
            if group.reference and usable:
                fields["reference"] = group.reference.case.label
            else:
                fields |= {"reference": None, "ratio": None, "ratio_ci_low": None, "ratio_ci_high": None}
            self._write(verdict, fields, started_at)
        works.clear()
        del members, member, twin, pace
        gc.collect()
        if paced.case.device == "cuda":
            torch.cuda.empty_cache()

    def _build(self, case: Case) -> Workload | Exception:
        try:
            return build(case, seed=self.method.seed)
        except Exception as error:  # a block that cannot be made here has failed; its group goes on
            return error.with_traceback(None)

    def _write(self, verdict: Verdict, fields: Mapping[str, object], started_at: str) -> None:
        static = verdict.figures.row() if verdict.figures is not None else {}
        row = make_row(self.stamp.fields(verdict.case, self.store.run, started_at), static, fields)
        self.store.append(row)
        self.summary.statuses[str(row["status"])] += 1
        self.watcher.row(row)


def _failure(error: Exception) -> dict[str, object]:
    text = one_line(error)
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text
    return {"status": "oom" if memory else "crashed", "reason": f"{type(error).__name__}: {text}"}


def _peak_row(peak: CudaPeak | None) -> dict[str, object]:
    return {"cuda_peak_bytes": peak.allocated, "cuda_reserved_bytes": peak.reserved} if peak else {}


def _member(name: str, work: Workload | Exception) -> Member:
    if isinstance(work, Exception):
        return Member(name, lambda: None, failure=work)
    return Member(name, work.call)


def _title(group: PlannedGroup) -> str:
    case = group.members[0].case
    return f"{case.height}x{case.width}, {case.channels} channels, batch {case.batch}, {case.dtype}, {case.mode}"


def _seed(case: Case) -> int:
    """A number that is the same for the same group in every run."""
    return int(case.key[:8], 16)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def count_failed(statuses: Mapping[str, int], names: Sequence[str] = ("crashed", "timeout", "invalid")) -> int:
    """Cases that the harness could not measure, as opposed to results such as out of memory."""
    return sum(statuses.get(name, 0) for name in names)
