"""The report of a run: `tables/`, `plots/` and `report.md`, rebuilt from its rows alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.disturbance import banner
from bench.report import roofline, tables, then_and_now
from bench.report.digits import MISSING, percent
from bench.report.formats import Grid
from bench.report.frame import interval_words, load
from bench.report.groups import Part, all_groups, groups, parts, settings
from bench.report.machine import Machine, node_words, read_machine
from bench.row import SUITE

if TYPE_CHECKING:
    from bench.report.plots import Plot

READING = """\
- **block**: the entry, with the options that differ from its defaults. The rows of a table differ only in the block.
- **params**: learnable parameters. **GMACs**: 1e9 multiply-adds of the forward pass (convolution, linear, matrix
  products, attention), also where a row times forward and backward; a FLOP count is twice that.
- **peak MiB**: peak of live tensors above weights and inputs, traced without running anything; a property of the block,
  not of the machine. **CUDA peak MiB**, **CPU peak MiB**: what PyTorch's allocator reached above what was there
  before the call, measured in a pass of its own; the workspace of kernels counts, so that it depends on the machine.
- **ms**: median time of a call. ± is the longer arm of the 95 % interval of the median, {interval};
  `>100 %`: longer than the median.
- **vs**: time over the time of the reference, paired round by round; below 1 is faster. `≈` marks a tie: the difference
  is within the noise floor of the group (how far two copies of the reference came apart), or 1 lies inside the 95 %
  interval of the ratio. `‡`: other work disturbed more than a fifth of the rounds; the ratio may be far off.
