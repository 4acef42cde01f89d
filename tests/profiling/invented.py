"""Records that nobody measured, for tables and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.journal import lines
from bench.profiling.record import CLASSES, PROFILE, make_record


def record(label: str, *shares: float, total: float = 100.0, **more: Any) -> dict[str, Any]:
    """A record whose classes have the given shares of `total` ms, the rest being launch/idle."""
    kinds = dict(zip(CLASSES, (*shares, *[0.0] * len(CLASSES)), strict=False))
    case = {
        "height": 64,
        "width": 96,
        "channels": 512,
        "batch": 1,
        "dtype": "fp32",
        "mode": "forward",
        "impl": "reference",
    }
    case |= {"memory_format": "channels_first", "compiled": False, "device": "cpu", "env": "e"}
    ms = {kind: share * total / 100 for kind, share in kinds.items()}
    found: Mapping[str, Any] = {
        **{"key": f"{label}{more}", "entry": label.partition(":")[0], "label": label, "status": "ok", "calls": 10},
        **{"git": "abc", "repro": f"python run_bench.py profile {label}", "options": {}},
        **{"total_ms": total, "class_ms": ms, "remainder_ms": total - sum(ms.values())},
        "operators": [["bmm", "matmul", ms["matmul"]], ["sigmoid", "other", ms["other"]]],
        **{"profiled_samples_ms": [total * 0.9, total * 1.1], "unprofiled_ms": total / 1.25},
        "unprofiled_samples_ms": [total / 1.25] * 2,
        **{
            "macs": 8 * 10**9,
            "class_macs": dict.fromkeys(CLASSES, 0) | {"convolution": 2 * 10**9, "matmul": 6 * 10**9},
        },
        **{"traced_peak_bytes": 3 * 2**20, "class_peak_bytes": dict.fromkeys(CLASSES, 0) | {"softmax": 3 * 2**20}},
        "peak_operator": "_softmax",
    }
    return make_record(case, found, more)


def failed(label: str, status: str, reason: str) -> dict[str, Any]:
    """A record of a case that could not be traced."""
    none = dict.fromkeys(
        ("calls", "total_ms", "class_ms", "remainder_ms", "operators", "profiled_samples_ms", "unprofiled_ms", "macs")
    )
    none |= dict.fromkeys(
        ("unprofiled_samples_ms", "class_macs", "traced_peak_bytes", "class_peak_bytes", "peak_operator")
    )
    return record(label, **none, status=status, reason=reason)


def write(folder: Path, *records: Mapping[str, Any]) -> Path:
    """A folder that holds them."""
    folder.mkdir(exist_ok=True)
    (folder / PROFILE).write_text(lines({str(number): one for number, one in enumerate(records)}))
    (folder / "environment.json").write_text('{"cpu": "Invented Processor", "threads": 2, "torch": "9.9"}')
    return folder
