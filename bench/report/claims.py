"""Claims: the ledger of published figures, laid out like the papers' tables."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.digits import MISSING, significant
from bench.report.formats import Grid, render

MARKS: Mapping[str, str] = {
    "reproduced": "\N{CHECK MARK}",
    "increment reproduced": "\N{INCREMENT}\N{CHECK MARK}",
    "circular": "\N{ANTICLOCKWISE OPEN CIRCLE ARROW}",
    "not reproduced": "\N{BALLOT X}",
    "differs on this device": "\N{NOT EQUAL TO}",
    "not comparable": "~",
    "not measured": "?",
    "not published": "",
    "needs training": "",
}
TRAINING = "needs training"
LEDGER = "papers.csv"
"""File of a folder that holds every cell."""
_DEVICE_BOUND = ("time", "fps", "cuda_memory")
LEGEND = """\
Each cell shows the published figure, an arrow, and ours. \N{CHECK MARK} reproduced: ours agrees within the rounding
of the printed digits, or, if measured, as a ratio within 10 %; what was cut off instead of rounded (which accepts one
and a half units of the last digit), and what follows only by a rule or a layer that the paper does not name, is said
below. \N{INCREMENT}\N{CHECK MARK} increment reproduced: the totals differ, as the paper does not say enough to
recount them, but what the row adds to its base row agrees within the rounding of both totals.
\N{ANTICLOCKWISE OPEN CIRCLE ARROW} circular: ours agrees by layers that this project specified itself. \N{BALLOT X}
not reproduced. \N{NOT EQUAL TO} differs on this device: a ratio of times, rates or device memories that is not the
one of the paper's card, which it does not refute. ~ not comparable: the paper does not say enough, so that ours
neither confirms nor refutes, or the figure is another group's. ? to be measured with `--measure`. A figure alone is
an accuracy: it needs training on the data set named below its table. Times, rates and device memory are printed as
published; their ratios stand below the table.
"""
_LATEX_SIGNS = {
    MARKS["reproduced"]: r"\checkmark",
    "\N{INCREMENT}": r"$\Delta$",
    MARKS["circular"]: r"$\circlearrowleft$",
    MARKS["not reproduced"]: r"$\times$",
    MARKS["differs on this device"]: r"$\neq$",
    r"\textasciitilde{}": r"$\sim$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
}
_LATEX_LEGEND = r"""% Packages: booktabs, amssymb. Cells: published, $\to$, ours; \checkmark reproduced,
% $\Delta$\checkmark increment reproduced, $\circlearrowleft$ circular, $\times$ not reproduced,
% $\neq$ differs on this device, $\sim$ not comparable, ? to be measured; a figure alone is an accuracy."""
_NARROW, _LEAST_WHY = 32, 28
WIDTH = 140


@dataclass(frozen=True)
class Section:
    """One table of a paper.

    Attributes:
        heading: the paper.
        source: its authors, where and when it appeared.
        name: of the table, `Table 12(a)`.
        title: what it compares.
        explain: what there is to say about it as a whole; may be empty.
        rows: one record a cell, see `bench.papers.judge.Finding.row`.
    """

    heading: str
    source: str
    name: str
    title: str
    explain: str
    rows: Sequence[Mapping[str, Any]]

    def lines(self, width: int = WIDTH) -> Grid:
        """One line a cell: row, metric, published, ours, difference, verdict, why; accuracies of a row share a line.

        A reason that stood before is not repeated. Reasons are wrapped so that lines fit into `width` if they can.
        """
        found: list[tuple[str, ...]] = []
        seen = ""
        told: dict[str, str] = {}
        for row, cells in _by_row(self.rows):
            costs = [cell for cell in cells if cell["verdict"] != TRAINING]
            accuracies = [cell for cell in cells if cell["verdict"] == TRAINING]
            for *line, why in [*map(_line, costs), *([_accuracy_line(accuracies)] if accuracies else [])]:
                again = "as above" if told.get(why) == row else f"as for {told.get(why)}"
                known = why in told and len(why) > max(len(again), 30)
                told.setdefault(why, row)
                found.append((_wrap(row if row != seen else "", _NARROW), *line, again if known else why))
                seen = row
        header = ("row", "metric", "published", "ours", "difference", "verdict", "why")
        columns = list(zip((f"{name}  " for name in header), *found, strict=True))[:-1]
        taken = sum(max(len(part) for cell in column for part in cell.split("\n")) + 2 for column in columns)
        found = [(*row[:-1], _wrap(row[-1], max(_LEAST_WHY, width - taken))) for row in found]
        return Grid(header, tuple(found), "llrrrll")

    def layout(self) -> Grid:
        """Rows and metrics as in the paper; each cell published, ours and a mark."""
        metrics = list(dict.fromkeys(_title(cell) for cell in self.rows))
        body = []
        for row, cells in _by_row(self.rows):
            shown = {_title(cell): _pair(cell) for cell in cells}
            body.append((row, *(shown.get(metric, "") for metric in metrics)))
        return Grid(("", *metrics), tuple(body), "l" + "r" * len(metrics))

    def reasons(self) -> list[str]:
        """What there is to say about single cells, each once, with the cells that it is said of."""
        told: dict[str, list[str]] = {}
        for cell in self.rows:
            if cell["why"] and cell["verdict"] != "not measured":
                name = "" if cell["verdict"] == TRAINING else f"{cell['row']}, {cell['metric']}"
                told.setdefault(cell["why"], []).append(name)
        return [_reason(why, [name for name in names if name]) for why, names in told.items()]

    def plain(self, width: int = WIDTH) -> str:
        """For a terminal of that many columns."""
        parts = [f"{self.heading} ({self.source})\n{self.name}: {self.title}", self.lines(width).plain()]
        return "\n\n".join([*parts, *([_filled(self.explain, min(width, 100))] if self.explain else [])])

    def markdown(self) -> str:
        """The table as in the paper, then what there is to explain."""
        parts = [f"### {self.name}: {self.title}", self.layout().markdown()]
        parts += [_filled(self.explain, 120)] if self.explain else []
        reasons = "\n".join(f"- {reason}" for reason in self.reasons())
        return "\n\n".join([*parts, *([reasons] if reasons else [])])

    def latex(self) -> str:
        """The table as in the paper, with what there is to say about its cells in comments below."""
        text = self.layout().latex()
        for sign, word in _LATEX_SIGNS.items():
            text = text.replace(sign, word)
        said = "\n".join(f"%   {reason}" for reason in self.reasons())
        return "\n".join(
            [f"% {self.heading} ({self.source}), {self.name}: {self.title}", text, *([said] if said else [])]
        )


def show_claims(sections: Sequence[Section], summary: str, format: str, width: int = WIDTH) -> str:
    """The ledger in one of `FORMATS`; json and csv hold one record a cell, `table` fits into `width` if it can."""
    if format in ("json", "csv"):
        return render([dict(row) for section in sections for row in section.rows], format)
    if format == "latex":
        return "\n\n".join([_LATEX_LEGEND, *(section.latex() for section in sections), f"% {summary}"])
    if format == "markdown":
        return page(sections, summary).rstrip("\n")
    return "\n\n".join([*(section.plain(width) for section in sections), summary])


def write_claims(sections: Sequence[Section], summary: str, folder: Path) -> list[Path]:
    """Write `papers.md`, `papers.tex` and `papers.csv` into `folder`; the paths written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, format in ((".md", "markdown"), (".tex", "latex"), (".csv", "csv")):
        path = (folder / LEDGER).with_suffix(suffix)
        path.write_text(show_claims(sections, summary, format) + "\n", encoding="utf-8")
        written.append(path)
    return written


