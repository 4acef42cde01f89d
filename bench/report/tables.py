"""Tables: efficiency by group, overviews of latency and memory, as Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.disturbance import banner
from bench.report import roofline
from bench.report.digits import MISSING, count, percent, plus_minus, significant, times
from bench.report.formats import Grid, csv, latex_text
from bench.report.frame import PEAKS, interval_words
from bench.report.groups import Group, Setting, all_groups, groups, parts, settings

WORDS = {"oom": "out of memory", "timeout": "timed out"}
MARK = "‡"
WIDEST = 10
RAW = (
    *("env", "method", "device", "dtype", "mode", "batch", "impl", "memory_format", "compiled", "height", "width"),
    *("channels", "positions", "entry", "label", "family", "status", "reason", "params", "macs", "flops"),
    *("macs_fvcore", "macs_torch", "macs_uncounted", "traced_peak_bytes", "traffic_bytes", "compulsory_bytes"),
    *("cuda_peak_bytes", "cuda_reserved_bytes", "cpu_peak_bytes"),
    *("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"),
    *("latency_min_ms", "latency_p10_ms", "latency_p90_ms", "rounds", "stop_reason"),
    *(
        "reference",
        "ratio",
        "ratio_ci_low",
        "ratio_ci_high",
        "noise_floor",
        "twin_ratio",
        "verdict",
        "disturbed",
        "key",
    ),
    *("process_ci_low_ms", "process_ci_high_ms", "process_ratio_ci_low", "process_ratio_ci_high"),
)


@dataclass(frozen=True)
class Table:
    """A grid with a title and the notes that belong below it."""

    title: str
    grid: Grid
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """The grid and its notes, without the title."""
        return "\n\n".join([self.grid.markdown(), *self.notes])

    def latex(self) -> str:
        """A `table` float with caption and notes."""
        lines = [r"\begin{table}", r"\centering", f"\\caption{{{latex_text(self.title)}}}", self.grid.latex()]
        lines += [f"\\par\\footnotesize {latex_text(note)}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"])


def efficiency(group: Group) -> Table:
    """What each block of a group costs: params, GMACs, peak MiB, milliseconds, ratio to the reference.

    A row that is not ok says so in the ms column, with its reason in the notes. A difference that is within the noise
    floor of the group, or whose interval contains 1, is marked as a tie. Where the machine's rates were measured, a
    last column gives the share of its roofline.
    """
    rows = group.frame.to_dict("records")
    measured = [name for name in PEAKS if group.frame[name].notna().any()]
    roofed = bool(group.frame["roofline"].notna().any())
    references = [name for name in dict.fromkeys(group.frame["reference"]) if name]
    against = f"vs {references[0]}" if len(references) == 1 else "vs reference"
    header = ["block", "params", "GMACs", "peak MiB", *(PEAKS[name] for name in measured), "ms", against]
    header += [roofline.TITLE] if roofed else []
    body = []
    for row in rows:
        peaks = [significant(row[name]) for name in ("peak_mib", *measured)]
        share = [percent(row["roofline"])] if roofed else []
        figures = (count(row["params"]), significant(row["gmacs"]), *peaks, latency(row), ratio(row), *share)
        body.append((row["label"], *figures))
    told = (_tie_note(group, rows), disturbed_note(rows), roofline.explained(rows), *failures(rows))
    notes = [note for note in told if note]
    return Table(group.title(), Grid(tuple(header), tuple(body), "l" + "r" * (len(header) - 1)), tuple(notes))


def plus_minus_words(frame: pd.DataFrame) -> str:
    """What stands behind ± in tables of these rows, in a sentence."""
    return f"± is the longer arm of the 95 % interval of the median, {interval_words(frame)}."


def latency(row: dict[Any, Any]) -> str:
    """The ms cell: median and interval, or the status in words."""
    if row["status"] != "ok":
        return status(row)
    return plus_minus(row["latency_ms"], row["half_ms"])


def ratio(row: dict[Any, Any]) -> str:
    """The ratio cell: `0.52x`, `≈ 0.98x` for a tie, `0.52x ?` where the noise is not known, `0.52x ‡` where its rounds
    were disturbed."""
    if row["status"] != "ok":
        return MISSING
    if row["verdict"] == "reference":
        return "1 (ref)"
    shown = times(row["ratio"])
    if shown == MISSING:
        return shown
    return mark({"tie": f"≈ {shown}", "": f"{shown} ?"}.get(row["verdict"], shown), row)


def mark(shown: str, row: dict[Any, Any]) -> str:
    """A ratio with the mark of disturbed rounds, where the row's were."""
    return f"{shown} {MARK}" if row["disturbed"] and shown != MISSING else shown


