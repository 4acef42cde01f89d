"""Listing: a table of the HTML report as data, column by column, each text once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from bench.report.digits import MISSING, number

Role = Literal["head", "cell", "detail", "data"]
Command = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """One column of a listing.

    Attributes:
        name: what scripts call it.
        title: its head, with the unit.
        shown: the text of each row; none for a column that only plots read.
        values: numbers to sort by and to draw; none for a column that is sorted by its text.
        role: `head` names the row, `cell` is shown, `detail` is shown where a row is opened, `data` is not shown.
        choice: whether readers can choose rows by it.
    """

    name: str
    title: str
    shown: tuple[str, ...] = ()
    values: tuple[float | None, ...] = ()
    role: Role = "cell"
    choice: bool = False

    @property
    def empty(self) -> bool:
        """Whether no row has anything to show."""
        return all(text in ("", MISSING) for text in self.shown)

    def packed(self) -> dict[str, Any]:
        """The column for a script: `words`, and the place `at` of each row's text among them."""
        words = {word: place for place, word in enumerate(dict.fromkeys(self.shown))}
        made: dict[str, Any] = {"name": self.name, "title": self.title, "role": self.role, "choice": self.choice}
        if self.shown:
            made |= {"words": list(words), "at": [words[text] for text in self.shown]}
        return made | ({"values": list(self.values)} if self.values else {})


@dataclass(frozen=True)
class Listing:
    """A table that readers sort, filter and open rows of.

    Attributes:
        name: identifier within the page.
        title: heading.
        said: how to read it, one paragraph.
        columns: columns that show nothing in any row are left out.
        sections: headings of the parts that never mix; one without words where there is a single part.
        section: the place of each row's part among them.
        commands: of each row, (what it does, command) pairs.
    """

    name: str
    title: str
    said: str
    columns: tuple[Column, ...]
    sections: tuple[str, ...]
    section: tuple[int, ...]
    commands: tuple[tuple[Command, ...], ...] = ()

    def packed(self) -> dict[str, Any]:
        """The listing for a script."""
        return {
            "columns": [column.packed() for column in self.columns if column.role == "data" or not column.empty],
            "sections": list(self.sections),
            "section": list(self.section),
            "commands": [[list(command) for command in row] for row in self.commands],
        }


def figures(values: Iterable[Any]) -> tuple[float | None, ...]:
    """Numbers with six significant digits, whole ones as they are; null for what is none."""
    return tuple(_figure(value) for value in values)


def embed(data: Any) -> Markup:
    """Data as JSON that can stand in a script element: no character of it can end the element.

    Raises:
        ValueError: a figure that JSON does not know.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def several(shown: Sequence[str]) -> bool:
    """Whether rows differ in this text."""
    return len(set(shown)) > 1


def _figure(value: Any) -> float | None:
    known = number(value)
    if known is None or math.isinf(known):
        return None
    return int(known) if known.is_integer() else float(f"{known:.6g}")
