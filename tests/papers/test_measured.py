"""Rows made by hand against published times, rates and device memory: directions, intervals, verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from bench.papers.judge import Finding, Ratio
from bench.papers.measured import Measurement, suite_of, timed_cells
from bench.papers.published import Cell, Table
from bench.row import make_row
from modules.options import SpecError

Row = dict[str, Any]


def cell(row: str, metric: str, published: str, convention: str, block: str, base: str = "", **fields: str) -> Cell:
    known = {"unit": {"time": "ms", "fps": "1/s", "cuda_memory": "MB"}.get(convention, "x"), "size": "8x12"}
    known |= {"channels": "16", "note": "Of a card of 2017.", "table": "1"}
    places = {"paper": "ann", "row": row, "metric": metric}
    how = {"published": published, "convention": convention, "block": block, "base": base}
    return Cell(**{**known, "stated": "yes", **places, **how, **fields})


def table_of(*cells: Cell) -> Table:
    return Table("ann", "1", "a title", "", cells)


SLOW = [
    cell("slow", "time", "100", "time", "nl"),
    cell("slow", "FPS", "10", "fps", "nl"),
    cell("slow", "memory", "300", "cuda_memory", "nl"),
]


def table_with(convention: str, published: str, **fields: str) -> Table:
    """The slow rows, and one of a quick block that is compared with them."""
    metric = {"time": "time", "fps": "FPS", "cuda_memory": "memory"}.get(convention, "time ratio")
    return table_of(*SLOW, cell("quick", metric, published, convention, "gc:ratio=4", "slow", **fields))


def rows_of(table: Table, device: str = "cuda", size: str | None = None, **quick: object) -> list[Row]:
    """The rows of a run on `device`: 50 ms for `nl`, and `quick` over 25 ms for `gc`."""
    reference = {"status": "ok", "latency_ms": 50.0, "reference": "nl", "ratio": 1.0}
    reference |= {"ratio_ci_low": 1.0, "ratio_ci_high": 1.0}
    other = {"status": "ok", "latency_ms": 25.0, "reference": "nl", "ratio": 0.5}
    other |= {"ratio_ci_low": 0.5, "ratio_ci_high": 0.5}
    first, last = table.cells[0].case(device, size), table.cells[-1].case(device, size)
    return [make_row(first.row(), reference), make_row(last.row(), other, quick)]


def judged(table: Table, rows: list[Row]) -> Finding:
    """The finding on the quick row."""
    return Measurement.of(rows, table).findings(table)[-1]


@pytest.mark.parametrize(
    ("convention", "published", "ours", "ratio"),
    [
        ("time", "50", 25.0, Ratio(0.5, 0.48, 0.52, 0.5)),
        ("fps", "20", 40.0, Ratio(2.0, 1 / 0.52, 1 / 0.48, 2.0)),
        ("ratio_of_time", "2.0", 2.0, Ratio(2.0, 1 / 0.52, 1 / 0.48, 2.0)),
    ],
)
def test_a_time_is_this_row_over_its_base_and_all_else_the_other_way_round(
    convention: str, published: str, ours: float, ratio: Ratio
) -> None:
    table = table_with(convention, published)
    found = judged(table, rows_of(table, ratio_ci_low=0.48, ratio_ci_high=0.52))
    assert (found.ours, found.ratio, found.verdict) == (ours, ratio, "reproduced")
    direction = "0.50 x [0.48, 0.52]" if convention == "time" else "2.00 x [1.92, 2.08]"
    printed = {"time": "0.50", "fps": "2.00"}.get(convention, published)
    assert found.why == f"{direction} of slow, published {printed} x (agrees within 10 %)"


def test_seconds_stay_seconds() -> None:
    table = table_with("time", "0.05", unit="s")
    assert judged(table, rows_of(table)).ours == 0.025


@pytest.mark.parametrize(
    ("convention", "agreeing", "apart"),
    [
        ("time", ("54.9", "45.5"), ("55.1", "45.4")),
        ("fps", ("21.9", "18.2"), ("22.1", "18.1")),
        ("ratio_of_time", ("2.19", "1.82"), ("2.21", "1.81")),
    ],
)
def test_a_ratio_agrees_within_a_tenth(convention: str, agreeing: tuple[str, ...], apart: tuple[str, ...]) -> None:
    for published in (*agreeing, *apart):
        table = table_with(convention, published)
        found = judged(table, rows_of(table))
        assert found.verdict == ("reproduced" if published in agreeing else "differs on this device")
        assert found.why.endswith(" (agrees within 10 %)" if published in agreeing else " (more than 10 % apart)")


@pytest.mark.parametrize(
    ("published", "verdict", "near"),
    [
        *(("52.7", "reproduced", "agrees within 10 %"), ("47.4", "reproduced", "agrees within 10 %")),
        *(("52.9", "not comparable", "too noisy to tell"), ("47.2", "not comparable", "too noisy to tell")),
        *(("57.1", "not comparable", "too noisy to tell"), ("43.7", "not comparable", "too noisy to tell")),
        *(("57.3", "differs on this device", "more than"), ("43.5", "differs on this device", "more than 10 % apart")),
    ],
)
def test_the_whole_interval_agrees_or_none_of_it_does_or_nothing_is_said(
    published: str, verdict: str, near: str
) -> None:
    table = table_with("time", published)
    found = judged(table, rows_of(table, ratio_ci_low=0.48, ratio_ci_high=0.52))
    assert found.verdict == verdict
    assert f"({near}" in found.why
    wide = judged(table, rows_of(table, ratio_ci_low=0.2, ratio_ci_high=1.2))
    assert wide.verdict == "not comparable"
    assert wide.why.endswith(" (too noisy to tell within 10 %)")


@pytest.mark.parametrize(
    ("device", "size", "apart"),
    [
        ("cpu", None, "on a CPU instead of a GPU"),
        ("cuda", "4x6", "at map size 4x6 instead of 8x12"),
        ("cpu", "4x6", "at map size 4x6 instead of 8x12, on a CPU instead of a GPU"),
    ],
)
@pytest.mark.parametrize(("published", "near"), [("50", "agrees within 10 %"), ("90", "more than 10 % apart")])
def test_elsewhere_a_ratio_neither_confirms_nor_refutes(
    device: str, size: str | None, apart: str, published: str, near: str
) -> None:
    table = table_with("time", published)
    found = judged(table, rows_of(table, device, size))
    assert (found.ours, found.ratio) == (25.0, Ratio(0.5, 0.5, 0.5, int(published) / 100))
    assert found.verdict == "not comparable"
    assert found.why == f"0.50 x [0.50, 0.50] of slow, published 0.{published} x ({near}); {apart}"


@pytest.mark.parametrize(("published", "near"), [("50", "agrees within 10 %"), ("90", "more than 10 % apart")])
@pytest.mark.parametrize("convention", ["time", "cuda_memory"])
@pytest.mark.parametrize("unstated", [0, 1], ids=["cell", "base"])
def test_what_a_paper_does_not_state_neither_confirms_nor_refutes(
    convention: str, published: str, near: str, unstated: int
) -> None:
    told = ["yes", "yes"]
    told[unstated] = "no"
    metric = "time" if convention == "time" else "memory"
    base = cell("slow", metric, "100", convention, "nl", stated=told[1])
    table = table_of(base, cell("quick", metric, published, convention, "gc:ratio=4", "slow", stated=told[0]))
    rows = rows_of(table)
    for row, block, share in zip(rows, ("nl", "gc"), (2, 1), strict=True):
        row["cuda_peak_bytes"] = share * 10_000_000 - resident_bytes(block)
    found = judged(table, rows)
    assert found.verdict == "not comparable"
    assert found.why.endswith(f" ({near}); layers that the paper does not state")


def test_a_cell_that_was_published_at_the_size_of_the_run_is_compared() -> None:
    cells = [cell("small", "time", "30", "time", "nl", size="4x6"), *table_with("time", "50").cells]
    table = table_of(*cells, cell("less", "time", "15", "time", "gc:ratio=4", "small", size="4x6"))
    found = {f.cell.row: f for f in Measurement.of(rows_of(table, size="4x6"), table).findings(table)}
    assert found["less"].verdict == "reproduced"
    assert (found["quick"].verdict, found["quick"].why) == ("not measured", "not in the run")


def test_the_row_that_others_are_compared_with_has_no_verdict_of_its_own() -> None:
    table = table_with("time", "50")
    found = {f.cell.metric: f for f in Measurement.of(rows_of(table), table).findings(table)[:2]}
    assert {metric: f.ours for metric, f in found.items()} == {"time": 50.0, "FPS": 20.0}
    assert {(f.verdict, f.why, f.ratio) for f in found.values()} == {
        ("not comparable", "the row that others are compared with", None)
    }


@pytest.mark.parametrize("status", ["oom", "skipped", "unsupported", "timeout", "crashed", "invalid"])
@pytest.mark.parametrize("convention", ["time", "fps", "ratio_of_time", "cuda_memory"])
def test_a_row_without_a_time_is_not_measured_and_says_why(convention: str, status: str) -> None:
    table = table_with(convention, "2")
    found = judged(table, rows_of(table, status=status, reason="too large", latency_ms=None, ratio=None))
    assert (found.ours, found.verdict, found.why) == (None, "not measured", f"{status}: too large")


def test_a_row_that_is_not_there_is_not_measured() -> None:
    table = table_with("time", "50")
    found = judged(table, rows_of(table)[:1])
    assert (found.ours, found.verdict, found.why) == (None, "not measured", "not in the run")
    assert {(f.verdict, f.why) for f in Measurement.of([], table).findings(table)} == {
        ("not measured", "not in the run")
    }


@pytest.mark.parametrize(
    "lost",
    [
        {"reference": None, "ratio": None, "ratio_ci_low": None, "ratio_ci_high": None},
        {"reference": "snl"},
        {"reference": "nl:mode=gaussian"},
    ],
)
def test_a_ratio_to_another_block_is_none(lost: Row) -> None:
    table = table_with("time", "50")
    found = judged(table, rows_of(table, **lost))
    assert (found.ours, found.ratio, found.verdict) == (25.0, None, "not measured")
    assert found.why == "the run has no ratio to nl"


def resident_bytes(block: str) -> int:
    """Weights and the map of the case, in fp32: `nl` with D = 8, `gc` with C/4 = 4."""
    weights = {"nl": 3 * (16 * 8 + 8) + 8 * 16 + 16, "gc": (16 + 1) + (16 * 4 + 4) + 2 * 4 + (4 * 16 + 16)}
    return 4 * (weights[block] + 16 * 8 * 12)


@pytest.mark.parametrize(
    ("published", "verdict", "near"),
    [
        *((published, "reproduced", "agrees within 10 %") for published in ("150", "164", "137")),
        *((published, "differs on this device", "more than 10 % apart") for published in ("166", "136")),
    ],
)
def test_device_memory_is_peak_and_what_is_resident(published: str, verdict: str, near: str) -> None:
    table = table_with("cuda_memory", published)
    first, last = rows_of(table)
    first["cuda_peak_bytes"] = 20_000_000 - resident_bytes("nl")
    last["cuda_peak_bytes"] = 10_000_000 - resident_bytes("gc")
    found = Measurement.of([first, last], table).findings(table)
    base, quick = found[2], found[3]
    assert (base.ours, base.verdict, base.why) == (20.0, "not comparable", "on another device. Of a card of 2017.")
    assert (quick.ours, quick.verdict) == (10.0, verdict)
    assert quick.ratio == Ratio(0.5, None, None, int(published) / 300)
    assert quick.why == f"0.50 x of slow, published {int(published) / 300:.2f} x ({near})"


def test_device_memory_at_another_size_is_not_compared() -> None:
    table = table_with("cuda_memory", "150")
    rows = [{**row, "cuda_peak_bytes": 10_000_000} for row in rows_of(table, size="4x6")]
    found = judged(table, rows)
    assert found.verdict == "not comparable"
    assert found.why.endswith("at map size 4x6 instead of 8x12")


def test_device_memory_is_not_measured_off_the_device() -> None:
    table = table_with("cuda_memory", "150")
    found = judged(table, rows_of(table, "cpu"))
    assert (found.ours, found.verdict) == (None, "not measured")
    assert found.why == "device memory is read on CUDA only, not on cpu"


@pytest.mark.parametrize("base_there", [True, False])
def test_device_memory_without_that_of_the_base_is_not_judged(base_there: bool) -> None:
    table = table_with("cuda_memory", "150")
    first, last = rows_of(table, cuda_peak_bytes=10_000_000 - resident_bytes("gc"))
    found = judged(table, [first, last] if base_there else [last])
    assert (found.ours, found.verdict, found.why) == (10.0, "not measured", "slow was not measured")


def test_rows_of_several_devices_are_refused() -> None:
    table = table_with("time", "50")
    with pytest.raises(SpecError, match=r"^the run holds rows of several devices: cpu, cuda$"):
        Measurement.of([*rows_of(table), *rows_of(table, "cpu")], table)


def test_rows_of_several_sizes_are_refused_unless_one_is_published() -> None:
    table = table_with("time", "50")
    others = [*rows_of(table, size="4x6"), *rows_of(table, size="2x3")]
    with pytest.raises(SpecError, match=r"^papers takes one size in place of the published ones, not 2x3, 4x6$"):
        Measurement.of(others, table)
    whole = Measurement.of([*others, *rows_of(table)], table)
    assert (whole.size, whole.device, len(whole.rows)) == (None, "cuda", 6)
    assert Measurement.of(rows_of(table, size="4x6"), table).size == "4x6"


def test_only_cells_with_a_rule_and_a_case_are_measured() -> None:
    counted = cell("slow", "params", "1", "params", "nl")
    unknown = cell("lost", "time", "7", "time", "")
    table = table_of(counted, unknown, *SLOW)
    assert timed_cells(table) == SLOW
    assert [f.cell for f in Measurement.of([], table).findings(table)] == SLOW


def test_a_suite_is_called_after_the_table_that_it_measures() -> None:
    assert suite_of(table_of(*SLOW)) == "ann-1"
    assert suite_of(table_of(cell("slow", "params", "1", "params", "nl"))) is None
    echo = cell("echo", "time ratio", "2", "ratio_of_time", "gc", "IV|slow", table="abstract")
    assert suite_of(Table("galdv2", "abstract", "", "", (echo,))) == "galdv2-iv"