def page(sections: Sequence[Section], summary: str) -> str:
    """The whole ledger as a Markdown page."""
    parts = ["# The papers' figures, checked", f"**{summary}.**", _filled(LEGEND, 120)]
    heading = ""
    for section in sections:
        if section.heading != heading:
            heading = section.heading
            parts.append(f"## {heading}\n\n{section.source}")
        parts.append(section.markdown())
    return "\n\n".join(parts) + "\n"


def _by_row(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        found.setdefault(cell["row"], []).append(cell)
    return list(found.items())


def _title(cell: Mapping[str, Any]) -> str:
    return f"{cell['metric']} ({cell['unit']})" if cell["unit"] else str(cell["metric"])


def _ours(cell: Mapping[str, Any]) -> str:
    """Ours with one decimal more than printed, so that the rounding can be seen."""
    if cell["ours"] is None:
        return MISSING
    if cell["ratio"] is not None or not cell["published"]:
        return significant(cell["ours"], 4)
    decimals = len(cell["published"].partition(".")[2])
    whole = float(cell["ours"]).is_integer() and not decimals
    return f"{cell['ours']:.{decimals + (0 if whole else 1)}f}"


def _line(cell: Mapping[str, Any]) -> tuple[str, ...]:
    apart = MISSING if cell["difference"] is None else f"{cell['difference']:+.2f} %"
    return (_title(cell), cell["published"] or MISSING, _ours(cell), apart, cell["verdict"], cell["why"] or "")


def _accuracy_line(cells: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    why = "; ".join(dict.fromkeys(str(cell["why"]).removeprefix(f"{TRAINING} ") for cell in cells))
    if len(cells) == 1:
        return (_title(cells[0]), str(cells[0]["published"]), MISSING, MISSING, TRAINING, why)
    listed = ", ".join(f"{cell['metric']} {cell['published']}" for cell in cells)
    return (_wrap(listed, _NARROW), "", MISSING, MISSING, TRAINING, why)


def _pair(cell: Mapping[str, Any]) -> str:
    if cell["ours"] is None or cell["convention"] in _DEVICE_BOUND:
        return " ".join(part for part in (cell["published"] or "", MARKS[cell["verdict"]]) if part)
    published = cell["published"] or MISSING
    return f"{published} \N{RIGHTWARDS ARROW} {_ours(cell)} {MARKS[cell['verdict']]}".rstrip()


def _reason(why: str, names: Sequence[str]) -> str:
    why = why[0].upper() + why[1:]
    if not names:
        return why + ("" if why.endswith(".") else ".")
    listed = "; ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{listed}: {why}"


def _filled(text: str, width: int) -> str:
    return "\n\n".join(textwrap.fill(part, width) for part in text.strip().split("\n\n"))


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=False)) if text else ""