- **\N{EN DASH}**: not measured. Cases that gave no time say why in the ms column, with the reason below the table.
"""
UNCOUNTED = """\
MACs count convolutions, linear layers, matrix products and attention. The operators below ran as well and are in no MAC
figure; they are named so that nobody takes their cost for zero. They do count in time, in memory and in traffic.
"""
OURS = {
    "tables": ("efficiency", "latency", "memory"),
    "plots": ("time-", "memory-", "cuda-memory-", "cpu-memory-", "macs-", "roofline-", "tradeoff-", "jpu-"),
}
_SETTINGS = "method_settings."
SUFFIXES = (".md", ".csv", ".tex", ".svg", ".png")


def write(run: Path) -> list[Path]:
    """Rebuild `tables/`, `plots/`, `report.md` and `report.html` of a run folder; the paths written, `report.md` first.

    Tables and plots that an earlier call wrote and this one did not are removed. Rows of different environments,
    methods or devices are kept in separate parts, never in one table.

    Raises:
        RunError: the folder has no `rows.jsonl`, or a file of the run is broken.
    """
    frame = load(run)
    machine = read_machine(run)
    written: list[Path] = []
    plots: list[Plot] = []
    if len(frame):
        from bench.report import plots as drawing

        written += tables.write(frame, run / "tables")
        several = frame["env"].nunique() > 1
        plots = drawing.write(frame, run / "plots", "" if several else machine.name())
        written += [path for plot in plots for path in (plot.svg, plot.png)]
    _remove_stale(run, set(written))
    report = run / "report.md"
    report.write_text(text(run, frame, machine, plots), encoding="utf-8", newline="\n")
    from bench.report.html import write_html

    return [report, write_html(run), *written]


def text(run: Path, frame: pd.DataFrame, machine: Machine, plots: list[Plot]) -> str:
    """The report as Markdown; plots are embedded by paths relative to the run folder."""
    blocks = [f"# {run.resolve().name}", _summary(frame)]
    if len(frame):
        split = parts(frame)
        told = banner(frame.to_dict("records"))
        blocks += [*([f"> **Warning.** {told}"] if told else []), *_mixed(split), *_disagreements(frame)]
        blocks += ["## Machine and versions", *_facts(machine, frame), "## Method", *_method(run, frame, machine)]
        blocks += ["## How to read the tables", _reading(frame), "## Plots"]
        for plot in plots:
            path = plot.svg.relative_to(run).as_posix()
            blocks += [f"### {plot.title}, {plot.setting}", f"![{plot.title}]({path})", plot.caption]
        blocks += ["## Efficiency", *_efficiency(split)]
        blocks += then_and_now.markdown(frame)
        blocks += ["## Noise floors", *_noise(frame)]
        blocks += ["## Cases without a result", *_failures(frame)]
        blocks += ["## Operators without a MAC count", *_uncounted(frame)]
    return "\n\n".join(blocks) + "\n"


def _summary(frame: pd.DataFrame) -> str:
    if not len(frame):
        return "The run has no rows yet."
    counts = Counter(frame["status"])
    words = ", ".join(f"{many} {tables.WORDS.get(status, status)}" for status, many in counts.most_common())
    suites = ", ".join(name for name in dict.fromkeys(frame["suite"]) if name) or "unnamed"
    revisions = ", ".join(name for name in dict.fromkeys(frame["git"]) if name) or "unknown"
    rows = "1 row" if len(frame) == 1 else f"{len(frame)} rows"
    return (
        f"{rows} ({words}) of {frame['label'].nunique()} blocks. Suite: {suites}. Revision: {revisions}. "
        "Tables as Markdown, CSV and LaTeX are in `tables/`, plots as SVG and PNG in `plots/`."
    )


def _mixed(split: list[Part]) -> list[str]:
    if len(split) == 1:
        return []
    lines = [
        "> **Warning.** The rows of this run come from several environments, methods or devices and are not comparable:"
    ]
    lines.append("> each part below has its own tables and plots, and no figure mixes them.")
    return ["\n".join([*lines, ">", *(f"> - {part.title()}: {len(part.frame)} rows" for part in split)])]


def _disagreements(frame: pd.DataFrame) -> list[str]:
    both = frame[frame["macs_fvcore"].notna() & frame["macs_torch"].notna()]
    apart = both[both["macs_fvcore"] != both["macs_torch"]]
    if not len(apart):
        return []
    rows = tuple(
        (row["label"], row["size"], str(row["channels"]), str(row["macs_fvcore"]), str(row["macs_torch"]))
        for row in apart.to_dict("records")
    )
    grid = Grid(("block", "size", "channels", "fvcore", "torch"), rows, "llrrr")
    return [
        "> **Warning.** The two MAC counters disagree on the rows below; take no MAC figure of theirs on trust.",
        grid.markdown(),
    ]


def _facts(machine: Machine, frame: pd.DataFrame) -> list[str]:
    nodes = node_words(frame["node"])
    told = (("nodes", nodes),) if nodes else ()
    if not machine.facts:
        missing = "Not recorded: the run has no `environment.json`."
        return [missing, *([Grid(("fact", "value"), told, "ll").markdown()] if told else [])]
    rows = (*told, *((name, str(value)) for name, value in machine.facts.items() if not _of_method(name)))
    several = f"These facts describe environment {machine.facts.get('env', 'of the last call')} alone."
    return [*([several] if frame["env"].nunique() > 1 else []), Grid(("fact", "value"), rows, "ll").markdown()]


def _of_method(name: str) -> bool:
    return name == "method" or name.startswith(_SETTINGS)


def _method(run: Path, frame: pd.DataFrame, machine: Machine) -> list[str]:
    hashes = ", ".join(f"`{name}`" for name in dict.fromkeys(frame["method"]) if name) or "not recorded"
    words = [f"Method: {hashes}."]
    settings = ", ".join(
        f"{name.removeprefix(_SETTINGS)} {value}" for name, value in machine.facts.items() if name.startswith(_SETTINGS)
    )
    if settings:
        words.append(f"Settings: {settings}.")
    words += [*machine.choices(), *sampling(frame)]
    suite = run / SUITE
    shown = [f"```toml\n{suite.read_text(encoding='utf-8').rstrip()}\n```"] if suite.exists() else []
    return [" ".join(words), *(["The suite, with its method settings:"] if shown else []), *shown]


def sampling(frame: pd.DataFrame) -> list[str]:
    """How many rounds the cases got, why sampling ended, and how long the card rested, in sentences."""
    words = []
    rounds = frame.loc[frame["status"] == "ok", "rounds"].dropna()
    if len(rounds):
        words.append(f"Rounds a case: median {rounds.median():.0f}, from {rounds.min()} to {rounds.max()}.")
    stops = Counter(reason for reason in frame["stop_reason"] if reason)
    if stops:
        words.append(f"Sampling ended by: {', '.join(f'{reason} ({many})' for reason, many in stops.most_common())}.")
    rested = frame.loc[frame["rested_seconds"] > 0, "rested_seconds"]
    if len(rested):
        words.append(
            f"The card's power or heat held its clocks down: ahead of the samples of {len(rested)} cases it rested, "
            f"{rested.max():.3g} s a group at most; their times are those of free clocks."
        )
    return words


def _reading(frame: pd.DataFrame) -> str:
    reading = READING.format(interval=interval_words(frame))
    return (reading + roofline.READING if frame["roofline"].notna().any() else reading).rstrip()


def _efficiency(split: list[Part]) -> list[str]:
    blocks = []
    for part in split:
        if part.of > 1:
            blocks.append(f"### {part.title()}")
        for setting in settings(part):
            for group in groups(setting):
                table = tables.efficiency(group)
                blocks += [f"#### {setting.kind.capitalize()}, {table.title}", table.markdown()]
    return blocks


def _noise(frame: pd.DataFrame) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for group in all_groups(frame):
        for reference, floor, twin in group.floors():
            name = f"{group.setting.kind}, {group.title()}"
            rows.append((name, reference or MISSING, percent(floor), MISSING if twin is None else f"{twin:.4f}"))
    if not rows:
        return ["No group of this run has a noise floor."]
    said = "Each group timed its reference twice, as two members; the noise floor says how far such twins come apart."
    return [said, Grid(("group", "reference", "noise floor", "A/A ratio"), tuple(rows), "llrr").markdown()]


def _failures(frame: pd.DataFrame) -> list[str]:
    bad = frame[frame["status"] != "ok"]
    if not len(bad):
        return ["None: every case has a result."]
    names = ("block", "size", "channels", "batch", "dtype", "mode", "impl", "device", "status", "reason")
    rows = tuple(_failure(row) for row in bad.to_dict("records"))
    return [Grid(names, rows, "llrrllllll").markdown()]


def _failure(row: dict[Any, Any]) -> tuple[str, ...]:
    case = (row[name] for name in ("label", "size", "channels", "batch", "dtype", "mode", "impl", "device"))
    return (*(str(value) for value in case), tables.status(row), row["reason"] or "no reason recorded")


def _uncounted(frame: pd.DataFrame) -> list[str]:
    found: dict[str, dict[str, None]] = {}
    for row in frame.to_dict("records"):
        for operator in row["macs_uncounted"]:
            found.setdefault(str(operator), {})[row["label"]] = None
    if not found:
        return ["None: the counters passed over no operator with weight."]
    rows = tuple((f"`{name}`", ", ".join(labels)) for name, labels in sorted(found.items()))
    return [UNCOUNTED.rstrip(), Grid(("operator", "blocks"), rows, "ll").markdown()]


def _remove_stale(run: Path, written: set[Path]) -> None:
    for folder, stems in OURS.items():
        for path in sorted((run / folder).glob("*")):
            if path.name.startswith(stems) and path.suffix in SUFFIXES and path not in written:
                path.unlink()
