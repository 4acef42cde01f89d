"""What happens to an image and its labels on the way to the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.training.folders.transform import IMAGENET_MEAN, IMAGENET_SD, Transform, augment, normalise
from bench.training.labels import IGNORE
from modules.options import SpecError


def example(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image whose red and green say where a pixel lies, and labels that say it too."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.full_like(rows, 200)], axis=-1), (rows * 16 + columns).astype(np.uint8)


def colours(image_3HW: NDArray[np.float32]) -> NDArray[np.float64]:
    """The (H,W,3) values of 0 to 255 that were normalised."""
    found: NDArray[np.float64] = (image_3HW.transpose(1, 2, 0) * np.array(IMAGENET_SD) + np.array(IMAGENET_MEAN)) * 255
    return found


def test_normalisation() -> None:
    image, _ = example(4, 5)
    found = normalise(Transform(), image)
    assert found.shape == (3, 4, 5)
    assert found.dtype == np.float32
    assert found[0, 2, 3] == pytest.approx((2 / 255 - 0.485) / 0.229, abs=1e-6)
    assert found[1, 2, 3] == pytest.approx((3 / 255 - 0.456) / 0.224, abs=1e-6)
    assert found[2, 2, 3] == pytest.approx((200 / 255 - 0.406) / 0.225, abs=1e-6)


@pytest.mark.parametrize("crop", [(6, 7), (3, 12), (12, 4), (20, 21), (1, 1)])
def test_a_crop_without_scale_shows_pixels_as_they_are(crop: tuple[int, int]) -> None:
    image, label = example(9, 11)
    seen = set()
    for seed in range(30):
        found, labels = augment(Transform(crop=crop), image, label, np.random.default_rng(seed))
        assert found.shape == (3, *crop)
        assert labels.shape == crop
        inside = labels != IGNORE
        assert inside.sum() == min(crop[0], 9) * min(crop[1], 11)
        np.testing.assert_allclose(
            colours(found)[inside][:, 0] * 16 + colours(found)[inside][:, 1], labels[inside], atol=1e-2
        )
        assert (found[:, ~inside] == 0).all()
        seen.add((np.argwhere(inside)[0].tolist()[0], int(labels[inside][0])))
    assert len(seen) > 1


def test_every_place_of_a_crop_is_drawn() -> None:
    image, label = example(5, 4)
    random = np.random.default_rng(0)
    found = [augment(Transform(crop=(3, 3)), image, label, random)[1][0, 0] for _ in range(300)]
    assert set(found) == {row * 16 + column for row in range(3) for column in range(2)}
    padded = [np.argwhere(augment(Transform(crop=(6, 6)), image, label, random)[1] == 0)[0] for _ in range(300)]
    assert {tuple(place.tolist()) for place in padded} == {(row, column) for row in range(2) for column in range(3)}


@pytest.mark.parametrize("scale", [0.5, 0.61, 1.37, 2.0])
def test_a_scaled_crop_is_a_part_of_the_scaled_image(scale: float) -> None:
    random = np.random.default_rng(3)
    image = random.integers(0, 256, (31, 42, 3), dtype=np.uint8)
    label = random.integers(0, 19, (31, 42)).astype(np.uint8)
    tall, wide = round(31 * scale), round(42 * scale)
    whole = np.asarray(Image.fromarray(image).resize((wide, tall), Image.Resampling.BILINEAR)).astype(float)
    nearest = np.asarray(Image.fromarray(label).resize((wide, tall), Image.Resampling.NEAREST))
    transform = Transform(crop=(10, 12), scale_low=scale, scale_high=scale)
    for seed in range(5):
        found, labels = augment(transform, image, label, np.random.default_rng(seed))
        _, top, left, _, _ = np.random.default_rng(seed).random(5)
        y, x = int(top * (tall - 10 + 1)), int(left * (wide - 12 + 1))
        inner = np.s_[2:-2, 2:-2]  # at its rim a crop cannot see the pixels beyond
        assert np.abs(colours(found) - whole[y : y + 10, x : x + 12])[inner].max() < 1.01
        assert (labels == nearest[y : y + 10, x : x + 12]).all()


def test_image_and_labels_stay_together_under_scale_and_flip() -> None:
    label = np.array([[1, 2], [3, 4]], np.uint8).repeat(16, axis=0).repeat(24, axis=1)
    image = np.repeat(label[..., None] * np.uint8(50), 3, axis=-1)
    transform = Transform(crop=(40, 40), scale_low=0.5, scale_high=2.0, flip=True)
    flipped = set()
    for seed in range(40):
        found, labels = augment(transform, image, label, np.random.default_rng(seed))
        inside = labels != IGNORE
        off = np.abs(colours(found)[..., 0] / 50 - labels)[inside]
        assert (off > 0.02).mean() < 0.2  # but for the seams, where bilinear mixes
        rows, columns = np.nonzero(inside)
        top = labels[rows.min(), columns.min() : columns.max() + 1]
        if len(set(top.tolist())) == 2:
            flipped.add(bool(top[0] > top[-1]))
    assert flipped == {False, True}


def test_flip_mirrors_half_of_the_images() -> None:
    image, label = example(3, 6)
    random = np.random.default_rng(1)
    mirrored = 0
    for _ in range(200):
        found, labels = augment(Transform(flip=True), image, label, random)
        mirror = labels[0, 0] != 0
        mirrored += mirror
        expected = image[:, ::-1] if mirror else image
        np.testing.assert_allclose(colours(found), expected, atol=1e-2)
        assert (labels == (label[:, ::-1] if mirror else label)).all()
    assert 70 < mirrored < 130


def test_brightness_is_bounded_and_kept_within_the_scale() -> None:
    image = np.full((2, 2, 3), (0, 128, 255), np.uint8)
    random = np.random.default_rng(2)
    shifts = []
    for _ in range(200):
        found, _ = augment(Transform(brightness=0.1), image, np.zeros((2, 2), np.uint8), random)
        low, middle, high = colours(found)[0, 0] / 255
        shifts.append(middle - 128 / 255)
        assert low == pytest.approx(max(0, shifts[-1]), abs=1e-5)
        assert high == pytest.approx(min(1, 1 + shifts[-1]), abs=1e-5)
    assert -0.1 <= min(shifts) < -0.08
    assert 0.08 < max(shifts) <= 0.1


def test_padding_is_the_mean_however_bright() -> None:
    image, label = example(2, 2)
    found, labels = augment(Transform(crop=(5, 5), brightness=1.0), image, label, np.random.default_rng(0))
    assert (found[:, labels == IGNORE] == 0).all()


def test_one_switch_leaves_the_other_draws() -> None:
    image, label = example(9, 9)
    plain = augment(Transform(crop=(4, 4)), image, label, np.random.default_rng(7))
    bright = augment(Transform(crop=(4, 4), brightness=0.2), image, label, np.random.default_rng(7))
    assert (plain[1] == bright[1]).all()
    assert (plain[0] != bright[0]).any()


@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    low=st.floats(0.01, 3),
    spread=st.floats(0, 3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100)
def test_any_image_and_any_crop(
    sides: tuple[int, int], crop: tuple[int, int], low: float, spread: float, seed: int
) -> None:
    image, label = np.full((*sides, 3), 255, np.uint8), np.full(sides, 7, np.uint8)
    transform = Transform(crop=crop, scale_low=low, scale_high=low + spread, flip=True)
    found, labels = augment(transform, image, label, np.random.default_rng(seed))
    assert found.shape == (3, *crop)
    assert set(np.unique(labels)) <= {7, IGNORE}
    assert (labels == 7).any()
    np.testing.assert_allclose(colours(found)[labels == 7], 255, atol=1e-2)
    assert (found[:, labels == IGNORE] == 0).all()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"crop": (0, 4)}, r"crop \(0, 4\)"),
        ({"crop": (4,)}, r"crop \(4,\)"),
        ({"crop": (4, 4), "scale_low": 0.0}, "scales 0 to 1"),
        ({"crop": (4, 4), "scale_low": 2.0}, "scales 2 to 1"),
        ({"crop": (4, 4), "scale_high": float("nan")}, "scales 1 to nan"),
        ({"scale_high": 2.0}, "a random scale needs a crop"),
        ({"brightness": -0.1}, "brightness -0.1"),
        ({"sd": (1.0, 0.0, 1.0)}, "sd"),
    ],
)
def test_what_cannot_be(fields: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Transform(**fields)  # type: ignore[arg-type]
