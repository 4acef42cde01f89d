"""Two trees in one process or in two: each runs its own code, and the one that fails is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import turns as turning
from bench.case import Case, make_case
from bench.isolation import WorkerLost
from bench.measure.method import make_method
from bench.slices import BUILDS, SAMPLES
from bench.trial import Broken
from bench.turns import NEW, OLD, SLICES_APART, Apart, Together, Trees, begin
from bench.worker import Task

ROOT = Path(__file__).resolve().parents[1]
METHOD = make_method({"seconds": 0.05, "warm_seconds": 0.02, "sample_ms": 0.1})
GC, SNL = (make_case(name, {}, 8, 8, 16) for name in ("gc", "snl"))
SAMPLED = BUILDS * 4 * SAMPLES
"""Samples of each tree in one process: four slices a build."""
BREAKS = """

def _broken(self, x):
    if x.device.type != "meta":
        {act}
    return x


GlobalContext.forward = _broken
"""
LATE = """

def _tripled(self, x):
    from modules.only_here import FACTOR

    return x * FACTOR


SimplifiedNonLocal.forward = _tripled
"""
OPERATOR = """
import torch
from torch import nn
from modules.registry import register


@torch.library.custom_op("somebodys::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@twice.register_fake
def _(x):
    return torch.empty_like(x)


@register("twice", family="context")
class Twice(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return twice(x)
"""

Change = Callable[[str, str], Trees]


@pytest.fixture
def other(tmp_path: Path) -> Change:
    """The trees, of which the old one has some text behind one of its files."""
    shutil.copytree(ROOT / "modules", tmp_path / "modules", ignore=shutil.ignore_patterns("__pycache__"))

    def change(file: str, text: str) -> Trees:
        with open(tmp_path / "modules" / file, "a", encoding="utf-8") as stream:
            stream.write(text)
        return Trees(Task("cpu", METHOD), tmp_path, (), 60.0)

    return change


@pytest.mark.parametrize("first", [NEW, OLD])
def test_each_tree_runs_its_own_code_also_what_it_imports_late(other: Change, first: int) -> None:
    other("only_here.py", "FACTOR = 3\n")
    turns, why = begin(other("global_context.py", LATE), [GC, SNL], first)
    try:
        assert (type(turns), why) == (Together, "")
        new, old = turns.trace([SNL])
        assert new[SNL].figures is not None
        assert old[SNL].figures is not None
        assert (new[SNL].figures.launches, old[SNL].figures.launches) == (5, 1)
        ours, theirs = turns.take(SNL)
        assert (len(ours), len(theirs)) == (SAMPLED, SAMPLED)  # type: ignore[arg-type]
    finally:
        turns.close()


@pytest.mark.parametrize("first", [NEW, OLD])
@pytest.mark.parametrize(
    ("act", "reason"), [("import os; os.abort()", "SIGABRT"), ("raise RuntimeError('no luck')", "no luck")]
)
def test_the_tree_that_fails_is_named_and_the_other_is_measured(
    other: Change, first: int, act: str, reason: str
) -> None:
    turns, _ = begin(other("global_context.py", BREAKS.format(act=act)), [GC], first)
    try:
        ours, theirs = turns.take(GC)
        assert isinstance(turns, Together)
        assert isinstance(ours, list)
        assert len(ours) >= SAMPLED
        assert isinstance(theirs, Broken)
        assert (theirs.status, reason in theirs.reason) == ("crashed", True)
        ours, theirs = turns.take(SNL)
        assert isinstance(ours, list)
        assert isinstance(theirs, list)
    finally:
        turns.close()


def test_operators_that_differ_keep_the_trees_apart(other: Change) -> None:
    turns, why = begin(other("window_attention.py", "\n# another\n"), [GC], OLD)
    try:
        assert isinstance(turns, Apart)
        assert why == "modules/window_attention.py, which operators of PyTorch's library need, differs"
        new, old = turns.trace([GC])
        assert new[GC] == old[GC]
        ours, theirs = turns.take(GC)
        assert len(ours) == len(theirs) == SAMPLES * len(SLICES_APART) // 2  # type: ignore[arg-type]
    finally:
        turns.close()


def test_an_operator_that_both_define_keeps_them_apart(other: Change, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(OPERATOR)
    base = other("identity.py", "").base
    trees = Trees(Task("cpu", METHOD, (str(plugin),)), base, (str(plugin),), 60.0)
    turns, why = begin(trees, [GC], NEW)
    turns.close()
    assert isinstance(turns, Apart)
    assert why.endswith("both trees define the operator somebodys::twice")


def test_a_tree_that_cannot_be_imported_beside_the_other_is_said(other: Change) -> None:
    trees = other("identity.py", "\nimport nowhere_at_all\n")
    with pytest.raises(turning.NotTogether, match="ModuleNotFoundError: No module named 'nowhere_at_all'"):
        Together(trees).start(NEW)


def test_compiled_cases_are_measured_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turning, "Apart", lambda trees: Scripted())
    trees = Trees(Task("cpu", METHOD), Path(), (), 60.0)
    turns, why = begin(trees, [GC, make_case("gc", {}, 8, 8, 16, compiled=True)], NEW)
    assert (type(turns), why) == (Scripted, "a compiled block would be compiled anew for each instance")


class Scripted:
    """Takes the place of a worker, or of two: notes what it is asked for, in a list that several may share."""

    def __init__(self, name: str = "", asked: list[str] | None = None, *answers: list[float] | Exception) -> None:
        self.name, self.asked, self.answers = name, [] if asked is None else asked, list(answers)

    def start(self, *_: object) -> None:
        self.asked.append(f"start {self.name}")

    def prepare(self) -> None:
        self.asked.append(f"prepare {self.name}")

    def slice(self, case: Case, samples: int) -> list[float]:
        self.asked.append(self.name)
        answer = self.answers.pop(0) if self.answers else [1.0] * samples
        if isinstance(answer, Exception):
            raise answer
        return answer


def apart(monkeypatch: pytest.MonkeyPatch, *workers: Scripted) -> Apart:
    given = iter(reversed(workers))  # the old tree's is made first
    monkeypatch.setattr(turning, "Isolated", lambda *_: next(given))
    return Apart(Trees(Task("cpu", METHOD), Path(), (), 1.0))


@pytest.mark.parametrize(("first", "order"), [(NEW, ["new", "old"]), (OLD, ["old", "new"])])
def test_apart_the_first_is_started_and_called_first(
    monkeypatch: pytest.MonkeyPatch, first: int, order: list[str]
) -> None:
    asked: list[str] = []
    turns = apart(monkeypatch, Scripted("new", asked), Scripted("old", asked))
    turns.start(first)
    turns.take(GC)
    one, other = order
    assert asked[:4] == [f"start {one}", f"start {other}", f"prepare {one}", f"prepare {other}"]
    assert asked[4:] == [one, other, other, one, other, one, one, other, one, other, other, one]


def test_apart_a_tree_that_fails_is_not_asked_again_and_the_other_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lost = WorkerLost(0, "oom", "no memory", killed=True)
    turns = apart(monkeypatch, Scripted("new", asked, [1.0], lost), Scripted("old", asked))
    turns.start(NEW)
    ours, theirs = turns.take(GC)
    assert ours == Broken("gc", "oom", "no memory", killed=True)
    assert theirs == [1.0] * SAMPLES * 6
    assert asked.count("new") == 2
