"""Places: the same cases on several devices side by side, a line a block, columns of its own for each device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.devices import Device
from bench.report.digits import MISSING, count, number, percent, significant
from bench.report.formats import Grid
from bench.report.frame import PEAKS
from bench.report.groups import USUAL
from bench.report.tables import Table, disturbed_note, failures, latency, ratio

Row = dict[Any, Any]
Line = tuple[str, str]
"""A block's label, and its implementation."""

PLACE = ("kind", "dtype", "mode", "batch", "memory_format", "compiled", "height", "width", "channels")
STATIC: Mapping[str, str] = {"params": "params", "macs": "multiply-adds", "traced_peak_bytes": "traced peak bytes"}
OPTIONAL = {**{name: title.replace("peak ", "") for name, title in PEAKS.items()}, "energy_mj": "mJ"}
"""Columns of a device that has such figures, with their heads."""
TIE = "≈: no difference shown on that device, within its noise floor or with 1 inside the 95 % interval of the ratio."
UNKNOWN = "?: the noise of this ratio was not measured."
APART = (
    "†: this figure must not depend on the device, and here it does; each device's own, in the order of the columns."
)


@dataclass(frozen=True)
class Column:
    """The rows of one device at one place; of a device with several environments or methods, of one of them.

    Attributes:
        title: the device, and the part where it has several.
        rows: by line.
        note: what `devices.json` says of the device.
    """

    title: str
    rows: Mapping[Line, Row]
    note: str

    def shows(self, name: str) -> bool:
        """Whether some row has this figure."""
        return any(number(row[name]) is not None for row in self.rows.values())

    def against(self) -> str:
        """The head of its ratios."""
        references = {row["reference"] for row in self.rows.values() if row["reference"]}
        return f"vs {references.pop()}" if len(references) == 1 else "vs reference"


@dataclass(frozen=True)
class Place:
    """Everything but block, implementation and device is one and the same here. No figure of it mixes columns."""

    title: str
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]

    @property
    def several(self) -> bool:
        """Whether blocks stand here in more than one implementation."""
        return len({impl for _, impl in self.lines}) > 1

    def head(self, line: Line) -> tuple[str, ...]:
        """The first cells of a line."""
        return line if self.several else line[:1]

    def static(self, line: Line, name: str) -> list[Any]:
        """The values of a static figure on the devices that have it, each once: one, unless devices differ."""
        held = [column.rows[line][name] for column in self.columns if line in column.rows]
        return list(dict.fromkeys(value for value in held if number(value) is not None))

    def table(self) -> Table:
        """Static figures once, then for each device: ms, ratio, and peak and energy where they were measured."""
        heads = ["block", *(["impl"] if self.several else []), "params", "GMACs", "peak\nMiB"]
        lines = [[*self.head(line), *self._static(line)] for line in self.lines]
        for column in self.columns:
            heads += [f"{column.title}\n{name}" for name in _heads(column)]
            for line, cells in zip(self.lines, lines, strict=True):
                cells += _cells(column, column.rows.get(line))
        first = 2 if self.several else 1
        align = "l" * first + "r" * (len(heads) - first)
        return Table(self.title, Grid(tuple(heads), tuple(tuple(cells) for cells in lines), align), self._notes())

    def _static(self, line: Line) -> list[str]:
        figures = (("params", count), ("gmacs", significant), ("peak_mib", significant))
        return [_agreed([shown(value) for value in self.static(line, name)]) for name, shown in figures]

    def _notes(self) -> tuple[str, ...]:
        rows = [row for column in self.columns for row in column.rows.values()]
        notes = []
        if any(len(self.static(line, name)) > 1 for line in self.lines for name in STATIC):
            notes.append(APART)
        floors = [f"{column.title} {told}" for column in self.columns if (told := _floors(column))]
        notes += [f"Noise floors, each of its device alone: {'; '.join(floors)}."] if floors else []
        notes += [TIE] if any(row["verdict"] == "tie" and row["status"] == "ok" for row in rows) else []
        notes += [UNKNOWN] if any("?" in ratio(row) for row in rows) else []
        for column in self.columns:
            told = disturbed_note([*column.rows.values()])
            notes += [f"{column.title}, {told}"] if told else []
        for column in self.columns:
            notes += [f"{column.title}, {told}" for told in failures(column.rows.values())]
            absent = [" ".join(self.head(line)) for line in self.lines if line not in column.rows]
            why = f" ({column.note})" if column.note else ""
            notes += [f"{column.title}, no row: {', '.join(absent)}{why}"] if absent else []
        return tuple(notes)


