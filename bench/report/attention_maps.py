"""Maps: what a block attends to from chosen points, laid over the picture, a row a block. SVG and PNG."""

from __future__ import annotations

import itertools
import re
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.report.plots import Plot
from bench.report.sheet import CAPTION, WIDTH
from bench.report.style import FAINT, INK, SETTINGS, TEXT_PT, save
from bench.row import RunError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEM = "maps"
TITLE = "Attention maps"
ROWS, QUERIES = 10, 5
_SIDE, _GAP, _NAME, _HEAD, _BELOW, _LINE, _WRAP = 1.24, 0.09, 1.25, 0.5, 0.2, 0.125, 17
_MORE, _LESS, _MARK = "#C43B00", "#0072B2", "#00E5FF"

Array = NDArray[Any]


@dataclass(frozen=True)
class Sketch:
    """The maps of one block over one picture, as they were saved.

    Attributes:
        name: of the block, with its place where it has several.
        held: arrays by name: `image`, `points`, `names`, `extent`, and `attention`, `mask` or `affinity`.
    """

    name: str
    held: Mapping[str, Array]

    @property
    def picture(self) -> str:
        return str(self.held["picture"])

    @property
    def shared(self) -> str:
        """What blocks of one figure share: the picture and the points that ask."""
        return repr((self.picture, self.held["image"].tobytes(), self.held["points"].round(4).tolist()))


def write(records: Sequence[Mapping[str, Any]], run: Path, folder: Path) -> list[Plot]:
    """Draw the maps of all records: a figure for each picture and set of points, of at most ten blocks.

    Args:
        records: of `attention.jsonl`.
        run: folder that their files lie in.
        folder: where to; it is made.

    Raises:
        RunError: a file of maps cannot be read.
    """
    found: dict[str, list[Sketch]] = {}
    for record in records:
        for name in record["maps"] or ():
            sketch = Sketch(_name(record), _read(run / name))
            found.setdefault(sketch.shared, []).append(sketch)
    sheets = [sheet for sketches in found.values() for sheet in _even(sketches)]
    return [_draw(sketches, folder / f"{STEM}-{number}") for number, sketches in enumerate(sheets, 1)]


def _read(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"cannot read maps '{path}': {' '.join(str(error).split())}") from None


def _even(sketches: Sequence[Sketch]) -> list[Sequence[Sketch]]:
    """As few sheets as hold them, of about equal length."""
    sheets = -(-len(sketches) // ROWS)
    cuts = [round(number * len(sketches) / sheets) for number in range(sheets + 1)]
    return [sketches[start:stop] for start, stop in itertools.pairwise(cuts)]


def _wrapped(name: str) -> str:
    """A name broken behind its signs, so that it stays readable in a narrow column."""
    lines = [""]
    for part in re.findall(r"[^:,+.\n]*[:,+.\n]?", name):
        if lines[-1] and len(lines[-1] + part.strip()) > _WRAP:
            lines.append("")
        lines[-1] += part.strip()
        if part.endswith("\n"):
            lines.append("")
    return "\n".join(lines)


def _name(record: Mapping[str, Any]) -> str:
    return str(record["label"]) if record["place"] == "block" else f"{record['label']}\n{record['place']}"


def _draw(sketches: Sequence[Sketch], stem: Path) -> Plot:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    first = sketches[0].held
    names = [str(name) for name in first["names"]][:QUERIES]
    caption = _caption(sketches, len(first["names"]) - len(names))
    lines = textwrap.wrap(caption, CAPTION)
    tall = _SIDE * min(first["image"].shape[0] / first["image"].shape[1], 1.5)
    height = _HEAD + len(sketches) * (tall + _BELOW) + 0.14 + _LINE * len(lines)
    with rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, height), dpi=72)
        title = f"{TITLE}: {sketches[0].picture}"
        figure.text(0.1 / WIDTH, 1 - 0.08 / height, title, fontsize=9, fontweight="bold", va="top", color=INK)
        figure.text(0.1 / WIDTH, 0.06 / height, "\n".join(lines), fontsize=TEXT_PT, va="bottom", color=INK)
        for row, sketch in enumerate(sketches):
            bottom = height - _HEAD - tall - row * (tall + _BELOW)
            middle = (bottom + tall / 2) / height
            figure.text(
                0.1 / WIDTH, middle, _wrapped(sketch.name), fontsize=7, va="center", color=INK, fontweight="bold"
            )
            axes = []
            for column in range(1 + len(names)):
                left = _NAME + column * (_SIDE + _GAP)
                axes.append(figure.add_axes((left / WIDTH, bottom / height, _SIDE / WIDTH, tall / height)))
            _row(axes, sketch, names)
            if row == 0:
                for place, text in zip(axes, ["picture, who asks", *_numbered(names)], strict=True):
                    place.set_title(text, fontsize=7, color=INK, pad=3)
        svg, png = save(figure, stem)
    return Plot(TITLE, sketches[0].picture, caption, svg, png)


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"from {number}: {name}" for number, name in enumerate(names, 1)]


