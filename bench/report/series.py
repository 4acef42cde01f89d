"""Lines of a plot: the points of each block over the sizes of a panel, with gaps where a point is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.digits import number
from bench.report.groups import Group
from bench.report.tables import status

GAP = float("nan")


@dataclass(frozen=True)
class Curve:
    """What a line plot shows: a column over a column, with an optional interval."""

    name: str
    title: str
    x: str
    y: str
    x_title: str
    y_title: str
    low: str = ""
    high: str = ""
    timed: bool = True


@dataclass(frozen=True)
class Series:
    """One block in one panel: a point a size, NaN where there is none, and the arms of its interval."""

    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]

    @property
    def last(self) -> tuple[float, float]:
        """The last point that exists."""
        return next((x, y) for x, y in zip(reversed(self.xs), reversed(self.ys), strict=True) if y == y)

    @property
    def complete(self) -> bool:
        """Whether the line reaches the largest size of the panel."""
        return self.ys[-1] == self.ys[-1]


@dataclass(frozen=True)
class Panel:
    """The series of one channel count, and what could not be drawn: cases by status, and blocks that are zero."""

    channels: int
    groups: tuple[Group, ...]
    series: tuple[Series, ...]
    missing: Counter[str]
    zero: tuple[str, ...]


def panels(found: Sequence[Group], curve: Curve) -> list[Panel]:
    """A panel for each channel count that has a point to draw."""
    made = [_panel(channels, members, curve) for channels, members in by_channels(found).items()]
    return [panel for panel in made if panel.series]


def by_channels(found: Sequence[Group]) -> dict[int, tuple[Group, ...]]:
    """Groups by channel count, each by positions."""
    channels = sorted({group.channels for group in found})
    return {count: tuple(group for group in found if group.channels == count) for count in channels}


def missing_words(missing: Counter[str]) -> str:
    """`14 cases are not drawn (12 skipped, 2 out of memory)`, or ""."""
    total = sum(missing.values())
    if not total:
        return ""
    kinds = ", ".join(f"{many} {word}" for word, many in missing.most_common())
    return f"{total} {'case is' if total == 1 else 'cases are'} not drawn ({kinds})"


def _panel(channels: int, members: tuple[Group, ...], curve: Curve) -> Panel:
    rows = [{row["label"]: row for row in group.frame.to_dict("records")} for group in members]
    ranks = {label: int(row["rank"]) for known in rows for label, row in known.items()}
    missing: Counter[str] = Counter()
    zero: dict[str, None] = {}
    series = []
    for label in sorted(ranks, key=lambda name: ranks[name]):
        points = []
        for known in rows:
            row = known.get(label)
            point = _point(row, curve) if row is not None else None
            if row is not None and point is None:
                if _zero(row, curve):
                    zero[label] = None
                else:
                    missing[status(row) if row["status"] != "ok" else "without a figure"] += 1
            points.append(point or (GAP, GAP, GAP, GAP))
        if any(point[1] == point[1] for point in points):
            series.append(Series(label, *(tuple(values) for values in zip(*points, strict=True))))
    return Panel(channels, members, tuple(series), missing, tuple(zero))


def _point(row: dict[Any, Any], curve: Curve) -> tuple[float, float, float, float] | None:
    """x, y and the two arms; None where the row has no such figure or a log axis cannot show it."""
    x, y = number(row[curve.x]), number(row[curve.y])
    if (curve.timed and row["status"] != "ok") or not x or not y:
        return None
    low = number(row[curve.low]) if curve.low else None
    high = number(row[curve.high]) if curve.high else None
    return x, y, 0.0 if low is None else max(0.0, y - low), 0.0 if high is None else max(0.0, high - y)


def _zero(row: dict[Any, Any], curve: Curve) -> bool:
    measured = row["status"] == "ok" or not curve.timed
    return measured and 0.0 in (number(row[curve.x]), number(row[curve.y]))
