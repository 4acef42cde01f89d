"""The plot of profiled cases: blocks side by side, classes of operators stacked, as in Figure 2 of ANN. SVG and PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.profiling.record import CLASSES, COLOURS, REMAINDER
from bench.report.digits import significant
from bench.report.sheet import CAPTION, WIDTH, sheet
from bench.report.style import FAINT, INK, TEXT_PT, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.report.breakdown import Panel

TITLE = "Breakdown by class of operator"
SHARES = "share of the call, %"
_LEAST_SHARE = 0.04
"""Share of the axis below which a part of a bar bears no figure."""
_FIGURED = 10
"""Bars of a panel beyond which their parts bear no figures."""
_LETTER = 0.058
"""Inches of a letter of a block's name."""
_LINE = 0.125
"""Inches of a line of the caption, as on every sheet."""


@dataclass(frozen=True)
class Drawn:
    """A plot on disk: its panel, title and caption, and the paths of SVG and PNG."""

    panel: Panel
    title: str
    caption: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Bar:
    """One block: parts from the bottom up, in the axis' unit."""

    label: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def write(panels: Sequence[Panel], folder: Path, machine: str) -> list[Drawn]:
    """Draw every panel that has something to draw, one figure each.

    Args:
        folder: where to; it is made.
        machine: that measured the times, for the captions; may be empty.
    """
    found = []
    for panel in panels:
        charts = [(title, bars) for title, bars in _charts(panel) if any(bar.total > 0 for bar in bars)]
        if charts:
            caption = _caption(panel, machine)
            figure = _figure(charts, f"{TITLE}: {panel.title()}", caption)
            paths = save(figure, folder / f"breakdown-{panel.slug()}")
            found.append(Drawn(panel, TITLE, caption, tuple(paths)))
    return found


def macs_unit(records: Sequence[Mapping[str, Any]]) -> tuple[str, float]:
    """The unit of multiply-adds that leaves the largest of the records readable, and how many it is."""
    largest = max((one["macs"] or 0 for one in records), default=0)
    return ("GMACs", 1e9) if largest >= 1e8 else ("MMACs", 1e6)


def lines(label: str, width: int) -> list[str]:
    """A block's name in lines of about `width` letters, broken where options and their values begin."""
    spaced = label.replace(":", ": ").replace(",", ", ").replace("=", "= ")
    parts = textwrap.wrap(spaced, max(width, 4), break_long_words=False, break_on_hyphens=False)
    return [part.replace(" ", "") for part in parts]


def _charts(panel: Panel) -> list[tuple[str, list[Bar]]]:
    timed = [one for one in panel.records if one["status"] == "ok"]
    traced = [one for one in panel.records if one["class_macs"] is not None]
    times = [Bar(one["label"], {**one["class_ms"], REMAINDER: max(one["remainder_ms"], 0.0)}) for one in timed]
    macs, unit = macs_unit(traced)
    return [
        ("ms a call", times),
        (SHARES, [Bar(bar.label, _shares(bar)) for bar in times if bar.total > 0]),
        ("MiB alive at the traced peak", _bars(traced, "class_peak_bytes", 2.0**20)),
        (f"{macs} of the forward pass", _bars(traced, "class_macs", unit)),
    ]


def _shares(bar: Bar) -> dict[str, float]:
    return {kind: 100 * size / bar.total for kind, size in bar.parts.items()}


def _bars(records: Sequence[Mapping[str, Any]], name: str, unit: float) -> list[Bar]:
    return [Bar(one["label"], {kind: one[name][kind] / unit for kind in CLASSES}) for one in records]


def _figure(charts: Sequence[tuple[str, list[Bar]]], title: str, caption: str) -> Figure:
    names = _names([bar.label for bar in max((bars for _, bars in charts), key=len)])
    figure, axes = sheet(len(charts), title, caption, 0.1, 2.3 + names.room)
    raised = names.room / figure.get_figheight()
    for (words, bars), place in zip(charts, axes, strict=True):
        box = place.get_position()
        place.set_position((box.x0, box.y0 + raised, box.width, box.height - raised))
        _stack(place, bars, words)
        shown = [names.shown[bar.label] for bar in bars]
        place.set_xticks(range(len(bars)), shown, rotation=60 if names.tilted else 0, rotation_mode="anchor")
        place.set_xticklabels(shown, ha="right" if names.tilted else "center", va="center" if names.tilted else "top")
    shown = [kind for kind in (*CLASSES, REMAINDER) if any(b.parts.get(kind) for _, bars in charts for b in bars)]
    _key(figure, shown, caption)
    return figure