def _row(axes: Sequence[Axes], sketch: Sketch, names: Sequence[str]) -> None:
    held = sketch.held
    image = held["image"]
    cells = _cells(held)
    for place in axes:
        place.set(xticks=[], yticks=[], xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
        for side in place.spines.values():
            side.set_color(FAINT)
    axes[0].imshow(image, extent=(0, image.shape[1], image.shape[0], 0), interpolation="nearest")
    for number, cell in enumerate(cells[: len(names)], 1):
        _mark(axes[0], cell, str(number))
    for number, place in enumerate(axes[1:]):
        kind = next(kind for kind in ("attention", "affinity", "mask") if kind in held)
        maps = held[kind] if held[kind].ndim == 3 else held[kind][None]
        if number >= len(maps):
            said = "the mask does not\ndepend on who asks" if kind == "mask" else "the same map\nfor all positions"
            place.text(0.5, 0.5, said, transform=place.transAxes, ha="center", va="center", fontsize=TEXT_PT, color=INK)
            continue
        _lay(place, image, maps[number], kind)
        if kind != "mask" and len(maps) > 1:
            _mark(place, cells[number], "")


def _lay(place: Axes, image: Array, weights: Array, kind: str) -> None:
    """The picture in grey, and over it red where weights are large, blue where they are negative."""
    from matplotlib.colors import to_rgb

    extent = (0, image.shape[1], image.shape[0], 0)
    grey = 0.45 + 0.5 * (image.astype(np.float64) @ np.array((0.299, 0.587, 0.114))) / 255
    place.imshow(grey, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    known = weights[np.isfinite(weights)]
    low = float(known.min()) if kind == "mask" else 0.0
    span = float(np.abs(known - low).max()) or 1.0
    shares = np.nan_to_num((weights - low) / span)
    colours = np.zeros((*weights.shape, 4))
    colours[..., :3] = np.where((shares < 0)[..., None], to_rgb(_LESS), to_rgb(_MORE))
    colours[..., 3] = 0.9 * np.abs(shares)
    place.imshow(colours, extent=extent, interpolation="nearest")
    place.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    place.set_xlabel(_said(known, kind), fontsize=TEXT_PT, color=INK, labelpad=2)


def _said(known: Array, kind: str) -> str:
    """The range of what is drawn, in words that tell a flat map from a pointed one."""
    if kind == "mask":
        return f"mask {known.min():.2f} to {known.max():.2f}"
    if known.min() >= 0 and abs(known.sum() - 1) < 1e-2:
        return f"at most {known.max() * known.size:.3g} x uniform"
    return f"{known.min():.2g} to {known.max():.2g}"


def _cells(held: Mapping[str, Array]) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height, in pixels of the picture, of the positions that ask."""
    tall, broad = held["image"].shape[:2]
    height, width = (int(side) for side in held["extent"])
    found = []
    for y, x in held["points"]:
        row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
        found.append((column * broad / width, row * tall / height, broad / width, tall / height))
    return found


def _mark(place: Axes, cell: tuple[float, float, float, float], number: str) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    left, top, width, height = cell
    for colour, line in (("#000000", 2.0), (_MARK, 1.0)):
        place.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=line))
    if number:
        text = place.annotate(
            number,
            (left + width, top),
            xytext=(1, 1),
            textcoords="offset points",
            fontsize=7,
            color=_MARK,
            weight="bold",
        )
        text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def _caption(sketches: Sequence[Sketch], left_out: int) -> str:
    kinds = {kind for sketch in sketches for kind in ("attention", "affinity", "mask") if kind in sketch.held}
    words = []
    if kinds & {"attention", "affinity"}:
        words.append(
            "Left: the picture, and in frames the positions that ask, numbered. In each column: how much the framed "
            "position takes from every other, the redder the more, each panel scaled to its own largest weight. Below: "
            "that weight, over what it were if all were alike (1 x uniform is a flat map)."
        )
    if any(float(sketch.held["attention"].min()) < 0 for sketch in sketches if "attention" in sketch.held):
        words.append("Blue: negative weights. Where weights do not sum to 1 their range stands below.")
    if "affinity" in kinds:
        words.append("Local affinity covers the neighbours of the position alone.")
    if "mask" in kinds:
        words.append("Mask: mean over the channels, from its smallest (clear) to its largest value (red).")
    words.append("Anchors that stand for several positions share their weight among them.")
    if left_out:
        words.append(f"{left_out} more points were asked from and are not drawn.")
    return " ".join(words)
