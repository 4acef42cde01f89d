"""Two runs beside each other: a verdict for each case, in the formats the command line offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.digits import MISSING, number, percent, significant, times
from bench.report.formats import Grid, render_answer

LEGEND = (
    "ratio: new over old median; interval: of that ratio at 95 %, before the floor widens it; floor: what noise alone "
    "may do, where the interval does not hold it already."
)
HEADER = ("case", "old ms", "new ms", "ratio", "interval", "floor", "verdict", "static figures, and why")


def show_comparison(cells: Sequence[Mapping[str, Any]], summary: str, notes: Sequence[str], format: str) -> str:
    """The cells of a comparison (`bench.cell.Cell.row`) in one of `FORMATS`; json and csv hold one record a cell.

    Args:
        cells: in the order in which they shall stand.
        summary: one line that closes, or heads, the table.
        notes: what has to be known of all cells.
        format: one of `FORMATS`.
    """
    grid = Grid(HEADER, tuple(_line(cell) for cell in cells), "lrrrrrll")
    return render_answer(cells, grid, summary, notes, format, LEGEND)


def _line(cell: Mapping[str, Any]) -> tuple[str, ...]:
    told = [*cell["static"], *([cell["reason"]] if cell["reason"] else [])]
    return (
        cell["case"],
        _time(cell["old_ms"], cell["old_status"]),
        _time(cell["new_ms"], cell["new_status"]),
        times(cell["ratio"]),
        _interval(cell["ratio_low"], cell["ratio_high"]),
        percent(cell["floor"]),
        f"{cell['verdict']}, REGRESSED" if cell["regressed"] else cell["verdict"],
        "; ".join(told),
    )


def _time(milliseconds: Any, status: str | None) -> str:
    """The median, or why there is none."""
    return significant(milliseconds) if status in ("ok", None) else str(status)


def _interval(low: Any, high: Any) -> str:
    if number(low) is None or number(high) is None:
        return MISSING
    return f"{low:.2f} to {high:.2f}"
