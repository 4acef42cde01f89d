"""Record: the fields of one profiled case in `profile.jsonl`. Imports nothing of torch, for the reports read it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.record import fill, read
from bench.row import STATUSES

SCHEMA = 1
PROFILE = "profile.jsonl"

CONVOLUTION, MATMUL, SOFTMAX, POOLING = "convolution", "matmul", "softmax", "pooling"
NORMALISATION, COPY, OTHER = "normalisation", "copy", "other"
REMAINDER = "launch/idle"
CLASSES = (CONVOLUTION, MATMUL, SOFTMAX, POOLING, NORMALISATION, COPY, OTHER)
"""Classes of operators, in the order of every table and picture; `REMAINDER` is what is left of a call's time."""
COLOURS: Mapping[str, str] = types.MappingProxyType(
    {
        **{CONVOLUTION: "#0072B2", MATMUL: "#D55E00", SOFTMAX: "#E69F00", POOLING: "#009E73"},
        **{NORMALISATION: "#CC79A7", COPY: "#56B4E9", OTHER: "#8c8c8c"},
    }
)
"""Okabe and Ito's colours, for every picture of classes."""

FIELDS: Mapping[str, object] = {
    "schema": SCHEMA,
    "key": None,  # of the case, as in the rows of a sweep
    "git": None,
    "env": None,  # hash of the environment
    "started_at": None,
    "repro": None,  # command that profiles this case alone
    "entry": None,
    "label": None,  # the block as users spell it: gc:ratio=4
    "family": None,
    "options": None,
    "impl": None,
    "height": None,  # of the stride-8 map, positions
    "width": None,
    "channels": None,
    "batch": None,
    "dtype": None,
    "memory_format": None,
    "mode": None,
    "compiled": None,
    "device": None,
    "threads": None,
    "status": None,  # ok, oom, skipped, unsupported, crashed, invalid
    "reason": None,  # of each status but ok
    "calls": None,  # profiled calls, of which the times below are means
    "total_ms": None,  # a profiled call: host time on cpu, CUDA events on cuda
    "class_ms": None,  # {class: ms a call}; the classes and the remainder add up to total_ms
    "remainder_ms": None,  # launch/idle: total_ms less the classes
    "operators": None,  # [[operator, class, ms a call], ...], the longest first
    "profiled_samples_ms": None,  # of the profiled calls, in time order; each the mean of as many calls
    "unprofiled_ms": None,  # mean of as many calls without the profiler, half before and half after
    "unprofiled_samples_ms": None,
    "macs": None,  # multiply-adds of the forward pass
    "class_macs": None,  # {class: multiply-adds}, adding up to macs
    "traced_peak_bytes": None,  # peak of live storage above weights and inputs
    "class_peak_bytes": None,  # {class of the operator that made it: bytes alive at the peak}, adding up to the peak
    "peak_operator": None,  # operator whose result made the peak; null where nothing was allocated
}


def make_record(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the given fields set, see `bench.record.fill`.

    Raises:
        KeyError: a field that the schema does not have.
        ValueError: a status that does not exist, or none of its reason.
    """
    record = fill(FIELDS, *parts)
    if record["status"] not in STATUSES or (record["status"] != "ok" and not record["reason"]):
        raise ValueError(f"status {record['status']!r} with reason {record['reason']!r}")
    return record


def read_profiles(path: Path) -> list[dict[str, Any]]:
    """The records of a `profile.jsonl`.

    Raises:
        RunError: the file cannot be read, or holds something else.
    """
    return read(path, FIELDS, "a profiled case")
