"""Row: everything known of one case in one run, as a flat JSON object. The fields and their order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import SCHEMA

STATUSES = ("ok", "oom", "skipped", "unsupported", "timeout", "crashed", "invalid")
RESULTS = ("ok", "oom", "skipped", "unsupported")

ROWS, SUITE, ENVIRONMENT = "rows.jsonl", "suite.toml", "environment.json"
RUNS = "runs.jsonl"
"""Training runs stand in a file of their own, see `bench.training.record`; a folder holds the one or the other."""
DEVICES = "devices.json"
"""In a folder of run folders, one for each kind of device that the same sweep was measured on."""
FIELDS = (
    *("schema", "key", "run", "suite", "git", "method", "env", "started_at", "repro"),
    *("entry", "family", "options", "impl", "height", "width", "channels", "batch"),
    *("dtype", "memory_format", "mode", "compiled", "device"),
    *("status", "reason"),
    *("params", "macs", "flops", "macs_fvcore", "macs_torch", "macs_uncounted"),
    *("traced_peak_bytes", "traffic_bytes", "compulsory_bytes"),
    *("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"),
    *("latency_min_ms", "latency_p10_ms", "latency_p90_ms"),
    *("latency_samples_ms", "calls_per_sample", "rounds", "stop_reason"),
    *("reference", "ratio", "ratio_ci_low", "ratio_ci_high", "noise_floor", "twin_ratio"),
    *("cuda_peak_bytes", "cuda_reserved_bytes"),
    *("energy_mj", "power_w", "sm_clock_mhz", "temperature_c", "throttled"),
    *("memory_clock_mhz", "foreign_processes", "cpu_mhz", "load_average", "steal", "foreign_cpus"),
    *("disturbed_rounds", "disturbed_by", "unused_samples", "telemetry_missing"),
    *("impl_ratio", "impl_ratio_ci_low", "impl_ratio_ci_high", "checked_at", "rested_seconds"),
    *("node", "device_name", "ratio_missing"),
    *("process_ms", "process_ci_low_ms", "process_ci_high_ms"),
    *("process_ratios", "process_ratio_ci_low", "process_ratio_ci_high"),
    *("macs_by_class", "executed_macs_by_class", "class_precisions"),
    *("launches",),
    *("cpu_peak_bytes",),
)
ADDED = FIELDS[FIELDS.index("memory_clock_mhz") :]


class RunError(ValueError):
    """A run folder, a file of one, or what is built from it, that cannot be read. The message is one line."""

    exit_code = 2


def refuse_folder_of_runs(folder: Path) -> None:
    """See that a folder is that of one run.

    Raises:
        RunError: it holds a run for each kind of device; they are named.
    """
    if (folder / DEVICES).exists():
        runs = sorted(str(path.parent) for path in folder.glob(f"*/{ROWS}"))
        named = f"give one of them: {', '.join(runs)}" if runs else "none of them has rows yet"
        raise RunError(f"'{folder}' holds a run for each kind of device; {named}")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `rows.jsonl`. A last line that a kill cut short is left out; fields that rows had not always
    (`ADDED`) are null where a row lacks them.

    Raises:
        RunError: the file cannot be read, or another line is not a JSON object.
    """
    try:
        *lines, last = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror}; give the folder of a run, results/<run>") from None
    rows = []
    for number, line in enumerate([*lines, last], start=1):
        try:
            row = json.loads(line) if line else None
            if row is not None:
                _check(row)
        except ValueError as error:
            if number > len(lines):
                break
            raise RunError(f"'{path}' line {number} is not a row: {error}") from None
        if row is not None:
            rows.append(row | dict.fromkeys(name for name in ADDED if name not in row))
    return rows


def _check(row: object) -> None:
    """Refuse what is not a row of this schema.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(row, dict) or row.get("schema") != SCHEMA:
        raise ValueError(f"not an object with schema {SCHEMA}")
    lacking = [name for name in FIELDS if name not in row and name not in ADDED]
    if lacking or row["status"] not in STATUSES:
        raise ValueError(f"without {', '.join(lacking)}" if lacking else f"unknown status {row['status']!r}")


def make_row(*parts: Mapping[str, object]) -> dict[str, object]:
    """A whole row out of its parts; what no part gives is null.

    Raises:
        ValueError: a part gives a field that the schema has not, or a status that does not exist, or no reason for a
            status other than `ok`.
    """
    given: dict[str, object] = {"schema": SCHEMA}
    for part in parts:
        given |= part
    strangers = set(given) - set(FIELDS)
    if strangers:
        raise ValueError(f"fields that the row schema has not: {', '.join(sorted(strangers))}")
    if given.get("status") not in STATUSES:
        raise ValueError(f"status {given.get('status')!r} is none of {', '.join(STATUSES)}")
    if given["status"] != "ok" and not given.get("reason"):
        raise ValueError(f"a row with status '{given['status']}' needs a reason")
    return {name: given.get(name) for name in FIELDS}


def by_processes(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose intervals of time and ratio are those between its processes, where three or more measured it."""
    taken: dict[str, Any] = {}
    for process, within in (("process_ci_{}_ms", "latency_ci_{}_ms"), ("process_ratio_ci_{}", "ratio_ci_{}")):
        ends = {within.format(end): row.get(process.format(end)) for end in ("low", "high")}
        taken |= ends if None not in ends.values() else {}
    return {**row, **taken}
