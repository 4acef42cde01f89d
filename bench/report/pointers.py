"""Names beside the points of a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.report.labels import Box, scatter
from bench.report.style import TEXT_PT, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLEARANCE = 3.5
FAR = 45.0


def name_points(
    axes: Axes, labels: Sequence[str], styles: Mapping[str, Style], xs: Sequence[float], ys: Sequence[float]
) -> None:
    """Write each label beside its point in its colour, led by a thin line where it had to move away.

    The limits of the axes must be set before, as labels are placed in points.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.textpath import TextPath

    points = [(float(x), float(y)) for x, y in axes.transData.transform(list(zip(xs, ys, strict=True)))]
    sizes = [
        (float(TextPath((0, 0), label, size=TEXT_PT).get_extents().width) * 1.08 + 3, TEXT_PT + 1.5) for label in labels
    ]
    window = axes.get_window_extent()
    frame = Box(float(window.x0), float(window.y0), float(window.x1), float(window.y1))
    back = axes.transData.inverted()
    for label, point, box in zip(labels, points, scatter(points, sizes, frame, CLEARANCE), strict=True):
        middle = (box.bottom + box.top) / 2
        near = (min(max(point[0], box.left), box.right), min(max(point[1], box.bottom), box.top))
        if (near[0] - point[0]) ** 2 + (near[1] - point[1]) ** 2 > FAR:
            ends = back.transform([point, near])
            axes.plot(ends[:, 0], ends[:, 1], color=styles[label].ink, linewidth=0.4, zorder=4)
        x, y = back.transform((box.left + 1, middle))
        text = axes.text(x, y, label, fontsize=TEXT_PT, va="center_baseline", color=styles[label].ink, zorder=5)
        text.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