@dataclass(frozen=True)
class Names:
    """How the blocks are named below the bars: text by label, whether it is tilted, and the inches that it takes."""

    shown: Mapping[str, str]
    tilted: bool
    room: float


def _names(labels: Sequence[str]) -> Names:
    """Names in lines as wide as their bar's place, or tilted where they do not fit."""
    width = int((WIDTH / 2 - 0.9) / max(len(labels), 2) / _LETTER)
    broken = {label: lines(label, width) for label in labels}
    if any(len(line) > 1.2 * width for parts in broken.values() for line in parts):
        return Names({label: label for label in labels}, True, 0.8 * _LETTER * max(map(len, labels)))
    most = max(len(parts) for parts in broken.values())
    return Names({label: "\n".join(parts) for label, parts in broken.items()}, False, _LINE * (most - 1))


def _stack(place: Axes, bars: Sequence[Bar], title: str) -> None:
    top = max(bar.total for bar in bars) * 1.09
    place.set_ylim(0, top)
    for at, bar in enumerate(bars):
        foot = 0.0
        for kind, size in bar.parts.items():
            if size <= 0:
                continue
            place.bar((at,), (size,), 0.5 if len(bars) < 4 else 0.7, (foot,), linewidth=0.4, **_look(kind))
            if size / top > _LEAST_SHARE and len(bars) <= _FIGURED:
                _figured(place, at, foot + size / 2, kind, size / bar.total)
            foot += size
        if title != SHARES and len(bars) <= 2 * _FIGURED:
            total: dict[str, Any] = {
                "ha": "center",
                "va": "bottom",
                "fontsize": TEXT_PT if len(bars) <= _FIGURED else 5.0,
                "color": INK,
            }
            place.text(at, foot + top * 0.012, significant(bar.total), **total)
    place.set_xlim(-0.6, max(len(bars), 2) - 0.4)
    place.set_title(title, fontsize=7.5, loc="left", color=INK, pad=3)
    place.grid(True, axis="y", color=FAINT, linewidth=0.5)
    place.set_axisbelow(True)
    place.tick_params(labelsize=TEXT_PT, length=2, color=INK, labelcolor=INK, pad=1.5)
    place.tick_params(axis="x", length=0, pad=3)
    for side in ("top", "right"):
        place.spines[side].set_visible(False)


def _figured(place: Axes, x: float, y: float, kind: str, share: float) -> None:
    """The share of a part, in its middle."""
    dark = kind in (REMAINDER, "softmax", "copy")
    paper = {"facecolor": "#f4f4f4", "edgecolor": "none", "pad": 0.8} if kind == REMAINDER else None
    look: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "fontsize": 5.5,
        "color": INK if dark else "white",
        "bbox": paper,
    }
    place.text(x, y, f"{100 * share:.0f} %", **look)


def _look(kind: str) -> dict[str, Any]:
    if kind == REMAINDER:
        return {"facecolor": "#f4f4f4", "hatch": "//////", "edgecolor": "#9a9a9a"}
    return {"facecolor": COLOURS[kind], "edgecolor": "white"}


def _key(figure: Figure, kinds: Sequence[str], caption: str) -> None:
    """The classes in a row between the panels and the caption, in the order of the bars from the bottom up."""
    from matplotlib.patches import Patch

    handles = [Patch(label=kind, linewidth=0.4, **_look(kind)) for kind in kinds]
    rows = len(textwrap.wrap(caption, CAPTION))
    foot = (0.14 + _LINE * rows) / figure.get_figheight()
    look: dict[str, Any] = {
        "fontsize": TEXT_PT,
        "frameon": False,
        "labelcolor": INK,
        "columnspacing": 1.4,
        "handlelength": 1.4,
    }
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.005, foot), ncols=len(kinds), **look)


def _caption(panel: Panel, machine: str) -> str:
    timed = [one for one in panel.records if one["status"] == "ok"]
    words = []
    if timed:
        calls = sorted({one["calls"] for one in timed})
        many = f"{calls[0]}" if len(calls) == 1 else f"{calls[0]} to {calls[-1]}"
        words.append(f"Time: mean of {many} profiled calls{f' on {machine}' if machine else ''}.")
        words.append(f"{REMAINDER} is what of the call lies in no operator.")
        over = [one["label"] for one in timed if one["remainder_ms"] < 0]
        words += [f"Kernels ran side by side and add up to more than the call: {', '.join(over)}."] if over else []
    words.append("Memory and multiply-adds: traced, without running; memory above weights and inputs.")
    missing = [f"{one['label']} ({one['status']})" for one in panel.records if one["status"] != "ok"]
    words += [f"Not timed: {', '.join(missing)}."] if missing else []
    return " ".join(words)
