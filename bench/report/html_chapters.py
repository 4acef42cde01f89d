"""Chapters of the HTML report: what stands around its tables and plots, in words and plain tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup, escape

from bench.disturbance import banner
from bench.report import accuracy, roofline
from bench.report import accuracy_tables as runs
from bench.report.accuracy_runs import Part as RunPart
from bench.report.digits import MISSING, percent
from bench.report.formats import Grid
from bench.report.frame import interval_words
from bench.report.groups import PART, SETTING, all_groups, parts
from bench.report.machine import Machine, node_words
from bench.report.page import sampling
from bench.report.tables import Table, status
from bench.row import SUITE

SETTINGS = "method_settings."
GROUPED = (
    *(*PART, *SETTING, "kind", "height", "width", "channels", "rank"),
    *("reference", "noise_floor", "twin_ratio"),
)
READING = """\
- **block**: the entry, with the options that differ from its defaults. **size**: height x width of the stride-8 map.
- **ms**: median time of a call. ± is the longer arm of the 95 % interval of the median, {interval}; `>100 %`: longer
  than the median. A case that gave no time says so here, and why in its column **reason**.
- **vs**: time over the time of the reference, paired round by round; below 1 is faster. `≈` marks a tie: the difference
  is within the noise floor of the group (how far two copies of the reference came apart), or 1 lies inside the 95 %
  interval of the ratio. `?`: the noise of this ratio was not measured. `‡`: other work disturbed more than a fifth of
  the rounds; the ratio may be far off.
- **params**: learnable parameters. **GMACs**: 1e9 multiply-adds of the forward pass (convolution, linear, matrix
  products, attention), also where a row times forward and backward; a FLOP count is twice that.
- **peak MiB**: peak of live tensors above weights and inputs, traced without running anything; a property of the block,
  not of the machine. **CUDA peak MiB**, **CPU peak MiB**: what PyTorch's allocator reached above what was there
  before the call, measured in a pass of its own; the workspace of kernels counts, so that it depends on the machine.
