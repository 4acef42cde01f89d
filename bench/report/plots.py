"""Plots of a run: time, memory and MACs against size, memory against time, JPU against dilated. SVG and PNG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.report import roofline, versus
from bench.report.frame import PEAKS
from bench.report.groups import Group, Setting, groups, parts, settings
from bench.report.pointers import name_points
from bench.report.series import Curve, Panel, by_channels, missing_words, panels
from bench.report.sheet import decimal_ticks, dress, key, key_width, line, panel_height, sheet, size_ticks
from bench.report.style import FAINT, Style, assign, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITIONS = "positions N = H x W"
INTERVAL = ("latency_ci_low_ms", "latency_ci_high_ms")
GMACS = "GMACs of the forward pass"
CURVES = (
    Curve("time", "Time of a call against size", "positions", "latency_ms", POSITIONS, "ms a call", *INTERVAL),
    Curve("memory", "Traced peak memory against size", "positions", "peak_mib", POSITIONS, "peak MiB", timed=False),
    *(
        Curve(f"{name}-memory", f"{name.upper()} peak memory against size", "positions", column, POSITIONS, "peak MiB")
        for name, column in (("cuda", "cuda_peak_mib"), ("cpu", "cpu_peak_mib"))
    ),
    Curve("macs", "Time of a call against multiply-adds", "gmacs", "latency_ms", GMACS, "ms a call", *INTERVAL),
    Curve("roofline", "Rate against intensity", "intensity", "gflops", "FLOPs a byte", "GFLOP/s"),
)
PER_SHEET = 4


@dataclass(frozen=True)
class Plot:
    """A drawn figure: what it shows and of which setting, in words, and its files."""

    title: str
    setting: str
    caption: str
    svg: Path
    png: Path


def write(frame: pd.DataFrame, folder: Path, machine: str = "") -> list[Plot]:
    """Draw every plot that the rows allow, one set a setting, into a folder.

    Args:
        machine: the name of the machine, for the captions.
    """
    drawn = []
    for part in parts(frame):
        for setting in settings(part):
            drawn += _setting(setting, folder, machine)
    return drawn


def _setting(setting: Setting, folder: Path, machine: str) -> list[Plot]:
    found = groups(setting)
    ordered = setting.frame.sort_values("rank", kind="stable")
    styles = assign(ordered["label"], [name for name in dict.fromkeys(ordered["reference"]) if name])
    where = f"{machine}: {setting.words()}." if machine else f"{setting.words()}."
    drawn = []
    for curve in CURVES:
        title = f"{curve.title}: {setting.kind}"
        made = panels(found, curve)
        for first in range(0, len(made), PER_SHEET):
            chunk = made[first : first + PER_SHEET]
            caption = f"{where} {_curve_caption(curve, chunk)}"
            figure = _curves(curve, chunk, styles, title, caption)
            drawn.append(_save(figure, title, setting, caption, _stem(folder, curve.name, setting, first)))
    chosen = [group for group in (_fullest(members) for members in by_channels(found).values()) if group is not None]
    for first in range(0, len(chosen), PER_SHEET):
        title = f"Time against memory: {setting.kind}"
        caption = f"{where} {_tradeoff_caption(chosen[first : first + PER_SHEET])}"
        figure = _tradeoff(chosen[first : first + PER_SHEET], styles, title, caption)
        drawn.append(_save(figure, title, setting, caption, _stem(folder, "tradeoff", setting, first)))
    contests = versus.contests(found)
    for first in range(0, len(contests), PER_SHEET):
        caption = f"{where} {versus.CAPTION}"
        figure = versus.draw(contests[first : first + PER_SHEET], caption)
        drawn.append(_save(figure, versus.TITLE, setting, caption, _stem(folder, "jpu", setting, first)))
    return drawn


def _stem(folder: Path, name: str, setting: Setting, first: int) -> Path:
    page = f"-{first // PER_SHEET + 1}" if first else ""
    return folder / f"{name}-{setting.slug()}{page}"


def _save(figure: Figure, title: str, setting: Setting, caption: str, stem: Path) -> Plot:
    svg, png = save(figure, stem)
    return Plot(title, setting.words(), caption, svg, png)


def _curves(curve: Curve, chunk: Sequence[Panel], styles: Mapping[str, Style], title: str, caption: str) -> Figure:
    labels = [series.label for panel in chunk for series in panel.series]
    height = panel_height(max(len(panel.series) for panel in chunk))
    figure, axes = sheet(len(chunk), title, caption, key_width(labels), height)
    for panel, place in zip(chunk, axes, strict=True):
        dress(place, f"{panel.channels} channels", curve.x_title, curve.y_title)
        for series in panel.series:
            line(place, series, styles[series.label])
        decimal_ticks(place, "y", _limits([y for series in panel.series for y in series.ys]))
        if curve.name == "roofline":
            _under_the_roof(place, panel)
        elif curve.x == "positions":
            size_ticks(place, {group.positions: f"{group.height}x{group.width}" for group in panel.groups})
        else:
            decimal_ticks(place, "x", _limits([x for series in panel.series for x in series.xs]))
            rates = [
                1e3 * x / y for series in panel.series for x, y in zip(series.xs, series.ys, strict=True) if y == y
            ]
            _guides(place, min(rates), max(rates))
        key(place, panel.series, styles, connect=curve.x == "positions")
    return figure


def _curve_caption(curve: Curve, chunk: Sequence[Panel]) -> str:
    words = ["Names stand in the order of the last values."]
    if curve.low:
        words.append("Bars: 95 % interval of the median, within the run or between its processes.")
    if curve.x == "gmacs":
        words.append("A point a size; grey lines are equal GMAC/s.")
    if not curve.timed:
        words.append("Above weights and inputs, traced without running: also drawn where timing was skipped.")
    if curve.y in PEAKS:
        words.append("What the allocator reached above what was there before the call.")
    if curve.name == "roofline":
        words.append(roofline.words(*_roofs(chunk[0])))
    missing: Counter[str] = sum((panel.missing for panel in chunk), Counter())
    if missing:
        words.append(f"{missing_words(missing)}.")
    if any(not series.complete for panel in chunk for series in panel.series):
        words.append("† ends before the largest size; a gap in a line is a missing case.")
    zero = dict.fromkeys(label for panel in chunk for label in panel.zero)
    if zero:
        words.append(f"Zero, which a log axis cannot show: {', '.join(zero)}.")
    return " ".join(words)


def _under_the_roof(place: Axes, panel: Panel) -> None:
    """Limits that hold the points and the ceilings above them, and the ceilings."""
    low, high = _roofs(panel)
    xs = [x for series in panel.series for x in series.xs if x == x]
    ys = [y for series in panel.series for y in series.ys if y == y]
    decimal_ticks(place, "x", _limits(xs))
    decimal_ticks(place, "y", _limits([*ys, *(ceiling.at(x) for ceiling in (low, high) for x in (min(xs), max(xs)))]))
    roofline.draw(place, low, high)


def _roofs(panel: Panel) -> tuple[roofline.Roof, roofline.Roof]:
    """The lowest and the highest ceilings of a panel's setting: its rows share device and dtype."""
    return roofline.span(panel.groups[0].setting.frame)


