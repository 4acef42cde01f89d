"""Training runs as the listing and the plot of the HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.report import accuracy_tables as tables
from bench.report.accuracy_costs import COSTS, Joined, join
from bench.report.accuracy_runs import Block, Part, Record
from bench.report.digits import significant
from bench.report.html_listing import Column, Command, Listing, figures
from bench.report.html_rows import styles

SAID = (
    "One row a block, over its seeds. A head sorts by its column, the name of a block opens its row with every run and "
    "the command that trains it again."
)
PARTED = "Runs of different data sets, image sizes or recipes do not compare: each part is sorted by itself."
FIXED: Mapping[str, str] = {"mIoU": "miou_mean", "boundary F1": "boundary_f1_mean", "s a run": "seconds_mean"}
HEAD, CARRIES = "block", "carries"


def listing(found: Sequence[Part], baseline: str) -> Listing:
    """The blocks of every part: what they cost, what they reach, which kinds of context they carry."""
    shown = [_cells(part, baseline) for part in found]
    heads = dict.fromkeys(name for lines in shown for line in lines for name in line[0])
    last = [name for name in heads if name in ("boundary F1", "seeds", "s a run", CARRIES)]
    ordered = [*(name for name in heads if name not in last), *last]
    lines = [line for part in shown for line in part]
    columns = [_column(name, lines) for name in ordered]
    blocks = [(place, block) for place, part in enumerate(found) for block in part.blocks]
    failures = tuple("; ".join(_failure(run) for run in block.failed) for _, block in blocks)
    columns.append(Column("failed", "without a result", failures, role="detail"))
    titles = tuple(part.words() for part in found) if len(found) > 1 else ("",)
    said = f"{SAID} {PARTED}" if len(found) > 1 else SAID
    commands = tuple(_commands(block) for _, block in blocks)
    return Listing("rows", "Blocks", said, tuple(columns), titles, tuple(place for place, _ in blocks), commands)


def plots(found: Sequence[Part], sweep: pd.DataFrame, baseline: str) -> dict[str, Any]:
    """Points of accuracy against cost, one set for each group of the sweep that prices the blocks of a part."""
    return {
        "kind": "training",
        "axes": dict(COSTS),
        "sets": [_set(joined, baseline) for part in found for joined in join(part, sweep)],
    }


def _cells(part: Part, baseline: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Of each block the cells by head, and the record that they come from."""
    grid = tables.accuracy(part, baseline).grid
    shown = [dict(zip(grid.header, row, strict=True)) for row in grid.rows]
    return list(zip(shown, tables.records(part, baseline), strict=True))


def _column(name: str, lines: Sequence[tuple[dict[str, str], dict[str, Any]]]) -> Column:
    shown = tuple(cells.get(name, "") for cells, _ in lines)
    if name == HEAD:
        return Column("label", name, shown, role="head", choice=True)
    if name == CARRIES:
        return Column(name, name, shown)
    return Column(name, name, shown, figures(_value(name, record) for _, record in lines))


def _value(name: str, record: Mapping[str, Any]) -> Any:
    """The figure that a cell shows, by the head of its column."""
    if name in ("params", "MMACs"):
        field = {"params": "params", "MMACs": "macs"}[name]
        held = record[f"block_{field}"]
        return record[field] if held is None else held
    if name == "seeds":
        return record[name]
    group = name.removesuffix(" IoU")
    tried = (FIXED.get(name, ""), f"resolving.{name}_mean", f"groups.{group}_mean")
    return next((record[field] for field in tried if field in record), None)


def _commands(block: Block) -> tuple[Command, ...]:
    runs = [*block.runs.values(), *block.failed]
    return tuple((_run(run), str(run["repro"])) for run in runs if run["repro"])


def _run(run: Record) -> str:
    reached = [f"mIoU {run['miou']:.1f}"] if run["miou"] is not None else []
    taken = [f"{significant(run['seconds'])} s"] if run["seconds"] is not None else []
    return ", ".join([f"seed {run['seed']}", *(reached + taken if run["status"] == "ok" else [str(run["status"])])])


def _failure(run: Record) -> str:
    return f"seed {run['seed']}: {run['status']} ({run['reason'] or 'no reason recorded'})"


def _set(joined: Joined, baseline: str) -> dict[str, Any]:
    points = []
    for one in joined.priced:
        arms = one.arms
        costs = {name: figures([one.cost(name)])[0] for name in COSTS}
        spread = figures([one.miou.mean, one.miou.sd, *(arms or (None, None))])
        points.append({"label": one.label, **costs, **dict(zip(("miou", "sd", "below", "above"), spread, strict=True))})
    return {
        "title": f"{joined.part.words()}; costs at {joined.group.title()}",
        "columns": joined.columns(),
        "styles": styles([block.label for block in joined.part.blocks], [baseline]),
        "points": points,
        "missing": [*joined.missing, *joined.other],
    }
