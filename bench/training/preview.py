"""Preview: a picture of what the generated data set looks like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.training.material import SCENES, labels_of
from bench.training.recipe import load_recipe
from bench.training.scenes import preview
from modules.options import SpecError

_PICTURES = 6


def draw(path: Path, dataset: str, recipe: str | None, settings: Mapping[str, str]) -> Path:
    """Write images, labels and counterfactual twins of the scenes as a recipe sizes them.

    Args:
        path: of the .png.
        dataset: `scenes`.
        recipe, settings: for the image side.

    Raises:
        SpecError: the data set is another one, or the recipe does not exist.
        OSError: the picture cannot be written.
    """
    labels_of(dataset)
    if dataset != SCENES:
        raise SpecError(f"--preview draws the generated data set; '{dataset}' lies in a folder: look at it there")
    if path.suffix != ".png":
        raise SpecError(f"--preview '{path}' is no .png file")
    preview(path, _PICTURES, load_recipe(recipe or "default", settings).size, 0)
    return path
