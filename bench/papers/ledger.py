"""Ledger: the chosen tables of the papers, cell by cell, with what became of each claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.axes import parse_sizes
from bench.environment import pick_device
from bench.papers.judge import INFERRED, KINDS, MEASURED, TRUNCATED, Finding, judge
from bench.papers.measured import Measurement, suite_of
from bench.papers.published import Table, choose, facts
from bench.row import ROWS, read_rows
from bench.session import Request, run_sweep
from modules.options import SpecError


@dataclass(frozen=True)
class Inquiry:
    """What a user wants to know of the papers.

    Attributes:
        paper, table: which; null for all.
        measure: measure times, rates and device memory here.
        rows: folder of an earlier measurement to read instead, as `out` of that one named it.
        sizes: map size in place of the published ones.
        device: `auto`, `cpu` or `cuda`.
        seconds: time budget of a group, per block; null for the suite's.
        out: folder for the runs, one a suite; null for one under `results/`, named after device and size.
    """

    paper: str | None = None
    table: str | None = None
    measure: bool = False
    rows: Path | None = None
    sizes: str | None = None
    device: str = "auto"
    seconds: float | None = None
    out: Path | None = None

    @property
    def runs(self) -> Path:
        """The folder that the runs of `measure` lie in.

        Raises:
            SpecError: the device does not exist.
        """
        size = f"-{self.sizes.strip()}" if self.sizes else ""
        return self.out or Path("results") / f"papers-{pick_device(self.device)}{size}"

    def __post_init__(self) -> None:
        pick_device(self.device)
        if self.sizes is not None and not self.measure:
            raise SpecError(f"--sizes {self.sizes} is for --measure: what is not measured has its published size")
        if self.seconds is not None and not self.measure:
            raise SpecError(f"--seconds {self.seconds:g} is for --measure: nothing else takes time samples")
        if self.out is not None and not self.measure:
            raise SpecError(f"--out {self.out} is for the runs of --measure; --output names a folder for the ledger")
        if self.sizes is not None and "," in self.sizes:
            raise SpecError(f"papers takes one size in place of the published ones, not '{self.sizes}'")
        if self.measure and self.rows is not None:
            raise SpecError("--measure and --rows exclude each other: measure here, or read an earlier measurement")


@dataclass(frozen=True)
class Chapter:
    """A table with a finding for each of its cells."""

    table: Table
    findings: tuple[Finding, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """What a report needs: paper and its source, name, title, explanation, and one flat record a cell."""
        told = facts()[self.table.paper]
        return {
            "heading": f"{told['short']}: {told['title'].removeprefix(told['short'] + ': ')}",
            "source": f"{told['authors']}, {told['venue']}, {told['year']}",
            "name": self.table.name,
            "title": self.table.title,
            "explain": self.table.explain,
            "rows": [finding.row(self.table.title) for finding in self.findings],
        }


@dataclass(frozen=True)
class Ledger:
    """What an inquiry found.

    Attributes:
        chapters: table by table.
        runs: folders of the runs that were measured for it.
        failed, interrupted: whether measuring failed for some case, or was interrupted.
    """

    chapters: tuple[Chapter, ...]
    runs: tuple[Path, ...] = ()
    failed: bool = False
    interrupted: bool = False

    @property
    def summary(self) -> str:
        """The counts in a line: printed figures, of them static cells by what they count, then what is measured,
        quoted and trained; and what is of ours alone."""
        findings = [finding for chapter in self.chapters for finding in chapter.findings]
        static = [finding for finding in findings if finding.static]
        parts = [_counted(static)] if static else []
        timed = Counter(finding.verdict for finding in findings if finding.cell.convention in MEASURED)
        if timed:
            told = ", ".join(f"{count} {verdict}" for verdict, count in timed.items())
            parts.append(f"{timed.total()} of time, rate or device memory ({told})")
        quoted = sum(finding.cell.convention == "quoted" for finding in findings)
        parts += [f"{quoted} quoted from others"] if quoted else []
        training = sum(finding.verdict == "needs training" for finding in findings)
        parts += [f"{training} of accuracy need{'s' if training == 1 else ''} training"] if training else []
        unpublished = sum(finding.verdict == "not published" for finding in findings)
        parts += [f"beside them {unpublished} of ours that no paper prints"] if unpublished else []
        printed = len(findings) - unpublished
        return f"{printed} printed figure{'' if printed == 1 else 's'}: {'; '.join(parts)}"


def _counted(static: Sequence[Finding]) -> str:
    """`187 of 225 static cells reproduced (params 62 of 73, ...), 32 of them as increments; 26 not reproduced`."""
    agreeing = [found for found in static if found.verdict in ("reproduced", "increment reproduced")]
    reproduced = Counter(finding.kind for finding in agreeing)
    kinds = Counter(finding.kind for finding in static)
    told = ", ".join(f"{kind} {reproduced[kind]} of {kinds[kind]}" for kind in KINDS if kinds[kind])
    verdicts = Counter(finding.verdict for finding in static)
    rests = Counter(how for found in agreeing for how in found.how)
    needs = {
        "as increments over a base row": verdicts["increment reproduced"],
        "by a rule or layer that no paper names": rests[INFERRED],
        "with the last digit cut off": rests[TRUNCATED],
    }
    of_them = ", ".join(f"{count} {what}" for what, count in needs.items() if count)
    parts = [f"{len(agreeing)} of {len(static)} static cells reproduced ({told})"]
    parts[0] += f", of them {of_them}" if of_them else ""
    parts += [f"{verdicts[v]} {v}" for v in ("circular", "not reproduced", "not comparable") if verdicts[v]]
    return "; ".join(parts)


def inquire(inquiry: Inquiry, console: Console) -> Ledger:
    """Judge every cell of the chosen tables; what is to be measured is measured first, table by table.

    Raises:
        SpecError: a paper, table, size or device that does not exist.
        RunError: `rows` holds a run that cannot be read.
    """
    tables = choose(inquiry.paper, inquiry.table)
    taken: dict[str, Sequence[dict[str, Any]]] = {}
    runs: list[Path] = []
    failed = interrupted = False
    suites = dict.fromkeys(suite for table in tables if (suite := suite_of(table)) is not None)
    if (inquiry.measure or inquiry.rows is not None) and not suites:
        raise SpecError("the chosen tables hold nothing to measure: no time, rate or device memory of a known network")
    for suite in suites:
        if inquiry.measure and not interrupted:
            folder, broken, interrupted = _measure(suite, inquiry, console)
            failed = failed or broken
            runs.append(folder)
            taken[suite] = _at(inquiry.sizes, read_rows(folder / ROWS))
        elif inquiry.rows is not None and (inquiry.rows / suite / ROWS).exists():
            taken[suite] = read_rows(inquiry.rows / suite / ROWS)
    if inquiry.rows is not None and not taken:
        raise SpecError(f"'{inquiry.rows}' holds no run of {', '.join(suites)}; give what --out named when measuring")
    return Ledger(tuple(_chapters(tables, taken)), tuple(runs), failed, interrupted)


def _measure(suite: str, inquiry: Inquiry, console: Console) -> tuple[Path, bool, bool]:
    settings = {"seconds": inquiry.seconds}
    request = Request(suite, {"sizes": inquiry.sizes}, inquiry.device, None, inquiry.runs / suite, settings)
    outcome = run_sweep(request, console)
    console.print(f"{suite}: {outcome.text}", markup=False, highlight=False, soft_wrap=True)
    return outcome.folder, outcome.failed, outcome.interrupted


def _at(size: str | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one map size, where one was asked for: a folder may hold those of an earlier call at another."""
    if size is None:
        return rows
    (wanted,) = parse_sizes(size)
    return [row for row in rows if (row["height"], row["width"]) == wanted]


def _chapters(tables: Iterable[Table], taken: dict[str, Sequence[dict[str, Any]]]) -> Iterable[Chapter]:
    for table in tables:
        rows = taken.get(suite_of(table) or "")
        timed = {} if rows is None else {f.cell: f for f in Measurement.of(rows, table).findings(table)}
        yield Chapter(table, tuple(timed.get(cell) or judge(cell, table) for cell in table.cells))
