"""The report of a sweep on several kinds of device: pages of each, and above them tables with columns for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report import page, tables
from bench.report.device_order import orders
from bench.report.device_places import STATIC, Place, places
from bench.report.devices import Device, load_devices, read_devices
from bench.report.digits import MISSING, number
from bench.report.formats import FORMATS, Grid, render
from bench.report.frame import interval_words
from bench.report.groups import Part
from bench.report.tables import Table, write_tables
from bench.report.terminal import READING as SHORT
from bench.row import DEVICES, ROWS

REPORT = "report.md"
APART = (
    "Each device is an environment of its own: its rows were measured on it alone and stand in its columns. Ratios, "
    "noise floors and ties are of one device; no figure is pooled over devices."
)
CLOCKS = "CUDA devices are timed by CUDA events, processors by the clock of the host."
METHODS = "The rows were not all measured by one method: what differs between devices stands above."
SEVERAL = "Rows of more than one environment or method, each in columns of its own"
STATIC_APART = (
    "Static figures differ between devices. They must not depend on the device: take none of these on trust before it "
    "is known why."
)
READING = """\
- **block**: the entry, with the options that differ from its defaults. The lines of a table differ only in the block.
- **params**, **GMACs**, **peak MiB** (traced): static figures, the same on every device.
- **ms**: median time of a call. ± is the longer arm of the 95 % interval of the median, {interval}.
- **vs**: time over the time of the reference on that device, paired round by round; below 1 is faster.
- **CUDA MiB**: what the allocator reached above its baseline. **mJ**: energy of a call, from the card's counter.
- **Order by time**: a block's rank on a device is one more than the number of blocks that are shown to be faster there:
  by intervals that do not overlap, and by more than the noise floor of that device.
- **\N{EN DASH}**: not measured. What is missing, and what gave no time, stands below the table.
"""
_OF_THE_DEVICE = ("env", "method", "gpu", "gpu_memory_bytes", "gpu_capability", "memory_bytes", "cpu_count")
_RATES = "machine."
_AGREED = (
    *(("driver", "driver"), ("torch", "torch"), ("cuda", "CUDA"), ("cudnn", "cuDNN")),
    *(("python", "Python"), ("system", "system")),
)


def write_devices(folder: Path) -> list[Path]:
    """Rebuild the pages of every device's run folder, and `report.md` and `tables/` above them; the paths written.

    Raises:
        RunError: `devices.json`, rows or an environment cannot be read.
    """
    devices, frame = read_devices(folder), load_devices(folder)
    found = places(devices)
    ordered = [order.table() for order in orders(found)]
    (folder / REPORT).write_text(text(folder, devices, frame, found), encoding="utf-8", newline="\n")
    written = [folder / REPORT]
    shown = {"devices": ([devices_table(devices)], _records(devices))}
    if found:
        shown["by-device"] = [place.table() for place in found], tables.raw(frame)
        shown["order"] = ordered, pd.DataFrame(_ranks(found))
    for name, (made, values) in shown.items():
        if made:
            written += write_tables(folder / "tables" / name, made, values)
    for path in sorted((folder / "tables").glob("*")):
        if path.stem in ("by-device", "order") and path.suffix in (".md", ".csv", ".tex") and path not in written:
            path.unlink()
    for device in devices:
        if (folder / device.folder / ROWS).exists():
            written += page.write(folder / device.folder)
    return written


def show_devices(folder: Path, format: str) -> str:
    """The tables of `write_devices` in one of `FORMATS`; json and csv hold one record a row, with its `device_name`.

    Raises:
        RunError: as `write_devices`.
        ValueError: a format that is not in `FORMATS`.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
    if format in ("json", "csv"):
        return render(load_devices(folder), format)
    devices = read_devices(folder)
    found = places(devices)
    shown = [devices_table(devices), *_static_tables(found), *(place.table() for place in found)]
    shown += [order.table() for order in orders(found)]
    if format == "latex":
        return "\n\n".join(table.latex() for table in shown)
    if format == "markdown":
        return "\n\n".join(f"### {table.title}\n\n{table.markdown()}" for table in shown)
    plain = ["\n".join([table.title, "", table.grid.plain(), *table.notes]) for table in shown]
    return "\n\n".join([*plain, SHORT.format(interval=interval_words(load_devices(folder)))])


def text(folder: Path, devices: Sequence[Device], frame: pd.DataFrame, found: Sequence[Place]) -> str:
    """The report as Markdown; reports of devices are linked by paths relative to the folder."""
    table = devices_table(devices)
    blocks = [f"# {folder.resolve().name}", _summary(devices, frame)]
    for static in _static_tables(found):
        blocks += [f"> **Warning.** {static.title}", static.grid.markdown()]
    blocks += ["## Devices", table.grid.markdown(), *table.notes, _links(folder, devices)]
    blocks += ["## How to read the tables", READING.format(interval=interval_words(frame)).rstrip(), "## Side by side"]
    ordered = {order.place.title: order.table() for order in orders(found)}
    for place in found:
        blocks += [f"### {place.title}", place.table().markdown()]
        if place.title in ordered:
            blocks += ["Order by time:", ordered[place.title].markdown()]
    if not found:
        blocks.append("No device has a row yet.")
    return "\n\n".join(blocks) + "\n"