- **\N{EN DASH}**: not measured.
"""
MIXED = (
    "The rows of this run come from several environments, methods or devices and are not comparable: each part is a "
    "section of its own in the table, and no plot mixes them."
)
APART = "The two MAC counters disagree on the rows below; take no MAC figure of theirs on trust."
FLOORS = (
    "Each group timed its reference twice, as two members; the noise floor says how far such twins come apart. "
    "No smaller difference is called one: ≈ marks it."
)


@dataclass(frozen=True)
class Chapter:
    """A section of the page.

    Attributes:
        name: identifier within the page.
        text: paragraphs.
        items: a list, as safe markup.
        tables: with their notes; a title may be empty.
        code: a file, as it is.
    """

    name: str
    title: str
    text: tuple[str, ...] = ()
    items: tuple[Markup, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""


def warnings(frame: pd.DataFrame) -> list[Chapter]:
    """What a reader must know before any figure: disturbed rows, rows that do not compare, counters that disagree."""
    split = parts(frame)
    told = banner(frame.to_dict("records"))
    found = [Chapter("disturbed", "Disturbed measurements", (told,))] if told else []
    if len(split) > 1:
        items = tuple(escape(f"{part.title()}: {len(part.frame)} rows") for part in split)
        found.append(Chapter("mixed", "Several environments", (MIXED,), items))
    both = frame[frame["macs_fvcore"].notna() & frame["macs_torch"].notna()]
    apart = both[both["macs_fvcore"] != both["macs_torch"]]
    if len(apart):
        names = ("label", "size", "channels", "macs_fvcore", "macs_torch")
        rows = tuple(tuple(str(row[name]) for name in names) for row in apart.to_dict("records"))
        grid = Grid(("block", "size", "channels", "fvcore", "torch"), rows, "llrrr")
        found.append(Chapter("counters", "MAC counters disagree", (APART,), tables=(Table("", grid),)))
    return found


def summary(frame: pd.DataFrame) -> str:
    """How many rows of how many blocks, of which suite and revision."""
    if not len(frame):
        return "The run has no rows yet."
    counts = Counter(status({"status": name}) for name in frame["status"])
    words = ", ".join(f"{many} {word}" for word, many in counts.most_common())
    suites = ", ".join(name for name in dict.fromkeys(frame["suite"]) if name) or "unnamed"
    revisions = ", ".join(name for name in dict.fromkeys(frame["git"]) if name) or "unknown"
    rows, blocks = len(frame), frame["label"].nunique()
    told = f"{rows} {'row' if rows == 1 else 'rows'} ({words}) of {blocks} {'block' if blocks == 1 else 'blocks'}."
    return f"{told} Suite: {suites}. Revision: {revisions}."


def chapters(run: Path, frame: pd.DataFrame, machine: Machine) -> list[Chapter]:
    """How to read the figures, noise floors, method, machine."""
    reading = READING.format(interval=interval_words(frame)) + (
        roofline.READING if frame["roofline"].notna().any() else ""
    )
    told = facts(machine, frame["env"].nunique() > 1, node_words(frame["node"]))
    return [_reading(reading), _noise(frame), _method(run, frame, machine), told]


def training(found: Sequence[RunPart], baseline: str, machine: Machine) -> list[Chapter]:
    """How to read the figures of training runs, what else was judged of each part, the machine."""
    made = [_reading(accuracy.READING)]
    for number, part in enumerate(found, start=1):
        optional = [runs.group_table(part), runs.boundary_table(part)]
        shown = [*runs.difference_tables(part, baseline), *(table for table in optional if table is not None)]
        words = part.words()
        title = words[0].upper() + words[1:]
        made.append(Chapter(f"part-{number}", title, tuple(runs.notes(part, baseline)), tables=tuple(shown)))
    return [*made, facts(machine, len({run["env"] for part in found for run in part.runs}) > 1)]


def facts(machine: Machine, several: bool, nodes: str = "") -> Chapter:
    """Machine and versions as `environment.json` has them, after the nodes that rows come from."""
    name, title = "machine", "Machine and versions"
    told = (("nodes", nodes),) if nodes else ()
    if not machine.facts:
        tables = (Table("", Grid(("fact", "value"), told, "ll")),) if told else ()
        return Chapter(name, title, ("Not recorded: the run has no environment.json.",), tables=tables)
    rows = (*told, *((fact, _fact(value)) for fact, value in machine.facts.items() if not _of_method(fact)))
    alone = f"These facts describe environment {machine.facts.get('env', 'of the last call')} alone."
    return Chapter(name, title, (alone,) if several else (), tables=(Table("", Grid(("fact", "value"), rows, "ll")),))


def marked(text: str) -> tuple[Markup, ...]:
    """The items of a Markdown list, with its bold and its code."""
    items = (" ".join(item.split()) for item in re.split(r"^- ", text, flags=re.MULTILINE))
    return tuple(_inline(item) for item in items if item)


def _inline(text: str) -> Markup:
    bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", bold))


def _reading(text: str) -> Chapter:
    return Chapter("reading", "How to read the figures", items=marked(text))


def _noise(frame: pd.DataFrame) -> Chapter:
    rows = []
    for group in all_groups(frame[list(GROUPED)]):
        for reference, floor, twin in group.floors():
            name = f"{group.setting.kind}, {group.title()}"
            rows.append((name, reference or MISSING, percent(floor), MISSING if twin is None else f"{twin:.4f}"))
    if not rows:
        return Chapter("noise", "Noise floors", ("No group of this run has a noise floor.",))
    grid = Grid(("group", "reference", "noise floor", "A/A ratio"), tuple(rows), "llrr")
    return Chapter("noise", "Noise floors", (FLOORS,), tables=(Table("", grid),))


def _method(run: Path, frame: pd.DataFrame, machine: Machine) -> Chapter:
    hashes = ", ".join(name for name in dict.fromkeys(frame["method"]) if name) or "not recorded"
    words = [f"Method: {hashes}.", *machine.choices(), *sampling(frame)]
    held = {name.removeprefix(SETTINGS): _fact(value) for name, value in machine.facts.items() if _is_setting(name)}
    shown = (Table("", Grid(("setting", "value"), tuple(held.items()), "lr")),) if held else ()
    suite = run / SUITE
    code = suite.read_text(encoding="utf-8").rstrip() if suite.exists() else ""
    return Chapter("method", "Method", (" ".join(words),), tables=shown, code=code)


def _fact(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_setting(name: str) -> bool:
    return name.startswith(SETTINGS)


def _of_method(name: str) -> bool:
    return name == "method" or _is_setting(name)
