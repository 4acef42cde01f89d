"""Rows of a run as a data frame, with the columns a reader derives from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.disturbance import is_disturbed
from bench.report import roofline
from bench.report.digits import number
from bench.report.machine import Machine, read_machine
from bench.row import ROWS, by_processes, read_rows
from bench.training.record import PRICED, unpacked

TEXT = (
    *("key", "run", "suite", "git", "method", "env", "started_at", "repro"),
    *("entry", "family", "impl", "dtype", "memory_format", "mode", "device"),
    *("status", "reason", "stop_reason", "reference", "checked_at", "node", "device_name", "ratio_missing"),
)
COUNTS = (
    *("schema", "height", "width", "channels", "batch", "calls_per_sample", "rounds"),
    *("params", "macs", "flops", "macs_fvcore", "macs_torch"),
    *("traced_peak_bytes", "traffic_bytes", "compulsory_bytes", "cuda_peak_bytes", "cuda_reserved_bytes"),
    "cpu_peak_bytes",
)
FIGURES = (
    *("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"),
    *("latency_min_ms", "latency_p10_ms", "latency_p90_ms"),
    *("ratio", "ratio_ci_low", "ratio_ci_high", "noise_floor", "twin_ratio"),
    *("impl_ratio", "impl_ratio_ci_low", "impl_ratio_ci_high"),
    *("process_ci_low_ms", "process_ci_high_ms", "process_ratio_ci_low", "process_ratio_ci_high"),
    *("energy_mj", "power_w", "sm_clock_mhz", "temperature_c", "rested_seconds"),
)
LISTS = ("macs_uncounted", "latency_samples_ms", "process_ms", "process_ratios")
NESTED = ("options", "compiled", "throttled")
PEAKS: Mapping[str, str] = {"cuda_peak_mib": "CUDA peak MiB", "cpu_peak_mib": "CPU peak MiB"}
"""Measured peaks by column, with their titles; a row has that of its device."""
DERIVED = (
    *("label", "rank", "kind", "positions", "size", "gmacs", "peak_mib", *PEAKS),
    *("half_ms", "verdict", "disturbed"),
    *roofline.COLUMNS,
)
UNKNOWN = Machine({})
MIB = 2**20
ROUNDING = 1e-12


def load(run: Path) -> pd.DataFrame:
    """All rows of a run folder, one row of the frame per row of `rows.jsonl`, with the derived columns.

    Raises:
        RunError: the folder has no `rows.jsonl`, or one that cannot be read, or its `environment.json` is broken.
    """
    return build(read_rows(run / ROWS), read_machine(run))


def build(rows: Iterable[Mapping[str, Any]], machine: Machine = UNKNOWN) -> pd.DataFrame:
    """Rows (dictionaries of schema 1, fields may be missing) as a typed frame with the derived columns.

    Derived: `label`; `rank` (order in which labels first appear); `kind` (`backbones` for families that take an image,
    `blocks` for those that take feature maps); `positions` N = height x width; `size` "HxW"; `gmacs` (1e9 multiply-adds
    of the forward pass); `peak_mib`, `cuda_peak_mib` and `cpu_peak_mib` (MiB above weights and inputs, traced and as
    measured on either device); `half_ms` (the longer arm of the 95 % interval of the median, ms; it and all intervals
    are those between processes where a row has them, see `bench.row.by_processes`, else those within this run);
    `verdict` (see `verdict`); `disturbed` (see `bench.disturbance`, null where nobody looked); those of
    `roofline.columns`, by the rates that `machine` holds. A row older than `device_name` gets that of the rows of its
    environment, if they have one and the same.
    """
    listed = [by_processes(row) for row in rows]
    columns: dict[str, Any] = {}
    for name in TEXT:
        columns[name] = pd.Series([_text(row.get(name)) for row in listed], dtype=object)
    for name in COUNTS:
        columns[name] = pd.array([_whole(row.get(name)) for row in listed], dtype="Int64")
    for name in FIGURES:
        columns[name] = pd.Series([number(row.get(name)) for row in listed], dtype=float)
    for name in LISTS:
        columns[name] = pd.Series([list(row.get(name) or []) for row in listed], dtype=object)
    columns["reference"] = columns["reference"].map(_as_trained)
    columns["device_name"] = _told(columns["device_name"], columns["env"])
    columns["options"] = pd.Series([dict(row.get("options") or {}) for row in listed], dtype=object)
    columns["compiled"] = pd.Series([bool(row.get("compiled")) for row in listed], dtype=bool)
    columns["throttled"] = pd.Series([row.get("throttled") for row in listed], dtype=object)
    known = {*TEXT, *COUNTS, *FIGURES, *LISTS, *NESTED, *DERIVED}
    for name in dict.fromkeys(name for row in listed for name in row if name not in known):
        columns[name] = pd.Series([row.get(name) for row in listed], dtype=object)
    columns["disturbed"] = pd.Series([is_disturbed(row) for row in listed], dtype=object)
    frame = _derive(pd.DataFrame(columns))
    return frame.join(roofline.columns(frame, machine))


def label(entry: str, options: Mapping[str, Any]) -> str:
    """`entry`, or `entry:a=1,b=2` with the options that differ from the defaults; of a block that was priced as it was
    trained, the label of its runs."""
    spelled = ",".join(f"{name}={_spell(value)}" for name, value in options.items())
    return _as_trained(f"{entry}:{spelled}" if spelled else entry)


def _as_trained(spelled: str) -> str:
    """The label of the runs that `spelled` prices, see `bench.training.priced`; any other text as it is."""
    entry, _, chain = spelled.partition(":chain=")
    return unpacked(chain or "identity") if entry == PRICED else spelled


def verdict(name: str, reference: str, ratio: Any, low: Any, high: Any, floor: Any) -> str:
    """`reference`, `faster`, `slower`, `tie`, or "" where nothing can be said.

    A tie is a ratio within the noise floor of 1, or one whose 95 % interval contains 1. A ratio that comes with neither
    a noise floor nor an interval gets no verdict.
    """
    if reference and name == reference:
        return "reference"
    figure, bottom, top, noise = number(ratio), number(low), number(high), number(floor)
    interval = bottom is not None and top is not None
    if figure is None or (noise is None and not interval):
        return ""
    within = noise is not None and abs(figure - 1) <= noise + ROUNDING
    spans = bottom is not None and top is not None and bottom <= 1 <= top
    if within or spans:
        return "tie"
    return "faster" if figure < 1 else "slower"


def _derive(frame: pd.DataFrame) -> pd.DataFrame:
    labels = [label(entry, options) for entry, options in zip(frame["entry"], frame["options"], strict=True)]
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(labels))}
    frame["label"] = pd.Series(labels, dtype=object)
    frame["rank"] = pd.Series([ranks[name] for name in labels], dtype=int)
    frame["kind"] = pd.Series(
        ["backbones" if family in ("backbone", "network") else "blocks" for family in frame["family"]],
        dtype=object,
    )
    frame["positions"] = frame["height"] * frame["width"]
    sizes = zip(frame["height"], frame["width"], strict=True)
    frame["size"] = pd.Series([f"{height}x{width}" for height, width in sizes], dtype=object)
    frame["gmacs"] = frame["macs"].astype(float) / 1e9
    frame["peak_mib"] = frame["traced_peak_bytes"].astype(float) / MIB
    for name in PEAKS:
        frame[name] = frame[name.replace("_mib", "_bytes")].astype(float) / MIB
    below = frame["latency_ms"] - frame["latency_ci_low_ms"]
    above = frame["latency_ci_high_ms"] - frame["latency_ms"]
    frame["half_ms"] = pd.concat([below, above], axis=1).max(axis=1, skipna=False)
    compared = ("label", "reference", "ratio", "ratio_ci_low", "ratio_ci_high", "noise_floor")
    frame["verdict"] = pd.Series(
        [verdict(*fields) for fields in zip(*(frame[name] for name in compared), strict=True)], dtype=object
    )
    return frame


def _told(names: pd.Series, environments: pd.Series) -> pd.Series:
    """Device names; one environment is one kind of device, so a row without a name has that of the others."""
    known: dict[str, set[str]] = {}
    for name, env in zip(names, environments, strict=True):
        known.setdefault(env, set()).update([name] if name else [])
    filled = [
        next(iter(known[env])) if env and not name and len(known[env]) == 1 else name
        for name, env in zip(names, environments, strict=True)
    ]
    return pd.Series(filled, dtype=object)


def _spell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "+".join(_spell(item) for item in value)
    return "none" if value is None else str(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _whole(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    figure = number(value)
    return None if figure is None else int(figure)


def interval_words(frame: pd.DataFrame) -> str:
    """Which interval the rows' times have: `within this run`, or `between its 5 processes`."""
    counts = sorted(set(frame.loc[frame["process_ci_low_ms"].notna(), "process_ms"].map(len)))
    timed = frame["latency_ms"].notna()
    if not counts:
        return "within this run"
    told = f"between {' or '.join(map(str, counts))} processes"
    whole = bool(frame.loc[timed, "process_ci_low_ms"].notna().all())
    return told if whole else f"{told}, or within this run where fewer than three measured a case"
