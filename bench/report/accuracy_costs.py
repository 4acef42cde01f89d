"""Accuracy joined with cost: blocks of training runs beside the rows of a sweep at the size they were trained at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.accuracy_runs import Block, Part, Spread
from bench.report.digits import number
from bench.report.frame import PEAKS, label
from bench.report.groups import Group, all_groups
from bench.training.record import PRICED

MAP = ("map_height", "map_width", "map_channels")
COSTS: Mapping[str, str] = {
    "latency_ms": "ms a call",
    "peak_mib": "peak MiB (traced)",
    **PEAKS,
}


@dataclass(frozen=True)
class Priced:
    """A block with its mIoU over the seeds and its row of the sweep."""

    label: str
    miou: Spread
    row: Mapping[str, Any]

    def cost(self, column: str) -> float | None:
        """A cost that a log axis can show; null where it was not measured or is 0."""
        known = number(self.row[column])
        return known if known and (self.row["status"] == "ok" or column == "peak_mib") else None

    @property
    def arms(self) -> tuple[float, float] | None:
        """Arms of the 95 % interval of the median latency, ms; null where it is not known."""
        ends = [number(self.row[name]) for name in ("latency_ci_low_ms", "latency_ms", "latency_ci_high_ms")]
        low, middle, high = ends
        if low is None or middle is None or high is None or not low <= middle <= high:
            return None
        return middle - low, high - middle


@dataclass(frozen=True)
class Joined:
    """The blocks of a part that one group of a sweep has a price for.

    Attributes:
        missing: labels that were trained and that the group has no row for.
        other: labels whose row is of another block: it has another number of parameters than what was trained.
    """

    part: Part
    group: Group
    priced: tuple[Priced, ...]
    missing: tuple[str, ...]
    other: tuple[str, ...]

    def columns(self) -> list[str]:
        """The costs that at least two blocks have."""
        return [name for name in COSTS if sum(one.cost(name) is not None for one in self.priced) > 1]


def join(part: Part, sweep: pd.DataFrame) -> list[Joined]:
    """One join for each group of the sweep with the map size and channels that the blocks of the part saw.

    A block finds the row that was measured as it was trained, or else one by entry and options, or by its label,
    whatever the order of its options. Whole networks, which see no map of their own, find theirs in every group of
    networks. Groups with fewer than two blocks to draw are left out.
    """
    trained = [(block, spread) for block in part.blocks if (spread := block.spread("miou")) is not None]
    found = [_join(part, group, trained) for group in all_groups(sweep) if _fits(group, part)]
    return [joined for joined in found if joined.columns()]


def _fits(group: Group, part: Part) -> bool:
    if part.whole:
        return group.setting.kind == "backbones"
    maps = {tuple(block.any(name) for name in MAP) for block in part.blocks}
    return group.setting.kind == "blocks" and (group.height, group.width, group.channels) in maps


def _join(part: Part, group: Group, trained: Sequence[tuple[Block, Spread]]) -> Joined:
    rows: dict[object, Mapping[Any, Any]] = {}
    for row in group.frame.to_dict("records"):
        rows[row["label"] if row["entry"] == PRICED else _canonical(row["label"])] = row
    priced, missing, other = [], [], []
    for block, spread in trained:
        spelled = label(str(block.any("entry")), block.any("options") or {})
        row = rows.get(block.label) or rows.get(_canonical(spelled)) or rows.get(_canonical(block.label))
        if row is None:
            missing.append(block.label)
        elif not _same_size(block, part, row):
            other.append(block.label)
        else:
            priced.append(Priced(block.label, spread, {str(name): value for name, value in row.items()}))
    return Joined(part, group, tuple(priced), tuple(missing), tuple(other))


def _same_size(block: Block, part: Part, row: Mapping[Any, Any]) -> bool:
    """Whether the row has as many parameters as the block that was trained, where both are known.

    Whole networks are trained with other numbers of classes than they are swept with, which is no other network.
    """
    mine, theirs = number(block.any("block_params")), number(row["params"])
    return part.whole or mine is None or theirs is None or mine == theirs


def _canonical(spelled: str) -> tuple[str, frozenset[str]]:
    """Entry and options of a label, whatever the order of the options."""
    name, _, options = spelled.partition(":")
    return name, frozenset(options.split(",")) if options else frozenset()
