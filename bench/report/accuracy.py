"""The report of training runs: tables, plots and `accuracy.md`, rebuilt from `runs.jsonl` and the rows of a sweep."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.report import accuracy_tables as tables
from bench.report.accuracy_runs import Part, parts
from bench.report.formats import FORMATS, render
from bench.report.frame import load
from bench.report.machine import read_machine
from bench.report.tables import Table
from bench.row import ROWS, RunError
from bench.training.record import RUNS, read_records

if TYPE_CHECKING:
    from bench.report.plots import Plot

REPORT = "accuracy.md"
COST = "cost"
BASELINE = "identity"
WIDTH = 100
STEMS = ("learning-", "pareto-")
READING = """\
- **params**, **MMACs**: learnable parameters, and 1e6 multiply-adds of the forward pass of one image.
- **mIoU**: mean over the classes of the intersection over the union, by pixel counts of the whole test set.
- **scene**, **pairwise**, **regional**: resolving accuracy. Of the pixels that are one of two classes which look alike,
  and are predicted as either, the share predicted right. Chance is 50, and no block beats it in scene or pairwise
  without context of that kind; plain convolutions reach far enough for a part of regional.
- **thin IoU**: mean IoU of thin objects. **boundary F1**: of class boundaries, at the narrowest tolerance.
- **seeds**: runs that ended well. **s a run**: seconds of training, evaluation excluded; a property of the machine.
- **\N{EN DASH}**: not measured."""


def is_training(folder: Path) -> bool:
    """Whether a folder holds training runs and no rows of a sweep."""
    return (folder / RUNS).exists() and not (folder / ROWS).exists()


def write_accuracy(folder: Path, sweep: Path | None = None, baseline: str = BASELINE) -> list[Path]:
    """Rebuild `tables/`, `plots/`, `accuracy.md` and `report.html` of a folder of training runs; the paths written, the
    page first.

    Plots that an earlier call drew and this one did not are removed. Runs of different data sets, image sizes or
    recipes are kept in parts, never in one table.

    Args:
        folder: holds `runs.jsonl`.
        sweep: folder of the run that measured the costs; null for `cost` within `folder`, where that has rows.
        baseline: label of the block that the others are compared with.

    Raises:
        RunError: a file of the runs or of the sweep cannot be read, or no run has the baseline that was named.
    """
    found = _parts(folder, baseline)
    costs, machine = _costs(folder, sweep)
    from bench.report import accuracy_plots as drawing

    plots = drawing.write(found, costs, folder / "plots", baseline, machine)
    written = [path for plot in plots for path in (plot.svg, plot.png)]
    for path in sorted((folder / "plots").glob("*")):
        if path.name.startswith(STEMS) and path.suffix in (".svg", ".png") and path not in written:
            path.unlink()
    written = [*_write_tables(found, folder / "tables", baseline), *written]
    page = folder / REPORT
    page.write_text(_page(folder, found, plots, baseline, costs is not None), encoding="utf-8", newline="\n")
    from bench.report.html import write_html

    return [page, write_html(folder, sweep, baseline), *written]


def show_accuracy(folder: Path, format: str = "table", baseline: str = BASELINE) -> str:
    """The tables of a folder of training runs in one of `FORMATS`; json and csv hold one record a block.

    `table` fits into 100 columns.

    Raises:
        RunError: `runs.jsonl` cannot be read, or no run has the baseline that was named.
        ValueError: a format that is not in `FORMATS`.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
    found = _parts(folder, baseline)
    if format in ("json", "csv"):
        return render([row for part in found for row in tables.records(part, baseline)], format)
    if format == "table":
        return "\n\n".join(_plain(table) for part in found for table in tables.terminal(part, baseline))
    shown = [table for part in found for table in _shown(part, baseline)]
    if format == "latex":
        return "\n\n".join(table.latex() for table in shown)
    return "\n\n".join(f"### {table.title}\n\n{table.markdown()}" for table in shown)


def accuracy_section(folder: Path, shown: str, baseline: str = BASELINE) -> str:
    """The Markdown that stands in a README for a folder of training runs: its fullest part and its plot of costs.

    Args:
        shown: how the text calls the folder.

    Raises:
        RunError: the folder has no runs, or a file of it cannot be read.
    """
    found = _parts(folder, baseline)
    if not found:
        raise RunError(f"{folder} has no training runs to show")
    part = max(found, key=lambda part: len(part.runs))
    table = tables.accuracy(part, baseline)
    blocks = [f"**{table.title[0].upper()}{table.title[1:]}**", table.markdown()]
    costs, _ = _costs(folder, None)
    from bench.report.accuracy_costs import join
    from bench.report.accuracy_plots import PARETO, pareto_stem

    joined = [] if costs is None else join(part, costs)
    if joined:
        best = max(joined, key=lambda one: (one.group.setting.mode == "forward", len(one.priced)))
        blocks.append(f"![{PARETO}]({shown}/plots/{pareto_stem(best)}.svg)")
    line = read_machine(folder).line() if len({run["env"] for run in part.runs}) == 1 else ""
    trained = f"Trained on {line}. " if line else ""
    total = sum(len(part.runs) for part in found)
    return "\n\n".join([*blocks, f"{trained}All {total} runs: `{shown}/{REPORT}`."])


