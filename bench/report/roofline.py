"""Roofline: how near a block comes to what the machine's rates allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.report.ceilings import Ceilings, Timed, ceilings, precisions, refused
from bench.report.digits import number, significant
from bench.report.machine import Machine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = ("roof_gflops", "roof_gb_s", "intensity", "gflops", "roofline")
WORDS = ("precisions", "roofline_note")
COLUMNS = (*FIGURES, *WORDS)
TITLE = "of roofline"
NOTE = (
    "Of roofline: the least time that this machine's rates allow, over the time of the call; the fastest row of a "
    "precision or a footprint may itself be the ceiling, at 100 %."
)
WINOGRAD = "convolutions larger than 1x1 may be computed by Winograd's algorithm, with fewer multiply-adds"
UNKNOWN = "no reason is known: the ceiling is too low"
READING = """\
- **of roofline**: the least time that this machine's rates allow, over the time of the call. The least time is the
  longer of two. One is that of the multiply-adds, two FLOPs each, every class of operators (products, 1x1
  convolutions, larger convolutions) at the rate of the precision that it computes in; of a convolution only the taps
  inside the map count, for those in the padding can be spared. The other is that of inputs, weights and outputs, once,
  at the bandwidth for so many bytes. A rate is the best of probes ahead of the sweep and after it, and of every row of
  the run that can tell: the fastest row of a precision or a footprint may itself be the ceiling, at 100 %. What
  exceeds 100 % has its reason below the table.
"""
_NEAR = 1e-9


@dataclass(frozen=True)
class Roof:
    """Two ceilings, of one case.

    Attributes:
        gflops: GFLOP/s of its multiply-adds, each at the rate of its class.
        gb_s: GB/s at its footprint, bytes read and bytes written.
    """

    gflops: float
    gb_s: float

    def at(self, intensity: float) -> float:
        """GFLOP/s at most, at so many FLOPs a byte."""
        return min(self.gflops, intensity * self.gb_s)


def columns(frame: pd.DataFrame, machine: Machine) -> pd.DataFrame:
    """The columns `COLUMNS`, a row a row of the frame.

    `roof_gflops` and `roof_gb_s`: the ceilings; `intensity`: FLOPs a compulsory byte; `gflops`: GFLOP/s reached, both
    of executed multiply-adds; `roofline`: least over measured time. `precisions`: of the rates that were used;
    `roofline_note`: why the share exceeds 100 %, or is missing because probes were refused. Null and "" for rows that
    did not time a forward pass alone, that hold no multiply-adds by class, whose rates were not measured, and for rows
    of another environment than the one that `machine` describes.
    """
    cases = [_timed(row, machine) for row in frame.to_dict("records")]
    known = ceilings(machine, [case for case in cases if case is not None])
    missing = refused(machine)
    found = [_row(case, known, missing) if case is not None else _NOTHING for case in cases]
    made = pd.DataFrame(found, columns=list(COLUMNS), index=frame.index)
    return made.astype({**dict.fromkeys(FIGURES, float), **dict.fromkeys(WORDS, object)})


def explained(rows: Sequence[Mapping[Any, Any]]) -> str:
    """The notes of a table with these rows: what the share is, of which rates where classes did not compute alike, and
    why some exceed 100 % or are missing."""
    shown = any(row["roofline"] == row["roofline"] for row in rows)
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["roofline_note"]:
            head = "Above 100 %" if row["roofline"] == row["roofline"] else "No share of the roofline"
            groups.setdefault((head, row["roofline_note"]), []).append(row["label"])
    said = [
        f"{head}: {', '.join(labels)} ({why})." if shown else f"{head}: {why}."
        for (head, why), labels in groups.items()
    ]
    parts = sorted({part for row in rows for part in row["precisions"].split(", ") if " " in part})
    rates = [f"Rates by class: {', '.join(parts)}."] if parts and shown else []
    return " ".join([*([NOTE] if shown else []), *rates, *said])


def draw(axes: Axes, low: Roof, high: Roof) -> None:
    """The lowest and the highest ceilings over the whole panel; its limits must be set."""
    from bench.report.style import INK

    left, right = axes.get_xlim()
    for ceiling in dict.fromkeys((low, high)):
        corners = [left, *([edge] if left < (edge := ceiling.gflops / ceiling.gb_s) < right else []), right]
        axes.plot(corners, [ceiling.at(x) for x in corners], color=INK, linewidth=0.9, zorder=1)


def span(frame: pd.DataFrame) -> tuple[Roof, Roof]:
    """The lowest and the highest ceilings of the rows of a frame that have a share."""
    roofs = frame.loc[frame["roofline"].notna(), ["roof_gflops", "roof_gb_s"]]
    low, high = roofs.min(), roofs.max()
    return tuple(Roof(float(edge["roof_gflops"]), float(edge["roof_gb_s"])) for edge in (low, high))  # type: ignore[return-value]


def words(low: Roof, high: Roof) -> str:
    """What the lines are, for a caption."""
    return (
        f"The dark lines are the lowest and the highest ceilings of these rows: {_range(low.gflops, high.gflops)} "
        f"GFLOP/s, by the precisions that a block computes in, and {_range(low.gb_s, high.gb_s)} GB/s, by how many "
        "bytes it must move. A block below its own ceiling waits for something else. A point a size; FLOPs are twice "
        "the executed multiply-adds, bytes are inputs, weights and outputs once."
    )


_NOTHING = (None, None, None, None, None, "", "")


def _timed(row: Mapping[Any, Any], machine: Machine) -> Timed | None:
    macs = row.get("executed_macs_by_class")
    moved, taken = number(row["compulsory_bytes"]), number(row["latency_ms"])
    forward = row["status"] == "ok" and row["mode"] == "forward" and row["env"] == machine.facts.get("env")
    if not forward or not isinstance(macs, dict) or not moved or not taken:
        return None
    return Timed(macs, precisions(row, machine), moved, taken)


def _row(case: Timed, known: Ceilings, missing: str) -> tuple[float | str | None, ...]:
    computing, bandwidth = known.compute_ms(case), known.gb_s(case.moved)
    spelled = _spelled(case)
    if computing is None or bandwidth is None:
        why = f"the machine's rates were refused: {missing}" if missing else ""
        return (*_NOTHING[:5], spelled, why)
    moving = case.moved / bandwidth / 1e6
    share = max(computing, moving) / case.ms
    flops = 2.0 * sum(case.macs.values())
    roof = flops / computing / 1e6 if computing else None
    reached = flops / case.ms / 1e6
    return roof, bandwidth, flops / case.moved, reached, share, spelled, _why(case, known, share)


def _why(case: Timed, known: Ceilings, share: float) -> str:
    """Why a case exceeds its ceiling, or ""."""
    if share <= 1 + _NEAR:
        return ""
    others = known.compute_ms(case, leave=known.spared)
    explained = not known.spared.isdisjoint(case.used) and others is not None and others <= case.ms
    return WINOGRAD if explained else UNKNOWN


def _spelled(case: Timed) -> str:
    """`fp32`, or `product fp32, pointwise tf32` where not all classes computed alike."""
    alike = set(case.precisions.values())
    return ", ".join(f"{kind} {name}" for kind, name in case.used.items()) if len(alike) > 1 else "".join(alike)


def _range(low: float, high: float) -> str:
    ends = dict.fromkeys((significant(low), significant(high)))
    return " to ".join(ends)
