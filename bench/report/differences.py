"""Differences to a baseline, paired by seed and by test images, with bootstrap intervals."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.report.accuracy_runs import MIXED, Block, Part, Record

Array = npt.NDArray[np.float64]

FOLDED = "miou"
RESAMPLES = 4000
SEED = 0
NORMAL = 1.95996
STUDENT = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
)
"""97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom."""
METHOD = (
    "Differences are paired: over the seeds that both have, and for mIoU over the same test images. Brackets: 95 % "
    "bootstrap interval, for mIoU over seeds and test folds, for other figures over seeds; the part of the seeds is "
    "widened for their small number as Student's t widens a normal interval. 5/5: better in 5 of 5 seeds. "
    "No interval: one seed."
)


@dataclass(frozen=True)
class Difference:
    """How much higher a figure of a block is than the baseline's.

    Attributes:
        figure: name of the figure, see `bench.report.accuracy_runs.value`.
        mean: over the seeds, percentage points.
        low: lower end of the 95 % interval; null where nothing tells the noise.
        high: upper end.
        better: seeds in which the block is higher.
        seeds: seeds that both have.
        folded: whether the interval covers the choice of test images too.
    """

    label: str
    baseline: str
    figure: str
    mean: float
    low: float | None
    high: float | None
    better: int
    seeds: int
    folded: bool


def figures(part: Part) -> list[str]:
    """The figures that are compared: mIoU, resolving accuracies, boundary F1, IoU by group, pixel accuracy."""
    kinds = [*part.kinds(), *(key for key in part.keys("resolving") if key.endswith(MIXED))]
    names = [FOLDED, *(f"resolving.{kind}" for kind in kinds), "boundary_f1", "boundary_f1_merged"]
    return [*names, *(f"groups.{name}" for name in part.keys("groups")), "pixel_accuracy"]


@functools.lru_cache(maxsize=16)
def differences(part: Part, baseline: str) -> tuple[Difference, ...]:
    """Every block of a part against the baseline, block by block; nothing where the baseline has no run."""
    reference = part.block(baseline)
    if reference is None:
        return ()
    names = figures(part)
    others = [block for block in part.blocks if block.label != baseline]
    found = [difference(block, reference, name) for block in others for name in names]
    return tuple(one for one in found if one is not None)


def difference(block: Block, baseline: Block, figure: str) -> Difference | None:
    """The paired difference of one figure; null where the two share no seed that has it.

    The interval is the 2.5 to 97.5 % range of 4,000 resampled means, drawn with a fixed seed. For mIoU a resample draws
    test folds (the same for both and for all seeds) and computes every mIoU anew from their pixel counts; then, and for
    the other figures only, it draws seeds. A resample's deviation from the mean of all seeds is widened by
    sqrt(n / (n - 1)) times the quotient of the 97.5 % quantiles of Student's t (n - 1 degrees of freedom) and of the
    normal distribution, for n seeds. Of normal differences it so covers 93 to 95 % at 2 to 8 seeds, where the plain
    percentile interval covers 51 % (2 seeds), 75 % (3) and 85 % (5).
    """
    mine, theirs = block.values(figure), baseline.values(figure)
    shared = [seed for seed in mine if seed in theirs]
    if not shared:
        return None
    apart = np.array([mine[seed] - theirs[seed] for seed in shared])
    random = np.random.default_rng(SEED)
    counts = _paired([(block.runs[seed], baseline.runs[seed]) for seed in shared]) if figure == FOLDED else None
    resampled = None if counts is None else _over_folds(*counts, random)
    folded = resampled is not None
    low = high = None
    if len(shared) > 1 or resampled is not None:
        rows = np.broadcast_to(apart, (RESAMPLES, len(shared))) if resampled is None else resampled
        low, high = (float(end) for end in np.quantile(_over_seeds(rows, random), (0.025, 0.975)))
    better = int((apart > 0).sum())
    return Difference(block.label, baseline.label, figure, float(apart.mean()), low, high, better, len(shared), folded)


def mean_iou(intersection: Array, union: Array) -> Array:
    """mIoU in percent over the last axis, classes; those whose union is empty are left out, NaN where all are."""
    seen = union > 0
    ratio = np.divide(intersection, union, out=np.zeros_like(intersection), where=seen)
    classes = seen.sum(axis=-1)
    empty = np.full(ratio.shape[:-1], np.nan)
    mean: Array = np.divide(100 * ratio.sum(axis=-1), classes, out=empty, where=classes > 0)
    return mean


def _paired(pairs: Sequence[tuple[Record, Record]]) -> tuple[Array, Array] | None:
    """Intersections and unions (2, seeds, folds, classes); null where a run has none or the test images differ."""
    loaded = [[_counts(run["folds"]) for run in pair] for pair in pairs]
    sides = [side for pair in loaded for side in pair]
    known = [side for side in sides if side is not None]
    if len(known) < len(sides) or any(side[2].shape != known[0][2].shape for side in known):
        return None
    if any(not np.array_equal(side[2], known[0][2]) for side in known):
        return None
    filled = known[0][2].sum(axis=1) > 0
    if filled.sum() < 2:
        return None
    stacked = [np.stack([side[which][filled] for side in known]) for which in range(3)]
    intersection, union = stacked[0], stacked[1] + stacked[2] - stacked[0]
    shape = (len(pairs), 2, *intersection.shape[1:])
    return intersection.reshape(shape).swapaxes(0, 1), union.reshape(shape).swapaxes(0, 1)


def _counts(folds: Mapping[str, Any] | None) -> tuple[Array, Array, Array] | None:
    if not folds:
        return None
    held = [np.asarray(folds[name], dtype=float) for name in ("intersection", "prediction", "target")]
    return held[0], held[1], held[2]


def _over_folds(intersection: Array, union: Array, random: np.random.Generator) -> Array:
    """Differences in mIoU of each seed (resamples, seeds) over folds drawn with replacement."""
    folds = intersection.shape[2]
    drawn = random.multinomial(folds, np.full(folds, 1 / folds), size=RESAMPLES).astype(float)
    sides = [mean_iou(*(np.tensordot(drawn, held[side], (1, 1)) for held in (intersection, union))) for side in (0, 1)]
    apart: Array = sides[0] - sides[1]
    return apart


def _over_seeds(rows: Array, random: np.random.Generator) -> Array:
    """Means (resamples,) over seeds drawn with replacement from each row (resamples, seeds)."""
    seeds = rows.shape[1]
    middle: Array = rows.mean(axis=1)
    if seeds == 1:
        return middle
    drawn = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(rows))
    student = STUDENT[seeds - 2] if seeds - 2 < len(STUDENT) else NORMAL
    widening = np.sqrt(seeds / (seeds - 1)) * student / NORMAL
    widened: Array = middle + widening * ((drawn * rows).sum(axis=1) / seeds - middle)
    return widened
