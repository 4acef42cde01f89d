"""Two revisions in turns: when a case is decided, what a failing side says, and a planted change that is named."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import duel
from bench.case import Case, make_case
from bench.cell import judge
from bench.compare import Comparison
from bench.duel import Finding, Side, find
from bench.measure.method import make_method
from bench.measure.stats import Interval
from bench.plan import Tracing, trace_case
from bench.revision import modules_of
from bench.threshold import Thresholds
from bench.trial import Broken
from bench.turns import Trees
from bench.worker import Task
from modules.options import SpecError

METHOD = make_method({"seconds": 0.05, "warm_seconds": 0.02, "sample_ms": 0.1})
GC = make_case("gc", {}, 4, 4, 16)


def test_ratios_that_all_are_slower_are_no_regression_until_there_are_enough() -> None:
    assert find([1.3] * 6, 0.1, 1) == Finding(Interval(1.3, None, None), False, 6)
    assert find([1.3] * 7, 0.1, 1) == Finding(Interval(1.3, 1.3, 1.3), True, 7)


def test_among_many_cases_one_must_be_surer_to_be_slower_but_not_to_be_the_same() -> None:
    assert not find([1.3] * 11, 0.1, 28).decided
    assert find([1.3] * 12, 0.1, 28).decided
    assert find([1.0] * 7, 0.1, 28).decided


@pytest.mark.parametrize("cases", [1, 3, 28, 258, 6000])
def test_a_slow_down_among_many_cases_can_be_confirmed(cases: int) -> None:
    fewest = duel.least(duel.ERROR / cases)
    assert find([1.3] * fewest, 0.1, cases).decided
    assert not find([1.3] * (fewest - 1), 0.1, cases).decided


def test_slower_by_less_than_the_threshold_goes_on_while_it_may_be_more() -> None:
    ratios = [1.05, 1.04, 1.12, 1.03, 1.05, 1.04, 1.06, 1.05]
    found = find(ratios, 0.1, 1)
    assert (judge(found.ratio, 0.0, 0.1)[0], found.decided) == ("slower", False)
    assert find(ratios * 2, 0.1, 1).decided
    assert find([ratio + 0.05 for ratio in ratios], 0.1, 1).decided


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(SpecError, match=r"^--minutes must be a number above 0, such as 5, not "):
        duel.compare_with_base(None, "HEAD", Thresholds(), minutes, None)  # type: ignore[arg-type]


class Scripted:
    """Takes the place of two trees: each generation has one ratio, or what a side failed with."""

    def __init__(self, *ratios: float | Broken) -> None:
        self.ratios = list(ratios)
        self.firsts: list[int] = []
        self.taken = 0

    def trace(self, cases: list[Case]) -> tuple[dict[Case, Tracing], dict[Case, Tracing]]:
        found = {case: trace_case(case) for case in cases}
        return found, found

    def start(self, first: int) -> None:
        self.firsts.append(first)

    def take(self, case: Case) -> tuple[list[float] | Broken, list[float] | Broken]:
        self.taken += 1
        ratio = self.ratios.pop(0)
        return ratio if isinstance(ratio, Broken) else [ratio] * 10, [1.0] * 10

    def close(self) -> None:
        return None


def scripted_duel(monkeypatch: pytest.MonkeyPatch, script: Scripted, minutes: float = 60.0) -> Comparison:
    def begin(trees: Trees, cases: object, first: int) -> tuple[Scripted, str]:
        script.start(first)
        return script, ""

    monkeypatch.setattr(duel, "begin", begin)
    return duel.duel([GC], Task("cpu", METHOD), Path(), Thresholds(), 1.0, minutes, coin=random.Random(0))


@pytest.mark.parametrize(
    ("ratios", "processes", "verdict", "regressed"),
    [
        ([1.0] * 7, 7, "same", False),
        ([1.3, 1.25, 1.4, 1.3, 1.2, 1.3, 1.2], 7, "slower", True),
        ([1.04, 1.05, 1.03, 1.05, 1.04, 1.05, 1.03], 7, "slower", False),
        ([0.8] * 7, 7, "faster", False),
        ([1.0, 1.2, *[1.0] * 10], 12, "same", False),
        ([0.9, *[1.3] * 11], 12, "slower", True),
    ],
)
def test_a_case_goes_on_until_it_is_decided(
    monkeypatch: pytest.MonkeyPatch, ratios: list[float], processes: int, verdict: str, regressed: bool
) -> None:
    script = Scripted(*ratios)
    found = scripted_duel(monkeypatch, script)
    (cell,) = found.cells
    assert (cell.verdict, cell.regressed, cell.floor, cell.processes) == (verdict, regressed, None, processes)
    assert found.notes[0] == (
        f"{processes} processes, both trees in each, in turns; cases that were decided after fewer rested"
    )


def test_who_goes_first_is_drawn_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(*[1.2, 0.8] * 20, *[1.0] * 100)
    scripted_duel(monkeypatch, script)
    coin = random.Random(0)
    assert script.firsts == [coin.choice((0, 1)) for _ in script.firsts]
    assert set(script.firsts) == {0, 1}


class Ticking:
    """Time that goes on by so many seconds whenever somebody looks."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second passes with each look at the clock."""
    monkeypatch.setattr(duel, "time", Ticking(1.0))
    return


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize(
    ("minutes", "taken", "reason"),
    [
        (0.01, 0, "0 processes within the time, 7 bound a ratio (--minutes)"),
        (0.1, 2, "2 processes within the time, 7 bound a ratio (--minutes)"),
        (1.0, 20, "could be anything from 0.80x to 1.20x"),
    ],
)
def test_what_is_undecided_when_the_time_is_up_stays_so(
    monkeypatch: pytest.MonkeyPatch, minutes: float, taken: int, reason: str
) -> None:
    script = Scripted(*[1.2, 0.8] * 30)
    found = scripted_duel(monkeypatch, script, minutes)
    assert script.taken == taken
    (cell,) = found.cells
    assert (cell.verdict, cell.reason, found.exit_code) == ("undecided", reason, 4)
    assert not taken or found.notes[1] == f"the time was up (--minutes {minutes:g}) with 1 of the cases undecided"


