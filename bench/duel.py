"""Duel: the working tree against another revision, measured in one session by two processes that take turns."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from bench.case import Case
from bench.cell import Cell, alone, pair
from bench.compare import Comparison
from bench.environment import pick_device
from bench.isolation import Isolated, WorkerLost
from bench.measure.stats import Interval, paired_ratio
from bench.plan import Tracing, one_line
from bench.row import make_row
from bench.session import Request, check_method
from bench.threshold import Thresholds
from bench.trial import Broken
from bench.worker import Task
from modules.options import SpecError

GENERATIONS, QUADS, SAMPLES = 3, 4, 5
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
            taken = Broken(case.label, lost.status, one_line(lost))
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
        return make_row(case.row(), static, {"status": "ok", "latency_ms": statistics.median(times) if times else None})


def duel(
    cases: Sequence[Case],
    task: Task,
    base: Path,
    thresholds: Thresholds,
    timeout: float,
    progress: Progress = lambda text: None,
) -> Comparison:
    """Compare the cases of this tree (new) with those of the `modules` in `base` (old).

    Both sides have a worker process; they alternate in the order ABBA, then BAAB, so that a drift falls on both. Three
    generations of processes are used, because a process is faster or slower than its twin for as long as it lives: how
    far the generations lie apart is the noise floor.

    Raises:
        SpecError: a worker cannot be started, or a threshold is given for an entry that is not among the cases.
    """
    thresholds.check(case.entry for case in cases)
    new, old = Side(Isolated(task, timeout)), Side(Isolated(task, timeout, (base,)))
    try:
        progress(f"tracing {len(cases)} cases in both trees")
        for side in (new, old):
            side.tracings = side.measurer.trace(cases, lambda number, total: None)
        timed = [case for case in cases if all(side.tracings[case].figures is not None for side in (new, old))]
        for generation in range(GENERATIONS):
            for number, case in enumerate(timed):
                progress(f"processes {generation + 1} of {GENERATIONS}, case {number + 1} of {len(timed)}: {case}")
                for quad in range(QUADS):
                    for letter in _ORDERS[quad % len(_ORDERS)]:
                        (new if letter == "A" else old).slice(case)
            for side in (new, old):
                side.measurer.close()
    finally:
        new.measurer.close()
        old.measurer.close()
    return Comparison(tuple(_cell(case, new, old, thresholds) for case in cases))


def _cell(case: Case, new: Side, old: Side, thresholds: Thresholds) -> Cell:
    threshold = thresholds.of(case.entry)
    ours, theirs = new.row(case), old.row(case)
    if theirs["status"] == "unsupported" and ours["status"] != "unsupported":
        return replace(alone(ours, "new", threshold), reason=f"the base has it not: {theirs['reason']}")
    ratio = floor = None
    if ours["status"] == theirs["status"] == "ok":
        ratio, floor = ratio_of(new.slices[case], old.slices[case])
    return pair(theirs, ours, ratio, floor, threshold)


def ratio_of(new: Sequence[Sequence[float]], old: Sequence[Sequence[float]]) -> tuple[Interval, float]:
    """Ratio of new to old time with its interval, and the noise floor.

    Args:
        new, old: slices in the order in which they were taken, two of each to a quad, `QUADS` quads to a generation.

    Returns:
        The median of the quads' ratios, each of the medians of its two slices a side, with its bootstrap interval; and
        how far the farthest generation's median lies from it, relative.
    """
    ours, theirs = ([statistics.median([*a, *b]) for a, b in zip(s[::2], s[1::2], strict=True)] for s in (new, old))
    ratio = paired_ratio(ours, theirs, resamples=2000, seed=0)
    quads = [a / b for a, b in zip(ours, theirs, strict=True)]
    generations = [statistics.median(quads[i : i + QUADS]) for i in range(0, len(quads), QUADS)]
    floor = max(max(median / ratio.median, ratio.median / median) for median in generations) - 1
    return ratio, floor


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; null where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
