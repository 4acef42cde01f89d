"""PASCAL-Context: 59 classes, or 60 with the background, on VOC 2010 (Mottaghi et al., CVPR 2014).

The authors published Matlab files with 459 labels and a list of the 59 most frequent. Most toolboxes read pictures
that the users converted from these, with 0 for the background and 1 to 59 for the classes in alphabetical order.
Both are read here, into the same labels: the classes in alphabetical order.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.training.folders.annotation import Labels, number_table, read_numbers, relabel
from bench.training.folders.dataset import Dataset, Source
from bench.training.folders.matfile import read_matrix
from bench.training.folders.pairs import MissingFile, files, home, select, text, words
from bench.training.labels import LabelSet

_NAMES = (
    "aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, cat, "
    "ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground, horse, "
    "keyboard, light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep, shelves, "
    "sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window, wood"
)
_CLASSES = tuple(_NAMES.split(", "))
_BACKGROUND = "background"
_NUMBERED = re.compile(r"^\s*(\d+)\s*:\s*(\S.*?)\s*$", re.MULTILINE)
_SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val")}


def read_picture(path: Path, background: bool) -> Labels:
    """Labels of a converted picture: 1 to 59 are the classes in alphabetical order, 0 is the background."""
    first = int(background)
    numbers = {label + 1: label + first for label in range(len(_CLASSES))}
    return read_numbers(path, number_table({**numbers, 0: 0} if background else numbers, () if background else (0,)))


def read_mat(path: Path, table: NDArray[np.int16]) -> Labels:
    """Labels of the authors' file: the array `LabelMap` with numbers of `labels.txt`."""
    return relabel(read_matrix(path, "LabelMap"), table, path)


def label_table(path: Path, background: bool) -> NDArray[np.int16]:
    """Table from the numbers of the authors' `labels.txt` (lines such as `2: aeroplane`) to labels.

    Raises:
        MissingFile: the file is not there, or does not name all 59 classes.
    """
    numbers = {name.replace(" ", ""): int(number) for number, name in _NUMBERED.findall(text(path))}
    absent = [name for name in _CLASSES if name not in numbers]
    if absent:
        raise MissingFile(f"'{path}' does not name the class '{absent[0]}'")
    first = int(background)
    chosen = {numbers[name]: label + first for label, name in enumerate(_CLASSES)}
    others = [number for number in (0, *numbers.values()) if number not in chosen]
    if background:
        return number_table({**dict.fromkeys(others, 0), **chosen})
    return number_table(chosen, others)


def _find(root: Path, split: str, background: bool) -> Source:
    voc = home(root, "VOCdevkit/VOC2010", "VOC2010")
    images = files(voc / "JPEGImages", ".jpg")
    if (voc / "SegmentationClassContext").is_dir():
        lists, labels = voc / "ImageSets" / "SegmentationContext", files(voc / "SegmentationClassContext", ".png")
        read = partial(read_picture, background=background)
    elif (root / "trainval").is_dir():
        lists, labels = voc / "ImageSets" / "Main", files(root / "trainval", ".mat")
        read = partial(read_mat, table=label_table(root / "labels.txt", background))
    else:
        raise MissingFile(f"neither '{voc / 'SegmentationClassContext'}' nor '{root / 'trainval'}'")
    names = [name for part in _SPLITS[split] for name in words(lists / f"{part}.txt")]
    return Source(select(names, images, labels), read)


_LAYOUT = (
    "VOC/JPEGImages/<name>.jpg with VOC = ROOT, ROOT/VOC2010 or ROOT/VOCdevkit/VOC2010, and either pictures "
    "VOC/SegmentationClassContext/<name>.png (0 background, 1-59 alphabetically) with "
    "VOC/ImageSets/SegmentationContext/<train|val>.txt, or the authors' ROOT/trainval/<name>.mat and ROOT/labels.txt "
    "with VOC/ImageSets/Main/<train|val>.txt"
)
PASCAL_CONTEXT = Dataset(
    labels=LabelSet("pascal-context", _CLASSES),
    description="PASCAL-Context, 59 classes, the background not counted",
    splits=tuple(_SPLITS),
    evaluation="val",
    layout=_LAYOUT,
    find=partial(_find, background=False),
)
PASCAL_CONTEXT_60 = Dataset(
    labels=LabelSet("pascal-context-60", (_BACKGROUND, *_CLASSES)),
    description="PASCAL-Context, 60 classes: the 59 and the background",
    splits=tuple(_SPLITS),
    evaluation="val",
    layout=_LAYOUT,
    find=partial(_find, background=True),
)
