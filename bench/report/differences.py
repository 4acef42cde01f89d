"""Differences to a baseline, paired by seed and by test images, with distribution-free ranges over the seeds."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.report.accuracy_runs import MIXED, Block, Part, Record
from bench.report.few_seeds import median_coverage, median_rank

Array = npt.NDArray[np.float64]

FOLDED = "miou"
RESAMPLES = 4000
SEED = 0
METHOD = (
    "Differences are paired: over the seeds that both have, and for mIoU over the same test images. The figure is the "
    "median over the seeds. Brackets: lowest to highest seed, which hold the median of all seeds that could be drawn, "
    "of whatever distribution, in 50 % (2 seeds), 75 % (3), 88 % (4), 94 % (5), 97 % (6); from 9 seeds on the narrower "
    "range that does in at least 95 %. For mIoU each end is moved outward by the choice of test images (bootstrap over "
    "folds); with one seed this is all it covers. No interval of the mean is given: with few seeds none holds where a "
    "seed in five learns late. 5/5: better in 5 of 5 seeds. No brackets: one seed."
)


@dataclass(frozen=True)
class Difference:
    """How much higher a figure of a block is than the baseline's.

    Attributes:
        figure: name of the figure, see `bench.report.accuracy_runs.value`.
        apart: the difference in each seed that both have, percentage points.
        low: lower end of the range given for the median over the seeds; null where nothing tells the noise.
        high: upper end.
        coverage: probability that the range holds the median, as far as seeds go; null where one seed has a range over
            test images alone.
        folded: whether the interval covers the choice of test images too.
    """

    label: str
    baseline: str
    figure: str
    apart: tuple[float, ...]
    low: float | None
    high: float | None
    coverage: float | None
    folded: bool

    @property
    def median(self) -> float:
        """Over the seeds."""
        return statistics.median(self.apart)

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.apart)

    @property
    def better(self) -> int:
        """Seeds in which the block is higher."""
        return sum(one > 0 for one in self.apart)

    @property
    def seeds(self) -> int:
        """Seeds that both have."""
        return len(self.apart)


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

    The range goes from the k-th lowest to the k-th highest seed (`few_seeds.median_rank`; the whole range up to eight
    seeds), so that its coverage of the median does not depend on the distribution. For mIoU the ends are the 2.5 %
    quantile of the lower and the 97.5 % quantile of the upper one over 4,000 resamples, drawn with a fixed seed: a
    resample draws test folds, the same for both and for all seeds, and computes every mIoU anew from their pixel
    counts.
    """
    mine, theirs = block.values(figure), baseline.values(figure)
    shared = [seed for seed in mine if seed in theirs]
    if not shared:
        return None
    apart = np.array([mine[seed] - theirs[seed] for seed in shared])
    counts = _paired([(block.runs[seed], baseline.runs[seed]) for seed in shared]) if figure == FOLDED else None
    resampled = None if counts is None else _over_folds(*counts, np.random.default_rng(SEED))
    low = high = None
    if len(shared) > 1 or resampled is not None:
        ordered = np.sort(apart[None] if resampled is None else resampled, axis=1)
        rank = median_rank(len(shared))
        low = min(float(np.quantile(ordered[:, rank - 1], 0.025)), float(np.sort(apart)[rank - 1]))
        high = max(float(np.quantile(ordered[:, -rank], 0.975)), float(np.sort(apart)[-rank]))
    coverage = median_coverage(len(shared)) if len(shared) > 1 else None
    values = tuple(float(one) for one in apart)
    return Difference(block.label, baseline.label, figure, values, low, high, coverage, resampled is not None)


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
