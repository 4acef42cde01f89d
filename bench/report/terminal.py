"""What a run, an estimate or a list looks like on a terminal, or in another format on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from bench.disturbance import banner
from bench.report.digits import count, significant
from bench.report.formats import render
from bench.report.frame import interval_words, load
from bench.report.groups import all_groups
from bench.report.machine import read_machine
from bench.report.tables import efficiency, latex, markdown

READING = (
    "ms: median of a call, ± the longer arm of its 95 % interval {interval}; vs: paired by round, ≈ marks a tie; "
    "peak MiB: traced, above weights and inputs; CUDA or CPU peak MiB: what the allocator reached, measured."
)
_UNSAID = {"impl": "reference", "memory_format": "channels_first", "device": "cpu"}
"""Columns of an estimate that are shown where something else stands in them."""
_BYTES = {"traced_peak_bytes": "peak MiB", "traffic_bytes": "traffic MiB", "compulsory_bytes": "compulsory MiB"}


def show_run(run: Path, format: str) -> str:
    """The efficiency tables of a run; as json and csv its rows.

    Raises:
        RunError: the folder has no rows, or one that cannot be read.
    """
    frame = load(run)
    if format in ("json", "csv"):
        return render(frame, format)
    tables, told = [efficiency(group) for group in all_groups(frame)], banner(frame.to_dict("records"))
    if format == "table":
        parts = ["\n".join([table.title, "", table.grid.plain(), *table.notes]) for table in tables]
        reading = READING.format(interval=interval_words(frame))
        head = [f"WARNING: {told}"] if told else []
        return "\n\n".join([*head, *parts, " ".join([reading, *read_machine(run).choices()])])
    return latex(tables, told) if format == "latex" else markdown(tables, told)


def show_estimate(rows: Iterable[Mapping[str, object]], format: str) -> str:
    """Static figures, one line a case; as json and csv the raw counts and bytes."""
    known = list(rows)
    if format in ("json", "csv"):
        return render(known, format)
    frame = pd.DataFrame(known)
    names = ["block", "size", "channels", "batch", "dtype", "mode"]
    names += [name for name, usual in _UNSAID.items() if name in frame and set(frame[name]) != {usual}]
    shown = pd.DataFrame({name: frame[name] for name in names})
    if frame["reason"].notna().all():
        shown["reason"] = frame["reason"]
        return render(shown, format)
    shown["params"] = [count(value) for value in frame["params"]]
    shown["GMACs"] = [significant(value / 1e9) for value in frame["macs"]]
    for name, title in _BYTES.items():
        shown[title] = [significant(value / 2**20) for value in frame[name]]
    shown["not in MACs"] = [", ".join(names) if isinstance(names, list) else "" for names in frame["macs_uncounted"]]
    if frame["reason"].notna().any():
        shown["reason"] = frame["reason"].fillna("")
    return render(shown, format)


def show_list(rows: Iterable[Mapping[str, object]], format: str) -> str:
    """Any list of flat records."""
    return render(list(rows), format)
