"""Plots of training runs: learning curves, and accuracy against latency and memory. SVG and PNG."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.report.accuracy_costs import COSTS, Joined, join
from bench.report.accuracy_runs import Block, Part, Record
from bench.report.digits import number
from bench.report.plots import Plot
from bench.report.pointers import name_points
from bench.report.series import GAP, Series
from bench.report.sheet import decimal_ticks, dress, key, key_width, panel_height, sheet
from bench.report.style import TEXT_PT, Style, assign, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 60
CURVES = ((1, "training loss"), (2, "mIoU, %"))
PARETO = "Accuracy against cost"
LEARNING = "Learning curves"


def write(parts: Sequence[Part], sweep: pd.DataFrame | None, folder: Path, baseline: str, machine: str) -> list[Plot]:
    """Draw what the runs allow, part by part: accuracy against cost, one sheet a group of the sweep, learning curves.

    Args:
        sweep: rows of a sweep (`bench.report.frame.load`), or null where there are none.
        folder: where to; it is made.
        baseline: label drawn in black, and as a level where it has no cost of its own.
        machine: that measured the costs, for the captions; may be empty.
    """
    drawn = []
    for part in parts:
        styles = assign([block.label for block in part.blocks], [baseline])
        for joined in [] if sweep is None else join(part, sweep):
            drawn.append(_pareto(joined, styles, folder, baseline, machine))
        drawn += _learning(part, styles, folder)
    return drawn


def pareto_stem(joined: Joined) -> str:
    """File name, without suffix, of a plot of accuracy against cost."""
    group = joined.group
    size = f"{group.height}x{group.width}-c{group.channels}"
    return f"pareto-{joined.part.slug()}-{size}-{group.setting.slug()}"


def front(costs: Sequence[float], accuracies: Sequence[float]) -> list[tuple[float, float]]:
    """The points that no other point beats in both, lower cost and higher accuracy, by growing cost."""
    kept: list[tuple[float, float]] = []
    for cost, negative in sorted((cost, -accuracy) for cost, accuracy in zip(costs, accuracies, strict=True)):
        if not kept or -negative > kept[-1][1]:
            kept.append((cost, -negative))
    return kept


def learning_series(block: Block, column: int) -> Series | None:
    """Mean over the seeds, with their standard deviation as arms, of a column of the curves (1 loss, 2 mIoU).

    A curve of more than 60 points is averaged over windows of equal length. Null where no point is known.
    """
    curves = [curve for run in block.runs.values() if (curve := _thinned(_points(run, column)))]
    found: dict[float, list[float]] = {}
    for curve in curves:
        for iteration, figure in curve:
            found.setdefault(iteration, []).append(figure)
    if not found:
        return None
    xs = sorted(found)
    ys = [statistics.fmean(found[x]) for x in xs]
    arms = tuple(statistics.stdev(found[x]) if len(found[x]) > 1 else 0.0 for x in xs)
    return Series(block.label, tuple(xs), tuple(ys), arms, arms)


def _points(run: Record, column: int) -> list[tuple[float, float]]:
    known = ((number(point[0]), number(point[column])) for point in run["curve"] or ())
    return [(x, y) for x, y in known if x is not None and y is not None]


def _thinned(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    window = -(-len(curve) // POINTS)
    pieces = [curve[start : start + window] for start in range(0, len(curve), window or 1)]
    return [(statistics.fmean(x for x, _ in piece), statistics.fmean(y for _, y in piece)) for piece in pieces]


def _learning(part: Part, styles: Mapping[str, Style], folder: Path) -> list[Plot]:
    panels = []
    for column, title in CURVES:
        found = [series for block in part.blocks if (series := learning_series(block, column))]
        if any(len(series.xs) > 1 for series in found):
            panels.append((title, [_reaching(series, max(one.xs[-1] for one in found)) for series in found]))
    if not panels:
        return []
    caption = (
        f"{part.words()}. Mean over the seeds; bands: standard deviation over the seeds. Long curves are averaged over "
        f"windows, at most {POINTS} points. Names stand in the order of the last values."
    )
    labels = [series.label for _, found in panels for series in found]
    height = panel_height(max(len(found) for _, found in panels))
    figure, axes = sheet(len(panels), LEARNING, caption, key_width(labels), height)
    for (title, found), place in zip(panels, axes, strict=True):
        _curves(place, found, styles, title)
    svg, png = save(figure, folder / f"learning-{part.slug()}")
    return [Plot(LEARNING, part.words(), caption, svg, png)]


def _reaching(series: Series, last: float) -> Series:
    """The series with a gap after it where it ends before the last iteration of the panel."""
    if series.xs[-1] >= last:
        return series
    return Series(series.label, (*series.xs, last), (*series.ys, GAP), (*series.below, 0.0), (*series.above, 0.0))


def _curves(place: Axes, found: Sequence[Series], styles: Mapping[str, Style], title: str) -> None:
    dress(place, "", "iteration", title)
    place.set_xscale("linear")
    place.tick_params(labelsize=TEXT_PT)
    logarithmic = title.endswith("loss") and min(y for one in found for y in one.ys if y == y) > 0
    if not logarithmic:
        place.set_yscale("linear")
    for series in found:
        style = styles[series.label]
        bottom = [y - arm for y, arm in zip(series.ys, series.below, strict=True)]
        top = [y + arm for y, arm in zip(series.ys, series.above, strict=True)]
        if logarithmic:
            bottom = [max(low, y / 10) for low, y in zip(bottom, series.ys, strict=True)]
        place.fill_between(series.xs, bottom, top, color=style.colour, alpha=0.12, linewidth=0)
        mark = style.marker if len(series.xs) < 12 else "none"
        look = {"color": style.colour, "linestyle": style.line, "linewidth": style.width, "marker": mark}
        place.plot(series.xs, series.ys, markersize=3.0, **look)  # type: ignore[arg-type]
    every = [y for series in found for y in series.ys if y == y]
    if logarithmic:
        decimal_ticks(place, "y", (min(every) / 1.15, max(every) * 1.15))
    else:
        place.set_ylim(place.get_ylim())
    place.set_xlim(left=0)
    key(place, found, styles, connect=True)


def _pareto(joined: Joined, styles: Mapping[str, Style], folder: Path, baseline: str, machine: str) -> Plot:
    group, part = joined.group, joined.part
    level = part.block(baseline) if baseline not in {one.label for one in joined.priced} else None
    caption = _pareto_caption(joined, baseline if level else "", machine)
    columns = joined.columns()
    figure, axes = sheet(len(columns), f"{PARETO}: {part.words()}", caption, 0.1, 3.4)
    for column, place in zip(columns, axes, strict=True):
        _panel(place, joined, column, styles, level)
    svg, png = save(figure, folder / pareto_stem(joined))
    return Plot(PARETO, f"{part.words()}; costs at {group.title()}", caption, svg, png)


def _panel(place: Axes, joined: Joined, column: str, styles: Mapping[str, Style], level: Block | None) -> None:
    shown = [(one, cost) for one in joined.priced if (cost := one.cost(column)) is not None]
    dress(place, "", COSTS[column], "mIoU, %")
    place.set_yscale("linear")
    floor = level.spread("miou") if level else None
    lows = [one.miou.mean - (one.miou.sd or 0) for one, _ in shown] + ([floor.mean] if floor else [])
    highs = [one.miou.mean + (one.miou.sd or 0) for one, _ in shown] + ([floor.mean] if floor else [])
    room = max(0.06 * (max(highs) - min(lows)), 0.5)
    place.set_ylim(min(lows) - room, max(highs) + room)
    xs, ys = [cost for _, cost in shown], [one.miou.mean for one, _ in shown]
    spare = max((max(xs) / min(xs)) ** 0.12, 1.3)
    decimal_ticks(place, "x", (min(xs) / spare, max(xs) * spare))
    best = front(xs, ys)
    place.plot([x for x, _ in best], [y for _, y in best], color="#aaaaaa", linewidth=0.8, zorder=1)
    if level is not None and floor is not None:
        style = styles[level.label]
        place.axhline(floor.mean, color=style.colour, linewidth=0.8, linestyle=(0, (2.0, 2.0)), zorder=1)
        said = {"transform": place.get_yaxis_transform(), "fontsize": TEXT_PT, "color": style.ink}
        place.text(0.99, floor.mean, f"{level.label} ", ha="right", va="bottom", **said)  # type: ignore[arg-type]
    for one, cost in shown:
        style = styles[one.label]
        arms = one.arms if column == "latency_ms" else None
        across = None if arms is None else ((arms[0],), (arms[1],))
        look = {"color": style.colour, "marker": style.marker, "ecolor": style.colour, "elinewidth": 0.6}
        place.errorbar((cost,), (one.miou.mean,), one.miou.sd, across, markersize=4.5, **look)  # type: ignore[arg-type]
    name_points(place, [one.label for one, _ in shown], styles, xs, ys)


def _pareto_caption(joined: Joined, level: str, machine: str) -> str:
    words = [f"Costs {f'on {machine} ' if machine else ''}at {joined.group.title()}."]
    words.append("Up and left is better; no block is both cheaper and more accurate than those on the grey line.")
    words.append("Bars: standard deviation of mIoU over the seeds, 95 % interval of the median latency.")
    words.append("A place on the line that rests on less than the bars is not sure.")
    if level:
        words.append(f"Dotted: the baseline {level}, for which there is no cost here.")
    listed = [one for one in joined.missing if one != level]
    if listed:
        words.append(f"Trained without a cost row: {', '.join(listed)}.")
    listed = [one for one in joined.other if one != level]
    if listed:
        words.append(f"Not drawn, as the cost row has another number of parameters: {', '.join(listed)}.")
    for column, title in COSTS.items():
        unpriced = [one.label for one in joined.priced if one.cost(column) is None]
        if column in joined.columns() and unpriced:
            words.append(f"No {title}, or 0: {', '.join(unpriced)}.")
    return " ".join(words)
