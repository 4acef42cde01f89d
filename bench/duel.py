"""Duel: the working tree against another revision, measured in one session in which they take turns."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.case import Case
from bench.cell import Cell, alone, judge, pair
from bench.compare import Comparison
from bench.environment import pick_device
from bench.measure.generations import least, ratio_within
from bench.measure.stats import CONFIDENCE, Interval
from bench.plan import Tracing
from bench.revision import modules_of, plugins_at
from bench.row import make_row
from bench.session import Request, check_method
from bench.threshold import Thresholds
from bench.trial import Broken
from bench.turns import NEW, OLD, Trees, Turns, begin
from bench.worker import Task
from modules.options import SpecError

MINUTES = 5.0
ERROR = 1 - CONFIDENCE
Progress = Callable[[str], None]


def compare_with_base(
    request: Request, revision: str, thresholds: Thresholds, minutes: float, console: Console
) -> Comparison:
    """Compare this tree with the `modules` of a git revision, on the cases of a request, for so many minutes at most.

    Raises:
        SpecError: something asked for does not exist, there is no such revision, or `minutes` is no time.
    """
    if not (math.isfinite(minutes) and minutes > 0):
        raise SpecError(f"--minutes must be a number above 0, such as {MINUTES:g}, not {minutes:g}")
    suite, device = request.resolve(), pick_device(request.device)
    check_method(suite.method, device)
    cases = list(suite.cases(device))
    with modules_of(revision) as base, console.status("starting") as status:

        def progress(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        task = Task(device, suite.method, request.plugins)
        return duel(cases, task, base, thresholds, request.timeout, minutes, progress)


@dataclass
class Side:
    """What is known of one of the two trees.

    Attributes:
        tracings: static figures of each case.
        failures: why a case could not be timed, one a process in which it could not.
        times: milliseconds a call, of all samples of a case.
    """

    tracings: Mapping[Case, Tracing]
    failures: dict[Case, list[Broken]] = field(default_factory=dict)
    times: dict[Case, list[float]] = field(default_factory=dict)

    def learn(self, case: Case, taken: list[float] | Broken) -> None:
        """Keep what a turn gave."""
        if isinstance(taken, Broken):
            self.failures.setdefault(case, []).append(taken)
        else:
            self.times.setdefault(case, []).extend(taken)

    def gave_up(self, case: Case) -> bool:
        """Whether the case failed in two processes, so that the failure is the block's and no accident of a process."""
        return len(self.failures.get(case, ())) > 1

    def broken(self, case: Case) -> Broken | None:
        """Why the case has no time; null where it has one, a single failure aside."""
        failures = self.failures.get(case)
        return failures[-1] if failures and (self.gave_up(case) or case not in self.times) else None

    def row(self, case: Case) -> dict[str, object]:
        """A result row with what is known of the case on this side."""
        tracing = self.tracings[case]
        static = tracing.figures.row() if tracing.figures else {}
        if tracing.figures is None:
            return make_row(case.row(), static, {"status": tracing.status, "reason": tracing.reason})
        broken = self.broken(case)
        if broken is not None:
            return make_row(case.row(), static, {"status": broken.status, "reason": broken.reason})
        times = self.times.get(case)
        return make_row(case.row(), static, {"status": "ok", "latency_ms": undisturbed(times) if times else None})


@dataclass(frozen=True)
class Finding:
    """What the ratios of a case say so far.

    Attributes:
        ratio: new over old time, with the interval that it is judged by.
        decided: whether more of them would be for nothing.
        processes: how many ratios there are.
    """

    ratio: Interval
    decided: bool
    processes: int


def duel(
    cases: Sequence[Case],
    task: Task,
    base: Path,
    thresholds: Thresholds,
    timeout: float,
    minutes: float = MINUTES,
    progress: Progress = lambda text: None,
    coin: random.Random | None = None,
) -> Comparison:
    """Compare the cases of this tree (new) with those of the `modules` in `base` (old).

    Fresh processes follow each other, and each gives one ratio of every case that is not decided yet, until all are or
    the time is up: no case is begun that took longer before than what is left. In each process the coin says which
    tree goes first.

    Raises:
        SpecError: a worker cannot be started, or a threshold is given for an entry that is not among the cases.
    """
    thresholds.check(case.entry for case in cases)
    coin, end = coin or random.Random(), time.monotonic() + 60 * minutes
    before, shared = plugins_at(base, task.plugins)
    progress("starting both trees")
    turns, apart = begin(Trees(task, base, before, timeout), cases, coin.choice((NEW, OLD)))
    try:
        progress(f"tracing {len(cases)} cases in both trees")
        new, old = (Side(tracings) for tracings in turns.trace(cases))
        ratios: dict[Case, list[float]] = {}
        findings: dict[Case, Finding] = {}
        going = [case for case in cases if all(side.tracings[case].figures is not None for side in (new, old))]
        took: dict[Case, float] = {}
        generation = 0
        while fitting := [case for case in going if time.monotonic() + took.get(case, 0.0) < end]:
            generation += 1
            if generation > 1:
                turns.start(coin.choice((NEW, OLD)))
            for number, case in enumerate(fitting, 1):
                begun = time.monotonic()
                if number > 1 and begun + took.get(case, 0.0) >= end:
                    continue
                progress(f"process {generation}, case {number} of {len(fitting)}: {case}")
                _measure(case, turns, new, old, ratios)
                took[case] = time.monotonic() - begun
                if case in ratios:
                    findings[case] = find(ratios[case], thresholds.of(case.entry), len(cases))
            turns.close()
            failed = {case for side in (new, old) for case in going if side.gave_up(case)}
            going = [case for case in going if case not in failed and not (case in findings and findings[case].decided)]
    finally:
        turns.close()
    once = [_once(case, side, tree) for side, tree in ((new, "new"), (old, "old")) for case in cases]
    notes = (*_notes(generation, shared, apart, len(going), minutes), *(told for told in once if told))
    return Comparison(tuple(_cell(case, new, old, findings, thresholds, len(cases)) for case in cases), notes)