def devices_table(devices: Sequence[Device]) -> Table:
    """A column a device: its nodes, its rows, and what differs between their environments; the rest in words."""
    lines: list[tuple[str, ...]] = [
        ("nodes", *(", ".join(device.nodes) or MISSING for device in devices)),
        ("rows", *(f"{len(device.frame)}" for device in devices)),
        ("missing", *(f"{device.missing}" for device in devices)),
    ]
    for name, title in (("env", "environment"), ("method", "method"), ("git", "revision")):
        held = [", ".join(value for value in dict.fromkeys(device.frame[name]) if value) for device in devices]
        lines += [(title, *(value or MISSING for value in held))] if name == "env" or len(set(held)) > 1 else []
    lines += [(name, *(device.machine.shown(name) for device in devices)) for name in _differing(devices)]
    grid = Grid(("", *(device.title for device in devices)), tuple(lines), "l" * (len(devices) + 1))
    notes = [APART, *([CLOCKS] if len({name for device in devices for name in device.frame["device"]}) > 1 else [])]
    same = [
        f"{title} {said.pop()}"
        for name, title in _AGREED
        if len(said := _held(devices, name)) == 1 and MISSING not in said
    ]
    notes += _warnings(devices)
    notes += [f"The same on all: {', '.join(same)}."] if same and len(devices) > 1 else []
    notes += [f"{device.words()}." for device in devices]
    return Table("Devices", grid, tuple(notes))


def _differing(devices: Sequence[Device]) -> list[str]:
    """Facts that are not the same in all environments that were recorded, but for those that make the device."""
    names = dict.fromkeys(name for device in devices for name in device.machine.facts)
    return [
        name
        for name in names
        if name not in _OF_THE_DEVICE and not name.startswith(_RATES) and len(_held(devices, name)) > 1
    ]


def _held(devices: Sequence[Device], name: str) -> set[str]:
    """What the environments that were recorded say of a fact."""
    return {device.machine.shown(name) for device in devices if device.machine.facts}


def _static_tables(found: Sequence[Place]) -> list[Table]:
    """The static figures that differ between devices, exactly; none where they are as they must be."""
    heads = tuple(dict.fromkeys(column.title for place in found for column in place.columns))
    body: list[tuple[str, ...]] = []
    for place in found:
        for line in place.lines:
            for name, title in STATIC.items():
                if len(place.static(line, name)) > 1:
                    held = {c.title: number(c.rows[line][name]) for c in place.columns if line in c.rows}
                    values = [held.get(head) for head in heads]
                    told = (MISSING if value is None else f"{value:.0f}" for value in values)
                    body.append((place.title, " ".join(place.head(line)), title, *told))
    grid = Grid(("place", "block", "figure", *heads), tuple(body), "lll" + "r" * len(heads))
    return [Table(STATIC_APART, grid)] if body else []


def _warnings(devices: Sequence[Device]) -> list[str]:
    methods = {name for device in devices for name in device.frame["method"]}
    several = [f"{device.title}: {', '.join(_part(part) for part in device.parts)}" for device in devices]
    several = [told for told, device in zip(several, devices, strict=True) if len(device.parts) > 1]
    return [*([METHODS] if len(methods) > 1 else []), *(f"{SEVERAL}: {told}." for told in several)]


def _part(part: Part) -> str:
    return f"part {part.number} (environment {part.env}, method {part.method})"


def _summary(devices: Sequence[Device], frame: pd.DataFrame) -> str:
    kinds = f"{len(devices)} kind{'' if len(devices) == 1 else 's'} of device"
    if not len(frame):
        return f"{kinds}, no rows yet."
    counts = Counter(frame["status"])
    words = ", ".join(f"{many} {tables.WORDS.get(status, status)}" for status, many in counts.most_common())
    suites = ", ".join(name for name in dict.fromkeys(frame["suite"]) if name) or "unnamed"
    revisions = ", ".join(name for name in dict.fromkeys(frame["git"]) if name) or "unknown"
    return (
        f"{kinds}, {len(frame)} rows ({words}) of {frame['label'].nunique()} blocks. Suite: {suites}. "
        f"Revision: {revisions}. Tables as Markdown, CSV and LaTeX are in `tables/`; {DEVICES} lists the devices."
    )


def _links(folder: Path, devices: Sequence[Device]) -> str:
    there = [device for device in devices if (folder / device.folder / ROWS).exists()]
    links = (f"[{device.name}]({device.folder}/{REPORT})" for device in there)
    return (
        f"Each by itself, with its plots and reasons: {', '.join(links)}." if there else "No device has a report yet."
    )


def _records(devices: Sequence[Device]) -> pd.DataFrame:
    """A record a device, for CSV."""
    differing = _differing(devices)
    return pd.DataFrame(
        [
            {"folder": device.folder, "device": device.name, "nodes": list(device.nodes), "rows": len(device.frame)}
            | {"missing": device.missing, "note": device.note or None}
            | {"env": list(dict.fromkeys(device.frame["env"])), "method": list(dict.fromkeys(device.frame["method"]))}
            | {name: device.machine.facts.get(name) for name in differing}
            for device in devices
        ]
    )


def _ranks(found: Sequence[Place]) -> list[dict[str, Any]]:
    """A record a place, block and device, for CSV."""
    return [
        {"place": order.place.title, "label": label, "impl": impl, "device": column.title, "rank": rank}
        for order in orders(found)
        for column, ranks in zip(order.columns, order.ranks, strict=True)
        for (label, impl), rank in ranks.items()
    ]
