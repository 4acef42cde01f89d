"""Disturbance: whether a row's figures were taken while something else had the machine, by what, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHARE = 0.2
"""A row is disturbed if more than this share of the rounds that its figures use were. Up to it, however slow those
rounds are, the median is no higher than the quantile 0.5 / (1 - 0.2) = 0.625 of the others, which the 95 % interval of
20 rounds still holds."""
ADVICE = "use fewer threads, measure at another moment, or give more --seconds"


def rounds_used(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Of the rounds that a row's figures use, how many were disturbed, and how many there are; null where nobody looked
    or no round gave a figure. Rounds that were refused for what disturbed them are in neither."""
    rounds, disturbed = _whole(row.get("rounds")), _whole(row.get("disturbed_rounds"))
    if row.get("status") != "ok" or rounds is None or disturbed is None:
        return None
    refused = len(_listed(row.get("unused_samples")))
    used = rounds - refused
    return (disturbed - refused, used) if used > 0 else None


def is_disturbed(row: Mapping[str, Any]) -> bool | None:
    """Whether a row's figures are to be doubted for what else ran, see `SHARE`; null where nobody looked."""
    known = rounds_used(row)
    return None if known is None else known[0] > SHARE * known[1]


def causes(row: Mapping[str, Any]) -> list[str]:
    """What disturbed its rounds, the most frequent first: `other processes on the CPUs`."""
    return [str(told).rpartition(" (")[0] or str(told) for told in _listed(row.get("disturbed_by"))]


def words(row: Mapping[str, Any]) -> str:
    """`9 of 12 rounds were disturbed: other processes on the CPUs`; empty where the row is not disturbed."""
    known = rounds_used(row)
    if known is None or not is_disturbed(row):
        return ""
    return f"{known[0]} of {known[1]} rounds were disturbed: {', '.join(causes(row)) or 'by what is not recorded'}"


def banner(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many of the measured rows were disturbed, by what, and what to do; empty where none was."""
    bad = [row for row in rows if is_disturbed(row)]
    if not bad:
        return ""
    many = sum(row.get("status") == "ok" for row in rows)
    by = ", ".join(dict.fromkeys(cause for row in bad for cause in causes(row))) or "what is not recorded"
    doubt = "Take none of their times and ratios on trust, whatever the noise floor says"
    return f"{len(bad)} of {many} measured rows were disturbed by {by}. {doubt}: {ADVICE}, into another --out."


def _whole(value: Any) -> int | None:
    """A count; null for what stands for nothing in a row or a data frame."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
