"""Preview: a picture of scenes, their labels, and what a flipped code changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.training.scenes.classes import LABELS
from bench.training.scenes.dataset import Scenes
from bench.training.scenes.render import Rendered, render

FLIPPED = ("scene", "legend0", "bars")
LEGEND = ("plain", "thin", "scene", "regional", "pairwise")
COLOURS = (
    *("#dddddd", "#bbbbbb", "#999999", "#5b5b5b", "#111111"),
    *("#b9e4c9", "#3c9d64", "#ffe14d", "#b58900"),
    *("#e3b5f5", "#8e3fb5", "#9fd3f7", "#1f6fb5"),
    *("#1c2f70", "#e0457b", "#ff7f2a"),
)
"""Of the classes, in order: the two of a pair share a hue, light for bit 0 and dark for bit 1."""


def preview(path: Path, count: int = 6, size: int = 64, seed: int = 0) -> None:
    """Write a PNG with a row for each of the first `count` training pictures.

    A row shows the picture and its labels, then for three codes the counterfactual twin, its changed pixels framed,
    and the labels that it changes, all others faded.

    Raises:
        SpecError: `Scenes` cannot be made with these arguments.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    scenes = Scenes("train", count, size, seed)
    images, targets = scenes.images.numpy(), scenes.targets.numpy()
    twins = [render("train", range(count), size, seed, flip) for flip in FLIPPED]
    columns = ["image", "labels"]
    for flip in FLIPPED:
        columns += [f"twin: {flip} flipped", "labels that change"]

    figure = Figure(figsize=(1.55 * len(columns), 1.5 * count + 0.7), layout="constrained")
    axes = figure.subplots(count, len(columns), squeeze=False)
    for row in range(count):
        shown = [np.moveaxis(images[row], 0, -1), _coloured(targets[row])]
        for twin in twins:
            shown += [np.moveaxis(twin.images[row], 0, -1), _changes(targets[row], twin, row)]
        for axis, pixels in zip(axes[row], shown, strict=True):
            axis.imshow(pixels, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        for column, twin in enumerate(twins):
            changed = (twin.images[row] != images[row]).any(axis=0)
            axes[row, 2 + 2 * column].contour(_grown(changed), levels=[0.5], colors="red", linewidths=1.0)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=8)
    named = [label for group in LEGEND for label in LABELS.groups[group]]
    patches = [Patch(facecolor=COLOURS[n], edgecolor="#333333", label=LABELS.classes[n]) for n in named]
    figure.legend(handles=patches, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _coloured(target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = [[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in COLOURS]
    pixels: NDArray[np.uint8] = np.array(rgb, np.uint8)[target]
    return pixels


def _changes(target: NDArray[np.uint8], twin: Rendered, row: int) -> NDArray[np.uint8]:
    coloured = _coloured(twin.targets[row])
    faded = 255 - (255 - coloured) // 12
    return np.where((twin.targets[row] != target)[:, :, None], coloured, faded)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and the two pixels around it."""
    padded = np.pad(mask, 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    grown: NDArray[np.bool_] = windows.sum(axis=(-1, -2)) > 0
    return grown
