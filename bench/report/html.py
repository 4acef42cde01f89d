"""The report of a run as one HTML file that needs nothing but a browser: sortable rows, plots, the method."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import html_rows, html_runs
from bench.report.accuracy import BASELINE, COST, is_training
from bench.report.accuracy_runs import parts
from bench.report.claims import LEDGER
from bench.report.frame import load
from bench.report.html_chapters import Chapter, chapters, summary, training, warnings
from bench.report.html_ledger import ledger
from bench.report.html_listing import Listing, embed
from bench.report.machine import Machine, read_machine
from bench.row import ROWS
from bench.training.record import RUNS, read_records

HTML = "report.html"
TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("table.js", "marks.js", "plots.js", "page.js")


def write_html(folder: Path, sweep: Path | None = None, baseline: str = BASELINE) -> Path:
    """Write `report.html` of a run folder, a sweep's or one of training runs; its path.

    The file holds all rows, its styles, its scripts and plotly.js: it works from disk and asks no network for
    anything. Equal runs give equal bytes. Labels and reasons are text in it, whatever they hold.

    Args:
        folder: holds `rows.jsonl` or `runs.jsonl`; a `papers.csv` beside them is shown as a table.
        sweep: of training runs, the folder of the run that measured the costs; null for `cost` within `folder`.
        baseline: of training runs, the block that the others are compared with.

    Raises:
        RunError: the folder has neither file, or a file of the run is broken.
    """
    page = _training(folder, sweep, baseline) if is_training(folder) else _sweep(folder)
    if (folder / LEDGER).exists():
        page["listings"].append(ledger(folder / LEDGER))
    path = folder / HTML
    path.write_text(_render(folder.resolve().name, **page), encoding="utf-8", newline="\n")
    return path


def _sweep(folder: Path) -> dict[str, Any]:
    frame, machine = load(folder), read_machine(folder)
    page: dict[str, Any] = {"summary": [summary(frame)], "warnings": [], "listings": [], "plots": None, "chapters": []}
    if len(frame):
        listed = html_rows.listing(frame)
        line = machine.line() if frame["env"].nunique() == 1 else ""
        page["summary"] += [f"Measured on {line}."] if line else []
        page |= {"warnings": warnings(frame), "listings": [listed], "plots": html_rows.plots(frame, listed)}
        page["chapters"] = chapters(folder, frame, machine)
    return page


def _training(folder: Path, sweep: Path | None, baseline: str) -> dict[str, Any]:
    found, machine = parts(read_records(folder / RUNS)), read_machine(folder)
    page: dict[str, Any] = {"warnings": [], "listings": [], "plots": None, "chapters": []}
    if not found:
        return page | {"summary": ["No run has been recorded yet."]}
    place = sweep if sweep is not None else folder / COST
    if sweep is not None or (place / ROWS).exists():
        drawn = html_runs.plots(found, load(place), baseline)
        page["plots"] = drawn if drawn["sets"] else None
    page |= {"listings": [html_runs.listing(found, baseline)], "chapters": training(found, baseline, machine)}
    return page | {"summary": _said(found, machine)}


def _said(found: Sequence[Any], machine: Machine) -> list[str]:
    good = sum(len(part.runs) for part in found)
    bad = sum(len(block.failed) for part in found for block in part.blocks)
    labels = {block.label for part in found for block in part.blocks}
    failed = f", {bad} without a result" if bad else ""
    parted = f" They fall into {len(found)} parts that do not compare." if len(found) > 1 else ""
    one = len({run["env"] for part in found for run in part.runs}) == 1
    line = machine.line() if one else ""
    told = f"{good + bad} {'run' if good + bad == 1 else 'runs'} of {len(labels)} blocks{failed}.{parted}"
    return [told, *([f"Trained on {line}."] if line else [])]


def _render(
    title: str,
    summary: Sequence[str],
    warnings: Sequence[Chapter],
    listings: Sequence[Listing],
    plots: dict[str, Any] | None,
    chapters: Sequence[Chapter],
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    code = _code()
    plotly = _plotly() if plots else ""
    loader = FileSystemLoader(TEMPLATES)
    engine = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = engine.get_template("report.html.j2").render(
        title=title,
        summary=summary,
        warnings=warnings,
        listings=listings,
        plots=plots,
        chapters=chapters,
        data=embed({"listings": {one.name: one.packed() for one in listings}, "plots": plots}),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        code=Markup(code),
        plotly=Markup(plotly),
        hashes=[_hash(script) for script in (code, plotly) if script],
    )
    return text if text.endswith("\n") else f"{text}\n"


def _code() -> str:
    """The scripts of the page as one, none of whose names is seen outside."""
    found = [(TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "\n".join(['(() => {\n"use strict";', *found, "})();"])


@functools.cache
def _plotly() -> str:
    """plotly.js of the installed package, free of what could end the element that it stands in."""
    from plotly.offline import get_plotlyjs

    text = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _hash(script: str) -> str:
    """What the page's content security policy knows a script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
