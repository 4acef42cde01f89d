"""Fabricated rows: complete in schema, invented in every figure. The "machine" is a formula."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

C_MAPS = {
    "identity": (0.0, 0.0),
    "nl": (4.0, 1.0),
    "nl:mode=gaussian": (2.0, 1.0),
    "nl:mode=dot_product": (4.0, 0.9),
    "nl:mode=concat": (4.0, 0.95),
    "snl": (0.4, 0.0),
    "gc": (0.3, 0.0),
    "gc:ratio=4": (0.32, 0.0),
    "se": (0.12, 0.0),
    "apnb": (3.0, 0.03),
    "cgnl": (5.0, 0.02),
    "psp": (4.5, 0.0),
    "aspp": (27.0, 0.0),
    "ldv1": (1.0, 0.004),
    "ldv2": (0.5, 0.01),
    "gald": (5.2, 1.0),
    "gald:ld=v2": (4.8, 1.0),
    "fnb": (6.0, 1.0),
    "afnb": (5.0, 0.03),
    "jpu": (22.0, 0.0),
    "fpn": (9.0, 0.0),
    "bilinear": (0.05, 0.0),
}
BACKBONES = {"dilated": 60.0, "resnet": 15.0, "resnet:up=bilinear": 16.0, "resnet:up=fpn": 22.0, "resnet:up=jpu": 30.0}
SIZES = ((32, 32), (64, 64), (97, 97))
CHANNELS = (256, 512, 2048)
FAMILIES = {"fnb": "fusion", "afnb": "fusion", "jpu": "upsample", "fpn": "upsample", "bilinear": "upsample"}
BUDGET_GMACS = 150.0


def row(name: str, height: int = 64, width: int = 64, channels: int = 512, **fields: Any) -> dict[str, Any]:
    """One schema-1 row of an invented block; any field can be replaced."""
    entry, _, spelled = name.partition(":")
    options = dict(item.split("=") for item in spelled.split(",")) if spelled else {}
    backbone = entry in ("dilated", "resnet")
    linear, square = (BACKBONES[name], 0.0) if backbone else C_MAPS.get(name, (1.0, 0.0))
    positions, mode = height * width, fields.get("mode", "forward")
    weights = int(linear * channels * channels)
    macs = int(weights * positions + square * positions * positions * channels)
    peak = 0 if entry == "identity" else int(4 * (positions * channels * (1 + linear / 10) + square * positions**2))
    seed = random.Random(f"{name}{height}{width}{channels}{mode}")
    ms = (0.02 + macs / 6e7 + peak / 4e7) * seed.uniform(0.85, 1.2) * (3 if mode == "train" else 1)
    half = ms * seed.uniform(0.004, 0.05)
    noise = 0.03
    made = {
        **{"schema": 1, "key": "", "run": "synthetic", "suite": "synthetic", "git": "0000000"},
        **{"method": "m0", "env": "e0", "started_at": "2001-01-01T00:00:00+00:00", "repro": "none"},
        **{"entry": entry, "family": "backbone" if backbone else FAMILIES.get(entry, "context"), "options": options},
        **{"impl": "reference", "height": height, "width": width, "channels": channels, "batch": 1, "dtype": "fp32"},
        **{"memory_format": "channels_first", "mode": "forward", "compiled": False, "device": "cpu"},
        **{"status": "ok", "reason": None, "params": weights, "macs": macs, "flops": 2 * macs},
        **{"macs_by_class": {"product": macs}, "executed_macs_by_class": {"product": fields.get("macs", macs)}},
        **{"macs_fvcore": macs, "macs_torch": macs, "macs_uncounted": ["aten::softmax"] if square else []},
        **{"traced_peak_bytes": peak, "traffic_bytes": 3 * peak, "compulsory_bytes": peak},
        **{"latency_ms": ms, "latency_ci_low_ms": ms - half, "latency_ci_high_ms": ms + 0.8 * half},
        **{"latency_min_ms": ms - 2 * half, "latency_p10_ms": ms - 1.5 * half, "latency_p90_ms": ms + 3 * half},
        **{"latency_samples_ms": [ms - half, ms, ms + half], "calls_per_sample": 1, "rounds": 12},
        **{"stop_reason": "interval", "reference": "dilated" if backbone else "nl", "ratio": None},
        **{"ratio_ci_low": None, "ratio_ci_high": None, "noise_floor": noise, "twin_ratio": 1.004},
        **{"cuda_peak_bytes": None, "cuda_reserved_bytes": None, "energy_mj": None, "power_w": None},
        **{"sm_clock_mhz": None, "temperature_c": None, "throttled": None},
    }
    made |= fields
    case = ("entry", "options", "height", "width", "channels", "batch", "dtype", "mode", "impl", "device")
    made["key"] = hashlib.sha256(json.dumps([made[name] for name in case]).encode()).hexdigest()[:16]
    return made


def skipped(name: str, height: int, width: int, channels: int, **fields: Any) -> dict[str, Any]:
    """A row that a rule skipped: static figures only."""
    names = ["ms", "ci_low_ms", "ci_high_ms", "min_ms", "p10_ms", "p90_ms", "samples_ms"]
    names = [f"latency_{name}" for name in names]
    names += ["calls_per_sample", "rounds", "stop_reason", "reference", "ratio", "noise_floor", "twin_ratio"]
    unmeasured = dict.fromkeys(names)
    because = {"status": "skipped", "reason": "too many multiply-adds for a run of minutes"}
    return row(name, height, width, channels, **{**unmeasured, **because, **fields})


def sweep(modes: tuple[str, ...] = ("forward",), **fields: Any) -> list[dict[str, Any]]:
    """Every block at every size and channel count, with ratios to the reference; the expensive corner is skipped."""
    rows = []
    for mode in modes:
        for channels in CHANNELS:
            for height, width in SIZES:
                names = [*C_MAPS, *(BACKBONES if channels == 2048 and height < 97 else ())]
                group = [row(name, height, width, channels, mode=mode, **fields) for name in names]
                times = {made["entry"]: made["latency_ms"] for made in reversed(group)}
                for name, made in zip(names, group, strict=True):
                    if made["macs"] > BUDGET_GMACS * 1e9 and made["family"] != "backbone":
                        rows.append(skipped(name, height, width, channels, mode=mode, **fields))
                        continue
                    ratio = made["latency_ms"] / times[made["reference"]]
                    made |= {"ratio": ratio, "ratio_ci_low": 0.99 * ratio, "ratio_ci_high": 1.01 * ratio}
                    rows.append(made)
    return rows


def write_run(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A run folder that holds these rows, an environment and a suite."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(made) + "\n" for made in rows), encoding="utf-8")
    facts = {"cpu": "Imaginary(R) CPU @ 1.00GHz", "threads": 2, "torch": "0.0", "python": "3.0", "system": "Nowhere x0"}
    (folder / "environment.json").write_text(json.dumps({**facts, "env": "e0", "method": "m0"}), encoding="utf-8")
    (folder / "suite.toml").write_text('name = "synthetic"\n', encoding="utf-8")
    return folder
