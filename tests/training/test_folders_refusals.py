"""Data sets that are incomplete, damaged or something else: one clear line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.training.folders import DATASETS, Transform, open_folder
from bench.training.labels import IGNORE
from modules.options import SpecError
from tests.training.folder_trees import (
    TREES,
    ade20k,
    camvid_large,
    camvid_small,
    colours,
    listing,
    numbers,
    pascal_mats,
    picture,
)


@pytest.mark.parametrize(("name", "build"), TREES)
@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_file_that_is_not_there_is_named(name: str, build: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    build(tmp_path)
    split = DATASETS[name].evaluation
    lost = getattr(open_folder(name, tmp_path, split).source.pairs[0], kind)
    lost.unlink()
    with pytest.raises(SpecError, match=r"; expected: .*ROOT/") as caught:
        open_folder(name, tmp_path, split)
    stem = lost.stem.removesuffix("_L").split("_leftImg8bit")[0].split("_gtFine")[0]
    assert stem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", DATASETS)
def test_no_folder_and_another_layout(name: str, tmp_path: Path) -> None:
    dataset = DATASETS[name]
    with pytest.raises(SpecError, match=r"needs the folder it lies in; expected: .*ROOT/"):
        open_folder(name, None, dataset.evaluation)
    with pytest.raises(SpecError, match=r"no folder .*nowhere"):
        open_folder(name, tmp_path / "nowhere", dataset.evaluation)
    (tmp_path / "something").mkdir()
    for split in dataset.splits:
        with pytest.raises(SpecError, match=r"split '.*': .*; expected: .*ROOT/"):
            open_folder(name, tmp_path, split)


def test_an_empty_split(tmp_path: Path) -> None:
    (tmp_path / "images/training").mkdir(parents=True)
    (tmp_path / "annotations/training").mkdir(parents=True)
    with pytest.raises(SpecError, match="no images in"):
        open_folder("ade20k", tmp_path, "train")


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no data set 'cityscape'; did you mean 'cityscapes'.*camvid"):
        open_folder("cityscape", tmp_path, "train")
    with pytest.raises(SpecError, match="has no split 'vall'; did you mean 'val'"):
        open_folder("cityscapes", tmp_path, "vall")


def test_a_list_that_names_no_annotations(tmp_path: Path) -> None:
    camvid_small(tmp_path)
    listing(tmp_path / "test.txt", "/SegNet/CamVid/test/test_1.png")
    with pytest.raises(SpecError, match="does not name an image and an annotation on each line"):
        open_folder("camvid", tmp_path, "test")


def test_a_list_of_labels_without_a_class(tmp_path: Path) -> None:
    pascal_mats(tmp_path)
    listing(tmp_path / "labels.txt", "1: accordion", "2: aeroplane")
    with pytest.raises(SpecError, match="does not name the class 'bag'"):
        open_folder("pascal-context", tmp_path, "val")


def test_an_annotation_of_another_numbering_is_refused(tmp_path: Path) -> None:
    ade20k(tmp_path)
    numbers(tmp_path / "annotations/validation/ADE_val_00000001.png", [[0, 151, 2], [1, 1, 1]])
    with pytest.raises(SpecError, match=r"ADE_val_00000001.png' holds 151, .*; allowed: 0-150$"):
        open_folder("ade20k", tmp_path, "val").batch([0], None)


def test_a_colour_that_stands_for_nothing_is_refused(tmp_path: Path) -> None:
    camvid_large(tmp_path)
    colours(tmp_path / "LabeledApproved_full/val_1_L.png", [[(1, 2, 3)] * 3] * 2)
    with pytest.raises(SpecError, match=r"holds the colour \(1, 2, 3\)"):
        open_folder("camvid", tmp_path, "val").batch([0], None)


def test_colours_where_numbers_are_expected(tmp_path: Path) -> None:
    ade20k(tmp_path)
    picture(tmp_path / "annotations/validation/ADE_val_00000002.png")
    with pytest.raises(SpecError, match=r"ADE_val_00000002.png' is in colour"):
        open_folder("ade20k", tmp_path, "val").batch([1], None)


def test_an_annotation_of_another_size(tmp_path: Path) -> None:
    ade20k(tmp_path)
    numbers(tmp_path / "annotations/validation/ADE_val_00000001.png", [[1, 1, 1]])
    with pytest.raises(SpecError, match=r"ADE_val_00000001.png' is 1x3, its image 2x3"):
        open_folder("ade20k", tmp_path, "val").batch([0], None)


@pytest.mark.parametrize("folder", ["images/validation", "annotations/validation"])
def test_a_file_cut_short(folder: str, tmp_path: Path) -> None:
    ade20k(tmp_path)
    path = next((tmp_path / folder).glob("*1.*"))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SpecError, match=f"cannot read .*{path.name}'"):
        open_folder("ade20k", tmp_path, "val").batch([0], None)


def test_images_of_several_sizes_need_a_crop(tmp_path: Path) -> None:
    ade20k(tmp_path)
    picture(tmp_path / "images/validation/ADE_val_00000002.jpg", (5, 4))
    numbers(tmp_path / "annotations/validation/ADE_val_00000002.png", [[3] * 5] * 4)
    with pytest.raises(SpecError, match="images 0 and 1 of 'ade20k' are 2x3 and 4x5"):
        open_folder("ade20k", tmp_path, "val").batch([0, 1], None)
    images, labels = open_folder("ade20k", tmp_path, "val", Transform(crop=(8, 9))).batch([0, 1], 3)
    assert images.shape == (2, 3, 8, 9)
    assert [(label != IGNORE).sum().item() for label in labels] == [5, 20]
