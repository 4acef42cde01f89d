"""Judge: one published cell, recounted, and what becomes of the claim."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from bench.papers.conventions import COUNTS, anchors, ann_memory, ann_memory_stale, positions
from bench.papers.published import Cell, Table, tables_of
from bench.papers.readings import READINGS
from bench.papers.recount import recount
from bench.papers.rounding import increment_agrees, rounded
from modules.options import SpecError

Verdict: TypeAlias = Literal[
    "reproduced",
    "increment reproduced",
    "circular",
    "not reproduced",
    "differs on this device",
    "not comparable",
    "not measured",
    "not published",
    "needs training",
]

TRUNCATED = "Last digit cut off, not rounded."
INFERRED = "By a rule or a layer that the paper does not name."
CIRCULAR = "By layers that this project specified itself, so that agreement is no evidence."
AGREES = "Ours agrees, but the paper does not say enough for that to count."
_UNITS: Mapping[str, float] = types.MappingProxyType({"M": 1e6, "G": 1e9, "GMACs": 1e9})
ABSOLUTE = ("time", "fps", "cuda_memory")
MEASURED = (*ABSOLUTE, "ratio_of_time")
INCREMENTS: Mapping[str, str] = types.MappingProxyType({f"{name}_increment": name for name in ("macs", "ptflops")})
"""Rules whose total is not known, and what each counts: the verdict is on what a row adds to its base row."""

_KINDS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "params": ("params", "params_increase", "params_increase_percent", "senet_params", "cbam_params"),
        "FLOPs": (*COUNTS, *INCREMENTS, "ptflops_criss_cross", "ptflops_dual", "flops_increase_percent"),
        "memory": ("ann_memory", "ann_memory_stale", "ratio_of_memory"),
        "anchors and positions": ("anchors", "positions", "anchor_saving"),
        "ratios of printed rates": ("ratio_of_printed",),
    }
)

KINDS = (*_KINDS, "differences of printed accuracies")


@dataclass(frozen=True)
class Ratio:
    """A measured ratio to the base row, its 95 % interval (null for memory), and the published one."""

    ours: float
    low: float | None
    high: float | None
    published: float


@dataclass(frozen=True)
class Finding:
    """A cell with what we say of it.

    Attributes:
        cell: the claim.
        ours: our figure in the cell's unit; null where there is none.
        verdict: see `Verdict`.
        why: the reason, or what the figure means; may be empty.
        ratio: to the base row, where it was measured.
        how: `TRUNCATED` and `INFERRED`, where agreement needs them; `why` begins with them.
    """

    cell: Cell
    ours: float | None
    verdict: Verdict
    why: str = ""
    ratio: Ratio | None = None
    how: tuple[str, ...] = ()

    @property
    def static(self) -> bool:
        """Whether the cell follows from the network alone, and was published."""
        return self.cell.convention in RECOUNTED and bool(self.cell.published)

    @property
    def kind(self) -> str:
        """What a static cell counts, one of `KINDS`."""
        convention = self.cell.convention
        if convention == "same":
            return "params" if self.cell.metric == "params" else "FLOPs"
        return next((kind for kind, names in _KINDS.items() if convention in names), KINDS[-1])

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
            "ratio": self.ratio.ours if self.ratio else None,
            "ratio_ci_low": self.ratio.low if self.ratio else None,
            "ratio_ci_high": self.ratio.high if self.ratio else None,
            "ratio_published": self.ratio.published if self.ratio else None,
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
    if cell.convention == "same":
        return _repeated(cell, table)
    ours = STATIC[cell.convention](cell, table)
    if not cell.published:
        return Finding(cell, ours, "not published", cell.note)
    if cell.convention in INCREMENTS:
        return _increment(cell, table, ours)
    agreement = rounded(ours, cell.published)
    if agreement == "off":
        return Finding(cell, ours, "not comparable" if cell.stated == "no" else "not reproduced", cell.note)
    if cell.stated in ("no", "own"):
        verdict: Verdict = "not comparable" if cell.stated == "no" else "circular"
        return Finding(cell, ours, verdict, f"{AGREES if cell.stated == 'no' else CIRCULAR} {cell.note}".strip())
    how = [TRUNCATED] if agreement == "truncated" else []
    how += [INFERRED] if cell.stated == "inferred" else []
    return Finding(cell, ours, "reproduced", " ".join([*how, cell.note]).strip(), how=tuple(how))


def _increment(cell: Cell, table: Table, total: float) -> Finding:
    """The verdict on what a row adds to its base row; the total is ours, and decides nothing."""
    base = _base(cell, table)
    ours = total - _increment_total(base, cell.convention)
    agrees = increment_agrees(ours, cell.published, base.published)
    places = len(cell.published.partition(".")[2])
    printed = f"{cell.value - base.value:.{places}f}"
    told = f"Adds {ours:.{places + 2}f} {cell.unit} to {base.row}, printed {printed} {cell.unit}."
    how = (INFERRED,) if agrees and cell.stated == "inferred" else ()
    verdict: Verdict = "increment reproduced" if agrees else "not reproduced"
    return Finding(cell, total, verdict, " ".join([*how, told, cell.note]).strip(), how=how)


def _repeated(cell: Cell, table: Table) -> Finding:
    """The finding on the cell that this one repeats."""
    base = _base(cell, table)
    found = judge(base, next(other for other in _siblings(cell) if other.id == base.table))
    return replace(found, cell=cell, why=f"{found.why} {cell.note}".strip())


def _expected(cell: Cell, table: Table) -> str:
    """What a ratio of rates would be if time went by multiply-adds."""
    if cell.convention != "fps" or not cell.base:
        return ""
    ratio = recount(_base(cell, table).case()).tally.macs / recount(cell.case()).tally.macs
    return f"; multiply-adds alone would give {ratio:.2f} x of {_base(cell, table).row}"


def _siblings(cell: Cell) -> Sequence[Table]:
    return tables_of(cell.paper)


def _base(cell: Cell, table: Table) -> Cell:
    return table.base(cell, _siblings(cell))


def _params(cell: Cell, table: Table) -> float:
    return recount(cell.case()).params / _UNITS[cell.unit]


def _count(cell: Cell, table: Table) -> float:
    return COUNTS[cell.convention](recount(cell.case()).tally) / _UNITS[cell.unit]


def _reading(cell: Cell, table: Table) -> float:
    return READINGS[cell.convention](cell.case()) / _UNITS[cell.unit]


def _increment_total(cell: Cell, convention: str) -> float:
    return COUNTS[INCREMENTS[convention]](recount(cell.case()).tally) / _UNITS[cell.unit]


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


def _printed_ratio(cell: Cell, table: Table) -> float:
    """Of two printed rates: of the base row, over that of its own base row; a reader can redo it."""
    over = _base(cell, table)
    home = next(other for other in _siblings(cell) if other.id == over.table)
    return over.value / home.base(over, _siblings(cell)).value


def _params_increase(cell: Cell, table: Table) -> float:
    return (recount(cell.case()).params - recount(_base(cell, table).case()).params) / _UNITS[cell.unit]


def _params_increase_percent(cell: Cell, table: Table) -> float:
    base = recount(_base(cell, table).case()).params
    return (recount(cell.case()).params - base) / base * 100


def _flops_increase_percent(cell: Cell, table: Table) -> float:
    """Of the two figures as a table prints them, in G with two decimals."""
    ours, base = (round(recount(c.case()).tally.macs / 1e9, 2) for c in (cell, _base(cell, table)))
    return (ours - base) / base * 100


STATIC: Mapping[str, Callable[[Cell, Table], float]] = types.MappingProxyType(
    {
        "params": _params,
        **dict.fromkeys(COUNTS, _count),
        **dict.fromkeys(INCREMENTS, lambda cell, table: _increment_total(cell, cell.convention)),
        **dict.fromkeys(READINGS, _reading),
        "ann_memory": _memory,
        "ann_memory_stale": _stale_memory,
        "ratio_of_memory": _memory_ratio,
        "anchors": _anchors,
        "positions": _positions,
        "anchor_saving": _anchor_saving,
        "difference": _difference,
        "ratio_of_printed": _printed_ratio,
        "params_increase": _params_increase,
        "params_increase_percent": _params_increase_percent,
        "flops_increase_percent": _flops_increase_percent,
    }
)
RECOUNTED = (*STATIC, "same")
