"""A frame or a grid of cells in the formats the command line offers: table, json, csv, latex, markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from bench.report.digits import MISSING, number, significant

FORMATS = ("table", "json", "csv", "latex", "markdown")

_LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$"},
    **{
        "±": r"$\pm$",
        "≈": r"$\approx$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        MISSING: "--",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "\n": " ",
    },
}


@dataclass(frozen=True)
class Grid:
    """A table as text: a header, its rows, and one alignment letter (l or r) a column.

    Heads may have line breaks: a terminal and LaTeX stack their lines, Markdown sets them side by side.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str

    def plain(self) -> str:
        """For a terminal."""
        return self._tabulate("simple", self.header, self.rows)

    def markdown(self) -> str:
        """A GitHub table; pipes and line breaks in cells are escaped."""
        rows = [tuple(_pipe(cell) for cell in row) for row in self.rows]
        return self._tabulate("github", tuple(_pipe(cell) for cell in self.header), rows)

    def latex(self) -> str:
        """A booktabs `tabular`, every cell escaped."""
        lines = [f"\\begin{{tabular}}{{{self.align}}}", r"\toprule", _latex_row(self.header, _stacked), r"\midrule"]
        lines += [_latex_row(row) for row in self.rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def _tabulate(self, style: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        sides = tuple("right" if letter == "r" else "left" for letter in self.align) if rows else None
        return str(tabulate(rows, headers=header, tablefmt=style, colalign=sides, disable_numparse=True))


def render(data: pd.DataFrame | Sequence[Mapping[str, Any]], format: str) -> str:
    """A frame, or rows as dictionaries, as text without a trailing newline.

    `table`, `latex` and `markdown` show three significant digits and a dash for what is null; `json` (an array of
    objects, null where null) and `csv` (empty where null) hold the raw values.

    Raises:
        ValueError: a format that is not in `FORMATS`.
    """
    frame = data if isinstance(data, pd.DataFrame) else _framed(data)
    if format == "json":
        return json.dumps([_plain_row(row) for row in frame.to_dict("records")], indent=2, ensure_ascii=False)
    if format == "csv":
        return csv(frame).rstrip("\n")
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
    shown = grid(frame)
    return {"table": shown.plain, "latex": shown.latex, "markdown": shown.markdown}[format]()


def render_answer(
    records: Sequence[Mapping[str, Any]],
    table: Grid,
    summary: str,
    notes: Sequence[str],
    format: str,
    legend: str | None = None,
) -> str:
    """A table with what has to be known of it and a line that sums it up; json and csv hold the raw records alone.

    Args:
        records: raw, one a line of the table.
        table: what is shown of them.
        summary: one line that closes, or heads, the table.
        notes: what has to be known of all lines.
        format: one of `FORMATS`.
        legend: how to read the columns, for a terminal and Markdown.
    """
    if format in ("json", "csv"):
        return render(records, format)
    if format == "latex":
        return "\n".join([*(f"% {latex_text(line)}" for line in (summary, *notes)), table.latex()])
    legends = [] if legend is None else [legend]
    if format == "markdown":
        return "\n".join([f"**{summary}**\n\n{table.markdown()}\n", *(f"- {note}" for note in (*notes, *legends))])
    return "\n".join([table.plain(), "", *(f"note: {note}" for note in notes), *legends, summary])


def csv(frame: pd.DataFrame) -> str:
    """Raw values, comma separated; lists are joined by `;`, what is null is empty."""
    flat = frame.copy()
    for name in flat.columns:
        if any(isinstance(value, (list, tuple, dict)) for value in flat[name]):
            flat[name] = pd.Series([_flat(value) for value in flat[name]], index=flat.index, dtype=object)
    return str(flat.to_csv(index=False, lineterminator="\n"))


def grid(frame: pd.DataFrame) -> Grid:
    """The frame as formatted cells, numbers to the right."""
    columns = [[_plain(value) for value in frame[name]] for name in frame.columns]
    align = "".join("r" if _numeric(values) else "l" for values in columns)
    rows = tuple(zip(*([_cell(value) for value in values] for values in columns), strict=True))
    return Grid(tuple(str(name) for name in frame.columns), rows, align)


def latex_text(text: str) -> str:
    """Text escaped for LaTeX, with the few signs the tables use set in mathematics."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _framed(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame of untouched values, with every column that some row has."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})


def _latex_row(cells: Sequence[str], set_cell: Callable[[str], str] = latex_text) -> str:
    return " & ".join(set_cell(cell) for cell in cells) + r" \\"


def _stacked(head: str) -> str:
    lines = [latex_text(line) for line in head.split("\n")]
    return lines[0] if len(lines) == 1 else r"\shortstack{" + r" \\ ".join(lines) + "}"


def _pipe(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)


def _cell(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return significant(value)
    return str(_flat(value))


def _flat(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return "; ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={item}" for name, item in value.items())
    return value


def _plain_row(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value of plain Python: what pandas or numpy wrapped is unwrapped, what is null becomes None."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return number(value)
    return None if value is pd.NA or value is pd.NaT else str(value)
