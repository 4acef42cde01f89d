"""Thresholds: how much slower an entry may become before it counts as a regression."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modules.options import SpecError, nearest

DEFAULT = 0.1


@dataclass(frozen=True)
class Thresholds:
    """Relative slow-downs, 0.1 being 10 %.

    Attributes:
        usual: for every entry that is not named.
        entries: entry name and the threshold of its own.
    """

    usual: float = DEFAULT
    entries: Mapping[str, float] = field(default_factory=dict)

    def of(self, entry: str) -> float:
        """The threshold of an entry."""
        return self.entries.get(entry, self.usual)

    def check(self, entries: Iterable[str]) -> None:
        """See that every entry that has a threshold of its own is among `entries`.

        Raises:
            SpecError: one is not.
        """
        known = sorted(set(entries))
        for name in self.entries:
            if name not in known:
                raise SpecError(f"a threshold for '{name}', which is not among the cases{nearest(name, known)}")


def parse_thresholds(text: str) -> Thresholds:
    """Thresholds out of `0.1`, `0.1,nl=0.2,gc=0.05` or `nl=0.2`.

    Raises:
        SpecError: something is not a number from 0, or stands twice.
    """
    usual: float | None = None
    entries: dict[str, float] = {}
    for item in text.split(","):
        name, equals, number = (part.strip() for part in item.rpartition("="))
        value = _number(number, item)
        if not equals and usual is None:
            usual = value
        elif equals and name and name not in entries:
            entries[name] = value
        else:
            raise SpecError(f"threshold '{text}': '{item}' stands twice or has no name; write 0.1,nl=0.2")
    return Thresholds(DEFAULT if usual is None else usual, entries)


def _number(text: str, item: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise SpecError(f"threshold '{item}' must be a number from 0, such as 0.1 for 10 %; write 0.1 or 0.1,nl=0.2")
    return value
