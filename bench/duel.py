"""Duel: the working tree against another revision, measured in one session by two processes that take turns."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.case import Case
from bench.cell import Cell, alone, judge, pair
from bench.compare import Comparison
from bench.environment import pick_device
from bench.isolation import Isolated, WorkerLost
from bench.measure.generations import missed, ratio_within
from bench.measure.stats import CONFIDENCE, Interval
from bench.plan import Tracing, one_line
from bench.row import make_row
from bench.session import Request, check_method
from bench.threshold import Thresholds
from bench.trial import Broken
from bench.worker import Task
from modules.options import SpecError

LOOKS = (6, 10, 14)
"""After how many pairs of processes a case is looked at; one that is decided is not measured for the next look. Where
so many cases are compared that not even the range of the last look's ratios is sure enough, that look is later."""
QUADS, SAMPLES = 3, 5
_ROOT = Path(__file__).resolve().parents[1]
_ORDERS = ("ABBA", "BAAB")
Progress = Callable[[str], None]


@contextlib.contextmanager
def modules_of(revision: str, root: Path = _ROOT) -> Iterator[Path]:
    """A folder that holds the `modules` of a git revision and nothing else, as long as the block lasts.

    Raises:
        SpecError: this is no checkout, or it has no such revision.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        where = "an installed copy, not a git checkout" if not (root / ".git").exists() else "this repository"
        raise SpecError(f"--base '{revision}' is no revision of {where}; give a branch, a tag or a commit")
    with tempfile.TemporaryDirectory(prefix="contextbench-base-") as folder:
        tree, shown = Path(folder) / "tree", Path(folder) / "shown"
        if _git(root, "worktree", "add", "--detach", "--force", str(tree), commit) is None:
            raise SpecError(f"--base '{revision}' cannot be checked out beside this tree")
        try:
            shown.mkdir()
            (shown / "modules").symlink_to(tree / "modules")
            yield shown
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def plugins_at(base: Path, plugins: Sequence[str], root: Path = _ROOT) -> tuple[tuple[str, ...], list[str]]:
    """The plugins as they are at the revision that `modules_of` shows in `base`; and those that no revision holds.

    The latter are the same on both sides. One that the revision has not is left out.
    """
    found, shared = [], []
    for plugin in plugins:
        path = Path(plugin).resolve()
        if not path.is_relative_to(root):
            shared.append(plugin)
            found.append(plugin)
        elif (then := base.parent / "tree" / path.relative_to(root)).is_file():
            found.append(str(then))
    return tuple(found), shared


def compare_with_base(request: Request, revision: str, thresholds: Thresholds, console: Console) -> Comparison:
    """Compare this tree with the `modules` of a git revision, on the cases of a request.

    Raises:
        SpecError: something asked for does not exist, or there is no such revision.
    """
    suite, device = request.resolve(), pick_device(request.device)
    check_method(suite.method, device)
    cases = list(suite.cases(device))
    with modules_of(revision) as base, console.status("starting") as status:

        def progress(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        return duel(cases, Task(device, suite.method, request.plugins), base, thresholds, request.timeout, progress)


@dataclass
class Side:
    """One of the two trees.

    Attributes:
        measurer: its worker.
        tracings: static figures of each case.
        failures: why a case could not be timed.
        slices: milliseconds a call, one list a slice, by case.
    """

    measurer: Isolated
    tracings: Mapping[Case, Tracing] = field(default_factory=dict)
    failures: dict[Case, Broken] = field(default_factory=dict)
    slices: dict[Case, list[list[float]]] = field(default_factory=dict)

    def slice(self, case: Case) -> None:
        """Take one slice of samples of a case; a block that fails is not asked again."""
        if case in self.failures:
            return
        try:
            taken = self.measurer.slice(case, SAMPLES)
        except WorkerLost as lost:
            taken = Broken(case.label, lost.status, one_line(lost), lost.killed)
        if isinstance(taken, Broken):
            self.failures[case] = taken
        else:
            self.slices.setdefault(case, []).append(taken)

    def row(self, case: Case) -> dict[str, object]:
        """A result row with what is known of the case on this side."""
        tracing = self.tracings[case]
        static = tracing.figures.row() if tracing.figures else {}
        if tracing.figures is None:
            return make_row(case.row(), static, {"status": tracing.status, "reason": tracing.reason})
        if case in self.failures:
            broken = self.failures[case]
            return make_row(case.row(), static, {"status": broken.status, "reason": broken.reason})
        times = [ms for taken in self.slices.get(case, ()) for ms in taken]
        return make_row(case.row(), static, {"status": "ok", "latency_ms": undisturbed(times) if times else None})


def duel(
    cases: Sequence[Case],
    task: Task,
    base: Path,
    thresholds: Thresholds,
    timeout: float,
    progress: Progress = lambda text: None,
) -> Comparison:
    """Compare the cases of this tree (new) with those of the `modules` in `base` (old).

    Both sides have a worker process; they alternate in the order ABBA, then BAAB, so that a drift falls on both. Every
    generation is a new pair of processes. `LOOKS` says after how many of them a case is judged; one that is still
    undecided goes on to the next look, the others rest.

    Raises:
        SpecError: a worker cannot be started, or a threshold is given for an entry that is not among the cases.
    """
    thresholds.check(case.entry for case in cases)
    before, shared = plugins_at(base, task.plugins)
    new, old = Side(Isolated(task, timeout)), Side(Isolated(replace(task, plugins=before), timeout, (base,)))
    generation = 0
    ratios: dict[Case, Interval] = {}
    try:
        progress(f"tracing {len(cases)} cases in both trees")
        for side in (new, old):
            side.tracings = side.measurer.trace(cases, lambda number, total: None)
        going = [case for case in cases if all(side.tracings[case].figures is not None for side in (new, old))]
        for look in looks_for(len(cases)):
            while generation < look and going:
                generation += 1
                for side in (new, old):
                    side.measurer.start()
                for number, case in enumerate(going, 1):
                    progress(f"processes {generation} of {look}, case {number} of {len(going)}: {case}")
                    _quads(case, new, old)
                for side in (new, old):
                    side.measurer.close()
            going = [case for case in going if case not in new.failures and case not in old.failures]
            for case in going:
                found = generation_ratios(new.slices[case], old.slices[case])
                ratios[case] = _bounded(found, thresholds.of(case.entry), len(cases))
            going = [case for case in going if judge(ratios[case], 0.0, thresholds.of(case.entry))[0] == "undecided"]
    finally:
        new.measurer.close()
        old.measurer.close()
    outside = f"the same on both sides, as they lie outside of the repository: {', '.join(shared)}"
    notes = (
        *([outside] if shared else []),
        f"{generation} pairs of processes took turns; cases that were decided after fewer rested",
        "ms: tenth percentile of all samples; ratio: median of the pairs' ratios of it",
    )
    return Comparison(tuple(_cell(case, new, old, ratios, thresholds) for case in cases), notes if generation else ())


def looks_for(cases: int) -> tuple[int, ...]:
    """`LOOKS`, the last of them late enough to confirm a slow-down among so many cases."""
    last = LOOKS[-1]
    while missed(last, 1) > _error(cases):
        last += 1
    return (*LOOKS[:-1], last)


def _error(cases: int) -> float:
    """How often an interval may miss for all of all cases, at all looks, to hold together."""
    return (1 - CONFIDENCE) / (cases * len(LOOKS))


def _quads(case: Case, new: Side, old: Side) -> None:
    """The slices of one generation."""
    for quad in range(QUADS):
        for letter in _ORDERS[quad % len(_ORDERS)]:
            (new if letter == "A" else old).slice(case)


def _bounded(ratios: Sequence[float], threshold: float, cases: int) -> Interval:
    """The ratio of a case with the interval that it is judged by.

    What is *same* is bounded at 95 %. What is not must be surer, as it fails a change: all intervals of all cases, at
    all looks, hold together at 95 %. Too few ratios for that have no bounds.
    """
    usual = ratio_within(ratios, 1 - CONFIDENCE)
    if usual is not None and judge(usual, 0.0, threshold)[0] == "same":
        return usual
    surer = ratio_within(ratios, _error(cases))
    return surer or Interval(statistics.median(ratios), None, None)


def _cell(case: Case, new: Side, old: Side, ratios: Mapping[Case, Interval], thresholds: Thresholds) -> Cell:
    """The cell of a case. It has no noise floor: what two equal processes differ by is in the interval already."""
    threshold = thresholds.of(case.entry)
    ours, theirs = new.row(case), old.row(case)
    if theirs["status"] == "unsupported" and ours["status"] != "unsupported":
        return replace(alone(ours, "new", threshold), reason=f"the base has it not: {theirs['reason']}")
    cell = replace(pair(theirs, ours, ratios.get(case), 0.0, threshold), floor=None)
    doubt = _doubt(case, [side.failures[case] for side in (new, old) if case in side.failures])
    if doubt:
        return replace(cell, verdict="undecided", reason=f"{doubt}: {cell.reason}")
    if (theirs["status"], ours["status"]) == ("ok", "invalid"):  # no noise here makes a row invalid
        return replace(cell, verdict="broken")
    return cell


def _doubt(case: Case, failures: Sequence[Broken]) -> str:
    """Why failures may not be the block's own; empty where they are."""
    if any(failure.killed for failure in failures):
        return "a process was killed from outside"
    if case.device == "cuda" and any(failure.status == "oom" for failure in failures):
        return "both trees' processes share the card's memory"
    return ""


def generation_ratios(new: Sequence[Sequence[float]], old: Sequence[Sequence[float]]) -> list[float]:
    """One ratio of new to old time a generation: of what its calls take when nothing disturbs them, see `undisturbed`.

    Args:
        new, old: slices in the order in which they were taken, two of each to a quad, `QUADS` quads to a generation.
    """
    many = 2 * QUADS
    starts = range(0, len(new), many)
    ours, theirs = ([undisturbed([*itertools.chain(*s[at : at + many])]) for at in starts] for s in (new, old))
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def undisturbed(milliseconds: Sequence[float]) -> float:
    """The tenth percentile: what else a machine does adds time, in bursts; the fast end is what a call takes."""
    return float(np.quantile(milliseconds, 0.1))


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; null where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
