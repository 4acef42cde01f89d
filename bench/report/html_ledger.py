"""The ledger of published figures, `papers.csv`, as a listing of the HTML report."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report.digits import MISSING, number, significant
from bench.report.html_listing import Column, Listing, figures
from bench.row import RunError

NEEDED = ("paper", "table", "row", "metric", "unit", "published", "ours", "difference", "verdict", "why")
SAID = (
    "The papers' tables cell by cell, each recounted by the rule of its authors; the last column says why. Increment "
    "reproduced: what the row adds to its base row agrees, the total does not. Differs on this device: a ratio on "
    "another card than the paper's, which it does not refute. Circular: by layers that this project specified itself."
)


def ledger(path: Path) -> Listing:
    """The cells of a `papers.csv` as `bench.report.claims.write_claims` writes it.

    Raises:
        RunError: the file cannot be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in NEEDED if name not in (reader.fieldnames or ())]
            cells = [] if lacking else [{name: cell[name] or "" for name in cell if name} for cell in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from None
    if lacking:
        raise RunError(f"'{path}' is no ledger of published figures: it has no column {', '.join(lacking)}")
    columns = (
        Column("row", "row", _texts(cells, "row"), role="head"),
        Column("paper", "paper", _texts(cells, "paper"), choice=True),
        Column("table", "table", _texts(cells, "table"), choice=True),
        Column("metric", "metric", tuple(_metric(cell) for cell in cells), choice=True),
        _column("published", cells, tuple(cell["published"] for cell in cells)),
        _column("ours", cells, tuple(significant(cell["ours"], 4) for cell in cells)),
        _column("difference", cells, tuple(_difference(cell) for cell in cells)),
        Column("verdict", "verdict", _texts(cells, "verdict"), choice=True),
        Column("why", "why", _texts(cells, "why")),
    )
    return Listing("ledger", "Published figures", SAID, columns, ("",), (0,) * len(cells))


def _texts(cells: Sequence[Mapping[str, str]], name: str) -> tuple[str, ...]:
    return tuple(cell[name] for cell in cells)


def _column(name: str, cells: Sequence[Mapping[str, str]], shown: tuple[str, ...]) -> Column:
    return Column(name, name, tuple(text or MISSING for text in shown), figures(cell[name] for cell in cells))


def _metric(cell: Mapping[str, str]) -> str:
    return f"{cell['metric']} ({cell['unit']})" if cell["unit"] else cell["metric"]


def _difference(cell: Mapping[str, str]) -> str:
    apart = number(cell["difference"])
    return MISSING if apart is None else f"{apart:+.2f} %"
