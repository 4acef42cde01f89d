"""Two revisions in turns: the ratio and its floor, what a failing side says, and a planted change that is named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import duel
from bench.case import Case, make_case
from bench.duel import QUADS, Side, generation_ratios, modules_of
from bench.measure.method import make_method
from bench.measure.stats import Interval
from bench.plan import Tracing, trace_case
from bench.threshold import Thresholds
from bench.trial import Broken
from bench.worker import Task
from modules.options import SpecError

ROOT = Path(__file__).resolve().parents[1]
METHOD = make_method({"seconds": 0.05, "warm_seconds": 0.02, "sample_ms": 0.1})


def slices(*milliseconds: float) -> list[list[float]]:
    """Two slices a quad, of three samples each."""
    return [[ms, ms, ms] for ms in milliseconds for _ in range(2)]


def test_six_pairs_that_all_were_slower_are_no_regression_yet() -> None:
    assert duel._bounded([1.3] * 6, 0.1, 1) == Interval(1.3, None, None)
    assert duel._bounded([1.3] * 10, 0.1, 1) == Interval(1.3, 1.3, 1.3)


def test_with_many_cases_one_must_be_surer() -> None:
    ratios = [0.99, *[1.3] * 13]
    assert duel._bounded(ratios, 0.1, 3) == Interval(1.3, 1.3, 1.3)
    assert duel._bounded(ratios, 0.1, 100) == Interval(1.3, 0.99, 1.3)


def test_a_generation_s_ratio_is_new_over_old() -> None:
    assert generation_ratios(slices(*[3.0] * 3 * QUADS), slices(*[2.0] * 3 * QUADS)) == [1.5] * 3


def test_bursts_of_noise_leave_no_trace_while_some_calls_are_spared() -> None:
    assert generation_ratios(slices(*[9.0] * (QUADS - 1), 1.0), slices(*[1.0] * QUADS)) == [1.0]


def test_a_drift_that_both_share_leaves_no_trace() -> None:
    drifting = [1.0 + 0.1 * number for number in range(3 * QUADS)]
    assert generation_ratios(slices(*drifting), slices(*drifting)) == [1.0] * 3


class Scripted:
    """Takes the place of a worker: each generation has one time for all of its slices."""

    def __init__(self, *generations: float) -> None:
        self.generations = list(generations)
        self.begun = False

    def trace(self, cases: list[Case], told: object) -> dict[Case, Tracing]:
        return {case: trace_case(case) for case in cases}

    def start(self) -> None:
        self.begun = True

    def slice(self, case: Case, samples: int) -> list[float]:
        return [self.generations[0]] * samples

    def close(self) -> None:
        if self.begun:
            self.generations.pop(0)
        self.begun = False


@pytest.mark.parametrize(
    ("times", "pairs", "verdict", "regressed"),
    [
        ([1.0] * 6, 6, "same", False),
        ([1.3, 1.25, 1.4, 1.3, 1.2, 1.3] * 2, 10, "slower", True),
        ([1.3] * 6 + [0.99] * 8, 14, "undecided", False),
        ([1.05, 1.04, 1.12, 1.03, 1.05] * 2, 10, "slower", False),
        ([0.8] * 10, 10, "faster", False),
        ([1.0, 1.2, 0.9, 1.0, 1.0, 1.0, *[1.0] * 8], 10, "same", False),
        ([1.3, 0.9, 1.3, 1.3, 1.3, 1.3, *[1.3] * 8], 14, "slower", True),
        ([1.2, 0.8] * 7, 14, "undecided", False),
    ],
)
def test_a_case_goes_on_until_it_is_decided(
    monkeypatch: pytest.MonkeyPatch, times: list[float], pairs: int, verdict: str, regressed: bool
) -> None:
    workers = iter([Scripted(*times), Scripted(*[1.0] * len(times))])
    monkeypatch.setattr(duel, "Isolated", lambda *_: next(workers))

    found = duel.duel([make_case("gc", {}, 4, 4, 16)], Task("cpu", METHOD), Path(), Thresholds(), 1.0)

    (cell,) = found.cells
    assert (cell.verdict, cell.regressed, cell.floor) == (verdict, regressed, None)
    assert found.notes[0] == f"{pairs} pairs of processes took turns; cases that were decided after fewer rested"


class FakeMeasurer:
    """Gives each slice in turn."""

    def __init__(self, *answers: list[float] | Broken) -> None:
        self.answers = list(answers)

    def slice(self, case: Case, samples: int) -> list[float] | Broken:
        return self.answers.pop(0)


def test_a_side_that_fails_is_not_asked_again_and_says_why() -> None:
    case = make_case("snl", {}, 4, 4, 8)
    side = Side(FakeMeasurer([1.0, 2.0], Broken("snl", "oom", "no memory")), {case: trace_case(case)})  # type: ignore[arg-type]
    for _ in range(4):
        side.slice(case)
    row = side.row(case)
    assert (row["status"], row["reason"], row["latency_ms"]) == ("oom", "no memory", None)
    assert row["params"] == 8 + 1 + 8 * 8 + 8


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose first commit holds this tree's modules."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "modules", root / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(root), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return root


def test_a_revision_is_there_as_long_as_it_is_needed(repository: Path) -> None:
    (repository / "modules" / "identity.py").write_text("changed after the commit")
    with modules_of("HEAD", repository) as folder:
        assert [path.name for path in folder.iterdir()] == ["modules"]
        assert "class Identity" in (folder / "modules" / "identity.py").read_text()
    assert not folder.exists()
    listed = subprocess.run(["git", "-C", repository, "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_an_unknown_revision_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^--base 'nowhere' is no revision of this repository; give a branch"):
        modules_of("nowhere", repository).__enter__()
    with pytest.raises(SpecError, match="is no revision of an installed copy, not a git checkout"):
        modules_of("main", tmp_path).__enter__()


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
    monkeypatch.setattr(duel, "LOOKS", (1,))

    cases = [make_case(name, {}, 8, 8, 16) for name in ("snl", "gc", "pam")]
    with modules_of("HEAD", repository) as base:
        found = duel.duel(cases, Task("cpu", METHOD), base, Thresholds(), 60.0)

    snl, gc, pam = found.cells
    assert next(str(change) for change in snl.changes) == "params 17 -> 289 (+1.6e+03 %)"
    assert snl.regressed
    assert gc.changes == ()
    assert (gc.old_status, gc.new_status) == ("ok", "ok")
    assert gc.ratio is not None
    assert pam.verdict == "new"
    assert "unknown block 'pam'" in pam.reason
    assert found.exit_code == 1


@pytest.mark.parametrize("cases", [1, 136, 137, 6000])
def test_a_slow_down_among_many_cases_can_be_confirmed(cases: int) -> None:
    last = duel.looks_for(cases)[-1]
    assert duel._bounded([1.3] * last, 0.1, cases) == Interval(1.3, 1.3, 1.3)
    assert (last == duel.LOOKS[-1]) == (cases <= 136)


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
    new, old = (Side(FakeMeasurer(), {case: trace_case(case)}) for _ in range(2))  # type: ignore[arg-type]
    old.slices[case], new.failures[case] = [[1.0]], broken
    cell = duel._cell(case, new, old, {}, Thresholds())
    assert cell.verdict == verdict
    assert broken.reason in cell.reason


def test_a_plugin_of_the_repository_is_taken_from_the_revision(repository: Path, tmp_path: Path) -> None:
    for name in ("mine.py", "later.py"):
        (repository / name).write_text("now")
    git = ["git", "-C", str(repository), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run([*git, "add", "mine.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "second"], check=True)
    (repository / "mine.py").write_text("changed")
    other = tmp_path / "other.py"
    plugins = [str(repository / "mine.py"), str(repository / "later.py"), str(other)]
    with modules_of("HEAD", repository) as base:
        before, shared = duel.plugins_at(base, plugins, repository)
        assert [Path(path).name for path in before] == ["mine.py", "other.py"]
        assert Path(before[0]).read_text() == "now"
    assert shared == [str(other)]
