"""Several processes a group: one row with the medians of all, and their interval."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure.processes import between
from bench.repeats import merged
from bench.report import load
from bench.report.frame import interval_words
from bench.row import by_processes
from bench.trial import GroupResult

ROOT = Path(__file__).resolve().parents[1]


def command(*words: object) -> tuple[int, str, str]:
    """Exit code, output and errors of the command line."""
    done = subprocess.run([sys.executable, ROOT / "run_bench.py", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def result(ms: float, ratio: float | None = 0.5, status: str = "ok") -> GroupResult:
    fields = {"status": status, "latency_ms": ms, "ratio": ratio, "rounds": int(ms * 10)}
    return GroupResult({"gc": fields}, {"gc": None}, busy_seconds=1.0)


def test_the_row_is_that_of_the_process_with_the_middle_median() -> None:
    found = merged([result(3.0, 0.3), result(1.0, 0.1), result(2.0, 0.2)])
    fields = found.fields["gc"]
    expected = between([3.0, 1.0, 2.0])
    assert expected is not None
    assert (fields["latency_ms"], fields["ratio"], fields["rounds"]) == (2.0, 0.2, 20)
    assert (fields["process_ms"], fields["process_ratios"]) == ([3.0, 1.0, 2.0], [0.3, 0.1, 0.2])
    assert (fields["process_ci_low_ms"], fields["process_ci_high_ms"]) == (expected.low, expected.high)
    assert found.busy_seconds == 3.0


def test_two_processes_have_medians_and_no_interval() -> None:
    fields = merged([result(3.0, None), result(1.0, None)]).fields["gc"]
    assert (fields["latency_ms"], fields["process_ms"]) == (1.0, [3.0, 1.0])
    assert fields["process_ci_low_ms"] is fields["process_ratios"] is fields["process_ratio_ci_low"] is None


def test_one_process_is_as_it_is_and_a_failure_in_one_of_several_is_the_cases() -> None:
    alone = result(3.0)
    assert merged([alone]) is alone
    assert merged([alone, result(1.0, status="crashed"), alone]).fields["gc"]["status"] == "crashed"


def test_intervals_between_processes_stand_in_for_those_within_one() -> None:
    within = {"latency_ci_low_ms": 1.0, "latency_ci_high_ms": 2.0, "ratio_ci_low": 3.0, "ratio_ci_high": 4.0}
    assert by_processes(within) == within
    taken = by_processes({**within, "process_ci_low_ms": 0.5, "process_ci_high_ms": 2.5})
    assert [taken[name] for name in within] == [0.5, 2.5, 3.0, 4.0]


def test_a_sweep_by_three_processes_says_so_in_rows_and_tables(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("--blocks", "nl,gc", "--sizes", "8x8", "--channels", "16", "--suite", "quick", "--device", "cpu")
    code, out, _ = command("sweep", *words, "--seconds", "0.05", "--repeats", "3", "--out", str(run))
    assert code == 0
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    assert [row["entry"] for row in rows] == ["nl", "gc"]
    for row in rows:
        assert sorted(row["process_ms"])[1] == row["latency_ms"]
        assert len(row["process_ratios"]) == 3
        assert row["process_ci_low_ms"] < row["process_ci_high_ms"]
        assert row["process_ratio_ci_low"] <= row["ratio"] <= row["process_ratio_ci_high"]
    assert "--repeats 3" in rows[0]["repro"]
    frame = load(run)
    assert interval_words(frame) == "between 3 processes"
    assert "interval between 3 processes" in out
    assert list(frame["half_ms"]) == pytest.approx(
        [
            max(row["process_ci_high_ms"] - row["latency_ms"], row["latency_ms"] - row["process_ci_low_ms"])
            for row in rows
        ]
    )


def test_repeats_need_worker_processes(tmp_path: Path) -> None:
    words = ("--blocks", "gc", "--sizes", "8x8", "--channels", "16", "--device", "cpu", "--out", str(tmp_path / "run"))
    code, _, err = command("sweep", *words, "--repeats", "3", "--in-process")
    assert (code, err.count("\n")) == (2, 1)
    assert "--repeats 3 needs worker processes" in err
    code, _, err = command("sweep", *words, "--repeats", "0")
    assert (code, err.count("\n")) == (2, 1)
    assert "'repeats' must be a whole number of at least 1" in err
    assert not (tmp_path / "run").exists()
