"""The share of the roofline: its arithmetic, its column, its plot, and their absence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.report import build, load, show_run, write
from bench.report.digits import MISSING
from bench.report.groups import all_groups
from bench.report.machine import Machine
from bench.report.roofline import COLUMNS, Roof, roof
from bench.report.tables import Table, efficiency
from tests.report.synthetic import row, skipped, write_run

RATES = {"machine.gemm_fp32_tflops": 0.1, "machine.copy_gb_s": 20.0}
MACHINE = Machine({"env": "e0", **RATES})


def timed(name: str, **fields: Any) -> dict[str, Any]:
    """A row of 1e9 multiply-adds and 4e8 bytes: 20 ms each on the machine above."""
    return row(name, **{"macs": 10**9, "compulsory_bytes": 4 * 10**8, "latency_ms": 40.0, **fields})


def shares(rows: list[dict[str, Any]], machine: Machine = MACHINE) -> list[float | None]:
    """The column, null as None."""
    return [None if pd.isna(value) else float(value) for value in build(rows, machine)["roofline"]]


def table(rows: list[dict[str, Any]], machine: Machine = MACHINE) -> Table:
    (group,) = all_groups(build(rows, machine))
    return efficiency(group)


def with_rates(folder: Path, rows: list[dict[str, Any]], rates: dict[str, float]) -> Path:
    """A run folder whose environment holds rates as a sweep writes them."""
    run = write_run(folder, rows)
    facts = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**facts, "machine": rates}))
    return run


def test_the_longer_of_both_bounds_counts() -> None:
    slow_copy, slow_product = timed("nl", compulsory_bytes=8 * 10**8), timed("gc", macs=15 * 10**8)
    assert shares([timed("se"), slow_copy, slow_product]) == pytest.approx([0.5, 1.0, 0.75])


def test_intensity_and_rate_come_with_it() -> None:
    frame = build([timed("nl")], MACHINE)
    assert [float(frame[name].iloc[0]) for name in COLUMNS] == pytest.approx([100.0, 20.0, 5.0, 50.0, 0.5])


def test_a_block_without_multiply_adds_is_bound_by_memory_alone() -> None:
    assert shares([timed("identity", macs=0)]) == pytest.approx([0.5])


@pytest.mark.parametrize(
    "fields",
    [{"mode": "train"}, {"env": "e1"}, {"dtype": "bf16"}, {"macs": None}, {"compulsory_bytes": None}],
)
def test_no_share_where_it_would_not_be_true(fields: dict[str, Any]) -> None:
    assert shares([timed("nl"), timed("gc", **fields)]) == pytest.approx([0.5, None])


def test_a_case_that_was_not_timed_has_no_share() -> None:
    assert shares([skipped("nl", 64, 64, 512)]) == [None]


@pytest.mark.parametrize("name", sorted(RATES))
def test_one_rate_alone_is_no_roof(name: str) -> None:
    assert shares([timed("nl")], Machine({"env": "e0", name: RATES[name]})) == [None]


def test_fp32_may_use_tf32_where_the_environment_says_so() -> None:
    facts = {**RATES, "machine.gemm_tf32_tflops": 0.4}
    assert roof(Machine({**facts, "tf32_cudnn": True}), "fp32") == Roof(400.0, 20.0)
    assert roof(Machine({**facts, "tf32_cudnn": False}), "fp32") == Roof(100.0, 20.0)
    assert roof(Machine(facts), "bf16") is None


def test_the_roof_is_a_slope_and_then_flat() -> None:
    assert [Roof(100.0, 20.0).at(x) for x in (1.0, 5.0, 50.0)] == [20.0, 100.0, 100.0]


def test_a_table_has_the_column_only_where_rates_are_known() -> None:
    rows = [timed("nl"), timed("gc"), skipped("se", 64, 64, 512)]
    made = table(rows)
    assert made.grid.header[-1] == "of roofline"
    assert [line[-1] for line in made.grid.rows] == ["50.0 %", "50.0 %", MISSING]
    assert any("rates allow" in note for note in made.notes)
    bare = table(rows, Machine({"env": "e0"}))
    assert "of roofline" not in bare.grid.header
    assert not any("rates allow" in note for note in bare.notes)


def test_more_than_the_roof_is_explained() -> None:
    assert "caches" in " ".join(table([timed("nl", latency_ms=10.0)]).notes)
    assert "caches" not in " ".join(table([timed("nl")]).notes)


def test_a_run_with_rates_shows_them_everywhere(tmp_path: Path) -> None:
    rows = [timed(name, height=side, width=side) for name in ("nl", "gc") for side in (32, 64)]
    rows += [timed("identity", macs=0), timed("nl", mode="train")]
    run = with_rates(tmp_path / "run", rows, {"gemm_fp32_tflops": 0.1, "copy_gb_s": 20.0})
    report = write(run)[0].read_text(encoding="utf-8")
    drawn = sorted(path.name for path in (run / "plots").glob("roofline-*"))
    assert drawn == [f"roofline-blocks-cpu-fp32-forward-b1-reference.{kind}" for kind in ("png", "svg")]
    assert "large matrix product (100 GFLOP/s)" in report
    assert "**of roofline**" in report
    assert "Zero, which a log axis cannot show: identity." in report
    assert "of roofline" in show_run(run, "table")
    assert "roofline" in (run / "tables" / "efficiency.csv").read_text().splitlines()[0]
    assert load(run)["roofline"].notna().sum() == 5


def test_a_run_without_rates_is_as_before(tmp_path: Path) -> None:
    run = with_rates(tmp_path / "run", [timed("nl")], {})
    report = write(run)[0].read_text(encoding="utf-8")
    assert "roofline" not in report
    assert not list((run / "plots").glob("roofline-*"))
    assert "roofline" not in (run / "tables" / "efficiency.csv").read_text()


def test_a_plot_goes_when_the_rates_do(tmp_path: Path) -> None:
    run = with_rates(tmp_path / "run", [timed("nl")], {"gemm_fp32_tflops": 0.1, "copy_gb_s": 20.0})
    write(run)
    assert list((run / "plots").glob("roofline-*"))
    write_run(run, [timed("nl")])
    write(run)
    assert not list((run / "plots").glob("roofline-*"))
