"""Judge: one published cell, recounted, and what becomes of the claim."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bench.papers.conventions import COUNTS, anchors, ann_memory, ann_memory_stale, positions
from bench.papers.published import Cell, Table, tables_of
from bench.papers.recount import recount
from bench.papers.rounding import rounded
from modules.options import SpecError

Verdict: TypeAlias = Literal[
    "reproduced", "not reproduced", "not comparable", "not measured", "not published", "needs training"
]

_UNITS: Mapping[str, float] = types.MappingProxyType({"M": 1e6, "G": 1e9, "GMACs": 1e9})
ABSOLUTE = ("time", "fps", "cuda_memory")
MEASURED = (*ABSOLUTE, "ratio_of_time", "ratio_of_fps")


@dataclass(frozen=True)
class Finding:
    """A cell with what we say of it.

    Attributes:
        cell: the claim.
        ours: our figure in the cell's unit; null where there is none.
        low, high: 95 % interval of a measured ratio, else null.
        verdict: see `Verdict`.
        why: the reason, or what the figure means; may be empty.
    """

    cell: Cell
    ours: float | None
    verdict: Verdict
    why: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def static(self) -> bool:
        """Whether the cell follows from the network alone, and was published."""
        return self.cell.convention in STATIC and bool(self.cell.published)

    def row(self, title: str) -> dict[str, object]:
        """The finding as a flat record; `difference` is ours over the published figure, minus one, in per cent; null
        for a time, a rate or a memory of another device."""
        cell = self.cell
        printed = float(cell.published) if cell.published and cell.convention not in ABSOLUTE else None
        apart = (self.ours / printed - 1) * 100 if self.ours is not None and printed else None
        return {
            "paper": cell.paper,
            "table": cell.table,
            "title": title,
            "row": cell.row,
            "metric": cell.metric,
            "unit": cell.unit,
            "published": cell.published or None,
            "ours": self.ours,
            "ci_low": self.low,
            "ci_high": self.high,
            "difference": apart,
            "verdict": self.verdict,
            "why": self.why or None,
            "convention": cell.convention,
            "block": cell.block or None,
            "size": cell.size or None,
            "channels": int(cell.channels or 2048) if cell.block else None,
        }


def judge(cell: Cell, table: Table) -> Finding:
    """The finding on a cell that needs no execution; cells that do are `not measured` here.

    Raises:
        SpecError: the data name a case or a base row that does not exist.
    """
    if cell.convention == "accuracy":
        return Finding(cell, None, "needs training", f"needs training on {cell.note or 'the data set'}")
    if cell.convention == "quoted":
        return Finding(cell, None, "not comparable", cell.note)
    if cell.convention in MEASURED:
        return Finding(cell, None, "not measured", f"to be measured with --measure{_expected(cell, table)}")
    ours = STATIC[cell.convention](cell, table)
    if not cell.published:
        return Finding(cell, ours, "not published", cell.note)
    agreement = rounded(ours, cell.published)
    if agreement == "exact":
        return Finding(cell, ours, "reproduced", cell.note)
    if agreement == "truncated":
        return Finding(cell, ours, "reproduced", f"last digit cut off, not rounded. {cell.note}".strip())
    return Finding(cell, ours, "not reproduced" if cell.stated else "not comparable", cell.note)


def _expected(cell: Cell, table: Table) -> str:
    """What a ratio of rates would be if time went by multiply-adds."""
    if cell.convention != "ratio_of_fps" or not cell.base:
        return ""
    return f"; multiply-adds alone would give {_macs_ratio(cell, table):.2f} x"


def _siblings(cell: Cell) -> Sequence[Table]:
    return tables_of(cell.paper)


def _base(cell: Cell, table: Table) -> Cell:
    return table.base(cell, _siblings(cell))


def _params(cell: Cell, table: Table) -> float:
    return recount(cell.case()).params / _UNITS[cell.unit]


def _count(cell: Cell, table: Table) -> float:
    return COUNTS[cell.convention](recount(cell.case()).tally) / _UNITS[cell.unit]


def _memory(cell: Cell, table: Table) -> float:
    return ann_memory(cell.case())


def _stale_memory(cell: Cell, table: Table) -> float:
    return ann_memory_stale(cell.case(), _base(cell, table).case())


def _memory_ratio(cell: Cell, table: Table) -> float:
    """Of the two blocks on fresh peaks: the base's memory over the case's."""
    return ann_memory(_base(cell, table).case()) / ann_memory(cell.case())


def _anchors(cell: Cell, table: Table) -> float:
    return anchors(cell.case())


def _positions(cell: Cell, table: Table) -> float:
    return positions(cell.case())


def _anchor_saving(cell: Cell, table: Table) -> float:
    """N/S: how much smaller the affinity matrix becomes."""
    return positions(cell.case()) / anchors(cell.case())


def _difference(cell: Cell, table: Table) -> float:
    """Of two printed mIoUs; arithmetic that a reader can redo."""
    minuend = table.at(cell.row, "mIoU")
    if minuend is None:
        raise SpecError(f"{cell.paper} table {cell.table}, {cell.row}: there is no mIoU to take a difference of")
    return round(minuend.value - table.base(cell, _siblings(cell), "mIoU").value, 6)


def _macs_ratio(cell: Cell, table: Table) -> float:
    """The base's multiply-adds over the case's."""
    return recount(_base(cell, table).case()).tally.macs / recount(cell.case()).tally.macs


def _params_increase(cell: Cell, table: Table) -> float:
    return (recount(cell.case()).params - recount(_base(cell, table).case()).params) / _UNITS[cell.unit]


def _params_increase_percent(cell: Cell, table: Table) -> float:
    base = recount(_base(cell, table).case()).params
    return (recount(cell.case()).params - base) / base * 100


def _flops_increase_percent(cell: Cell, table: Table) -> float:
    """Of the two figures as a table prints them, in G with two decimals."""
    ours, base = (round(recount(c.case()).tally.macs / 1e9, 2) for c in (cell, _base(cell, table)))
    return (ours - base) / base * 100


def _same(cell: Cell, table: Table) -> float:
    """What the cell that this one repeats comes to."""
    base = _base(cell, table)
    home = next(other for other in _siblings(cell) if other.id == base.table)
    return STATIC[base.convention](base, home)


STATIC: Mapping[str, Callable[[Cell, Table], float]] = types.MappingProxyType(
    {
        "params": _params,
        **dict.fromkeys(COUNTS, _count),
        "ann_memory": _memory,
        "ann_memory_stale": _stale_memory,
        "ratio_of_memory": _memory_ratio,
        "anchors": _anchors,
        "positions": _positions,
        "anchor_saving": _anchor_saving,
        "difference": _difference,
        "ratio_of_macs": _macs_ratio,
        "params_increase": _params_increase,
        "params_increase_percent": _params_increase_percent,
        "flops_increase_percent": _flops_increase_percent,
        "same": _same,
    }
)
