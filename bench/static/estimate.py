"""Estimate: static figures of many cases as rows, for any shape on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.case import Case
from bench.static.figures import trace_figures


def estimate(cases: Iterable[Case]) -> Iterator[dict[str, object]]:
    """One flat row a case: what it is, its static figures, and a reason where there are none."""
    for case in cases:
        row: dict[str, object] = {
            "block": case.label,
            "size": f"{case.height}x{case.width}",
            "channels": case.channels,
            "batch": case.batch,
            "dtype": case.dtype,
            "mode": case.mode,
            "impl": case.impl,
            "memory_format": case.memory_format,
            "device": case.device,
        }
        try:
            figures = trace_figures(case)
        except (Exception, SystemExit) as error:  # a block that cannot be traced is a row with a reason
            yield row | {"reason": " ".join(str(error).split()) or type(error).__name__}
            continue
        yield row | figures.row() | {"resident_bytes": figures.resident_bytes, "reason": None}
