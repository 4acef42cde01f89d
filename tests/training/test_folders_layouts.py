"""Each data set in its published layout, as real files in a small tree."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bench.training.folders import DATASETS, Transform, open_folder
from bench.training.labels import IGNORE
from modules.options import SpecError
from tests.training.folder_trees import (
    TREES,
    ade20k,
    camvid_large,
    camvid_small,
    cityscapes,
    coco_stuff,
    matrix,
    pascal_mats,
    pascal_pictures,
)


def labels_of(dataset: str, root: Path, split: str) -> list[list[list[int]]]:
    examples = open_folder(dataset, root, split)
    return [examples.batch([index], None)[1][0].tolist() for index in range(len(examples))]


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("cityscapes", 19, {0: "road", 5: "pole", 13: "car", 18: "bicycle"}),
        ("ade20k", 150, {0: "wall", 12: "person", 20: "car", 149: "flag"}),
        ("pascal-context", 59, {0: "aeroplane", 36: "person", 58: "wood"}),
        ("pascal-context-60", 60, {0: "background", 1: "aeroplane", 59: "wood"}),
        ("coco-stuff", 171, {0: "person", 79: "toothbrush", 80: "banner", 170: "wood"}),
        ("camvid", 11, {0: "sky", 3: "road", 8: "car", 10: "bicyclist"}),
    ],
)
def test_classes(name: str, count: int, some: dict[int, str]) -> None:
    labels = DATASETS[name].labels
    assert labels.dataset == name
    assert labels.count == count == len(set(labels.classes))
    assert {label: labels.classes[label] for label in some} == some
    grouped = [label for members in labels.groups.values() for label in members]
    assert grouped in ([], list(range(count)))


def test_cityscapes_ids_become_the_19_train_ids(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    first, second = labels_of("cityscapes", tmp_path, "train")
    assert first == [[IGNORE, 1, 13], [16, 2, IGNORE]]
    assert second == [[0, 1, 13], [16, 2, IGNORE]]
    assert labels_of("cityscapes", tmp_path, "val") == [[[18, 1, 13], [16, 2, IGNORE]]]
    assert len(open_folder("cityscapes", tmp_path, "trainval", None)) == 3
    assert labels_of("cityscapes", tmp_path, "train_extra") == [[[IGNORE, 10, 10], [10, 11, 12]]]


@pytest.mark.parametrize("above", [False, True])
def test_ade20k_counts_from_one_and_zero_is_not_a_class(tmp_path: Path, above: bool) -> None:
    ade20k(tmp_path / "ADEChallengeData2016" if above else tmp_path)
    assert labels_of("ade20k", tmp_path, "train") == [[[IGNORE, 0, 1], [149, n, 11]] for n in (0, 1)]
    assert len(open_folder("ade20k", tmp_path, "val")) == 2


def test_pascal_context_pictures_with_and_without_background(tmp_path: Path) -> None:
    pascal_pictures(tmp_path)
    assert labels_of("pascal-context", tmp_path, "val") == [[[IGNORE, 0, 58], [1, 22, 0]]]
    assert labels_of("pascal-context-60", tmp_path, "val") == [[[0, 1, 59], [2, 23, 1]]]
    train = open_folder("pascal-context", tmp_path, "train")
    assert [pair.image.stem for pair in train.source.pairs] == ["2009_000001", "2008_000002"]
    assert len(open_folder("pascal-context", tmp_path / "VOC2010", "trainval")) == 3


def test_pascal_context_of_the_authors_goes_by_the_names_in_their_list(tmp_path: Path) -> None:
    pascal_mats(tmp_path)
    tree = DATASETS["pascal-context"].labels.classes.index("tree")
    assert labels_of("pascal-context", tmp_path, "val") == [[[IGNORE, 0, 58], [IGNORE, tree, IGNORE]]]
    assert labels_of("pascal-context-60", tmp_path, "train") == [[[0, 1, 59], [0, tree + 1, 0]]]


def test_coco_stuff_leaves_out_the_numbers_that_coco_never_used(tmp_path: Path) -> None:
    coco_stuff(tmp_path)
    expected = [[[IGNORE, 0, 11], [79, 80, 170]]]
    assert labels_of("coco-stuff", tmp_path, "train") == expected
    assert labels_of("coco-stuff", tmp_path, "test") == expected
    assert open_folder("coco-stuff", tmp_path, "test").source.pairs[0].image.stem.endswith("077")


def test_coco_stuff_counts_171_of_182_numbers(tmp_path: Path) -> None:
    coco_stuff(tmp_path)
    path = tmp_path / "annotations/COCO_train2014_000000000077.mat"
    examples, found = open_folder("coco-stuff", tmp_path, "test"), {}
    for number in range(1, 183):
        matrix(path, "S", [[number] * 3] * 2)
        try:
            found[number] = int(examples.batch([0], None)[1][0, 0, 0])
        except SpecError:
            continue
    assert list(found.values()) == list(range(171))
    # numbered by COCO and never drawn: street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender,
    # hair brush
    assert set(range(1, 183)) - set(found) == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}


def test_camvid_numbers_and_colours(tmp_path: Path) -> None:
    camvid_small(tmp_path / "small")
    assert labels_of("camvid", tmp_path / "small", "test") == [[[0, 1, 10], [IGNORE, 8, 3]]]
    assert len(open_folder("camvid", tmp_path / "small", "trainval")) == 2
    camvid_large(tmp_path / "large")
    assert labels_of("camvid", tmp_path / "large", "val") == [[[0, 1, 10], [IGNORE, 8, 3]]]


@pytest.mark.parametrize(("name", "build"), TREES)
def test_examples_can_be_pickled_and_read_the_same_elsewhere(
    name: str, build: Callable[[Path], None], tmp_path: Path
) -> None:
    build(tmp_path)
    dataset = DATASETS[name]
    here = open_folder(name, tmp_path, dataset.evaluation, Transform(crop=(4, 4), scale_low=0.5, scale_high=2))
    there = pickle.loads(pickle.dumps(here))
    for mine, other in zip(here.batch([0], 5), there.batch([0], 5), strict=True):
        assert mine.equal(other)


def test_a_grey_image_is_read_as_colour(tmp_path: Path) -> None:
    ade20k(tmp_path)
    Image.new("L", (3, 2), 124).save(tmp_path / "images/validation/ADE_val_00000001.jpg")
    images, _ = open_folder("ade20k", tmp_path, "val").batch([0], None)
    mean, sd = Transform().mean, Transform().sd
    expected = [(124 / 255 - m) / s for m, s in zip(mean, sd, strict=True)]
    assert images[0, :, 1, 1].tolist() == pytest.approx(expected, abs=1e-6)
