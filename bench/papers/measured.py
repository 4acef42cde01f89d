"""Measured cells: times, frame rates and device memory, judged as ratios between rows of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.case import Case
from bench.papers.judge import MEASURED, Finding, Ratio, Verdict
from bench.papers.published import Cell, Table, tables_of
from bench.papers.recount import recount
from modules.options import SpecError

AGREEMENT = 1.1
"""A measured ratio agrees if its whole interval lies within this factor of the published one, and differs if none of it
does: a GPU of another generation never gives the same ratio to the percent, and such tables claim tens of per cent."""


def timed_cells(table: Table) -> list[Cell]:
    """The cells of a table that are measured and have a case."""
    return [cell for cell in table.cells if cell.convention in MEASURED and cell.block]


def suite_of(table: Table) -> str | None:
    """Name of the suite that measures the table's cells; null where there is nothing to measure.

    What an abstract says of a table is measured by that table's suite.
    """
    homes = {cell.base.rpartition("|")[0] or table.id for cell in timed_cells(table)}
    return f"{table.paper}-{min(homes)}".lower() if homes else None


@dataclass(frozen=True)
class Measurement:
    """Rows of a run of the table's suite.

    Attributes:
        rows: by key.
        device: `cpu` or `cuda`.
        size: map size that took the place of the published ones; null where they were kept.
    """

    rows: Mapping[str, Mapping[str, Any]]
    device: str
    size: str | None = None

    def findings(self, table: Table) -> list[Finding]:
        """One on each cell of the table that is measured and has a case.

        Raises:
            SpecError: the data name a case or a base row that does not exist.
        """
        return [self._finding(cell, table) for cell in timed_cells(table)]

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]], table: Table) -> Measurement:
        """Take rows as a measurement of `table`: at the published sizes if they hold one of them, else at their own.

        Raises:
            SpecError: the rows are of several devices, or of several sizes of which none is a published one.
        """
        devices = {str(row["device"]) for row in rows} or {"cpu"}
        if len(devices) > 1:
            raise SpecError(f"the run holds rows of several devices: {', '.join(sorted(devices))}")
        device = devices.pop()
        by_key = {str(row["key"]): row for row in rows}
        if not rows or any(cell.case(device).key in by_key for cell in timed_cells(table)):
            return Measurement(by_key, device)
        sizes = sorted({f"{row['height']}x{row['width']}" for row in rows})
        if len(sizes) > 1:
            raise SpecError(f"papers takes one size in place of the published ones, not {', '.join(sizes)}")
        return Measurement(by_key, device, sizes[0])

    def _finding(self, cell: Cell, table: Table) -> Finding:
        row = self.rows.get(self._case(cell).key)
        if row is None or row["status"] != "ok":
            why = f"{row['status']}: {row['reason']}" if row else "not in the run"
            return Finding(cell, None, "not measured", why)
        base = table.base(cell, tables_of(cell.paper)) if cell.base else None
        if cell.convention == "cuda_memory":
            return self._memory(cell, base, row)
        ms = float(row["latency_ms"])
        absolute = {"fps": 1000 / ms, "time": ms / 1000 if cell.unit == "s" else ms}.get(cell.convention)
        if base is None:
            return Finding(cell, absolute, "not comparable", "the row that others are compared with")
        return self._ratio(cell, base, row, absolute)

    def _ratio(self, cell: Cell, base: Cell, row: Mapping[str, Any], absolute: float | None) -> Finding:
        reference = self._case(base)
        if row["ratio"] is None or row["reference"] != reference.label:
            return Finding(cell, absolute, "not measured", f"the run has no ratio to {reference.label}")
        low, ours, high = (float(row[name]) for name in ("ratio_ci_low", "ratio", "ratio_ci_high"))
        if cell.convention != "time":
            low, ours, high = 1 / high, 1 / ours, 1 / low
        published = cell.value if cell.convention.startswith("ratio") else cell.value / base.value
        printed = cell.published if cell.convention.startswith("ratio") else f"{published:.2f}"
        told = f"{ours:.2f} x [{low:.2f}, {high:.2f}] of {base.row}, published {printed} x"
        verdict, why = self._verdict((low, high), published, cell, base)
        shown = ours if absolute is None else absolute
        return Finding(cell, shown, verdict, f"{told}{why}", Ratio(ours, low, high, published))

    def _memory(self, cell: Cell, base: Cell | None, row: Mapping[str, Any]) -> Finding:
        if row["cuda_peak_bytes"] is None:
            return Finding(cell, None, "not measured", f"device memory is read on CUDA only, not on {self.device}")
        ours = self._whole_bytes(cell, row)
        if base is None:
            return Finding(cell, ours / 1e6, "not comparable", f"on another device. {cell.note}")
        other = self.rows.get(self._case(base).key)
        if other is None or other["cuda_peak_bytes"] is None:
            return Finding(cell, ours / 1e6, "not measured", f"{base.row} was not measured")
        ratio, published = ours / self._whole_bytes(base, other), cell.value / base.value
        verdict, why = self._verdict((ratio, ratio), published, cell, base)
        told = f"{ratio:.2f} x of {base.row}, published {published:.2f} x{why}"
        return Finding(cell, ours / 1e6, verdict, told, Ratio(ratio, None, None, published))

    def _whole_bytes(self, cell: Cell, row: Mapping[str, Any]) -> float:
        return float(row["cuda_peak_bytes"]) + recount(self._case(cell)).resident_bytes

    def _verdict(self, interval: tuple[float, float], published: float, cell: Cell, base: Cell) -> tuple[Verdict, str]:
        """A ratio taken at another size, not on a GPU, or in too much noise is told, but decides nothing.

        One that differs says that this device is not the paper's, where its launches and its kernels take other shares
        of the time; it does not refute what was measured there.
        """
        low, high = interval[0] / published, interval[1] / published
        within = low >= 1 / AGREEMENT and high <= AGREEMENT
        beyond = high < 1 / AGREEMENT or low > AGREEMENT
        near = "agrees within 10 %" if within else "more than 10 % apart" if beyond else "too noisy to tell within 10 %"
        apart = []
        if self.size is not None:
            apart.append(f"at map size {self.size} instead of {cell.size}")
        if self.device != "cuda":
            apart.append("on a CPU instead of a GPU")
        if "no" in (cell.stated, base.stated):
            apart.append("layers that the paper does not state")
        if apart or not (within or beyond):
            return "not comparable", "; ".join([f" ({near})", *([", ".join(apart)] if apart else [])])
        return ("reproduced" if within else "differs on this device"), f" ({near})"

    def _case(self, cell: Cell) -> Case:
        return cell.case(self.device, self.size)
