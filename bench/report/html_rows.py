"""Rows of a sweep as the listing and the plots of the HTML report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench import disturbance
from bench.report import roofline, tables
from bench.report.digits import MISSING, count, number, percent, significant, times
from bench.report.frame import PEAKS
from bench.report.groups import USUAL, Setting, groups, parts, settings
from bench.report.html_listing import Column, Listing, Role, figures, several
from bench.report.style import Style, assign

Row = dict[Any, Any]
SAID = (
    "One row a case, in the order of the tables in report.md. A head sorts by its column. The name of a block opens "
    "its row: interval, spread, and the command that measures it again. A ratio holds within its group, the rows that "
    "share all but the block."
)
PARTED = "Rows of different environments, methods or devices do not compare: each part is sorted by itself."
PLOTTED = ("latency_ci_low_ms", "latency_ci_high_ms")
AXES: Mapping[str, str] = {
    "latency_ms": "ms a call",
    "peak_mib": "peak MiB (traced)",
    **PEAKS,
    "energy_mj": "mJ a call",
}


def listing(frame: pd.DataFrame) -> Listing:
    """All rows of a run, part by part, setting by setting and group by group, blocks in order of first appearance."""
    split = parts(frame)
    rows: list[Row] = []
    section: list[int] = []
    places: list[int] = []
    known = dict(zip(frame.index, frame.to_dict("records"), strict=True))
    for place, setting in enumerate(_settings(frame)):
        members = [known[index] for group in groups(setting) for index in group.frame.index]
        rows += members
        section += [setting.part.number - 1] * len(members)
        places += [place] * len(members)
    columns = [*_results(rows), *_case(rows), *_details(rows)]
    columns += [Column(name, "", values=figures(row[name] for row in rows), role="data") for name in PLOTTED]
    columns.append(Column("setting", "", values=tuple(places), role="data"))
    titles = tuple(part.title() for part in split) if len(split) > 1 else ("",)
    said = f"{SAID} {PARTED}" if len(split) > 1 else SAID
    commands = tuple(((("measure again", row["repro"]),) if row["repro"] else ()) for row in rows)
    return Listing("rows", "Rows", said, tuple(columns), titles, tuple(section), commands)


def plots(frame: pd.DataFrame, listed: Listing) -> dict[str, Any]:
    """What the plots need beyond the listing: the settings in words, the style of each of their blocks, and the axes
    that have figures.

    Colours, markers and dashes are those of the plots in `plots/`.
    """
    known = {column.name for column in listed.columns if any(value is not None for value in column.values)}
    return {
        "kind": "sweep",
        "styles": [styles(*_labels(setting)) for setting in _settings(frame)],
        "settings": [f"{setting.kind}, {setting.words()}" for setting in _settings(frame)],
        "axes": {name: title for name, title in AXES.items() if name in known},
    }


def styles(labels: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each block looks, for a script: colour, marker, dash, width."""
    return {name: look(style) for name, style in assign(labels, references).items()}


def look(style: Style) -> dict[str, Any]:
    """A style for a script: matplotlib's marker letter, and a dash as lengths in pixels, empty where solid."""
    dash = "" if isinstance(style.line, str) else " ".join(f"{2 * length:g}" for length in style.line[1])
    return {"colour": style.colour, "marker": style.marker, "dash": dash, "width": style.width}


def _settings(frame: pd.DataFrame) -> list[Setting]:
    return [setting for part in parts(frame) for setting in settings(part)]


def _labels(setting: Setting) -> tuple[list[str], list[str]]:
    ordered = setting.frame.sort_values("rank", kind="stable")
    return list(ordered["label"]), [name for name in dict.fromkeys(ordered["reference"]) if name]


def _results(rows: Sequence[Row]) -> list[Column]:
    references = [name for name in dict.fromkeys(row["reference"] for row in rows) if name]
    against = f"vs {references[0]}" if len(references) == 1 else "vs reference"
    timed = [row if row["status"] == "ok" else {} for row in rows]
    sizes = tuple(row["size"] for row in rows)
    return [
        Column("label", "block", tuple(row["label"] for row in rows), role="head", choice=True),
        Column("size", "size", sizes, figures(row["positions"] for row in rows), choice=True),
        _whole("channels", "channels", rows),
        _column("latency_ms", "ms", rows, tables.latency, [row.get("latency_ms") for row in timed]),
        _column("ratio", against, rows, tables.ratio, [_ratio(row) for row in timed]),
        _column("params", "params", rows, lambda row: count(row["params"])),
        _figure("gmacs", "GMACs", rows),
        *(_figure(name, title, rows) for name, title in {"peak_mib": "peak MiB", **PEAKS}.items()),
        _figure("energy_mj", "mJ a call", rows),
        _column("roofline", roofline.TITLE, rows, lambda row: percent(row["roofline"])),
    ]


