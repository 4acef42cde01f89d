"""Cityscapes: 19 classes of urban scenes, 1024x2048 (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from pathlib import Path

from bench.training.folders.annotation import Labels, number_table, read_numbers
from bench.training.folders.dataset import Dataset, Source
from bench.training.folders.pairs import Pair, files, match
from bench.training.labels import IGNORE, LabelSet

_CLASSES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_IDS = range(34)
_CATEGORIES = {
    "flat": (0, 1),
    "construction": (2, 3, 4),
    "object": (5, 6, 7),
    "nature": (8, 9),
    "sky": (10,),
    "human": (11, 12),
    "vehicle": (13, 14, 15, 16, 17, 18),
}
_TABLE = number_table(
    {number: label for label, number in enumerate(_CLASSES)},
    ignored=[*(number for number in _IDS if number not in _CLASSES), IGNORE],
)
_FOLDERS = {
    "train": (("gtFine", "train"),),
    "val": (("gtFine", "val"),),
    "trainval": (("gtFine", "train"), ("gtFine", "val")),
    "train_extra": (("gtCoarse", "train_extra"),),
}


def read_label(path: Path) -> Labels:
    """Labels of a `_labelIds.png`: the ids 0 to 33, of which 19 are evaluated."""
    return read_numbers(path, _TABLE)


def _find(root: Path, split: str) -> Source:
    pairs: list[Pair] = []
    for kind, folder in _FOLDERS[split]:
        images = files(root / "leftImg8bit" / folder, "_leftImg8bit.png", depth=1)
        labels = files(root / kind / folder, f"_{kind}_labelIds.png", depth=1)
        pairs += match(images, labels)
    return Source(tuple(pairs), read_label)


CITYSCAPES = Dataset(
    labels=LabelSet("cityscapes", tuple(_CLASSES.values()), _CATEGORIES),
    description="Cityscapes, 19 classes: fine annotations, and the coarse ones as split train_extra",
    splits=tuple(_FOLDERS),
    evaluation="val",
    layout=(
        "ROOT/leftImg8bit/<split>/<city>/<name>_leftImg8bit.png and ROOT/gtFine/<split>/<city>/"
        "<name>_gtFine_labelIds.png (train_extra: ROOT/gtCoarse/train_extra/<city>/<name>_gtCoarse_labelIds.png)"
    ),
    find=_find,
)
