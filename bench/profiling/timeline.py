"""Timeline: live traced memory over the operators of each call, stacked by class, as one self-contained HTML page."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence

from bench.profiling.anatomy import Anatomy
from bench.profiling.record import CLASSES, COLOURS

_MIB = 2**20
_WIDTH, _HEIGHT, _LEFT, _TOP, _FOOT, _LETTER = 1000.0, 300.0, 64.0, 26.0, 34.0, 5.8
_NAMED = 48
_LISTED = 12
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #ddd; --paper: #fff; --hover: #0001; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --faint: #444; --paper: #16181b; --hover: #fff2; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 64rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
.grid { stroke: var(--faint); } .mark { stroke: var(--ink); stroke-dasharray: 4 3; } .hit { fill: transparent; }
.hit:hover { fill: var(--hover); }
.key span { display: inline-block; margin-right: 1.2em; } .key i { display: inline-block; width: .8em; height: .8em;
  margin-right: .4em; }
table { border-collapse: collapse; } td, th { padding: .15em 1em .15em 0; text-align: left;
  border-bottom: 1px solid var(--faint); } .n { text-align: right; }
"""


def page(sections: Iterable[tuple[str, Anatomy]]) -> str:
    """The page, a section a case.

    Args:
        sections: title and anatomy of each case.
    """
    swatches = (f'<span><i style="background:{COLOURS[kind]}"></i>{kind}</span>' for kind in CLASSES)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Live memory by class of operator</title><style>{_STYLE}</style></head><body>",
        "<h1>Live memory by class of operator</h1>",
        "<p>Bytes of tensor storage that are alive right after each operator of one call, above weights and inputs, "
        "by the class of the operator that made them. Traced from shapes alone, each storage rounded up to 512 bytes, "
        "without the workspace of kernels. Point at an operator to read it.</p>",
        f'<p class="key">{"".join(swatches)}</p>',
        *(_section(title, anatomy) for title, anatomy in sections),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, anatomy: Anatomy) -> str:
    heading = f"<h2>{html.escape(title)}</h2>"
    if anatomy.peak_step is None:
        return f"{heading}<p>Nothing is allocated beside weights and inputs.</p>"
    kinds = sorted((-size, kind) for kind, size in anatomy.class_peak_bytes.items() if size)
    peak = sum(anatomy.class_peak_bytes.values())
    told = ", ".join(f"{kind} {mib(-negative)} MiB ({-negative / peak:.0%})" for negative, kind in kinds)
    name = html.escape(str(anatomy.peak_operator))
    summary = (
        f"<p>Peak: <b>{mib(peak)} MiB</b>, made by <b>{name}</b>, operator {anatomy.peak_step + 1} of "
        f"{len(anatomy.steps)}. Alive then: {told}.</p>"
    )
    return "\n".join([heading, summary, _chart(anatomy, peak), _table(anatomy)])


def _chart(anatomy: Anatomy, peak: int) -> str:
    steps = anatomy.steps
    named = len(steps) <= _NAMED
    top = _ceiling(peak)
    pitch = (_WIDTH - _LEFT - 8) / len(steps)
    floor = _TOP + _HEIGHT

    def across(number: float) -> float:
        return _LEFT + number * pitch

    def up(size: float) -> float:
        return floor - size / top * _HEIGHT

    shapes = []
    for line in range(5):
        y, size = up(top * line / 4), top * line / 4
        shapes.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        shapes.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{size / _MIB:g}</text>')
    shapes.append(f'<text x="{_LEFT - 8}" y="12" text-anchor="end">MiB</text>')
    for place, kind in enumerate(CLASSES):
        below = [sum(step.live[:place]) for step in steps]
        above = [sum(step.live[: place + 1]) for step in steps]
        if any(step.live[place] for step in steps):
            outline = [*_stairs(above, across, up), *reversed(_stairs(below, across, up))]
            shapes.append(f'<path fill="{COLOURS[kind]}" d="M{" L".join(outline)}Z"><title>{kind}</title></path>')
    if anatomy.backward is not None and 0 < anatomy.backward < len(steps):
        shapes.append(_mark(across(anatomy.backward), "backward", _TOP + 12, leftward=True))
    at_peak = across((anatomy.peak_step or 0) + 0.5)
    shapes.append(_mark(at_peak, f"peak: {anatomy.peak_operator}", _TOP - 6, leftward=at_peak > _WIDTH * 0.6))
    for number, step in enumerate(steps):
        parts = ", ".join(f"{kind} {mib(size)}" for kind, size in zip(CLASSES, step.live, strict=True) if size)
        told = html.escape(f"{number + 1}. {step.operator}: {mib(step.bytes)} MiB alive" + (f": {parts}" * bool(parts)))
        box = f'x="{across(number):.1f}" y="{_TOP}" width="{pitch:.2f}" height="{_HEIGHT}"'
        shapes.append(f'<rect class="hit" {box}><title>{told}</title></rect>')
        if named:
            x, y = across(number + 0.5) + 4, floor + 10
            turned = f'transform="rotate(-60 {x:.1f} {y:.1f})" text-anchor="end"'
            shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" {turned}>{html.escape(step.operator)}</text>')
    names = _LETTER * max(len(step.operator) for step in steps) + 12 if named else 0
    foot = floor + names + _FOOT - 10
    middle = (_LEFT + _WIDTH) / 2
    words = f"operators of the call, in order (1 to {len(steps)})"
    shapes.append(f'<text x="{middle}" y="{foot:.0f}" text-anchor="middle">{words}</text>')
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {foot + 8:.0f}" role="img">{"".join(shapes)}</svg>'


def _stairs(sizes: Sequence[int], across: Callable[[float], float], up: Callable[[float], float]) -> list[str]:
    """Corners of a line that is level over each operator."""
    return [f"{across(n + side):.1f},{up(size):.1f}" for n, size in enumerate(sizes) for side in (0, 1)]


def _mark(x: float, words: str, y: float, leftward: bool) -> str:
    anchor, shift = ("end", -5) if leftward else ("start", 5)
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 14}" y2="{_TOP + _HEIGHT}"/>'
    return f'{line}<text x="{x + shift:.1f}" y="{y}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _table(anatomy: Anatomy) -> str:
    largest = sorted(anatomy.at_peak, key=lambda one: -one.bytes)
    rows = [
        f"<tr><td>{html.escape(one.operator)}</td><td>{one.kind}</td><td>{' x '.join(map(str, one.shape))}</td>"
        f'<td class="n">{mib(one.bytes)}</td></tr>'
        for one in largest[:_LISTED]
    ]
    head = '<tr><th>made by</th><th>class</th><th>shape</th><th class="n">MiB</th></tr>'
    more = len(largest) - _LISTED
    rest = f"<p>and {more} more, {mib(sum(one.bytes for one in largest[_LISTED:]))} MiB</p>" if more > 0 else ""
    return f"<p>What is alive at the peak:</p><table>{head}{''.join(rows)}</table>{rest}"


def mib(size: float) -> str:
    """Bytes in MiB, three significant digits, none before the point rounded away."""
    figure = size / _MIB
    if figure == 0:
        return "0"
    return f"{figure:.{max(0, 2 - math.floor(math.log10(figure)))}f}" if figure >= 1e-3 else f"{figure:.1e}"


def _ceiling(size: float) -> float:
    """The least 1, 2, 4 or 8 times a power of ten MiB that holds `size`, so that quarters of it are round."""
    power = 10.0 ** math.floor(math.log10(size / _MIB))
    return next(step * power * _MIB for step in (1, 2, 4, 8, 10, 20) if step * power * _MIB >= size)