def _case(rows: Sequence[Row]) -> list[Column]:
    formats = ["" if row["memory_format"] in USUAL else row["memory_format"] for row in rows]
    compiled = ["compiled" if row["compiled"] else "" for row in rows]
    kinds = [row["kind"] for row in rows]
    return [
        _whole("batch", "batch", rows),
        *(_text(name, [row[name] for row in rows]) for name in ("dtype", "mode", "impl", "device")),
        _text("kind", kinds, "cell" if several(kinds) else "data"),
        _text("memory_format", formats, "cell" if any(formats) else "data"),
        _text("compiled", compiled, "cell" if any(compiled) else "data"),
        Column("status", "status", tuple(tables.status(row) for row in rows), choice=True),
        Column("reason", "reason", tuple(_reason(row) for row in rows)),
    ]


def _details(rows: Sequence[Row]) -> list[Column]:
    made: list[tuple[str, Callable[[Row], str]]] = [
        ("reason", _reason),
        ("95 % interval", _time_interval),
        ("p10 to p90", lambda row: _range(row["latency_p10_ms"], row["latency_p90_ms"], "ms")),
        ("ratio", _interval),
        ("sampling", _sampling),
        ("computed in", lambda row: row["precisions"]),
        ("roofline", lambda row: row["roofline_note"]),
        ("disturbed", disturbance.words),
        ("draw", lambda row: _unit(row["power_w"], "W")),
        ("not in MACs", lambda row: ", ".join(str(name) for name in row["macs_uncounted"])),
    ]
    return [
        Column(f"detail{place}", title, tuple(words(row) for row in rows), role="detail")
        for place, (title, words) in enumerate(made)
    ]


def _column(
    name: str, title: str, rows: Sequence[Row], shown: Callable[[Row], str], values: Sequence[Any] | None = None
) -> Column:
    held = [row[name] for row in rows] if values is None else values
    return Column(name, title, tuple(_clean(shown(row)) for row in rows), figures(held))


def _figure(name: str, title: str, rows: Sequence[Row]) -> Column:
    return _column(name, title, rows, lambda row: significant(row[name]))


def _whole(name: str, title: str, rows: Sequence[Row]) -> Column:
    known = [number(row[name]) for row in rows]
    shown = tuple(MISSING if value is None else f"{value:.0f}" for value in known)
    return Column(name, title, shown, figures(known), choice=True)


def _text(name: str, values: Sequence[str], role: Role = "cell") -> Column:
    return Column(name, name.replace("_", " "), tuple(values), role=role, choice=role == "cell")


def _clean(text: str) -> str:
    return " ".join(text.split())


def _ratio(row: Row) -> float | None:
    return 1.0 if row.get("verdict") == "reference" else number(row.get("ratio"))


def _reason(row: Row) -> str:
    return "" if row["status"] == "ok" else row["reason"] or "no reason recorded"


def _range(low: Any, high: Any, unit: str) -> str:
    if number(low) is None or number(high) is None:
        return ""
    return f"{significant(low)} to {significant(high)} {unit}"


def _time_interval(row: Row) -> str:
    """The interval of a median, with what it holds over."""
    shown = _range(row["latency_ci_low_ms"], row["latency_ci_high_ms"], "ms")
    between = number(row["process_ci_low_ms"]) is not None
    held = f"between {len(row['process_ms'])} processes" if between else "within this run"
    return shown and f"{shown}, {held}"


def _interval(row: Row) -> str:
    if number(row["ratio"]) is None or row["verdict"] == "reference":
        return ""
    words = [f"{times(row['ratio'])} of {row['reference']}"]
    if number(row["ratio_ci_low"]) is not None and number(row["ratio_ci_high"]) is not None:
        words.append(f"95 % interval {times(row['ratio_ci_low'])} to {times(row['ratio_ci_high'])}")
    if number(row["noise_floor"]) is not None:
        words.append(f"noise floor {percent(row['noise_floor'])}")
    return ", ".join(words)


def _sampling(row: Row) -> str:
    rounds = number(row["rounds"])
    words = [f"{rounds:.0f} rounds"] if rounds is not None else []
    return ", ".join([*words, *([f"ended by {row['stop_reason']}"] if row["stop_reason"] else [])])


def _unit(value: Any, unit: str) -> str:
    return "" if number(value) is None else f"{significant(value)} {unit}"