def disturbed_note(rows: Sequence[dict[Any, Any]]) -> str:
    """What the mark of disturbed rounds means for these rows; empty where none was disturbed."""
    told = banner(rows)
    return f"{MARK}: {told}" if told else ""


def status(row: dict[Any, Any]) -> str:
    """The status in words."""
    return str(WORDS.get(row["status"], row["status"]))


def failures(rows: Iterable[dict[Any, Any]]) -> list[str]:
    """One line for each status and reason, and each reason for no ratio, naming the blocks that share them."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] != "ok":
            found.setdefault((status(row), row["reason"] or "no reason recorded"), []).append(row["label"])
        elif row["ratio_missing"]:
            found.setdefault(("no ratio", row["ratio_missing"]), []).append(row["label"])
    return [f"{word}: {', '.join(labels)} ({reason})" for (word, reason), labels in found.items()]


def floor_words(group: Group) -> str:
    """`noise floor 3.0 % (against nl)`, or "" where none was measured."""
    return "; ".join(
        f"noise floor {percent(floor)}" + (f" (against {reference})" if reference else "")
        for reference, floor, _ in group.floors()
    )


def latency_overview(setting: Setting) -> list[Table]:
    """Median ms of every block by size and channels, one setting."""
    return _overview(setting, "latency_ms", "Median latency in ms", _latency_cell)


def memory_overview(setting: Setting) -> list[Table]:
    """Traced peak in MiB above weights and inputs of every block by size and channels, one setting."""
    return _overview(setting, "peak_mib", "Traced peak memory in MiB above weights and inputs", _memory_cell)


def wide(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Raw values of a column, one row a part, setting and block, one column a size and channel count (`HxW/C`)."""
    lines: list[dict[str, Any]] = []
    columns: dict[str, tuple[int, int, int]] = {}
    for part in parts(frame):
        for setting in settings(part):
            names = ("dtype", "mode", "batch", "impl", "memory_format", "compiled")
            shared = {"env": part.env, "method": part.method, "device": part.device}
            shared |= {name: getattr(setting, name) for name in names}
            found: dict[str, dict[str, Any]] = {}
            for group in groups(setting):
                place = f"{group.height}x{group.width}/{group.channels}"
                columns[place] = (group.channels, group.positions, group.height)
                for row in group.frame.to_dict("records"):
                    found.setdefault(row["label"], {"rank": row["rank"], "label": row["label"]})[place] = row[column]
            lines += [shared | cells for cells in sorted(found.values(), key=lambda cells: int(cells["rank"]))]
    table = pd.DataFrame(lines)
    ordered = sorted(columns, key=lambda place: columns[place])
    return table[[name for name in table.columns if name not in (*columns, "rank")] + ordered]


