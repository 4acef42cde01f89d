"""Batches: what a seed decides, and what it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from bench.training.examples import Examples
from bench.training.folders import FolderExamples, Transform, open_folder

TRAIN = Transform(crop=(16, 20), scale_low=0.5, scale_high=2.0, flip=True, brightness=0.1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for folder in ("images/validation", "annotations/validation"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(6):
        noise = random.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"images/validation/ADE_val_{number}.jpg")
        labels = random.integers(0, 151, (24, 30)).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / f"annotations/validation/ADE_val_{number}.png")
    return tmp_path


class Batches(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches of the seeds 0, 1, ..., for a loader."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return 3

    def __getitem__(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        if seed >= len(self):
            raise IndexError(seed)
        return self.examples.batch([2, 0, 5], seed)


def examples(root: Path, transform: Transform = TRAIN) -> FolderExamples:
    return open_folder("ade20k", root, "val", transform)


def test_types_and_shapes(root: Path) -> None:
    images, labels = examples(root).batch([3, 1], 0)
    assert (images.shape, images.dtype) == ((2, 3, 16, 20), torch.float32)
    assert (labels.shape, labels.dtype) == ((2, 16, 20), torch.int64)
    assert len(examples(root)) == 6


def test_a_seed_gives_the_same_batch_whatever_was_drawn_before(root: Path) -> None:
    one, other = examples(root), examples(root)
    other.batch([4, 4, 1], 11)
    np.random.default_rng().random(3)
    for a, b in zip(one.batch([1, 2], 9), other.batch([1, 2], 9), strict=True):
        assert a.equal(b)


def test_other_seeds_and_other_images_are_cropped_otherwise(root: Path) -> None:
    here = examples(root)
    assert not here.batch([1], 9)[0].equal(here.batch([1], 10)[0])
    huge = here.batch([1], 2**70)[0], here.batch([1], -1)[0]
    assert not huge[0].equal(huge[1])


def test_images_of_a_batch_are_cropped_each_on_its_own(tmp_path: Path) -> None:
    for folder, ending in (("images", "jpg"), ("annotations", "png")):
        (tmp_path / folder / "validation").mkdir(parents=True)
        for name in range(4):
            picture = Image.fromarray(np.arange(150, dtype=np.uint8).reshape(10, 15) + 1)
            picture.save(tmp_path / folder / "validation" / f"{name}.{ending}")
    _, labels = examples(tmp_path, Transform(crop=(3, 3))).batch(range(4), 0)
    assert len({int(label[0, 0]) for label in labels}) > 1


def test_parts_of_a_batch_equal_the_batch(root: Path) -> None:
    here = examples(root)
    whole = here.batch([5, 2, 0, 3], 4)
    parts = here.batch([5, 2], 4), here.batch([0, 3], 4)
    for side in (0, 1):
        assert torch.cat([parts[0][side], parts[1][side]]).equal(whole[side])


def test_another_process_reads_the_same(root: Path) -> None:
    here = examples(root)
    loader = DataLoader(Batches(here), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for seed, (images, labels) in enumerate(loader):
        mine = here.batch([2, 0, 5], seed)
        assert images.equal(mine[0])
        assert labels.equal(mine[1])
    assert seed == 2


def test_without_a_seed_images_are_whole_and_as_they_are(root: Path) -> None:
    trained, plain = examples(root).batch([4], None), examples(root, Transform()).batch([4], None)
    assert trained[0].shape == (1, 3, 24, 30)
    for a, b in zip(trained, plain, strict=True):
        assert a.equal(b)
    with Image.open(root / "annotations/validation/ADE_val_4.png") as picture:
        raw = np.asarray(picture).astype(int)
    assert (plain[1][0].numpy() == np.where(raw == 0, 255, raw - 1)).all()
