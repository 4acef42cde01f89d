"""Published figures: every cell of the papers' tables, as printed, with the recipe that recounts it."""

from __future__ import annotations

import csv
import functools
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from bench.axes import parse_blocks, parse_sizes
from bench.case import Case, make_case
from modules.options import SpecError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAPERS = ("ann", "gald", "galdv2", "fastfcn", "gcnet")


@dataclass(frozen=True)
class Cell:
    """One published figure.

    Attributes:
        paper: one of `PAPERS`.
        table: as users type it: `1`, `12(a)`, `IV`, `abstract`.
        row, metric: where in the table it stands.
        unit: of the figure.
        published: exactly as printed, as its digits say how it was rounded; empty where nothing was printed.
        convention: the rule by which it was counted or measured, see `bench.papers.judge`.
        block: the case that recounts it, as the command line spells a block; empty where there is none.
        size, channels: of the case.
        base: the row, of this table or as `table|row`, that it is compared with or stands on.
        stated: whether the paper, or code that its authors released, says all that a recount needs: `yes`, `no`,
            `inferred` where a rule or a layer that neither names was found by what gives the printed figure, or `own`
            where this project specified the layers itself.
        note: what the figure means, or why it cannot be reached.
    """

    paper: str
    table: str
    row: str
    metric: str
    unit: str
    published: str
    convention: str
    block: str
    size: str
    channels: str
    base: str
    stated: str
    note: str

    @property
    def value(self) -> float:
        """The figure as a number.

        Raises:
            ValueError: nothing was printed.
        """
        return float(self.published)

    def case(self, device: str = "cpu", size: str | None = None) -> Case:
        """The case of the recipe, at its own map size or at another.

        Raises:
            SpecError: there is no recipe, or it does not fit the registry.
        """
        if not self.block:
            raise SpecError(f"{self.paper} table {self.table}, {self.row}, {self.metric}: no case recounts it")
        ((name, options),) = parse_blocks(self.block)
        ((height, width),) = parse_sizes(size or self.size)
        return make_case(name, options, height, width, int(self.channels or 2048), device=device)


@dataclass(frozen=True)
class Table:
    """A table of a paper: what it compares, what there is to explain about it, and its cells in printed order."""

    paper: str
    id: str
    title: str
    explain: str
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """`Table 12(a)`, or the place in the text."""
        if self.id.startswith("sec"):
            return f"Section {self.id.removeprefix('sec')}"
        return "Abstract" if self.id == "abstract" else f"Table {self.id}"

    def at(self, row: str, metric: str) -> Cell | None:
        """The cell of that row and metric, if there is one."""
        return next((cell for cell in self.cells if (cell.row, cell.metric) == (row, metric)), None)

    def base(self, cell: Cell, others: Iterable[Table], metric: str | None = None) -> Cell:
        """The cell that `cell` stands on: of its base row, with that metric or else its own, if there is one.

        Raises:
            SpecError: there is no such row.
        """
        table, bar, row = cell.base.rpartition("|")
        home = next((other for other in others if bar and other.id == table), None if bar else self)
        found = [other for other in home.cells if other.row == row] if home else []
        if not found:
            raise SpecError(f"{cell.paper} table {cell.table}, {cell.row}: there is no base row '{cell.base}'")
        same = [other for other in found if other.metric == (metric or cell.metric)]
        alike = [other for other in found if other.convention == cell.convention]
        return (same or alike or [other for other in found if other.block] or found)[0]


@functools.cache
def facts() -> Mapping[str, Any]:
    """Titles of papers and tables."""
    content = (resources.files("bench.papers") / "data" / "tables.toml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = tomllib.loads(content)
    return loaded


@functools.cache
def tables_of(paper: str) -> tuple[Table, ...]:
    """The tables of a paper in printed order.

    Raises:
        SpecError: there is no such paper.
    """
    paper = paper.casefold()
    if paper not in PAPERS:
        raise SpecError(f"unknown paper '{paper}'{nearest(paper, PAPERS)}")
    found: dict[str, list[Cell]] = {}
    text = (resources.files("bench.papers") / "data" / f"{paper}.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        found.setdefault(line["table"], []).append(Cell(paper=paper, **line))
    told = facts()[paper]["table"]
    return tuple(
        Table(paper, id, told[id]["title"], told[id].get("explain", ""), tuple(cells)) for id, cells in found.items()
    )


def choose(paper: str | None, table: str | None) -> list[Table]:
    """All tables, those of one paper, or one table; `5` stands for 5(a) to 5(f).

    Raises:
        SpecError: a paper or table that does not exist, or a table without a paper.
    """
    if paper is None:
        if table is not None:
            raise SpecError(f"--table {table} needs a paper before it; allowed: {', '.join(PAPERS)}")
        return [found for name in PAPERS for found in tables_of(name)]
    all_tables = list(tables_of(paper))
    if table is None:
        return all_tables
    wanted = _plain(table)
    chosen = [t for t in all_tables if wanted in (_plain(t.id), t.id.casefold().partition("(")[0])]
    if not chosen:
        raise SpecError(f"{paper} has no table '{table}'{nearest(table, [t.id for t in all_tables])}")
    return chosen


def _plain(id: str) -> str:
    return id.casefold().replace("(", "").replace(")", "")
