"""Offer: a block as it was measured at one place, and what that means for a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERDICTS = ("chosen", "close", "fits", "doubtful", "unknown", "over", "lacks", "unsupported")
MIB = 2**20
_TRACED = "traced_peak_bytes"
_PEAKS = {
    "cuda_peak_bytes": "what the card's allocator reached, measured",
    "cpu_peak_bytes": "what the CPU's allocator reached, measured",
    _TRACED: "traced, without the workspace of kernels",
}
"""Peaks in words, by field; a budget is held against the first that a row has."""


@dataclass(frozen=True)
class Offer:
    """A block as it was measured at one place, and what that means for a budget.

    Attributes:
        block: label.
        form: implementation, and whether compiled.
        figures: those of `FIGURES`; null where not measured.
        low_ms, high_ms: the 95 % interval of the median time.
        floor: relative noise floor of its group; 0 where it has none.
        carries: kinds of context; null where it was not trained so.
        untold: kinds of context that its training runs leave undecided.
        status: of its row.
        mib_source: the row's field that `mib` is read from: a measured peak, or the traced one where none was measured.
        disturbed: why its time is to be doubted for what else ran; empty where it is not.
        verdict: one of `VERDICTS`.
        reason: of the verdict, where it needs one.
    """

    block: str
    form: str
    figures: Mapping[str, float | None]
    low_ms: float | None
    high_ms: float | None
    floor: float
    carries: tuple[str, ...] | None
    untold: tuple[str, ...]
    status: str
    mib_source: str
    disturbed: str = ""
    verdict: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """Block and form."""
        return f"{self.block} ({self.form})"

    @property
    def ms(self) -> float:
        """The median time, and infinity where there is none."""
        known = self.figures["ms"]
        return math.inf if known is None else known

    def row(self) -> dict[str, Any]:
        """All of it as a flat record."""
        own = {"block": self.block, "form": self.form, **self.figures, "low_ms": self.low_ms, "high_ms": self.high_ms}
        carries = None if self.carries is None else list(self.carries)
        return {
            **own,
            "mib_source": self.mib_source,
            "carries": carries,
            "verdict": self.verdict,
            "reason": self.reason or None,
        }


def memory_source(row: Mapping[str, Any]) -> str:
    """The field of a row that its memory is read from: the measured peak where it has one, else the traced one."""
    return next((name for name in _PEAKS if row[name] is not None), _TRACED)


def memory_note(offers: Sequence[Offer]) -> str:
    """Which peak the memory of each offer is: one phrase, or what is true of most and who differs."""
    found: dict[str, list[str]] = {}
    for offer in offers:
        if offer.figures["mib"] is not None:
            found.setdefault(offer.mib_source, []).append(offer.name)
    sources = sorted(found, key=lambda name: list(_PEAKS).index(name)) or [_TRACED]
    told = [_PEAKS[sources[0]], *(f"of {', '.join(found[name])}: {_PEAKS[name]}" for name in sources[1:])]
    return f"MiB above weights and inputs: {'; '.join(told)}"
