"""Training runs sorted for a report: parts that may be compared, the blocks of a part, the figures of a block."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.digits import number

Record = Mapping[str, Any]

PART = ("dataset", "size", "recipe", "settings", "channels", "impl", "device")
KINDS = ("scene", "pairwise", "regional")
MIXED = "_mixed"
NESTED = ("resolving", "groups", "boundary_f1_at", "class_iou")


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of a block: mean, sample standard deviation (null for one seed), number of seeds."""

    mean: float
    sd: float | None
    seeds: int


@dataclass(frozen=True)
class Block:
    """One block of a part: its runs that ended well, by seed, and those that did not."""

    label: str
    runs: Mapping[int, Record]
    failed: tuple[Record, ...]

    def any(self, field: str) -> Any:
        """A field that does not depend on the seed; null where no run has it."""
        every = (*self.runs.values(), *self.failed)
        return next((run[field] for run in every if run[field] is not None), None)

    def values(self, figure: str) -> dict[int, float]:
        """The figure (see `value`) by seed, of the runs that have it."""
        found = {seed: value(run, figure) for seed, run in self.runs.items()}
        return {seed: known for seed, known in found.items() if known is not None}

    def spread(self, figure: str) -> Spread | None:
        """Mean and deviation of a figure over the seeds; null where no run has it."""
        known = list(self.values(figure).values())
        if not known:
            return None
        return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True, eq=False)
class Part:
    """Runs of one data set, image size and recipe. Runs of different parts never stand in one table.

    A part is equal to itself alone, so that what is worked out of it can be kept.

    Attributes:
        blocks: in the order in which their labels first appear.
        repeated: runs left out as a later run of the same block and seed counts instead.
        marked: whether only the hash of the settings tells this part from another.
    """

    dataset: str
    size: int | None
    recipe: str
    settings: str
    blocks: tuple[Block, ...]
    repeated: int
    marked: bool

    def block(self, label: str) -> Block | None:
        """The block of that label, null where it was not trained in this part."""
        return next((block for block in self.blocks if block.label == label), None)

    @property
    def runs(self) -> list[Record]:
        """The runs that ended well, block by block."""
        return [run for block in self.blocks for run in block.runs.values()]

    @property
    def whole(self) -> bool:
        """Whether whole networks were trained: no run has a block of its own to count."""
        return all(block.any("block_params") is None for block in self.blocks)

    def words(self) -> str:
        """`scenes at 64 px, recipe default, 1200 iterations`."""
        words = [self.dataset + (f" at {self.size} px" if self.size is not None else ""), f"recipe {self.recipe}"]
        iterations = sorted({run["iterations"] for run in self.runs if run["iterations"] is not None})
        words += [f"{' or '.join(str(many) for many in iterations)} iterations"] if iterations else []
        return ", ".join([*words, *([f"settings {self.settings}"] if self.marked else [])])

    def slug(self) -> str:
        """A file name: `scenes-64-default`."""
        size = [str(self.size)] if self.size is not None else []
        words = [self.dataset, *size, self.recipe, *([self.settings] if self.marked else [])]
        return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "", word) for word in words)

    def keys(self, field: str) -> list[str]:
        """Names within a nested field (`resolving`, `groups`, ...) of any run, in order of first appearance."""
        return list(dict.fromkeys(key for run in self.runs for key in run[field] or {}))

    def kinds(self) -> list[str]:
        """The kinds of context whose twin classes were judged: those of scenes first, in a fixed order."""
        found = [key for key in self.keys("resolving") if not key.endswith(MIXED)]
        return [*(kind for kind in KINDS if kind in found), *(kind for kind in found if kind not in KINDS)]


def value(record: Record, figure: str) -> float | None:
    """A figure of a run by name: a field (`miou`), or a field and a key within it (`resolving.scene`)."""
    field, _, key = figure.partition(".")
    held = record[field]
    return number(held.get(key)) if key and isinstance(held, Mapping) else number(held)


def parts(records: Iterable[Record]) -> list[Part]:
    """The parts of a run in order of first appearance.

    Where a block was trained several times with one seed, the last run that ended well counts, or else the last.
    """
    found: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        found.setdefault(tuple(record[name] for name in PART), []).append(record)
    alike = [key[:3] for key in found]
    return [_part(key[:4], runs, alike.count(key[:3]) > 1) for key, runs in found.items()]


def _part(key: tuple[Any, ...], runs: list[Record], marked: bool) -> Part:
    by_label: dict[str, dict[int, list[Record]]] = {}
    for run in runs:
        by_label.setdefault(str(run["label"]), {}).setdefault(run["seed"], []).append(run)
    blocks = []
    for label, by_seed in by_label.items():
        last = {seed: _last(same) for seed, same in sorted(by_seed.items(), key=lambda item: str(item[0]).zfill(12))}
        good = {seed: run for seed, run in last.items() if run["status"] == "ok"}
        blocks.append(Block(label, good, tuple(run for seed, run in last.items() if seed not in good)))
    kept = sum(len(block.runs) + len(block.failed) for block in blocks)
    dataset, size, recipe, settings = key
    return Part(str(dataset), size, _named(recipe), _named(settings), tuple(blocks), len(runs) - kept, marked)


def _named(name: Any) -> str:
    return "unnamed" if name is None else str(name)


def _last(same: list[Record]) -> Record:
    return next((run for run in reversed(same) if run["status"] == "ok"), same[-1])
