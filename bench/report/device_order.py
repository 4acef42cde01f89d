"""Order: which block is the fastest at a place, and whether devices agree on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.device_places import Column, Line, Place, Row
from bench.report.digits import number
from bench.report.formats import Grid
from bench.report.tables import Table

RANKED = "Rank: one more than the number of blocks that are shown to be faster on that device. =: shared with another."


@dataclass(frozen=True)
class Order:
    """Ranks of the blocks of a place, each device by itself.

    Attributes:
        place: at which.
        columns: the devices that timed blocks there.
        ranks: of each column, by line; 1 is the fastest. Only lines with a time on every one of the devices have one,
            or the ranks of two devices would count different blocks.
        left_out: lines with a time on some of the devices alone.
    """

    place: Place
    columns: tuple[Column, ...]
    ranks: tuple[Mapping[Line, int], ...]
    left_out: tuple[Line, ...]

    @property
    def apart(self) -> list[Line]:
        """Lines whose rank is not the same on all devices."""
        first = self.ranks[0]
        return [line for line in first if any(ranks[line] != first[line] for ranks in self.ranks)]

    def table(self) -> Table:
        """A line a block, fastest on the first device first; a column a device."""
        several = self.place.several
        heads = ("block", *(["impl"] if several else []), *(column.title for column in self.columns))
        lines = sorted(self.ranks[0], key=lambda line: (self._implementation(line), self.ranks[0][line]))
        body = tuple((*self.place.head(line), *(self._cell(ranks, line) for ranks in self.ranks)) for line in lines)
        first = 2 if several else 1
        grid = Grid(heads, body, "l" * first + "r" * len(self.columns))
        return Table(f"Order by time: {self.place.title}", grid, self._notes())

    def _cell(self, ranks: Mapping[Line, int], line: Line) -> str:
        shared = sum(rank == ranks[line] for other, rank in ranks.items() if other[1] == line[1]) > 1
        return f"{ranks[line]} =" if shared else f"{ranks[line]}"

    def _implementation(self, line: Line) -> int:
        return [impl for _, impl in self.place.lines].index(line[1])

    def _notes(self) -> tuple[str, ...]:
        notes = [f"{RANKED} Implementations are ranked apart." if self.place.several else RANKED]
        if len(self.columns) > 1:
            names = [" ".join(self.place.head(line)) for line in self.apart]
            agreed = (
                f"Of another rank on some device: {', '.join(names)}." if names else "All devices agree on this order."
            )
            notes.append(agreed)
        if self.left_out:
            names = [" ".join(self.place.head(line)) for line in self.left_out]
            notes.append(f"Without a rank, for not every device has its time: {', '.join(names)}.")
        return tuple(notes)


def orders(found: Sequence[Place]) -> list[Order]:
    """The order at every place where two blocks or more have a time on all of the devices that timed any."""
    return [order for place in found if (order := _order(place)) is not None]


def faster(row: Row, other: Row) -> bool:
    """Whether a row of a group is shown to be faster than another one of it.

    By their ratios to the reference, which are paired by round, where both have them, else by their medians. Shown
    means that the intervals do not overlap and that the difference exceeds the noise floor; where neither interval nor
    floor is known, nothing is shown. Against the reference this agrees with `frame.verdict`.
    """
    mine, theirs = _figures(row, other)
    if not mine[0] or not theirs[0] or mine[0] >= theirs[0]:
        return False
    floors = [floor for floor in (number(row["noise_floor"]), number(other["noise_floor"])) if floor is not None]
    ends = mine[1], theirs[2]
    if not floors and None in ends:
        return False
    apart = ends[0] is None or ends[1] is None or ends[0] < ends[1]
    quotient = mine[0] / theirs[0]
    difference = 1 / quotient - 1 if row["verdict"] == "reference" else 1 - quotient
    return apart and difference > max(floors, default=0.0)


def _figures(row: Row, other: Row) -> tuple[tuple[float | None, ...], ...]:
    """(value, upper end, lower end) of both rows, of the figure by which they compare."""
    paired = ("ratio", "ratio_ci_high", "ratio_ci_low")
    by_ratio = tuple(tuple(number(made[name]) for name in paired) for made in (row, other))
    if row["reference"] == other["reference"] and all(value is not None for figures in by_ratio for value in figures):
        return by_ratio
    medians = ("latency_ms", "latency_ci_high_ms", "latency_ci_low_ms")
    return tuple(tuple(number(made[name]) for name in medians) for made in (row, other))


def _order(place: Place) -> Order | None:
    timed = [
        {line: row for line, row in column.rows.items() if row["status"] == "ok" and number(row["latency_ms"])}
        for column in place.columns
    ]
    columns = tuple(column for column, rows in zip(place.columns, timed, strict=True) if rows)
    timed = [rows for rows in timed if rows]
    lines = [line for line in place.lines if timed and all(line in rows for rows in timed)]
    if len(lines) < 2:
        return None
    ranks = tuple({line: _rank(line, lines, rows) for line in lines} for rows in timed)
    left_out = tuple(line for line in place.lines if line not in lines and any(line in rows for rows in timed))
    return Order(place, columns, ranks, left_out)


def _rank(line: Line, lines: Sequence[Line], rows: Mapping[Line, Row]) -> int:
    return 1 + sum(faster(rows[other], rows[line]) for other in lines if other[1] == line[1])
