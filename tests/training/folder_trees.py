"""Small trees of real files in the published layout of each data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.training.folders import DATASETS
from tests.training.mat_bytes import mat_file

GREY = (124, 116, 104)


def picture(path: Path, size: tuple[int, int] = (3, 2), colour: tuple[int, int, int] = GREY) -> None:
    """An image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def numbers(path: Path, rows: list[list[int]], palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(rows, np.uint8))
    if palette:
        image.putpalette([value for number in range(256) for value in (number, 0, 255 - number)])
    image.save(path)


def colours(path: Path, rows: list[list[tuple[int, int, int]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(rows, np.uint8)).save(path)


def matrix(path: Path, name: str, rows: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mat_file({name: np.array(rows, np.uint16)}))


def listing(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def cityscapes(root: Path) -> None:
    for split, city, number in (("train", "aachen", 0), ("train", "ulm", 7), ("val", "lindau", 33)):
        name = f"{city}_000001_000019"
        picture(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        numbers(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", [[number, 8, 26], [31, 11, 1]])
        picture(root / "gtFine" / split / city / f"{name}_gtFine_color.png")
    picture(root / "leftImg8bit/train_extra/bonn/bonn_0_0_leftImg8bit.png")
    numbers(root / "gtCoarse/train_extra/bonn/bonn_0_0_gtCoarse_labelIds.png", [[4, 23, 23], [23, 24, 25]])


def ade20k(root: Path) -> None:
    for folder, prefix in (("training", "ADE_train"), ("validation", "ADE_val")):
        for number in (1, 2):
            picture(root / "images" / folder / f"{prefix}_{number:08}.jpg")
            rows = [[0, 1, 2], [150, number, 12]]
            numbers(root / "annotations" / folder / f"{prefix}_{number:08}.png", rows)
    (root / "objectInfo150.txt").write_text("Idx Ratio Train Val Name\n")


def pascal_pictures(root: Path) -> None:
    voc = root / "VOC2010"
    for name in ("2008_000002", "2008_000003", "2009_000001", "2010_000009"):
        picture(voc / "JPEGImages" / f"{name}.jpg")
    for name in ("2008_000002", "2008_000003", "2009_000001"):
        numbers(voc / "SegmentationClassContext" / f"{name}.png", [[0, 1, 59], [2, 23, 1]], palette=True)
    listing(voc / "ImageSets/SegmentationContext/train.txt", "2009_000001", "2008_000002")
    listing(voc / "ImageSets/SegmentationContext/val.txt", "2008_000003")


def pascal_mats(root: Path) -> None:
    voc = root / "VOCdevkit/VOC2010"
    for name in ("2008_000002", "2008_000003"):
        picture(voc / "JPEGImages" / f"{name}.jpg")
        matrix(root / "trainval" / f"{name}.mat", "LabelMap", [[0, 2, 458], [1, 420, 459]])
    listing(voc / "ImageSets/Main/train.txt", "2008_000002")
    listing(voc / "ImageSets/Main/val.txt", "2008_000003")
    named = dict(zip((2, 420, 458), ("aeroplane", "tree", "wood"), strict=True))
    others = iter([c for c in DATASETS["pascal-context"].labels.classes if c not in named.values()])
    names = [named.get(n) or (next(others, f"other {n}") if n > 2 else f"other {n}") for n in range(1, 460)]
    listing(root / "labels.txt", *(f"{number}: {name}" for number, name in enumerate(names, 1)))


def coco_stuff(root: Path) -> None:
    for name in ("COCO_train2014_000000000077", "COCO_train2014_000000000081"):
        picture(root / "images" / f"{name}.jpg")
        matrix(root / "annotations" / f"{name}.mat", "S", [[0, 1, 13], [90, 92, 182]])
    listing(root / "imageLists/train.txt", "COCO_train2014_000000000081")
    listing(root / "imageLists/test.txt", "COCO_train2014_000000000077")


def camvid_small(root: Path) -> None:
    for split in ("train", "val", "test"):
        picture(root / split / f"{split}_1.png")
        numbers(root / f"{split}annot" / f"{split}_1.png", [[0, 1, 10], [11, 8, 3]])
        listing(
            root / f"{split}.txt", f"/SegNet/CamVid/{split}/{split}_1.png /SegNet/CamVid/{split}annot/{split}_1.png"
        )


def camvid_large(root: Path) -> None:
    for split in ("train", "val", "test"):
        picture(root / "701_StillsRaw_full" / f"{split}_1.png")
        rows = [[(128, 128, 128), (0, 128, 64), (192, 0, 192)], [(0, 0, 0), (192, 64, 128), (192, 0, 64)]]
        colours(root / "LabeledApproved_full" / f"{split}_1_L.png", rows)
        listing(
            root / f"{split}.txt", f"/SegNet/CamVid/{split}/{split}_1.png /SegNet/CamVid/{split}annot/{split}_1.png"
        )


TREES: list[tuple[str, Callable[[Path], None]]] = [
    ("cityscapes", cityscapes),
    ("ade20k", ade20k),
    ("pascal-context", pascal_pictures),
    ("pascal-context", pascal_mats),
    ("pascal-context-60", pascal_pictures),
    ("coco-stuff", coco_stuff),
    ("camvid", camvid_small),
    ("camvid", camvid_large),
]