def _measure(case: Case, turns: Turns, new: Side, old: Side, ratios: dict[Case, list[float]]) -> None:
    """One ratio of a case more, unless a block fails."""
    taken = turns.take(case)
    for side, one in zip((new, old), taken, strict=True):
        side.learn(case, one)
    ours, theirs = taken
    if not isinstance(ours, Broken) and not isinstance(theirs, Broken):
        ratios.setdefault(case, []).append(undisturbed(ours) / undisturbed(theirs))


def find(ratios: Sequence[float], threshold: float, cases: int) -> Finding:
    """What the ratios of one of so many cases say.

    The interval of one that is *same* holds at 95 %, at all looks together. One that says *slower* or *faster* must be
    surer, as it fails a change: those of all cases hold together at 95 %. Too few ratios for that have no bounds.
    """
    usual = ratio_within(ratios, ERROR)
    if usual is not None and judge(usual, 0.0, threshold)[0] == "same":
        return Finding(usual, True, len(ratios))
    ratio = ratio_within(ratios, ERROR / cases) or Interval(statistics.median(ratios), None, None)
    verdict = judge(ratio, 0.0, threshold)[0]
    sized = ratio.median >= 1 + threshold or (ratio.high is not None and ratio.high <= 1 + threshold)
    decided = verdict == "faster" or verdict == "same" or (verdict == "slower" and sized)
    return Finding(ratio, decided, len(ratios))


def undisturbed(milliseconds: Sequence[float]) -> float:
    """The tenth percentile: what else a machine does adds time, in bursts; the fast end is what a call takes."""
    return float(np.quantile(milliseconds, 0.1))


def _notes(generations: int, shared: Sequence[str], apart: str, open_cases: int, minutes: float) -> tuple[str, ...]:
    """What a reader has to know of all cases."""
    if not generations:
        return ()
    count = (
        f"{generations} {'pairs of ' if apart else ''}{'process' if generations == 1 and not apart else 'processes'}"
    )
    how = f"a process each, as both cannot be in one: {apart}" if apart else "both trees in each, in turns"
    late = f"the time was up (--minutes {minutes:g}) with {open_cases} of the cases undecided"
    same = f"the same on both sides, as they lie outside of the repository: {', '.join(shared)}"
    return (
        *([same] if shared else []),
        f"{count}, {how}; cases that were decided after fewer rested",
        *([late] if open_cases else []),
        "ms: tenth percentile of all samples; ratio: median of the processes' ratios of it",
    )


def _once(case: Case, side: Side, tree: str) -> str:
    """What a reader has to know of a failure that did not come again; empty where there is none."""
    failures = side.failures.get(case)
    if not failures or side.broken(case) is not None:
        return ""
    return f"{case.label} failed in one process of the {tree} tree and in no other: {failures[0].reason}"


def _cell(
    case: Case, new: Side, old: Side, findings: Mapping[Case, Finding], thresholds: Thresholds, cases: int
) -> Cell:
    """The cell of a case. It has no noise floor: what two equal processes differ by is in the interval already."""
    threshold, found = thresholds.of(case.entry), findings.get(case)
    ours, theirs = new.row(case), old.row(case)
    if theirs["status"] == "unsupported" and ours["status"] != "unsupported":
        return replace(alone(ours, "new", threshold), reason=f"the base does not have it: {theirs['reason']}")
    many = found.processes if found else 0
    cell = pair(theirs, ours, found.ratio if found else None, 0.0, threshold)
    cell = replace(cell, floor=None, processes=many)
    doubt = _doubt(case, [broken for side in (new, old) if (broken := side.broken(case)) is not None])
    if doubt:
        return replace(cell, verdict="undecided", reason=f"{doubt}: {cell.reason}")
    if (theirs["status"], ours["status"]) == ("ok", "invalid"):  # no noise here makes a row invalid
        return replace(cell, verdict="broken")
    timed = (theirs["status"], ours["status"]) == ("ok", "ok")
    if timed and (found is None or found.ratio.low is None):
        least_many = least(ERROR / cases)
        return replace(cell, reason=f"{many} processes within the time, {least_many} bound a ratio (--minutes)")
    return cell


def _doubt(case: Case, failures: Sequence[Broken]) -> str:
    """Why failures may not be the block's own; empty where they are."""
    if any(failure.killed for failure in failures):
        return "a process was killed from outside"
    if case.device == "cuda" and any(failure.status == "oom" for failure in failures):
        return "both trees' processes share the card's memory"
    return ""
