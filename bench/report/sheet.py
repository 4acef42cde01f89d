"""A page of panels: axes placed in inches, a title above, a caption below, a key beside each panel."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.report.labels import spread
from bench.report.series import Series
from bench.report.style import FAINT, INK, SETTINGS, TEXT_PT, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0
_LEFT, _TOP, _BOTTOM, _HEAD, _LINE = 0.52, 0.26, 0.48, 0.3, 0.125
CAPTION = 142
_PITCH = 0.118
_HANDLE, _LEAD = 0.2, 0.22


def sheet(count: int, title: str, caption: str, key: float, least: float) -> tuple[Figure, list[Axes]]:
    """A figure of print width (8 in) with `count` panels.

    Args:
        key: width to the right of each panel, inches.
        least: height of a panel, inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = 2 if count > 1 and WIDTH / 2 - _LEFT - key >= 1.4 else 1
    lines = textwrap.wrap(caption, CAPTION)
    rows = -(-count // columns)
    cell = least + _TOP + _BOTTOM
    foot = 0.12 + _LINE * len(lines)
    height = _HEAD + rows * cell + foot
    with rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, height), dpi=72)
        figure.text(0.1 / WIDTH, 1 - 0.08 / height, title, fontsize=9, fontweight="bold", va="top", color=INK)
        figure.text(0.1 / WIDTH, 0.08 / height, "\n".join(lines), fontsize=TEXT_PT, va="bottom", color=INK)
        axes = []
        for index in range(count):
            row, column = divmod(index, columns)
            left = column * WIDTH / columns + _LEFT
            bottom = height - _HEAD - (row + 1) * cell + _BOTTOM
            width = WIDTH / columns - _LEFT - key - 0.05
            axes.append(figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, least / height)))
    return figure, axes


def dress(axes: Axes, title: str, x_title: str, y_title: str) -> None:
    """Log axes with light grid lines, titles with units."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, fontsize=7.5, loc="left", color=INK, pad=3)
    axes.set_xlabel(x_title, fontsize=7, color=INK, labelpad=2)
    axes.set_ylabel(y_title, fontsize=7, color=INK, labelpad=2)
    axes.grid(True, which="major", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=TEXT_PT, length=2, color=INK, labelcolor=INK, pad=1.5)
    axes.tick_params(which="minor", length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def decimal_ticks(axes: Axes, which: str, limits: tuple[float, float]) -> None:
    """Limits of a log axis, with ticks at powers of ten, or at 1, 2 and 5 where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xlim if which == "x" else axes.set_ylim)(*limits)
    window = axes.get_window_extent()
    room = float(window.width if which == "x" else window.height) / 72
    short = room / (3 * math.log10(limits[1] / limits[0])) > (0.28 if which == "x" else 0.22)
    axis.set_major_locator(
        LogLocator(
            10,
            subs=(1.0, 2.0, 5.0) if short else (1.0,),
            numticks=max(3, int(room / (0.36 if which == "x" else 0.22))) if not short else 16,
        )
    )
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    """A tick's number in at most five characters where it is large: 10k, 2M."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"


def size_ticks(axes: Axes, sizes: Mapping[int, str]) -> None:
    """Ticks at the sizes of the panel (`32x32` over N); those that would touch the one before are left out."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = min(sizes), max(sizes)
    axes.set_xlim(low / 1.2, high * 1.2) if low == high else axes.set_xlim(
        low / (high / low) ** 0.06, high * (high / low) ** 0.06
    )
    shown: list[int] = []
    last = float("-inf")
    for positions in sorted(sizes, reverse=True):
        at = float(axes.transData.transform((positions, 1.0))[0])
        if not shown or last - at >= 31:
            shown.append(positions)
            last = at
    axes.xaxis.set_major_locator(FixedLocator([float(positions) for positions in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([float(p) for p in shown], [f"{sizes[p]}\n{p}" for p in shown])


def line(axes: Axes, series: Series, style: Style) -> None:
    """One block: its points, its line with gaps where points are missing, its intervals."""
    arms = (series.below, series.above) if any(arm > 0 for arm in (*series.below, *series.above)) else None
    axes.errorbar(
        series.xs,
        series.ys,
        yerr=arms,
        color=style.colour,
        linestyle=style.line,
        linewidth=style.width,
        marker=style.marker,
        markersize=3.2,
        markeredgecolor="white",
        markeredgewidth=0.3,
        elinewidth=0.6,
        capsize=1.2,
        capthick=0.6,
        zorder=3 if style.width > 1 else 2,
    )


def key(axes: Axes, series: Sequence[Series], styles: Mapping[str, Style], connect: bool) -> None:
    """Names beside the panel, in the order of the last values, each with its line; † where a line ends early.

    Args:
        connect: lead from the last point of a line that reaches the edge to its name.
    """
    box = axes.get_window_extent()
    left, bottom = float(box.x0), float(box.y0)
    width, height = float(box.width) / 72, float(box.height) / 72
    ends = [axes.transData.transform(one.last) for one in series]
    wanted = [(float(y) - bottom) / 72 / height for _, y in ends]
    places = spread(wanted, _PITCH / height, 0.01, 0.99)
    for one, end, place in zip(series, ends, places, strict=True):
        style = styles[one.label]
        start = 1 + _LEAD / width
        middle, stop = start + _HANDLE / 2 / width, start + _HANDLE / width
        drawn = {"transform": axes.transAxes, "clip_on": False, "color": style.colour}
        if connect and one.complete:
            x, y = (float(end[0]) - left) / 72 / width, (float(end[1]) - bottom) / 72 / height
            axes.plot((x, start), (y, place), linewidth=0.4, alpha=0.7, zorder=1, **drawn)  # type: ignore[arg-type]
        axes.plot((start, stop), (place, place), linestyle=style.line, linewidth=style.width, **drawn)  # type: ignore[arg-type]
        axes.plot((middle,), (place,), marker=style.marker, markersize=3.4, linestyle="none", **drawn)  # type: ignore[arg-type]
        name = one.label if one.complete else f"{one.label} †"
        weight = "bold" if style.width > 1 else "normal"
        at = stop + 0.04 / width
        axes.text(at, place, name, transform=axes.transAxes, fontsize=TEXT_PT, va="center", color=INK, weight=weight)


def key_width(labels: Sequence[str]) -> float:
    """Inches that the key of these labels takes."""
    return _LEAD + _HANDLE + 0.12 + 0.056 * max((len(label) + 2 for label in labels), default=0)


def panel_height(count: int) -> float:
    """Inches a panel needs for a key of `count` names."""
    return max(2.4, _PITCH * (count + 1))