def test_a_side_that_fails_twice_is_not_asked_again_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(1.0, Broken("gc", "oom", "no memory"), Broken("gc", "oom", "no memory"), 1.0)
    (cell,) = scripted_duel(monkeypatch, script).cells
    assert (cell.verdict, cell.old_status, cell.new_status, script.taken) == ("broken", "ok", "oom", 3)
    assert "no memory" in cell.reason


def test_a_failure_that_does_not_come_again_is_told_and_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(1.0, Broken("gc", "crashed", "an accident"), *[1.0] * 6)
    found = scripted_duel(monkeypatch, script)
    assert [(cell.verdict, cell.new_status, cell.processes) for cell in found.cells] == [("same", "ok", 7)]
    assert found.notes[-1] == "gc failed in one process of the new tree and in no other: an accident"
    assert found.exit_code == 0


@pytest.mark.usefixtures("ticking")
def test_a_failure_that_there_was_no_time_to_see_again_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(*[Broken("gc", "crashed", "always")] * 9)
    (cell,) = scripted_duel(monkeypatch, script, minutes=0.05).cells
    assert (cell.verdict, script.taken) == ("broken", 1)


def test_a_changed_block_and_one_that_the_base_has_not_are_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = repository / "modules" / "global_context.py"
    text = file.read_text()
    file.write_text(text.replace("self.value = nn.Conv2d(channels, channels, 1)", "self.value = nn.Identity()"))
    package = repository / "modules" / "__init__.py"
    package.write_text(
        package.read_text()
        .replace("from modules import dual_attention\n", "")
        .replace("from modules import comparison\n", "")
    )
    git = ["git", "-C", str(repository), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run([*git, "commit", "--quiet", "-am", "second"], check=True)
    monkeypatch.setattr(duel, "find", lambda ratios, *_: Finding(Interval(ratios[0], None, None), True, 1))

    cases = [make_case(name, {}, 8, 8, 16) for name in ("snl", "gc", "pam")]
    with modules_of("HEAD", repository) as base:
        found = duel.duel(cases, Task("cpu", METHOD), base, Thresholds(), 60.0, minutes=60.0)

    snl, gc, pam = found.cells
    assert next(str(change) for change in snl.changes) == "params 17 -> 289 (+1.6e+03 %)"
    assert snl.regressed
    assert gc.changes == ()
    assert (gc.old_status, gc.new_status) == ("ok", "ok")
    assert gc.ratio is not None
    assert pam.verdict == "new"
    assert "unknown block 'pam'" in pam.reason
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("device", "broken", "verdict"),
    [
        ("cpu", Broken("gc", "invalid", "returns NaN"), "broken"),
        ("cpu", Broken("gc", "oom", "no memory"), "broken"),
        ("cuda", Broken("gc", "oom", "no memory"), "undecided"),
        ("cpu", Broken("gc", "crashed", "killed by SIGKILL", killed=True), "undecided"),
        ("cpu", Broken("gc", "crashed", "killed by SIGSEGV"), "broken"),
    ],
)
def test_a_failure_is_the_blocks_own_unless_others_may_have_caused_it(
    device: str, broken: Broken, verdict: str
) -> None:
    case = make_case("gc", {}, 4, 4, 16, device=device)
    new, old = (Side({case: trace_case(case)}) for _ in range(2))
    old.times[case], new.failures[case] = [1.0], [broken]
    cell = duel._cell(case, new, old, {}, Thresholds(), 1)
    assert cell.verdict == verdict
    assert broken.reason in cell.reason
