"""JPU against dilated: a backbone of output stride 32 with an upsampler, beside the dilated one it stands in for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.report.digits import plus_minus, significant
from bench.report.groups import Group
from bench.report.sheet import CAPTION as CAPTION_WIDTH
from bench.report.sheet import WIDTH
from bench.report.style import COLOURS, FAINT, INK, SETTINGS, TEXT_PT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "JPU against dilated"
CAPTION = (
    "The dilated backbone (output stride 8) beside the plain one with an upsampler. Bars: 95 % interval of the median, "
    "within the run or between its processes."
)
MEASURES = (("latency_ms", "ms a call"), ("gmacs", "GMACs of the forward pass"), ("peak_mib", "peak MiB (traced)"))
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----")


def contests(found: Sequence[Group]) -> list[Group]:
    """The groups that hold both a measured `dilated` and a measured `resnet`, cut down to those rows."""
    made = []
    for group in found:
        rows = group.frame
        rows = rows[rows["entry"].isin(("dilated", "resnet")) & (rows["status"] == "ok") & rows["latency_ms"].notna()]
        if {"dilated", "resnet"} <= set(rows["entry"]):
            made.append(Group(group.setting, group.height, group.width, group.channels, rows))
    return made


def draw(chosen: Sequence[Group], caption: str) -> Figure:
    """Horizontal bars of time, GMACs and peak memory, a row of panels for each group."""
    import textwrap

    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines = textwrap.wrap(caption, CAPTION_WIDTH)
    longest = max(len(label) for group in chosen for label in group.frame["label"])
    left = 0.2 + 0.055 * longest
    heights = [0.22 * len(group.frame) + 0.1 for group in chosen]
    height = 0.3 + sum(heights) + 0.75 * len(chosen) + 0.12 + 0.125 * len(lines)
    width = (WIDTH - left - 0.1) / len(MEASURES)
    with rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, height), dpi=72)
        figure.text(0.1 / WIDTH, 1 - 0.08 / height, TITLE, fontsize=9, fontweight="bold", va="top", color=INK)
        figure.text(0.1 / WIDTH, 0.08 / height, "\n".join(lines), fontsize=TEXT_PT, va="bottom", color=INK)
        top = height - 0.3
        for group, tall in zip(chosen, heights, strict=True):
            bottom = top - 0.3 - tall
            heading = f"{group.height}x{group.width}, {group.channels} channels"
            figure.text(0.1 / WIDTH, (top - 0.05) / height, heading, fontsize=7.5, va="top", color=INK)
            for index, (column, title) in enumerate(MEASURES):
                place = ((left + index * width) / WIDTH, bottom / height, (width - 0.15) / WIDTH, tall / height)
                _bars(figure.add_axes(place), group.frame, column, title, named=index == 0)
            top = bottom - 0.45
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, column: str, title: str, named: bool) -> None:
    records: list[dict[Any, Any]] = rows.to_dict("records")
    ends = [row["latency_ci_high_ms"] if column == "latency_ms" else row[column] for row in records]
    most = max((float(end) for end in (*ends, *rows[column]) if end == end), default=1.0) or 1.0
    for index, row in enumerate(records):
        value = row[column]
        if value != value:
            continue
        colour = COLOURS[2] if row["entry"] == "dilated" else COLOURS[1]
        hatch = _HATCHES[index % len(_HATCHES)]
        axes.barh(index, value, 0.7, color=colour, alpha=0.85, hatch=hatch, edgecolor="white", linewidth=0)
        end, shown = value, significant(value)
        if column == "latency_ms":
            low, high = row["latency_ci_low_ms"], row["latency_ci_high_ms"]
            if low <= value <= high:
                axes.errorbar(
                    value, index, xerr=((value - low,), (high - value,)), color=INK, capsize=2, elinewidth=0.8
                )
                end = high
            shown = plus_minus(value, row["half_ms"])
        axes.text(end + 0.02 * most, index, shown, fontsize=6, va="center", color=INK)
    axes.set_ylim(len(records) - 0.5, -0.5)
    axes.set_xlim(0, most * 1.5)
    axes.set_xlabel(title, fontsize=7, color=INK, labelpad=2)
    axes.set_yticks(range(len(records)), list(rows["label"]) if named else [""] * len(records))
    axes.tick_params(labelsize=TEXT_PT, length=2, color=INK, labelcolor=INK, pad=1.5)
    axes.grid(True, axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
