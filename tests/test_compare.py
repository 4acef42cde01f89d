"""Two runs to verdicts and an exit code: cells, joining, thresholds, and the command."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

import run_bench
from bench.cell import Cell, Change, alone, judge, name_of, pair
from bench.compare import Comparison, compare_rows, compare_runs, join
from bench.measure.stats import Interval
from bench.row import FIELDS, RunError
from bench.threshold import Thresholds, parse_thresholds
from bench.weighing import unrest
from modules.options import SpecError
from tests.report.synthetic import row, write_run

NAMES = ("nl", "snl", "gc", "se", "apnb", "cgnl")


def timed(name: str, scale: float = 1.0, seed: int = 0, processes: int = 5, **fields: Any) -> dict[str, Any]:
    """A row whose processes scatter by 0.7 % around its invented time."""
    made = {**dict.fromkeys(FIELDS), **row(name, **fields)}
    noise = random.Random(f"{name}{seed}")
    medians = [scale * made["latency_ms"] * noise.gauss(1, 0.007) for _ in range(processes)]
    made |= {"process_ms": medians, "latency_ms": sorted(medians)[processes // 2], "noise_floor": 0.02}
    return made | fields


def single(name: str, scale: float = 1.0, seed: int = 0, **fields: Any) -> dict[str, Any]:
    """A row of one process."""
    return timed(name, scale, seed, process_ms=None, **fields)


def run_of(seed: int = 0, scales: dict[str, float] | None = None, **fields: Any) -> list[dict[str, Any]]:
    return [timed(name, (scales or {}).get(name, 1.0), seed, **fields) for name in NAMES]


def verdicts(found: Comparison) -> dict[str, str]:
    return {cell.entry: cell.verdict for cell in found.cells}


@pytest.mark.parametrize(
    ("interval", "floor", "verdict"),
    [
        ((1.0, 0.99, 1.01), 0.02, "same"),
        ((1.03, 1.01, 1.05), 0.02, "same"),
        ((1.05, 1.03, 1.07), 0.02, "slower"),
        ((0.95, 0.93, 0.97), 0.02, "faster"),
        ((1.0, 0.99, 1.01), 0.2, "undecided"),
        ((1.05, 0.99, 1.12), 0.02, "undecided"),
        ((1.3, 1.1, 1.5), 0.2, "undecided"),
        ((1.0, 1.0, 1.0), 0.0, "same"),
        ((0.99, 0.85, 1.05), 0.0, "undecided"),
    ],
)
def test_a_verdict_follows_from_interval_floor_and_threshold(
    interval: tuple[float, float, float], floor: float, verdict: str
) -> None:
    found, reason = judge(Interval(*interval), floor, 0.1)
    assert found == verdict
    assert bool(reason) == (verdict == "undecided")


def test_what_was_not_measured_is_undecided() -> None:
    assert judge(None, 0.0, 0.1)[0] == "undecided"
    assert judge(Interval(2.0, None, None), 0.0, 0.1) == ("undecided", "too few samples to bound the ratio")
    verdict, reason = judge(Interval(2.0, 1.9, 2.1), None, 0.1)
    assert (verdict, "no noise floor" in reason) == ("undecided", True)


def test_a_regression_is_slower_and_by_the_threshold() -> None:
    old, new = timed("nl"), timed("nl")
    slow = Interval(1.08, 1.06, 1.1)
    assert pair(old, new, slow, 0.01, 0.1).verdict == pair(old, new, slow, 0.01, 0.08).verdict == "slower"
    assert not pair(old, new, slow, 0.01, 0.1).regressed
    assert pair(old, new, slow, 0.01, 0.079).regressed
    assert not pair(old, new, Interval(1.5, 0.9, 2.0), 0.01, 0.1).regressed
    doubted = pair(old, new, slow, 0.01, 0.01, doubt="a busy machine")
    assert (doubted.verdict, doubted.reason, doubted.regressed) == ("undecided", "a busy machine", False)


@pytest.mark.parametrize(
    ("old", "new", "verdict", "code"),
    [
        ("ok", "crashed", "broken", 1),
        ("ok", "oom", "broken", 1),
        ("ok", "timeout", "broken", 1),
        ("ok", "unsupported", "broken", 1),
        ("ok", "invalid", "undecided", 4),
        ("ok", "skipped", "undecided", 4),
        ("invalid", "invalid", "undecided", 4),
        ("crashed", "ok", "mended", 0),
        ("skipped", "ok", "undecided", 4),
        ("oom", "oom", "untimed", 0),
        ("skipped", "skipped", "untimed", 0),
    ],
)
def test_a_case_without_two_times_is_told_by_its_statuses(old: str, new: str, verdict: str, code: int) -> None:
    rows = [timed("nl", status=status, reason=None if status == "ok" else f"why {status}") for status in (old, new)]
    cell = pair(*rows, Interval(1.0, 1.0, 1.0), 0.0, 0.1)
    assert (cell.verdict, cell.ratio) == (verdict, None)
    assert all(f"why {status}" in cell.reason for status in (old, new) if status != "ok")
    assert Comparison((cell,)).exit_code == code


@pytest.mark.parametrize("figure", ["params", "macs", "traced_peak_bytes", "launches"])
def test_a_larger_static_figure_is_a_regression_and_a_smaller_one_is_told(figure: str) -> None:
    old = timed("nl", launches=9)
    larger, smaller = (pair(old, {**old, figure: old[figure] + more}, Interval(1, 1, 1), 0.0, 0.1) for more in (1, -1))
    assert (larger.regressed, smaller.regressed) == (True, False)
    assert larger.verdict == smaller.verdict == "same"
    assert [str(change).partition(" (")[0] for change in larger.changes] == [
        f"{figure} {old[figure]} -> {old[figure] + 1}"
    ]
    assert Comparison((larger,)).exit_code == 1
    assert Comparison((smaller,)).exit_code == 0
    assert "static figures differ in 1" in Comparison((smaller,)).summary


def test_more_traffic_and_a_figure_that_is_found_for_the_first_time_are_told_only() -> None:
    old = timed("nl", macs=None)
    cell = pair(old, {**old, "macs": 7, "traffic_bytes": 2 * old["traffic_bytes"]}, Interval(1, 1, 1), 0.0, 0.1)
    assert [change.figure for change in cell.changes] == ["macs", "traffic_bytes"]
    assert str(cell.changes[0]) == "macs none -> 7"
    assert str(cell.changes[1]).endswith("(+100 %)")
    assert not cell.regressed
    assert str(Change("params", 0, 3)) == "params 0 -> 3"


def test_a_row_from_before_launches_were_counted_shows_no_change() -> None:
    assert pair(timed("nl", launches=None), timed("nl", launches=9), Interval(1, 1, 1), 0.0, 0.1).changes == ()


def test_the_same_run_twice_is_the_same() -> None:
    found = compare_rows(run_of(), run_of())
    assert set(verdicts(found).values()) == {"same"}
    assert (found.exit_code, found.notes) == (0, ())
    assert found.summary == "6 cases: 6 same; no static figure differs; nothing regressed"


def test_noise_is_not_a_difference() -> None:
    for seed in range(1, 20):
        assert set(verdicts(compare_rows(run_of(0), run_of(seed))).values()) == {"same"}


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_slow_down_is_found_in_its_block_and_in_no_other(name: str) -> None:
    found = compare_rows(run_of(0), run_of(1, {name: 1.3}))
    assert verdicts(found) == {**dict.fromkeys(NAMES, "same"), name: "slower"}
    assert [cell.entry for cell in found.cells if cell.regressed] == [name]
    assert found.exit_code == 1
    assert found.rows()[0]["entry"] == name
    assert verdicts(compare_rows(run_of(1, {name: 1.3}), run_of(0)))[name] == "faster"


def test_a_slow_down_below_the_threshold_is_told_and_passes() -> None:
    found = compare_rows(run_of(0), run_of(1, {"gc": 1.06}))
    assert verdicts(found)["gc"] == "slower"
    assert found.exit_code == 0
    strict = compare_rows(run_of(0), run_of(1, {"gc": 1.06}), thresholds=Thresholds(0.1, {"gc": 0.02}))
    assert strict.exit_code == 1


def test_a_machine_that_is_slower_as_a_whole_is_no_regression_of_every_block() -> None:
    found = compare_rows(run_of(0), run_of(1, {**dict.fromkeys(NAMES, 1.3), "se": 2.0}))
    assert set(verdicts(found).values()) == {"undecided"}
    assert found.exit_code == 4
    assert "cases moved by 1.3" in found.notes[0]
    assert all("the other cases moved by 1.3" in cell.reason for cell in found.cells)


def test_a_machine_that_is_slower_by_a_little_widens_the_floor() -> None:
    found = compare_rows(run_of(0), run_of(1, {**dict.fromkeys(NAMES, 1.05), "se": 1.4}))
    assert verdicts(found) == {**verdicts(found), "se": "slower"}
    assert [cell.entry for cell in found.cells if cell.regressed] == ["se"]
    assert all(0.04 < cell.floor < 0.06 for cell in found.cells if cell.floor is not None)
    assert "slower" not in verdicts(compare_rows(run_of(0), run_of(1, dict.fromkeys(NAMES, 1.05)))).values()


def test_a_group_that_the_machine_slowed_down_is_no_regression() -> None:
    """Two blocks at another size, both slower by half: the machine was busy while that group was measured."""
    old, new = (
        [*run_of(seed), *(timed(name, scale, seed, height=48) for name in ("nl", "apnb"))]
        for seed, scale in ((0, 1.0), (1, 1.5))
    )
    found = compare_rows(old, new)
    assert [cell.verdict for cell in found.cells] == ["same"] * 6 + ["undecided"] * 2


def test_a_machine_that_scatters_decides_nothing() -> None:
    """Some blocks faster, some slower, the median in between: what was not touched moved as well."""
    found = compare_rows(run_of(0), run_of(1, dict(zip(NAMES, (0.7, 1.4, 0.8, 1.3, 2.5, 0.6), strict=True))))
    assert set(verdicts(found).values()) == {"undecided"}


def test_unrest_is_that_of_the_group_or_of_all_whichever_is_larger() -> None:
    assert unrest(0, [9.0, 3.0, 1.0, 1.0, 1.0], [*"aabcd"]) == 2.0
    assert unrest(0, [9.0, 0.25, 1.0, 1.0, 1.0], [*"aabcd"]) == 3.0
    assert unrest(0, [9.0, 1.0, 1.0, 2.0, 2.0, 2.0], [*"aaabcd"]) == 1.0
    assert unrest(0, [9.0, 2.0, 0.5], [*"abb"]) == 1.0
    assert unrest(0, [1.0], ["a"]) is None


def test_more_cells_ask_for_more_certainty() -> None:
    """A slow-down that decides one case is not enough among two hundred: the interval grows."""
    pairs = [([timed("nl", key=str(i)) for i in range(many)], many) for many in (2, 200)]
    few, wide = (
        compare_rows(old, [timed("nl", 1.05, 1, key=str(i)) for i in range(many)]).cells[0].ratio for old, many in pairs
    )
    assert few is not None
    assert wide is not None
    assert wide.low < few.low
    assert wide.high > few.high


def test_runs_of_one_process_each_judge_static_figures_and_print_the_ratio_of_times() -> None:
    old, new = [single(name) for name in NAMES], [single(name, 1.4, 1) for name in NAMES]
    found = compare_rows(old, new)
    assert set(verdicts(found).values()) == {"unjudged"}
    assert all(1.3 < cell.ratio.median < 1.5 and cell.ratio.low is None for cell in found.cells)
    assert (found.exit_code, compare_rows(old, new, strict=True).exit_code) == (0, 4)
    (note,) = found.notes
    assert note.startswith("times of 6 cases are not judged")
    assert "--base" in note
    assert "--repeats 3" in note
    larger = [{**made, "params": made["params"] + 1} for made in new]
    assert compare_rows(old, larger).exit_code == 1
    broken = [single(name, status="crashed", reason="why") for name in NAMES]
    assert compare_rows(old, broken).exit_code == 1


def test_both_runs_need_three_processes() -> None:
    for processes, verdict in ((2, "unjudged"), (3, "same")):
        found = compare_rows(run_of(), [timed(name, 1, 1, processes) for name in NAMES])
        assert set(verdicts(found).values()) == {verdict}


def test_processes_that_differ_decide_less_than_their_samples_would() -> None:
    """Offsets of processes by 5 %, as of a machine where memory lies differently in each: no false regression."""
    noise = random.Random(0)
    regressed = 0
    for _ in range(200):
        old, new = (
            [timed(name, process_ms=[noise.gauss(1, 0.05) for _ in range(3)], latency_ms=1.0) for name in NAMES]
            for _ in range(2)
        )
        regressed += compare_rows(old, new).exit_code == 1
    assert regressed <= 4


def test_missing_and_new_cases_are_listed_and_a_missing_one_leaves_something_open() -> None:
    found = compare_rows(run_of()[:-1], run_of()[1:])
    assert verdicts(found) == {**dict.fromkeys(NAMES[1:-1], "same"), "nl": "missing", "cgnl": "new"}
    assert [cell.verdict for cell in found.cells][-2:] == ["missing", "new"]
    assert found.exit_code == 4
    assert compare_rows(run_of()[:-1], run_of()).exit_code == 0
    assert alone(timed("nl"), "missing", 0.1).new_ms is None


def test_other_methods_and_environments_are_refused_unless_across() -> None:
    old = run_of()
    for field in ("method", "env"):
        new = run_of(**{field: "other"})
        with pytest.raises(SpecError, match=r"\(\w+, other.*--across"):
            compare_rows(old, new, facts=["torch 1 -> 2"])
        found = compare_rows(old, new, across=True)
        assert found.notes[0].startswith("compared across: ")
        assert set(verdicts(found).values()) == {"same"}
    with pytest.raises(SpecError, match="torch 1 -> 2"):
        compare_rows(old, run_of(env="other"), facts=["torch 1 -> 2"])


def test_across_joins_devices_and_shows_what_a_whole_machine_does() -> None:
    old, new = run_of(), run_of(1, dict.fromkeys(NAMES, 0.1), device="cuda", env="gpu")
    assert join(old, new, across=False)[0] == []
    found = compare_rows(old, new, across=True)
    assert set(verdicts(found).values()) == {"faster"}
    assert found.cells[0].case.endswith("cpu -> cuda")
    with pytest.raises(SpecError, match="two devices"):
        compare_rows([*old, *new], new, across=True)


def test_runs_without_a_common_case_and_unknown_thresholds_are_refused() -> None:
    with pytest.raises(SpecError, match="no case in common"):
        compare_rows(run_of()[:1], run_of()[1:])
    with pytest.raises(SpecError, match=r"'gx'.*did you mean 'gc'"):
        compare_rows(run_of(), run_of(), thresholds=Thresholds(0.1, {"gx": 0.2}))


def test_rows_without_a_time_are_never_a_crash() -> None:
    found = compare_rows(run_of(), [{**made, "latency_ms": None, "process_ms": None} for made in run_of()])
    assert set(verdicts(found).values()) == {"undecided"}
    assert all(cell.reason for cell in found.cells)


@pytest.mark.parametrize(
    ("text", "usual", "entries"),
    [
        ("0.1", 0.1, {}),
        ("0.2,nl=0.3, gc = 0.05", 0.2, {"nl": 0.3, "gc": 0.05}),
        ("nl=0.3", 0.1, {"nl": 0.3}),
        ("0", 0.0, {}),
    ],
)
def test_thresholds_are_read(text: str, usual: float, entries: dict[str, float]) -> None:
    assert parse_thresholds(text) == Thresholds(usual, entries)


@pytest.mark.parametrize("text", ["", "ten", "-0.1", "nan", "inf", "0.1,0.2", "nl=0.1,nl=0.2", "=0.1", "nl="])
def test_thresholds_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"write 0\.1"):
        parse_thresholds(text)


def test_a_case_is_named_with_all_that_is_out_of_the_ordinary() -> None:
    assert name_of(timed("gc:ratio=4")) == "gc:ratio=4 64x64x512 b1 fp32 forward"
    odd = timed("psp", options={"sizes": [1, 2]}, impl="fused", memory_format="channels_last", compiled=True)
    assert name_of(odd) == "psp:sizes=1+2 64x64x512 b1 fp32 forward fused channels_last compiled"


def test_folders_are_read_and_what_is_no_run_is_refused(tmp_path: Path) -> None:
    old, new = write_run(tmp_path / "a", run_of()), write_run(tmp_path / "b", run_of(env="e1"))
    (new / "environment.json").write_text(json.dumps({"method_settings": {"seconds": 2}, "torch": "0.1", "env": "e1"}))
    with pytest.raises(SpecError, match=r"\(e0, e1\): .*torch 0\.0 -> 0\.1, .*seconds None -> 2") as told:
        compare_runs(old, new)
    assert "more" not in str(told.value)
    assert compare_runs(old, old).exit_code == 0
    (new / "environment.json").unlink()
    assert compare_runs(old, new, across=True).exit_code == 0
    (new / "rows.jsonl").write_text("")
    with pytest.raises(SpecError, match="no rows yet"):
        compare_runs(old, new)
    with pytest.raises(ValueError, match="give the folder of a run"):
        compare_runs(old, tmp_path / "nowhere")
    (tmp_path / "devices.json").write_text("{}")
    with pytest.raises(RunError, match=f"give one of them: {old}, {new}"):
        compare_runs(tmp_path, old)


@pytest.mark.parametrize(
    ("new", "words", "code"),
    [
        ("same", (), 0),
        ("slow", (), 1),
        ("slow", ("--threshold", "0.5"), 0),
        ("slow", ("--threshold", "0.5,gc=0.1"), 1),
        ("part", (), 4),
        ("other", (), 2),
        ("other", ("--across",), 0),
        ("nowhere", (), 2),
        ("same", ("--threshold", "much"), 2),
    ],
)
def test_the_exit_code_says_what_was_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    new: str,
    words: tuple[str, ...],
    code: int,
) -> None:
    runs = {"old": run_of(), "same": run_of(1), "slow": run_of(1, {"gc": 1.3}), "part": run_of()[:4]}
    for name, rows in {**runs, "other": run_of(env="e1")}.items():
        write_run(tmp_path / name, rows)
    arguments = ["compare", str(tmp_path / "old"), str(tmp_path / new), *words]
    monkeypatch.setattr(sys, "argv", ["run_bench.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_bench.main()
    out, err = capsys.readouterr()
    assert int(ended.value.code or 0) == code
    if code == 2:
        assert (out, err.count("\n")) == ("", 1)
    else:
        assert out.rstrip().endswith(Comparison(tuple(_cells(tmp_path, new, words))).summary)


def _cells(folder: Path, new: str, words: tuple[str, ...]) -> tuple[Cell, ...]:
    thresholds = parse_thresholds(words[1]) if "--threshold" in words else None
    return compare_runs(folder / "old", folder / new, "--across" in words, thresholds).cells


def test_one_case_alone_cannot_tell_itself_from_the_machine() -> None:
    found = compare_rows([timed("nl")], [timed("nl", 1.3, 1)])
    assert (found.cells[0].verdict, found.exit_code) == ("undecided", 4)
    assert "no other case shows" in found.cells[0].reason


def test_slower_by_less_than_the_threshold_or_by_more_is_open() -> None:
    old, new = timed("nl"), timed("nl")
    for high, code in ((1.09, 0), (1.9, 4)):
        cell = pair(old, new, Interval(1.06, 1.01, high), 0.0, 0.1)
        assert (cell.verdict, cell.regressed) == ("slower", False)
        assert Comparison((cell,)).exit_code == code
