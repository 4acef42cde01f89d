"""Shapes of scenes against what geometry says, random streams, and the preview."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from bench.training.scenes import preview, shapes
from bench.training.scenes.render import _posed
from bench.training.scenes.streams import Floats, Stream


def at(*values: float) -> Floats:
    return np.array(values, np.float32)


def test_a_box_holds_the_centres_inside() -> None:
    mask = shapes.box(8, at(3.0, 4.5), at(4.0, 2.5), at(1.0, 1.4), 1.5)
    assert mask.shape == (2, 8, 8)
    rows, columns = np.nonzero(mask[0])
    assert sorted(set(columns)) == [2, 3]
    assert sorted(set(rows)) == [3, 4]
    rows, columns = np.nonzero(mask[1])
    assert sorted(set(columns)) == [3, 4, 5]
    assert sorted(set(rows)) == [1, 2, 3]


@pytest.mark.parametrize("radius", [4.0, 9.5])
def test_the_area_of_a_disc(radius: float) -> None:
    mask = shapes.disc(32, at(16.2), at(15.9), at(radius))
    assert mask.sum() == pytest.approx(np.pi * radius**2, rel=0.04)


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2, 2.5])
def test_a_stroke_has_its_length_width_and_direction(angle: float) -> None:
    mask = shapes.stroke(64, at(32), at(32), at(angle), at(20), 6.0)[0]
    assert mask.sum() == pytest.approx(40 * 6, rel=0.05)
    rows, columns = np.nonzero(mask)
    along = (columns - 31.5) * np.cos(angle) + (rows - 31.5) * np.sin(angle)
    assert np.abs(along).max() == pytest.approx(20, abs=1)


def test_a_line_goes_from_edge_to_edge() -> None:
    mask = shapes.line(32, at(16), at(16), at(0.3), 1.5)[0]
    assert mask.any(axis=0).all()
    assert 32 <= mask.sum() <= 64


def test_a_checker_and_a_cross() -> None:
    cells = shapes.checker(8, at(0), at(0), 2.0)[0]
    assert cells[:4, :4].astype(int).tolist() == [[0, 0, 1, 1]] * 2 + [[1, 1, 0, 0]] * 2
    arms = shapes.cross(4, at(2), at(2), 1.0)[0]
    assert arms.astype(int).tolist() == [[0, 1, 1, 0], [1] * 4, [1] * 4, [0, 1, 1, 0]]


def test_a_smooth_field_goes_through_its_knots() -> None:
    knots = np.arange(25, dtype=np.float32).reshape(1, 5, 5) % 7
    size = 400
    field = shapes.smooth(knots, size)[0]
    inner = np.arange(1, 4) * size // 4
    assert np.abs(field[np.ix_(inner, inner)] - knots[0, 1:4, 1:4]).max() < 0.01
    assert field.min() >= knots.min()
    assert field.max() <= knots.max()
    assert np.abs(np.diff(field, axis=0)).max() < 6 * np.pi / 2 / (size / 4) * 1.01


def test_a_stream_depends_on_all_that_names_it_and_not_on_its_company() -> None:
    base = Stream(0, "train", 0, [5, 8]).uniform(0, 1, 3)
    assert np.array_equal(Stream(0, "train", 0, [8]).uniform(0, 1, 3)[0], base[1])
    others = (Stream(1, "train", 0, [8]), Stream(0, "test", 0, [8]), Stream(0, "train", 1, [8]))
    for other in (*others, Stream(0, "train", 0, [9])):
        assert not np.isin(other.uniform(0, 1, 3), base).any()


def test_draws_of_a_stream_stay_in_their_ranges() -> None:
    stream = Stream(0, "train", 0, range(3000))
    values = stream.uniform(-2, 3)
    assert (values >= -2).all()
    assert (values < 3).all()
    assert values.mean() == pytest.approx(0.5, abs=0.12)
    assert np.bincount(stream.choice(3), minlength=3) == pytest.approx(1000, abs=120)
    order = stream.order(4)
    assert (np.sort(order, axis=1) == np.arange(4)).all()
    assert np.bincount(order[:, 0]) == pytest.approx(750, abs=100)
    assert stream.normal(4).std() == pytest.approx(1, abs=0.05)


def test_poses_are_the_eight_symmetries_of_the_square() -> None:
    picture = np.arange(9, dtype=np.uint8).reshape(3, 3)
    posed = _posed(np.stack([picture] * 8), np.arange(8))
    turns = [np.rot90(picture, k) for k in range(4)]
    expected = {turn.tobytes() for turn in (*turns, *(turn.T for turn in turns))}
    assert {pose.tobytes() for pose in posed} == expected
    assert np.array_equal(posed[0], picture)


def test_the_preview_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "scenes.png"
    preview(path, count=2)
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 500
    first = path.read_bytes()
    preview(path, count=2)
    assert path.read_bytes() == first
    preview(path, count=2, seed=1)
    assert path.read_bytes() != first
