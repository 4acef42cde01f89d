"""Weighing: the times of two runs that were measured one after the other, to verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.cell import Cell, judge, pair
from bench.measure.processes import LEAST, ratio_between
from bench.measure.stats import CONFIDENCE, Interval
from bench.threshold import Thresholds

STEADY = 0.1
GROUP = ("height", "width", "channels", "batch", "dtype", "memory_format", "mode", "impl", "compiled")

Row = Mapping[str, Any]


def unrest(own: int, ratios: Sequence[float], groups: Sequence[object]) -> float | None:
    """By how much a typical other case moved, to either side: 0.05 for 1.05x as for 1/1.05.

    Two runs that were not measured together share no rounds: what else the machine had to do in one of them, or during
    one group of one of them, is in the times. It is in those of the other cases too, and they show it.

    Args:
        own: index of the case that is left out.
        ratios: of all cases, new over old.
        groups: the group of each.

    Returns:
        The median over the others of its group or over all others, whichever is larger; null where there are none.
    """
    others = [index for index in range(len(ratios)) if index != own]
    near = [index for index in others if groups[index] == groups[own]]
    moved = [max(ratio, 1 / ratio) - 1 for ratio in ratios]
    return max((statistics.median(moved[index] for index in some) for some in (near, others) if some), default=None)


def weigh(joined: Sequence[tuple[Row, Row]], thresholds: Thresholds, one_machine: bool) -> list[Cell]:
    """A cell of each pair of rows; on one machine, with the unrest that the other cases show."""
    timed = [i for i, rows in enumerate(joined) if all(row["status"] == "ok" and row["latency_ms"] for row in rows)]
    places = {index: place for place, index in enumerate(timed)}
    ratios = [joined[index][1]["latency_ms"] / joined[index][0]["latency_ms"] for index in timed]
    groups = [tuple(joined[index][1][name] for name in GROUP) for index in timed]
    judged = sum(_processes(*joined[index]) is not None for index in timed)
    cells = []
    for index, (old, new) in enumerate(joined):
        threshold, place = thresholds.of(str(new["entry"])), places.get(index)
        sides = _processes(old, new)
        if place is None:
            cells.append(pair(old, new, None, None, threshold))
        elif sides is None:
            cells.append(pair(old, new, Interval(ratios[place], None, None), None, threshold, unjudged=True))
        else:
            restless = unrest(place, ratios, groups) if one_machine else None
            floor, doubt = restless or 0.0, _doubt(restless) if one_machine else ""
            ratio = _bounded(*sides, floor, threshold, judged)
            cells.append(pair(old, new, ratio, floor, threshold, doubt))
    return cells


def _processes(old: Row, new: Row) -> tuple[list[float], list[float]] | None:
    """Medians of the processes of either row in ms, new first; null where one has too few to judge by."""
    ours, theirs = new["process_ms"] or [], old["process_ms"] or []
    return (ours, theirs) if min(len(ours), len(theirs)) >= LEAST else None


def _bounded(ours: Sequence[float], theirs: Sequence[float], floor: float, threshold: float, cases: int) -> Interval:
    """The ratio of a case with the interval that it is judged by.

    What is *same* is bounded at 95 %. What is not must be surer, as it fails a change: the intervals of all cases hold
    together at 95 %.
    """
    usual = ratio_between(ours, theirs)
    surer = ratio_between(ours, theirs, (1 - CONFIDENCE) / cases)
    assert usual is not None
    assert surer is not None
    return usual if judge(usual, floor, threshold)[0] == "same" else surer


def _doubt(restless: float | None) -> str:
    """Why a time cannot be judged: the machine was not the same one, or nothing shows that it was."""
    if restless is None:
        return "no other case shows whether the machine was the same; `compare --base` measures both in one session"
    if restless <= STEADY:
        return ""
    return f"the other cases moved by {1 + restless:.2f}x as well"