def _fullest(members: Sequence[Group]) -> Group | None:
    """The group with the most points to draw, the larger one of equals; None where there is none."""
    best = max(members, key=lambda group: (len(_points(group)), group.positions))
    return best if len(_points(best)) else None


def _points(group: Group) -> pd.DataFrame:
    rows = group.frame
    return rows[(rows["status"] == "ok") & (rows["latency_ms"] > 0) & (rows["peak_mib"] > 0)]


def _tradeoff_caption(chosen: Sequence[Group]) -> str:
    words = ["Down and left is better; no block is both faster and smaller than those on the grey line."]
    words.append("For each channel count the size with the most blocks measured.")
    shown = sum(len(_points(group)) for group in chosen)
    total = sum(len(group.frame) for group in chosen)
    if shown < total:
        words.append(f"{total - shown} of {total} cases are not drawn (not measured, or zero memory).")
    return " ".join(words)


def _tradeoff(chosen: Sequence[Group], styles: Mapping[str, Style], title: str, caption: str) -> Figure:
    figure, axes = sheet(len(chosen), title, caption, 0.1, 3.2)
    for group, place in zip(chosen, axes, strict=True):
        rows = _points(group)
        dress(place, f"{group.channels} channels, {group.height}x{group.width}", "peak MiB (traced)", "ms a call")
        xs, ys = rows["peak_mib"].tolist(), rows["latency_ms"].tolist()
        decimal_ticks(place, "x", _limits(xs, 0.12))
        decimal_ticks(place, "y", _limits(ys, 0.1))
        front = _front(xs, ys)
        place.plot([x for x, _ in front], [y for _, y in front], color="#aaaaaa", linewidth=0.8, zorder=1)
        bars = ("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms")
        for label, x, (y, low, high) in zip(rows["label"], xs, rows[list(bars)].itertuples(index=False), strict=True):
            style = styles[label]
            arms = ((y - low,), (high - y,)) if low <= y <= high else None
            place.errorbar(
                *((x,), (y,)), yerr=arms, color=style.colour, marker=style.marker, markersize=4.5, elinewidth=0.6
            )
        name_points(place, list(rows["label"]), styles, xs, ys)
    return figure


def _front(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """The points that no other point beats in both, by growing memory."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(zip(xs, ys, strict=True)):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front


def _guides(place: Axes, slowest: float, fastest: float) -> None:
    """Lines of equal throughput at powers of ten GMAC/s around the given range, named where they leave the panel."""
    (left, right), (bottom, top) = place.get_xlim(), place.get_ylim()
    named = 0.0
    for power in range(math.floor(math.log10(slowest)), math.ceil(math.log10(fastest)) + 1):
        rate = 10.0**power
        start, stop = max(left, bottom * rate / 1e3), min(right, top * rate / 1e3)
        if stop <= start:
            continue
        place.plot((start, stop), (start / rate * 1e3, stop / rate * 1e3), color=FAINT, linewidth=0.7, zorder=0)
        across = math.log(stop / left) / math.log(right / left)
        if across < 0.35 or (stop < right and across - named < 0.28):
            continue
        named = across
        corner = {"fontsize": 5.0, "color": "#8c8c8c", "ha": "right", "va": "top", "zorder": 0}
        place.text(stop, stop / rate * 1e3, f"{rate:g} GMAC/s ", **corner)  # type: ignore[arg-type]


def _limits(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """Limits of a log axis around positive values, at least a factor of two apart."""
    known = [value for value in values if value == value]
    low, high = min(known), max(known)
    room = max((high / low) ** margin, 1.15)
    return low / room / (1.2 if low == high else 1), high * room * (1.2 if low == high else 1)