def places(devices: Sequence[Device]) -> list[Place]:
    """Every place at which some device has a row, blocks before backbones, by setting, channels and positions."""
    known: dict[tuple[Any, ...], dict[tuple[int, int], pd.DataFrame]] = {}
    split = [device.parts for device in devices]
    for index, its_parts in enumerate(split):
        for part in its_parts:
            for place, rows in part.frame.groupby(list(PLACE), sort=False, dropna=False):
                known.setdefault(place, {})[index, part.number] = rows
    found = [(dict(zip(PLACE, place, strict=True)), held) for place, held in known.items()]
    settings = list(dict.fromkeys(tuple(told[name] for name in PLACE[1:6]) for told, _ in found))

    def order(entry: tuple[dict[str, Any], Any]) -> tuple[int, ...]:
        told, _ = entry
        setting = settings.index(tuple(told[name] for name in PLACE[1:6]))
        return int(told["kind"] != "blocks"), setting, told["channels"], told["height"] * told["width"], told["height"]

    made = []
    for told, held in sorted(found, key=order):
        columns = []
        for index, device in enumerate(devices):
            here = [part for part in split[index] if (index, part.number) in held]
            columns += [_column(device, part.number, len(split[index]), held[index, part.number]) for part in here]
            columns += [Column(device.title, {}, device.note)] if split[index] and not here else []
        made.append(_place(told, columns))
    return made


def _column(device: Device, number: int, of: int, rows: pd.DataFrame) -> Column:
    title = f"{device.title}, part {number}" if of > 1 else device.title
    return Column(title, {(row["label"], row["impl"]): row for row in rows.to_dict("records")}, device.note)


def _place(told: Mapping[str, Any], columns: Sequence[Column]) -> Place:
    ranks: dict[Line, tuple[int, int]] = {}
    impls = list(dict.fromkeys(impl for column in columns for _, impl in column.rows))
    for column in columns:
        for line, row in column.rows.items():
            ranks[line] = row["rank"], impls.index(line[1])
    words = [f"{told['height']}x{told['width']}, {told['channels']} channels", told["dtype"], told["mode"]]
    words += [f"batch {told['batch']}", *([f"{impls[0]} implementation"] if len(impls) == 1 else [])]
    words += [told["memory_format"]] if told["memory_format"] not in USUAL else []
    words += ["compiled"] if told["compiled"] else []
    title = f"{told['kind'].capitalize()}, {', '.join(words)}"
    return Place(title, tuple(sorted(ranks, key=lambda line: ranks[line])), tuple(columns))


def _heads(column: Column) -> list[str]:
    return ["ms", column.against(), *(head for name, head in OPTIONAL.items() if column.shows(name))]


def _cells(column: Column, row: Row | None) -> list[str]:
    optional = [name for name in OPTIONAL if column.shows(name)]
    if row is None:
        return [MISSING] * (2 + len(optional))
    return [latency(row), ratio(row), *(significant(row[name]) for name in optional)]


def _agreed(shown: Sequence[str]) -> str:
    return f"{' / '.join(shown)} †" if len(shown) > 1 else next(iter(shown), MISSING)


def _floors(column: Column) -> str:
    """`3.0 % (against nl)` of each group of a column, once."""
    told: Iterable[tuple[Any, Any]] = ((row["reference"], row["noise_floor"]) for row in column.rows.values())
    known = dict.fromkeys(pair for pair in told if number(pair[1]) is not None)
    return ", ".join(f"{percent(floor)}" + (f" (against {name})" if name else "") for name, floor in known)
