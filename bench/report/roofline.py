"""Roofline: how near a block comes to what the machine's measured rates allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.report.digits import number, significant
from bench.report.machine import Machine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("roof_gflops", "roof_gb_s", "intensity", "gflops", "roofline")
TITLE = "of roofline"
NOTE = "Of roofline: the least time that this machine's measured rates allow, over the time of the call."
CACHED = "Above 100 %: fed by caches, or spared some of the multiply-adds that are counted."
READING = """\
- **of roofline**: the least time that this machine's measured rates allow, over the time of the call. The least time
  is the longer of two: that of the multiply-adds, two FLOPs each, at the rate of a large matrix product; and that of
  inputs, weights and outputs, once, at the speed of a large copy. A block can exceed 100 % if its maps fit into a
  cache, or if its kernels spare multiply-adds that are counted: those with padding, or by Winograd's convolution.
"""
_RATES = "machine."


@dataclass(frozen=True)
class Roof:
    """Two ceilings, of one dtype on one device.

    Attributes:
        gflops: GFLOP/s of a large matrix product.
        gb_s: GB/s of a large copy, bytes read and bytes written.
    """

    gflops: float
    gb_s: float

    def least_ms(self, macs: float, moved: float) -> float:
        """Milliseconds that `macs` multiply-adds and `moved` bytes take at least."""
        return max(2 * macs / self.gflops, moved / self.gb_s) / 1e6

    def at(self, intensity: float) -> float:
        """GFLOP/s at most, at so many FLOPs a byte."""
        return min(self.gflops, intensity * self.gb_s)


def roof(machine: Machine, dtype: str) -> Roof | None:
    """The ceilings for a dtype from the `machine` facts; null where one of them was not measured.

    Where convolutions or products of fp32 may use TF32, as a CUDA device does by default, the ceiling of fp32 is that
    of TF32 if it is higher.
    """
    names = [dtype]
    if dtype == "fp32" and (machine.facts.get("tf32_cudnn") or machine.facts.get("tf32_matmul")):
        names.append("tf32")
    products = [number(machine.facts.get(f"{_RATES}gemm_{name}_tflops")) for name in names]
    known = [rate for rate in products if rate]
    copied = number(machine.facts.get(f"{_RATES}copy_gb_s"))
    return Roof(1e3 * max(known), copied) if known and copied else None


def columns(frame: pd.DataFrame, machine: Machine) -> dict[str, list[float | None]]:
    """The columns `COLUMNS`, a value a row.

    `roof_gflops` and `roof_gb_s`: the ceilings; `intensity`: FLOPs a compulsory byte; `gflops`: GFLOP/s reached;
    `roofline`: least over measured time. Null for rows that did not time a forward pass alone, for dtypes whose rate
    was not measured, and for rows of another environment than the one that `machine` describes.
    """
    ours = machine.facts.get("env")
    roofs = {dtype: roof(machine, dtype) for dtype in frame["dtype"].unique()}
    found = [
        _row(row, roofs[row["dtype"]]) if row["env"] == ours else (None,) * len(COLUMNS)
        for row in frame.to_dict("records")
    ]
    return {name: [line[index] for line in found] for index, name in enumerate(COLUMNS)}


def draw(axes: Axes, ceiling: Roof) -> None:
    """The ceilings over the whole panel, with their rates; its limits must be set."""
    from bench.report.style import INK

    left, right = axes.get_xlim()
    corners = [left, *([edge] if left < (edge := ceiling.gflops / ceiling.gb_s) < right else []), right]
    axes.plot(corners, [ceiling.at(x) for x in corners], color=INK, linewidth=0.9, zorder=1)


def words(ceiling: Roof) -> str:
    """What the lines are, for a caption."""
    return (
        f"The dark line is what this machine reached on a large matrix product ({significant(ceiling.gflops)} GFLOP/s) "
        f"and on a large copy ({significant(ceiling.gb_s)} GB/s): a block below it waits for something else, one above "
        "it is fed by caches or spared work. A point a size; FLOPs are twice the multiply-adds, bytes are inputs, "
        "weights and outputs once."
    )


def _row(row: Mapping[Any, Any], ceiling: Roof | None) -> tuple[float | None, ...]:
    macs, moved, taken = (number(row[name]) for name in ("macs", "compulsory_bytes", "latency_ms"))
    forward = row["status"] == "ok" and row["mode"] == "forward"
    if ceiling is None or not forward or macs is None or not moved or not taken:
        return (None,) * len(COLUMNS)
    share = ceiling.least_ms(macs, moved) / taken
    return ceiling.gflops, ceiling.gb_s, 2 * macs / moved, 2 * macs / taken / 1e6, share
