"""The report of profiled cases: tables by class of operator, plots and `breakdown.md`, rebuilt from `profile.jsonl`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.profiling.record import CLASSES, OTHER, PROFILE, REMAINDER, read_profiles
from bench.report import breakdown_plot as drawing
from bench.report.digits import MISSING, count, number, percent, significant
from bench.report.formats import FORMATS, Grid, render
from bench.report.machine import read_machine
from bench.report.tables import Table

if TYPE_CHECKING:
    from bench.report.breakdown_plot import Drawn

REPORT = "breakdown.md"
WIDTH = 100
STEM = "breakdown-"
SHORT = {"convolution": "conv", "normalisation": "norm", "pooling": "pool"}
LONGEST = 14
SHARED = ("height", "width", "channels", "batch", "dtype", "memory_format", "mode", "impl", "compiled", "device", "env")
READING = f"""\
- A row a block, a column a class of operator. The first line of a block is the figure, the second its share.
- **ms**: mean of a profiled call, spent in operators of the class: on a CPU on the host, on a card in the kernels that
  the operator launched. What an operator calls inside is its own: a convolution's copies are convolution.
- **{REMAINDER}**: the rest of the call, in no operator: Python, the dispatch of operators, autograd's own work, the
  freeing of memory, on a card the waiting for launches. Kernels that run side by side can make it negative.
- **total**: of the very calls that were profiled; the classes and {REMAINDER} add up to it.
- **profiled**, **unprofiled**: mean of as many calls with and without the profiler. **profiler**: what it cost, the one
  over the other less 1; below zero where the calls vary by more than that.
- **MiB**: traced peak above weights and inputs, by the class of the operator that made what is alive then.
- **GMACs**, **MMACs**: 1e9 and 1e6 multiply-adds of the forward pass, in either mode.
- **other**: elementwise work (add, mul, relu, sigmoid), resampling, reductions, views.
- **\N{EN DASH}**: not measured."""


@dataclass(frozen=True)
class Panel:
    """Records that differ in the block alone."""

    records: tuple[Mapping[str, Any], ...]

    def title(self) -> str:
        """What the records share, in words."""
        one = self.records[0]
        size = f"{one['height']}x{one['width']}, {one['channels']} channels, batch {one['batch']}"
        usual = {"impl": "reference", "memory_format": "channels_first"}
        extra = [str(one[name]) for name, common in usual.items() if one[name] != common]
        extra += ["compiled"] if one["compiled"] else []
        return ", ".join([size, str(one["dtype"]), str(one["mode"]), str(one["device"]), *extra])

    def slug(self) -> str:
        """The same for a file name."""
        one = self.records[0]
        size = f"{one['height']}x{one['width']}-c{one['channels']}-b{one['batch']}"
        words = [size, one["dtype"], one["mode"], one["device"], one["impl"]]
        words += ["channels_last"] if one["memory_format"] == "channels_last" else []
        return "-".join(map(str, words))


def write_profile(folder: Path) -> list[Path]:
    """Rebuild `tables/`, `plots/` and `breakdown.md` of a folder of profiled cases; the paths written, the page first.

    Plots that an earlier call drew and this one did not are removed.

    Raises:
        RunError: `profile.jsonl` cannot be read.
    """
    found = panels(read_profiles(folder / PROFILE))
    machine = read_machine(folder)
    plots = drawing.write(found, folder / "plots", machine.name())
    written = [path for plot in plots for path in plot.paths]
    for path in sorted((folder / "plots").glob(f"{STEM}*")):
        if path.suffix in (".svg", ".png") and path not in written:
            path.unlink()
    written = [*_write_tables(found, folder / "tables"), *written]
    page = folder / REPORT
    page.write_text(_page(folder, found, plots, machine.line()), encoding="utf-8", newline="\n")
    return [page, *written]


def show_profile(folder: Path, format: str = "table") -> str:
    """The tables of a folder of profiled cases in one of `FORMATS`; json and csv hold one record a case.

    `table` fits into 100 columns.

    Raises:
        RunError: `profile.jsonl` cannot be read.
        ValueError: a format that is not in `FORMATS`.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
    records = read_profiles(folder / PROFILE)
    if format == "json":
        return render(records, format)
    if format == "csv":
        return render([flat(record) for record in records], format)
    shown = [table for panel in panels(records) for table in tables(panel)]
    if format == "table":
        return "\n\n".join(_plain(table) for table in shown)
    if format == "latex":
        return "\n\n".join(table.latex() for table in shown)
    return "\n\n".join(f"### {table.title}\n\n{table.markdown()}" for table in shown)


