"""A recommendation as a table, in the formats the command line offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.digits import MISSING, count, number, plus_minus, significant
from bench.report.formats import Grid, render_answer


def show_recommendation(offers: Sequence[Mapping[str, Any]], summary: str, notes: Sequence[str], format: str) -> str:
    """The offers (`bench.recommend.Offer.row`) in one of `FORMATS`; json and csv hold one record an offer.

    Args:
        offers: in the order in which they shall stand.
        summary: one line that closes, or heads, the table.
        notes: what has to be known of all offers.
        format: one of `FORMATS`.
    """
    energy, carries = (any(offer[name] is not None for offer in offers) for name in ("mj", "carries"))
    header = ("block", "form", "ms", "MiB", "params", "GMACs", *(["mJ"] if energy else []))
    header = (*header, *(["carries"] if carries else []), "verdict", "why")
    rows = tuple(_line(offer, energy, carries) for offer in offers)
    grid = Grid(header, rows, "ll" + "r" * (4 + energy) + "l" * (2 + carries))
    return render_answer(offers, grid, summary, notes, format)


def _line(offer: Mapping[str, Any], energy: bool, carries: bool) -> tuple[str, ...]:
    middle, low, high = (number(offer[name]) for name in ("ms", "low_ms", "high_ms"))
    half = None if middle is None or low is None or high is None else max(middle - low, high - middle)
    gmacs = number(offer["gmacs"])
    return (
        offer["block"],
        offer["form"],
        plus_minus(middle, half),
        significant(offer["mib"]),
        count(offer["params"]),
        significant(gmacs),
        *([significant(offer["mj"])] if energy else []),
        *([_kinds(offer["carries"])] if carries else []),
        offer["verdict"],
        offer["reason"] or "",
    )


def _kinds(carries: Sequence[str] | None) -> str:
    return MISSING if carries is None else ", ".join(carries) or "none"