def _parts(folder: Path, baseline: str) -> list[Part]:
    found = parts(read_records(folder / RUNS))
    labels = list(dict.fromkeys(block.label for part in found for block in part.blocks))
    if found and baseline not in labels and baseline != BASELINE:
        near = difflib.get_close_matches(baseline, labels, 1, 0.0)
        raise RunError(f"no run of a baseline '{baseline}'; trained: {', '.join(labels)}; nearest: {near[0]}")
    return found


def _costs(folder: Path, sweep: Path | None) -> tuple[pd.DataFrame | None, str]:
    """Rows of the sweep and the name of its machine; none where no sweep was named and there is none in `cost`."""
    place = sweep if sweep is not None else folder / COST
    if sweep is None and not (place / ROWS).exists():
        return None, ""
    frame = load(place)
    several = frame["env"].nunique() > 1
    return (frame if len(frame) else None), "" if several else read_machine(place).name()


def _shown(part: Part, baseline: str) -> list[Table]:
    after = [*tables.difference_tables(part, baseline), tables.group_table(part), tables.boundary_table(part)]
    shown = [tables.accuracy(part, baseline), tables.share_table(part, baseline), *after]
    return [table for table in shown if table is not None]


def _plain(table: Table) -> str:
    notes = [textwrap.fill(note, WIDTH) for note in table.notes]
    lines = [textwrap.fill(table.title, WIDTH), "", table.grid.plain(), *([""] if notes else []), *notes]
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n"))


def _write_tables(found: Sequence[Part], folder: Path, baseline: str) -> list[Path]:
    kinds = {
        "accuracy": (
            [tables.accuracy(part, baseline) for part in found],
            [row for part in found for row in tables.records(part, baseline)],
        ),
        "differences": (
            [table for part in found for table in tables.difference_tables(part, baseline)],
            [row for part in found for row in tables.difference_records(part, baseline)],
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (shown, rows) in kinds.items():
        texts = {
            "md": "\n\n".join(f"### {table.title}\n\n{table.markdown()}" for table in shown),
            "csv": render(rows, "csv"),
            "tex": "\n\n".join(table.latex() for table in shown),
        }
        for suffix, text in texts.items():
            path = folder / f"{name}.{suffix}"
            path.write_text(text + "\n", encoding="utf-8", newline="\n")
            written.append(path)
    return written


def _page(folder: Path, found: Sequence[Part], plots: Sequence[Plot], baseline: str, priced: bool) -> str:
    blocks = [f"# Training runs: {folder.resolve().name}", _summary(found)]
    if found:
        line = read_machine(folder).line()
        several = len({run["env"] for part in found for run in part.runs}) > 1
        blocks += [f"Trained on {line}."] if line and not several else []
        blocks += ["## How to read the tables", READING]
    for part in found:
        first, *others = _shown(part, baseline)
        blocks += [f"## {first.title[0].upper()}{first.title[1:]}", first.markdown()]
        for table in others:
            blocks += [f"### {table.title}", table.markdown()]
    if plots:
        blocks.append("## Plots")
    for plot in plots:
        path = plot.svg.relative_to(folder).as_posix()
        blocks += [f"### {plot.title}: {plot.setting}", f"![{plot.title}]({path})", plot.caption]
    if found and not any(plot.svg.name.startswith("pareto-") for plot in plots):
        reason = "no sweep of costs was given" if not priced else "the sweep has no two of these blocks at their size"
        blocks.append(f"Accuracy is not drawn against cost: {reason}.")
    return "\n\n".join(blocks) + "\n"


def _summary(found: Sequence[Part]) -> str:
    if not found:
        return "No run has been recorded yet."
    good, bad = (sum(many) for many in zip(*((len(part.runs), _failed(part)) for part in found), strict=True))
    labels = {block.label for part in found for block in part.blocks}
    parted = f" They fall into {len(found)} parts that do not compare." if len(found) > 1 else ""
    failed = f", {bad} without a result" if bad else ""
    return f"{good + bad} runs of {len(labels)} blocks{failed}.{parted} Tables as Markdown, CSV and LaTeX: `tables/`."


def _failed(part: Part) -> int:
    return sum(len(block.failed) for block in part.blocks)