def raw(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns `RAW`, and those of the machine that some row has: its name, its node, the share of its roofline."""
    named = [name for name in ("device_name", "node") if (frame[name] != "").any()]
    return frame[[*named, *RAW, *(["roofline", "precisions"] if frame["roofline"].notna().any() else [])]]


def write(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `efficiency`, `latency` and `memory` as .md, .csv and .tex; the paths written, in that order."""
    every = [setting for part in parts(frame) for setting in settings(part)]
    kinds = {
        "efficiency": ([efficiency(group) for group in all_groups(frame)], raw(frame)),
        "latency": ([table for setting in every for table in latency_overview(setting)], wide(frame, "latency_ms")),
        "memory": ([table for setting in every for table in memory_overview(setting)], wide(frame, "peak_mib")),
    }
    heads = {"memory": ""}
    told = banner(frame.to_dict("records"))
    return [
        path
        for name, (tables, values) in kinds.items()
        for path in write_tables(folder / name, tables, values, heads.get(name, told))
    ]


def write_tables(stem: Path, tables: Sequence[Table], values: pd.DataFrame, warning: str = "") -> list[Path]:
    """Write tables as `stem`.md and .tex, under a warning if there is one, and the values behind them as .csv; the
    paths written."""
    texts = {"md": markdown(tables, warning) + "\n", "csv": csv(values), "tex": latex(tables, warning) + "\n"}
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, text in texts.items():
        path = stem.with_name(f"{stem.name}.{suffix}")
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    return written


def markdown(tables: Sequence[Table], warning: str = "") -> str:
    """Tables under their titles, below a warning if there is one."""
    found = [f"### {table.title}\n\n{table.markdown()}" for table in tables]
    return "\n\n".join([*([f"> **Warning.** {warning}"] if warning else []), *found])


def latex(tables: Sequence[Table], warning: str = "") -> str:
    """Floats, below a paragraph with the warning if there is one."""
    head = [f"\\par\\noindent\\textbf{{Warning.}} {latex_text(warning)}\\par"] if warning else []
    return "\n\n".join([*head, *(table.latex() for table in tables)])


def _overview(setting: Setting, column: str, what: str, cell: Any) -> list[Table]:
    found = groups(setting)
    ranks = dict(zip(setting.frame["label"], setting.frame["rank"], strict=True))
    labels = sorted(ranks, key=lambda name: int(ranks[name]))
    tables = []
    for columns in _chunks(found):
        cells = [{row["label"]: cell(row, column) for row in group.frame.to_dict("records")} for group in columns]
        header = ("block", *(f"{group.height}x{group.width}, {group.channels}" for group in columns))
        body = tuple((label, *(known.get(label, MISSING) for known in cells)) for label in labels)
        body = tuple(row for row in body if any(value != MISSING for value in row[1:]))
        title = f"{what}: {setting.kind}, {setting.words()}"
        notes = ("Columns are height x width of the stride-8 map, channels.",)
        tables.append(Table(title, Grid(header, body, "l" + "r" * len(columns)), notes))
    return tables


def _chunks(found: Sequence[Group]) -> list[list[Group]]:
    """All groups in one table if they fit on a page, else a table for each channel count."""
    if len(found) <= WIDEST:
        return [list(found)]
    channels = dict.fromkeys(group.channels for group in found)
    return [[group for group in found if group.channels == count] for count in channels]


def _latency_cell(row: dict[Any, Any], column: str) -> str:
    return status(row) if row["status"] != "ok" else significant(row[column])


def _memory_cell(row: dict[Any, Any], column: str) -> str:
    shown = significant(row[column])
    return status(row) if shown == MISSING and row["status"] != "ok" else shown


def _tie_note(group: Group, rows: Sequence[dict[Any, Any]]) -> str:
    floors = floor_words(group)
    words = [f"{floors[0].upper()}{floors[1:]}."] if floors else []
    if any(row["verdict"] == "tie" and row["status"] == "ok" for row in rows):
        words.append("≈: no difference shown, within the noise floor or with 1 inside the 95 % interval of the ratio.")
    if any("?" in ratio(row) for row in rows):
        words.append("?: the noise of this ratio was not measured.")
    return " ".join(words)
