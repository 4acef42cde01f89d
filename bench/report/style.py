"""How a block looks in every plot: colour x marker x line, safe for the colour-blind, and how figures are saved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Dash = str | tuple[int, tuple[float, ...]]

# Okabe and Ito's palette without yellow, which vanishes on white paper.
COLOURS = ("#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
LINES: tuple[Dash, ...] = ("-", (0, (4.0, 1.6)), (0, (1.0, 1.2)), (0, (6.0, 1.4, 1.0, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
INK = "#333333"
FAINT = "#d9d9d9"
TEXT_PT = 6.5
SETTINGS: Any = {
    "svg.hashsalt": "contextbench",
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "font.size": 7.0,
    "axes.unicode_minus": False,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Style:
    """Colour, marker and dash of one block; the reference is the only solid black line."""

    colour: str
    marker: str
    line: Dash
    width: float

    @property
    def ink(self) -> str:
        """The colour, dark enough for text on white."""
        parts = (int(self.colour[start : start + 2], 16) * 2 // 3 for start in (1, 3, 5))
        return "#" + "".join(f"{part:02x}" for part in parts)


def assign(labels: Iterable[str], references: Iterable[str]) -> dict[str, Style]:
    """A style for each label, in order; the first reference among them gets solid black.

    Colour and line differ between any two of the first 28 labels, colour and marker between any two of the first 63.
    """
    ordered = list(dict.fromkeys(labels))
    reference = next((name for name in references if name in ordered), None)
    styles = {reference: _style(0, 1.8)} if reference is not None else {}
    others = (name for name in ordered if name != reference)
    return styles | {name: _style(index, 1.0) for index, name in enumerate(others, start=1)}


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write the figure as SVG and PNG (150 dpi); equal figures give equal bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    stem.parent.mkdir(parents=True, exist_ok=True)
    svg, png = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    with rc_context(SETTINGS):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return [svg, png]


def _style(index: int, width: float) -> Style:
    colours, lines = len(COLOURS), len(LINES)
    return Style(COLOURS[index % colours], MARKERS[index % len(MARKERS)], LINES[(index // colours) % lines], width)
