"""Tables of training runs: accuracy by block, IoU by group, boundary F1 by width, differences to the baseline."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.accuracy_runs import MIXED, Block, Part, Spread
from bench.report.carries import RULE, Arrival, arrivals, carries
from bench.report.differences import METHOD, Difference, differences, figures
from bench.report.digits import MISSING, count, number, significant
from bench.report.formats import Grid
from bench.report.tables import WORDS, Table

SPREAD = "All accuracies in percent. ± is the standard deviation over the seeds."
LABEL, WORDS_WIDTH = 18, 46
_TITLES = {"miou": "mIoU", "boundary_f1": "boundary F1", "boundary_f1_merged": "boundary F1, twins merged"}
_COMPARED = ("miou", "boundary_f1")


def accuracy(part: Part, baseline: str) -> Table:
    """Every block of a part: what it costs, what it reaches, how sure, and which kinds of context it carries."""
    kinds, thin = part.kinds(), "thin" in part.keys("groups")
    header = ["block", "params", "MMACs", "mIoU", *kinds, *(["thin IoU"] if thin else []), "boundary F1", "seeds"]
    header += ["s a run", *(["carries"] if kinds else [])]
    body = []
    for block in part.blocks:
        cells = [block.label, *_size(block, part), *_reached(block, kinds, thin), _seeds(block), _seconds(block)]
        body.append((*cells, *([carries(block, part, baseline)] if kinds else [])))
    align = "l" + "r" * (len(header) - (2 if kinds else 1)) + ("l" if kinds else "")
    return Table(part.words(), Grid(tuple(header), tuple(body), align), tuple(notes(part, baseline)))


def terminal(part: Part, baseline: str) -> list[Table]:
    """The same in two grids that fit into 100 columns, and the differences below."""
    kinds, thin = part.kinds(), "thin" in part.keys("groups")
    header = ("block", "mIoU", *kinds, *(["thin\nIoU"] if thin else []), "boundary\nF1", "seeds")
    reached = [(wrap(block.label), *_reached(block, kinds, thin), _seeds(block)) for block in part.blocks]
    tables = [Table(part.words(), Grid(header, tuple(reached), "l" + "r" * (len(header) - 1)))]
    header = ("block", "params", "MMACs", "s a run", *(["carries"] if kinds else []))
    costs = [
        (wrap(block.label), *_size(block, part), _seconds(block))
        + (("\n".join(textwrap.wrap(carries(block, part, baseline), WORDS_WIDTH)),) if kinds else ())
        for block in part.blocks
    ]
    title = "Cost and the kinds of context that a block carries" if kinds else "Cost"
    below = tuple(notes(part, baseline))
    tables.append(Table(title, Grid(header, tuple(costs), "lrrr" + ("l" if kinds else "")), below))
    others = [share_table(part, baseline), *difference_tables(part, baseline)]
    return tables + [
        Table(table.title, Grid(table.grid.header, _wrapped(table.grid.rows), table.grid.align), table.notes)
        for table in others
        if table is not None
    ]


def share_table(part: Part, baseline: str) -> Table | None:
    """In how many seeds each kind of context arrives, with interval and verdict; null where no kind was judged."""
    kinds = part.kinds()
    if not kinds:
        return None
    found = arrivals(part, baseline)
    body = tuple((label, *(_arrival(kinds_of[kind]) for kind in kinds)) for label, kinds_of in found.items())
    said = (
        "Seeds in which a kind arrives, the 90 % interval of their share in percent, and the verdict by the rule above."
    )
    return Table(
        f"Seeds in which a kind arrives: {part.words()}", Grid(("block", *kinds), body, "l" * (1 + len(kinds))), (said,)
    )


def difference_tables(part: Part, baseline: str) -> list[Table]:
    """mIoU and boundary F1 against the baseline, and the resolving accuracies; none without two blocks to compare."""
    compared = by_figure(differences(part, baseline))
    labels = list(dict.fromkeys(label for label, _ in compared))
    shown = [(f"Differences to {baseline}", list(_COMPARED))]
    shown += [(f"Differences to {baseline}, resolving", [f"resolving.{kind}" for kind in part.kinds()])]
    tables: list[Table] = []
    for title, names in shown:
        names = [name for name in names if any((label, name) in compared for label in labels)]
        if names:
            body = tuple((label, *(_difference(compared.get((label, name))) for name in names)) for label in labels)
            grid = Grid(("block", *(figure_title(name) for name in names)), body, "l" + "r" * len(names))
            tables.append(Table(f"{title}: {part.words()}", grid))
    if tables:
        tables[-1] = Table(tables[-1].title, tables[-1].grid, (METHOD,))
    return tables


def group_table(part: Part) -> Table | None:
    """Mean IoU of each group of classes; null where the data set has no groups."""
    return _spread_table(part, "groups", "IoU by group of classes", "")


def boundary_table(part: Part) -> Table | None:
    """Boundary F1 by width, and of the shape alone; null where there is one width and nothing was merged."""
    merged = [_spread(block.spread("boundary_f1_merged")) for block in part.blocks]
    table = _spread_table(part, "boundary_f1_at", "Boundary F1 by tolerance", " px")
    if table is None or (len(table.grid.header) == 2 and set(merged) == {MISSING}):
        return None
    if set(merged) == {MISSING}:
        return table
    rows = tuple((*row, cell) for row, cell in zip(table.grid.rows, merged, strict=True))
    grid = Grid((*table.grid.header, "twins merged"), rows, table.grid.align + "r")
    said = "Twins merged: at the narrowest tolerance, with classes that only context tells apart taken for one."
    return Table(table.title, grid, (said,))


def records(part: Part, baseline: str) -> list[dict[str, Any]]:
    """One flat record a block: mean, deviation and number of seeds of every figure, what it costs, what it carries."""
    judged = arrivals(part, baseline)
    names = [*figures(part), *(f"boundary_f1_at.{width}" for width in part.keys("boundary_f1_at"))]
    names += [f"class_iou.{name}" for name in part.keys("class_iou")]
    found = []
    for block in part.blocks:
        fixed = {name: block.any(name) for name in ("entry", "params", "macs", "block_params", "block_macs")}
        row = {**shared(part), "block": block.label, **fixed, "seeds": len(block.runs), "failed": len(block.failed)}
        for name in (*names, "seconds"):
            spread = block.spread(name)
            row |= {f"{name}_mean": spread and spread.mean, f"{name}_sd": spread and spread.sd}
        for kind, one in judged.get(block.label, {}).items():
            row |= {f"{kind}_seeds": one.arrived, f"{kind}_low": one.low, f"{kind}_high": one.high}
            row |= {f"{kind}_verdict": one.verdict}
        found.append(row | {"carries": carries(block, part, baseline) if part.kinds() else None})
    return found


def difference_records(part: Part, baseline: str) -> list[dict[str, Any]]:
    """One flat record a block and figure, percentage points."""
    names = ("baseline", "figure", "median", "mean", "low", "high", "coverage", "better", "seeds", "folded")
    return [
        {**shared(part), "block": one.label, **{name: getattr(one, name) for name in names}}
        for one in differences(part, baseline)
    ]


def shared(part: Part) -> dict[str, Any]:
    """What all runs of a part have in common."""
    return {name: getattr(part, name) for name in ("dataset", "size", "recipe", "settings")}


def by_figure(found: Sequence[Difference]) -> Mapping[tuple[str, str], Difference]:
    """Differences by label and figure."""
    return {(one.label, one.figure): one for one in found}


def notes(part: Part, baseline: str) -> list[str]:
    """What has to be known of the runs of a part: spread, the rule, runs that failed, runs left out."""
    said = [SPREAD, *([RULE] if part.kinds() else [])]
    said += ["Params and MMACs are the whole network's." if part.whole else "Params and MMACs are the block's alone."]
    found = part.block(baseline)
    if found is None or not found.runs:
        said.append(f"Nothing is compared with the baseline '{baseline}': no run of it ended well here.")
    machines = {(run["device"], run["threads"], run["env"]) for run in part.runs}
    if len(machines) > 1:
        several = "Runs come from several machines, versions or thread counts"
        said.append(f"{several}: seconds do not compare, and one seed may give other figures on each.")
    if part.repeated:
        runs = "1 run was" if part.repeated == 1 else f"{part.repeated} runs were"
        said.append(f"{runs} left out: the last good run of a block and seed counts.")
    return said + _failures(part)


def figure_title(figure: str) -> str:
    """`mIoU`, `scene`, `thin IoU`."""
    field, _, key = figure.partition(".")
    if field == "groups":
        return f"{key} IoU"
    return key.replace(MIXED, ", mixed") if key else _TITLES.get(field, field.replace("_", " "))


def wrap(label: str) -> str:
    """A label in lines of at most 18 characters, broken after its separators where it has any."""
    lines = [""]
    for piece in re.findall(r"[^,:+]+[,:+]?|[,:+]", label):
        lines = [*lines, piece] if lines[-1] and len(lines[-1] + piece) > LABEL else [*lines[:-1], lines[-1] + piece]
    return "\n".join(line[start : start + LABEL] for line in lines for start in range(0, len(line), LABEL))


def _wrapped(rows: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    return tuple((wrap(label), *cells) for label, *cells in rows)


def _spread_table(part: Part, field: str, title: str, unit: str) -> Table | None:
    keys = part.keys(field)
    if not keys:
        return None
    body = tuple((block.label, *(_spread(block.spread(f"{field}.{key}")) for key in keys)) for block in part.blocks)
    grid = Grid(("block", *(f"{key}{unit}" for key in keys)), body, "l" + "r" * len(keys))
    return Table(f"{title}: {part.words()}", grid)


def _size(block: Block, part: Part) -> tuple[str, str]:
    params, macs = ("params", "macs") if part.whole else ("block_params", "block_macs")
    operations = number(block.any(macs))
    return count(block.any(params)), MISSING if operations is None else significant(operations / 1e6)


def _reached(block: Block, kinds: Sequence[str], thin: bool) -> list[str]:
    cells = [_spread(block.spread(name)) for name in ("miou", *(f"resolving.{kind}" for kind in kinds))]
    for name in (*(["groups.thin"] if thin else []), "boundary_f1"):
        spread = block.spread(name)
        cells.append(f"{spread.mean:.1f}" if spread else MISSING)
    return cells


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return MISSING
    return f"{spread.mean:.1f}" if spread.sd is None else f"{spread.mean:.1f} ± {spread.sd:.1f}"


def _seeds(block: Block) -> str:
    good, every = len(block.runs), len(block.runs) + len(block.failed)
    return str(good) if good == every else f"{good} of {every}"


def _seconds(block: Block) -> str:
    spread = block.spread("seconds")
    return significant(spread.mean) if spread else MISSING


def _difference(one: Difference | None) -> str:
    if one is None:
        return MISSING
    bounds = "" if one.low is None or one.high is None else f" [{_tenth(one.low):.1f}, {_tenth(one.high):.1f}]"
    return f"{_tenth(one.median):+.1f}{bounds} {one.better}/{one.seeds}"


def _arrival(one: Arrival) -> str:
    if one.low is None or one.high is None:
        return one.verdict
    return f"{one.arrived}/{one.seeds} [{100 * one.low:.0f}, {100 * one.high:.0f}] {one.verdict}"


def _tenth(points: float) -> float:
    """Rounded to a tenth, without the sign of a zero."""
    return round(points, 1) + 0.0


def _failures(part: Part) -> list[str]:
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    for block in part.blocks:
        for run in block.failed:
            key = (str(WORDS.get(run["status"], run["status"])), run["reason"] or "no reason recorded")
            told.setdefault(key, {}).setdefault(block.label, []).append(str(run["seed"]))
    return [f"Without a result, {word}: {_named(blocks)} ({reason})." for (word, reason), blocks in told.items()]


def _named(blocks: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{label} seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}" for label, seeds in blocks.items()
    )
