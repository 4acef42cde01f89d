"""Scenes as a data set: what is in the pictures, and that the same arguments give the same ones."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.training.examples import Examples
from bench.training.scenes import LABELS, Scenes
from bench.training.scenes.dataset import MEAN, SD
from modules.options import SpecError

COUNT = 160
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def train() -> Scenes:
    return Scenes("train", COUNT)


def shares(scenes: Scenes) -> dict[str, float]:
    """Share of all pixels that each class has."""
    counts = torch.bincount(scenes.targets.flatten(), minlength=LABELS.count)
    return dict(zip(LABELS.classes, (counts / counts.sum()).tolist(), strict=True))


def digest(scenes: Scenes) -> str:
    """A text that differs for different pictures or labels."""
    return hashlib.sha256(scenes.images.numpy().tobytes() + scenes.targets.numpy().tobytes()).hexdigest()


def test_the_label_set() -> None:
    assert LABELS.count == 16
    assert set(LABELS.groups) == {"plain", "scene", "regional", "pairwise", "thin"}
    assert sorted(label for group in LABELS.groups.values() for label in group) == list(range(16))
    for kind, pairs in LABELS.twins.items():
        for zero, one in pairs:
            assert {zero, one} <= set(LABELS.groups[kind])
            assert LABELS.classes[zero][:-1] == LABELS.classes[one][:-1]
            assert (LABELS.classes[zero][-1], LABELS.classes[one][-1]) == ("0", "1")


def test_shapes_and_types(train: Scenes) -> None:
    examples: Examples = train
    images, labels = examples.batch([3, 0, 7], seed=None)
    assert len(examples) == COUNT
    assert (images.shape, images.dtype) == ((3, 3, 64, 64), torch.float32)
    assert (labels.shape, labels.dtype) == ((3, 64, 64), torch.int64)
    assert train.images.dtype == train.targets.dtype == torch.uint8
    assert (train.mixed.shape, train.mixed.dtype) == ((COUNT,), torch.bool)
    assert examples.labels is LABELS


def test_batches_are_normalised(train: Scenes) -> None:
    images, _ = train.batch(range(COUNT), seed=None)
    assert images.mean((0, 2, 3)).abs().max() < 0.1
    assert (images.std((0, 2, 3)) - 1).abs().max() < 0.1
    assert torch.equal((images * SD + MEAN).mul(255).round().to(torch.uint8), train.images)


def test_every_class_is_there_as_often_as_the_geometry_says(train: Scenes) -> None:
    share = shares(train)
    u = 16
    assert all(0.08 < share[name] < 0.25 for name in ("stuffA", "stuffB", "stuffC"))
    assert share["sign"] == pytest.approx(4 * 8.4**2 / 64**2, rel=0.05)
    # What is drawn over a thing takes from its share, so each of these is bounded by its area from above.
    areas = {
        "disc": 2 * 3.14 * (0.26 * u) ** 2,
        "ctx": 2 * u * 4 * u,
        "mark": 2 * 2.2 * 2 * 0.165 * 64,
        "reg": 2 * (2 * 1.175 * u) * (2 * 0.25 * u),
        "pair": 6 * (4 + 3.14) / 2 * (0.33 * u) ** 2,
        "pole": 2 * 2.1 * 1.8 * u,
        "wire": 1.5 * 64 * 1.3,
        "dot": 4 * 3**2,
    }
    for name, area in areas.items():
        found = sum(value for key, value in share.items() if key.rstrip("01") == name)
        assert 0.3 * area < found * 64**2 < 1.1 * area, name


def test_the_ambiguous_region_is_in_every_picture(train: Scenes) -> None:
    far = (train.targets >= 5) & (train.targets <= 6)
    assert (far.flatten(1).sum(1) > 0).all()


def test_no_two_pictures_are_alike(train: Scenes) -> None:
    assert len({image.numpy().tobytes() for image in train.images}) == COUNT


def test_the_same_arguments_give_the_same_pictures() -> None:
    assert digest(Scenes("train", 40, 64, 3)) == digest(Scenes("train", 40, 64, 3))


def test_another_process_sees_the_same_pictures() -> None:
    code = (
        "from bench.training.scenes import Scenes; import hashlib; s = Scenes('train', 40, 64, 3);"
        "print(hashlib.sha256(s.images.numpy().tobytes() + s.targets.numpy().tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == digest(Scenes("train", 40, 64, 3))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 70])
def test_the_first_pictures_do_not_depend_on_how_many_there_are(train: Scenes, count: int) -> None:
    fewer = Scenes("train", count)
    assert torch.equal(fewer.images, train.images[:count])
    assert torch.equal(fewer.targets, train.targets[:count])
    assert torch.equal(fewer.mixed, train.mixed[:count])


def together(scenes: Scenes, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """One batch an index, joined."""
    single = [scenes.batch([index], seed=None) for index in indices]
    return torch.cat([image for image, _ in single]), torch.cat([labels for _, labels in single])


def test_a_picture_is_the_same_in_any_batch_and_for_any_seed(train: Scenes) -> None:
    indices = [9, 2, 150, 2]
    images, labels = train.batch(indices, seed=1)
    for other in (together(train, indices), train.batch(indices, seed=2), train.batch(indices, seed=None)):
        assert torch.equal(images, other[0])
        assert torch.equal(labels, other[1])


def test_a_batch_is_a_copy(train: Scenes) -> None:
    before = digest(train)
    images, labels = train.batch(range(4), seed=None)
    images.zero_(), labels.zero_()
    assert digest(train) == before


def test_splits_and_seeds_share_no_picture(train: Scenes) -> None:
    seen = {image.numpy().tobytes() for image in train.images}
    for other in (Scenes("test", COUNT), Scenes("train", COUNT, seed=1)):
        assert not seen & {image.numpy().tobytes() for image in other.images}
        assert not torch.equal(other.mixed, train.mixed)


def test_it_can_be_pickled(train: Scenes) -> None:
    copy = pickle.loads(pickle.dumps(train))
    assert digest(copy) == digest(train)
    assert torch.equal(copy.twin([1], "bars")[0], train.twin([1], "bars")[0])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("trian", 4), "scenes have no split 'trian'; did you mean 'train'? allowed: train, test"),
        (("train", 0), "scenes: 0 images; allowed: 1 or more"),
        (("train", 4, 60), "scenes: image side 60; allowed: multiples of 4 from 64 on"),
        (("train", 4, 66), "scenes: image side 66; allowed: multiples of 4 from 64 on"),
        (("train", 4, 64, -1), "scenes: seed -1; allowed: 0 or more"),
    ],
)
def test_bad_arguments(arguments: tuple[str, int], line: str) -> None:
    with pytest.raises(SpecError) as caught:
        Scenes(*arguments)
    assert str(caught.value) == line