def panels(records: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """The records in groups that differ in the block alone, in the order in which they come."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(tuple(record[name] for name in SHARED), []).append(record)
    return [Panel(tuple(group)) for group in found.values()]


def tables(panel: Panel) -> list[Table]:
    """Times, calls, multiply-adds and peak memory of a panel; a table of which nothing is known is left out."""
    timed = [record for record in panel.records if record["status"] == "ok"]
    traced = [record for record in panel.records if record["class_macs"] is not None]
    failures = tuple(f"{one['label']}: {one['status']}: {one['reason']}." for one in panel.records if one["reason"])
    found = []
    if timed:
        rows = [(one, {**one["class_ms"], REMAINDER: one["remainder_ms"]}, one["total_ms"], 1.0) for one in timed]
        grid = _by_class(rows, (*CLASSES, REMAINDER))
        found.append(Table(f"ms a call: {panel.title()}", grid, (*_others(timed), *failures)))
        found.append(Table(f"ms with and without the profiler: {panel.title()}", _calls(timed)))
    if traced:
        rows = [(one, one["class_peak_bytes"], one["traced_peak_bytes"], 2.0**20) for one in traced]
        found.append(Table(f"MiB alive at the traced peak: {panel.title()}", _by_class(rows, CLASSES), _peaks(traced)))
        macs, unit = drawing.macs_unit(traced)
        rows = [(one, one["class_macs"], one["macs"], unit) for one in traced]
        found.append(Table(f"{macs} of the forward pass: {panel.title()}", _by_class(rows, CLASSES)))
    if not timed:
        blank = Grid(("block", "status"), tuple((one["label"], one["status"]) for one in panel.records), "ll")
        found.insert(0, Table(f"not timed: {panel.title()}", blank, failures))
    return found


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose figures by class are columns of their own."""
    row = {name: value for name, value in record.items() if not isinstance(value, dict) or name == "options"}
    del row["operators"]
    for name, suffix in (("class_ms", "ms"), ("class_macs", "macs"), ("class_peak_bytes", "peak_bytes")):
        row |= {f"{kind}_{suffix}": (record[name] or {}).get(kind) for kind in CLASSES}
        row.pop(name, None)
    return row


def _by_class(
    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], float, float]], columns: Sequence[str]
) -> Grid:
    """Two lines a block, the figures and their shares.

    Args:
        rows: record, figure by column, their sum, and the unit that figures are divided by.
        columns: classes, and the remainder where there is one.
    """
    body: list[tuple[str, ...]] = []
    for record, figures, total, unit in rows:
        values = [number(figures[name]) for name in columns]
        cells = [significant(value / unit) if value else "0" for value in (v or 0.0 for v in values)]
        shares = [f"{100 * (value or 0.0) / total:.1f} %" if total else MISSING for value in values]
        first, *rest = drawing.lines(record["label"], LONGEST)
        body.append((first, *cells, significant(total / unit)))
        body.append((rest[0] if rest else "", *shares, ""))
        body += [(part, *[""] * (len(columns) + 1)) for part in rest[1:]]
    header = ("block", *(SHORT.get(name, name) for name in columns), "total")
    return Grid(header, tuple(body), "l" + "r" * (len(header) - 1))


def _calls(timed: Sequence[Mapping[str, Any]]) -> Grid:
    body = []
    for one in timed:
        low, high = min(one["profiled_samples_ms"]), max(one["profiled_samples_ms"])
        cost = one["total_ms"] / one["unprofiled_ms"] - 1
        spread = f"{significant(low)} to {significant(high)}"
        cells = (significant(one["total_ms"]), spread, significant(one["unprofiled_ms"]), percent(cost))
        label = "\n".join(drawing.lines(one["label"], 2 * LONGEST))
        body.append((label, count(one["calls"]), *cells))
    header = ("block", "calls", "profiled", "range of samples", "unprofiled", "profiler")
    return Grid(header, tuple(body), "l" + "r" * (len(header) - 1))


def _others(timed: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What stands behind `other` where it is more than a tenth of a block's time."""
    notes = []
    for one in timed:
        if one["class_ms"][OTHER] > 0.1 * one["total_ms"]:
            known = [(name, ms) for name, kind, ms in one["operators"] if kind == OTHER][:3]
            notes.append(f"{one['label']}, other: {', '.join(f'{name} {significant(ms)} ms' for name, ms in known)}.")
    return tuple(notes)


def _peaks(traced: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    made = [f"{one['label']} by {one['peak_operator']}" for one in traced if one["peak_operator"]]
    return (f"Operator at the peak: {', '.join(made)}.",) if made else ()


def _plain(table: Table) -> str:
    notes = [textwrap.fill(note, WIDTH) for note in table.notes]
    lines = [textwrap.fill(table.title, WIDTH), "", table.grid.plain(), *([""] if notes else []), *notes]
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n"))


def _write_tables(found: Sequence[Panel], folder: Path) -> list[Path]:
    shown = [table for panel in found for table in tables(panel)]
    texts = {
        "md": "\n\n".join(f"### {table.title}\n\n{table.markdown()}" for table in shown),
        "csv": render([flat(record) for panel in found for record in panel.records], "csv"),
        "tex": "\n\n".join(table.latex() for table in shown),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, text in texts.items():
        path = folder / f"breakdown.{suffix}"
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        written.append(path)
    return written


def _page(folder: Path, found: Sequence[Panel], plots: Sequence[Drawn], machine: str) -> str:
    blocks = [f"# Breakdown by class of operator: {folder.resolve().name}"]
    records = [record for panel in found for record in panel.records]
    blocks += [f"Measured on {machine}."] if machine else []
    revisions = ", ".join(dict.fromkeys(str(one["git"]) for one in records if one["git"]))
    blocks += [f"Revision: {revisions}."] if revisions else []
    for panel in found:
        blocks.append(f"## {panel.title()}")
        for plot in plots:
            if plot.panel is panel:
                blocks += [f"![{plot.title}]({plot.paths[0].relative_to(folder).as_posix()})", plot.caption]
        for table in tables(panel):
            blocks += [f"### {table.title.partition(':')[0]}", table.markdown()]
    blocks += ["## How to read this", READING, "## Commands", *[f"    {one['repro']}" for one in records]]
    return "\n\n".join(blocks) + "\n"
