"""Material: the data set of a run, as what it trains on and what it is judged by."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.training.boundary import PAPER_WIDTHS, Absent
from bench.training.examples import Examples
from bench.training.folders import DATASETS, Transform, dataset_named, open_folder
from bench.training.labels import LabelSet
from bench.training.recipe import Recipe
from bench.training.scenes import LABELS, Scenes
from modules.options import SpecError, nearest

SCENES = "scenes"
_LARGE = 96
_PIXELS = (1.0, 3.0, 5.0, 9.0, 12.0)


@dataclass(frozen=True)
class Material:
    """A data set, two splits of it, and how its predictions are judged.

    Attributes:
        training: to train on.
        test: to be judged by.
        widths: tolerances of the boundary F-score, narrowest first.
        absent: what an image counts whose class has no boundary, see `BoundaryScore`; in GALDv2's Table V it is right.
        side: image side in pixels where all images are squares of one size; else null.
    """

    training: Examples
    test: Examples
    widths: Sequence[float]
    absent: Absent
    side: int | None

    @property
    def labels(self) -> LabelSet:
        return self.test.labels


def dataset_names() -> list[str]:
    """What `--dataset` may be."""
    return [SCENES, *DATASETS]


def labels_of(dataset: str) -> LabelSet:
    """The classes of a data set, whether or not it lies here.

    Raises:
        SpecError: there is no such data set.
    """
    if dataset == SCENES:
        return LABELS
    if dataset not in DATASETS:
        raise SpecError(f"unknown data set '{dataset}'{nearest(dataset, dataset_names())}")
    return dataset_named(dataset).labels


def check_material(dataset: str, root: Path | None, recipe: Recipe) -> None:
    """Refuse what `open_material` would refuse, without generating a data set.

    Raises:
        SpecError: as there.
    """
    if dataset == SCENES:
        Scenes("train", 1, recipe.size)
    else:
        open_material(dataset, root, recipe)


def open_material(dataset: str, root: Path | None, recipe: Recipe) -> Material:
    """Generate or open a data set as a recipe wants it.

    Args:
        dataset: one of `dataset_names`.
        root: folder of a data set that lies in one; null for scenes.

    Raises:
        SpecError: there is no such data set, it does not lie at `root`, or the recipe does not fit it.
    """
    labels_of(dataset)
    if dataset == SCENES:
        training, test = (_scenes(split, count, recipe.size) for split, count in _splits(recipe))
        return Material(training, test, _PIXELS if recipe.size >= _LARGE else _PIXELS[:1], "omit", recipe.size)
    transform = Transform(recipe.crop, recipe.scale_low, recipe.scale_high, recipe.flip, recipe.brightness)
    training_split = open_folder(dataset, root, "train", transform)
    test_split = open_folder(dataset, root, dataset_named(dataset).evaluation)
    return Material(training_split, test_split, PAPER_WIDTHS, "perfect", None)


def _splits(recipe: Recipe) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("train", recipe.train_count), ("test", recipe.test_count)


@functools.lru_cache(maxsize=4)
def _scenes(split: str, count: int, size: int) -> Scenes:
    """Pictures are generated once a process; all seeds of all blocks see the same data set."""
    return Scenes(split, count, size)
