"""Fabricated training runs: complete in schema, invented in every figure, counts by fold that add up to the mIoU."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.training.record import FOLDS, RUNS, make_record

CLASSES = ("stuff", "ctx0", "ctx1", "pole")
BLOCKS: Mapping[str, tuple[float, float, float, float, int]] = {
    # mIoU, scene, pairwise, regional, parameters
    "identity": (48.6, 50.0, 49.7, 73.6, 2352),
    "mlp": (48.9, 50.1, 49.9, 73.8, 4700),
    "ldv1": (50.2, 50.1, 49.9, 84.2, 1056),
    "snl": (60.9, 100.0, 75.0, 73.4, 2500),
    "gc": (60.7, 100.0, 75.0, 73.1, 650),
    "gc:ratio=4": (60.8, 100.0, 75.1, 73.2, 1300),
    "gc+ldv1": (62.2, 100.0, 74.7, 84.3, 1700),
    "cgnl": (60.2, 99.6, 70.8, 73.4, 3600),
    "psp": (62.4, 100.0, 74.3, 83.7, 2400),
    "aspp": (65.7, 100.0, 74.0, 98.8, 21000),
    "apnb": (64.4, 100.0, 99.4, 73.3, 3500),
    "nl": (64.7, 100.0, 100.0, 73.4, 4700),
    "nl+ldv2:kernel=5,residual=false": (63.0, 100.0, 85.4, 77.2, 9000),
}


def trained(block: str = "nl", seed: int = 0, **fields: Any) -> dict[str, Any]:
    """One run of an invented block; any field can be replaced."""
    miou, scene, pairwise, regional, params = BLOCKS.get(block, (55.0, 100.0, 75.0, 74.0, 1000))
    noise = random.Random(f"{block} {seed}")
    entry, _, spelled = block.partition(":")
    counted = folds(miou + noise.gauss(0, 0.3), seed)
    reached = mean_iou(counted)
    made = {
        **{"key": f"{block}-{seed}", "git": "0000000", "env": "e0", "started_at": "2001-01-01T00:00:00+00:00"},
        **{"repro": "none", "entry": entry, "label": block, "seed": seed, "dataset": "scenes", "size": 64},
        **{"options": dict(item.split("=") for item in spelled.split(",")) if spelled else {}},
        **{"recipe": "default", "settings": "s0", "iterations": 1200, "status": "ok", "device": "cpu", "threads": 1},
        **{
            "params": params + 40000,
            "macs": (params + 40000) * 256,
            "block_params": params,
            "block_macs": params * 256,
        },
        **{"map_height": 16, "map_width": 16, "map_channels": 48, "miou": reached, "pixel_accuracy": 80.0},
        **{"class_iou": dict.fromkeys(CLASSES, reached), "groups": {"plain": 80.0, "thin": 47 + noise.gauss(0, 0.3)}},
        "resolving": {
            "scene": min(100.0, scene + noise.gauss(0, 0.1)),
            "regional": min(100.0, regional + noise.gauss(0, 0.4)),
            "pairwise": min(100.0, pairwise + noise.gauss(0, 0.4)),
            "pairwise_mixed": min(100.0, pairwise - 8),
        },
        **{"boundary_f1": miou + 22.7, "boundary_f1_at": {"1": miou + 22.7}, "boundary_f1_merged": 90.0},
        **{"seconds": 20 + params / 1000 + noise.random(), "curve": curve(miou, noise), "folds": counted},
    }
    return make_record(made, fields)


def failed(block: str, seed: int, status: str = "diverged", reason: str = "the loss is nan") -> dict[str, Any]:
    """A run that did not end well: no figures."""
    known = ("key", "entry", "label", "options", "seed", "dataset", "size", "recipe", "settings", "device", "threads")
    made = trained(block, seed)
    return make_record({name: made[name] for name in known}, {"status": status, "reason": reason})


def folds(miou: float, seed: int) -> dict[str, list[list[int]]]:
    """Pixel counts by fold and class whose IoU lies around the given percentage; the targets are always the same."""
    images, noise = random.Random("images"), random.Random(f"counts {seed} {miou}")
    counts: dict[str, list[list[int]]] = {"intersection": [], "prediction": [], "target": []}
    for _ in range(FOLDS):
        hard = images.gauss(0, 2)
        target = [images.randint(4000, 6000) for _ in CLASSES]
        shares = [max(1.0, miou + hard + noise.gauss(0, 0.3)) / 100 for _ in CLASSES]
        counts["target"].append(target)
        counts["prediction"].append(target)
        counts["intersection"].append(
            [round(many * 2 * share / (1 + share)) for many, share in zip(target, shares, strict=True)]
        )
    return counts


def mean_iou(counted: Mapping[str, list[list[int]]]) -> float:
    """mIoU in percent of counts by fold and class."""
    inside, mine, theirs = (
        [sum(column) for column in zip(*counted[name], strict=True)]
        for name in ("intersection", "prediction", "target")
    )
    ratios = [i / (p + t - i) for i, p, t in zip(inside, mine, theirs, strict=True) if p + t > i or i]
    return 100 * sum(ratios) / len(ratios)


def curve(miou: float, noise: random.Random) -> list[list[float | None]]:
    """A learning curve: the loss every 10 iterations, the mIoU every 200."""
    points: list[list[float | None]] = []
    for iteration in range(10, 1201, 10):
        loss = (2.7 - miou / 30) * 0.7 ** (iteration / 100) + 1.4 - miou / 60 + noise.gauss(0, 0.02)
        grown = miou * (1 - 0.5 * 0.5 ** (iteration / 200)) + noise.gauss(0, 0.3)
        points.append([iteration, loss, None if iteration % 200 else grown])
    return points


def study(seeds: int = 5, blocks: Iterable[str] = BLOCKS, **fields: Any) -> list[dict[str, Any]]:
    """Every block with every seed."""
    return [trained(block, seed, **fields) for block in blocks for seed in range(seeds)]


def write_runs(folder: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """A folder of training runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUNS).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    facts = {"cpu": "Imaginary(R) CPU @ 1.00GHz", "threads": 1, "torch": "0.0", "python": "3.0", "system": "Nowhere x0"}
    (folder / "environment.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder
