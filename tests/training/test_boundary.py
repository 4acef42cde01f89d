from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.training.boundary import PAPER_WIDTHS, BoundaryScore, boundary_f1, check_widths, radius_of
from bench.training.labels import IGNORE
from modules.options import SpecError

NAN = math.nan


def outline(mask: list[list[bool]]) -> list[tuple[int, int]]:
    """Pixels that differ from their right, lower or lower right neighbour; neighbours off the map do not count."""
    height, width = len(mask), len(mask[0])
    found = []
    for y in range(height):
        for x in range(width):
            beyond = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(mask[j][i] != mask[y][x] for j, i in beyond if j < height and i < width):
                found.append((y, x))
    return found


def by_hand(prediction: Tensor, target: Tensor, label: int, radius: float) -> float:
    """F of one class in one image (H,W), pixel by pixel."""
    counts = target != IGNORE
    ours, true = (outline(((labels == label) & counts).tolist()) for labels in (prediction, target))
    if not ours and not true:
        return NAN

    def share(of: list[tuple[int, int]], near: list[tuple[int, int]]) -> float:
        hit = [any((y - j) ** 2 + (x - i) ** 2 <= radius**2 for j, i in near) for y, x in of]
        return sum(hit) / len(hit) if hit else 0.0

    precision, recall = share(ours, true), share(true, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def maps(seed: int, shape: tuple[int, int, int], classes: int, ignored: float = 0.15) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.randint(classes, shape, generator=generator) for _ in range(2))
    target = torch.where(torch.rand(shape, generator=generator) < 0.5, prediction, target)
    return prediction, target.masked_fill(torch.rand(shape, generator=generator) < ignored, IGNORE)


def blocks(labels: list[list[int]], side: int) -> Tensor:
    return torch.tensor(labels).repeat_interleave(side, 0).repeat_interleave(side, 1)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    classes=st.integers(1, 4),
    radius=st.sampled_from([1, 1.5, 2, 2.9, 3, 20]),
)
def test_equals_pixel_by_pixel(seed: int, height: int, width: int, classes: int, radius: float) -> None:
    prediction, target = maps(seed, (2, height, width), classes)
    found = boundary_f1(prediction, target, classes, [radius])
    for image in range(2):
        for label in range(classes):
            wanted = by_hand(prediction[image], target[image], label, radius)
            assert float(found[0, image, label]) == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_classes_beyond_one_word_of_bits_are_scored_too() -> None:
    prediction, target = maps(3, (1, 14, 14), 150)
    found = boundary_f1(prediction, target, 150, [1, 2])
    for place, radius in enumerate((1, 2)):
        wanted = [by_hand(prediction[0], target[0], label, radius) for label in range(150)]
        assert found[place, 0].tolist() == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert sum(math.isnan(score) for score in found[0, 0].tolist()) < 150


def test_a_moved_edge_is_hit_at_its_distance_and_not_below() -> None:
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[:, :, 10:] = 1
    prediction = target.roll(3, dims=2)
    prediction[:, :, :3] = 0
    found = boundary_f1(prediction, target, 2, [1, 2, 3, 4])
    assert found[:, 0, 0].tolist() == [0, 0, 1, 1]
    assert torch.equal(found[..., 0], found[..., 1])


def test_labels_of_any_integer_type_are_taken() -> None:
    prediction, target = maps(5, (1, 8, 8), 3)
    wanted = boundary_f1(prediction, target, 3, [1])
    assert torch.equal(boundary_f1(prediction.byte(), target.byte(), 3, [1]), wanted)
    assert torch.equal(boundary_f1(prediction.int(), target.short(), 3, [1]), wanted)


def test_what_is_predicted_where_nothing_counts_has_no_outline() -> None:
    target = blocks([[0, 1], [0, IGNORE]], 4)[None]
    prediction = torch.where(target == IGNORE, 2, target)
    assert boundary_f1(prediction, target, 3, [1])[0, 0].tolist() == pytest.approx([1, 1, NAN], nan_ok=True)


def test_the_widths_of_galdv2_table_5_are_its_pixels() -> None:
    """GALD v2, IV-B4: the thresholds 'correspond to 3, 5, 9, and 12 pixels' on Cityscapes."""
    assert [radius_of(width, 1024, 2048) for width in PAPER_WIDTHS] == [3, 5, 9, 12]
    assert radius_of(3, 1024, 2048) == 3


def test_a_share_of_the_diagonal_grows_with_the_image() -> None:
    target = torch.zeros(1, 30, 40, dtype=torch.long)  # diagonal 50
    target[:, :, 20:] = 1
    prediction = target.roll(2, dims=2)
    prediction[:, :, :2] = 0
    assert boundary_f1(prediction, target, 2, [0.02, 0.03])[:, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("widths", [(), (0,), (-1,), (math.nan,), (math.inf,), (0.5, 1)])
def test_widths_that_cannot_be_are_refused(widths: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match=r"boundary widths .*allowed: pixels from 1 on"):
        check_widths(widths)


def test_widths_are_put_in_order() -> None:
    assert check_widths([3, 1, 3]) == (1, 3)


def test_the_mean_is_over_the_images_where_a_class_has_an_outline() -> None:
    split = blocks([[0, 1]], 6)
    plain = torch.zeros_like(split)
    score = BoundaryScore(4, [1])
    score.update(torch.stack([split, plain, plain]), torch.stack([split, split, plain]))
    assert score.class_means() == [[50, 50, None, None]]
    assert score.means() == [50]


def test_the_convention_of_the_published_table_counts_absence_as_perfect() -> None:
    split = blocks([[0, 1]], 6)
    plain = torch.zeros_like(split)
    score = BoundaryScore(3, [1], absent="perfect")
    score.update(torch.stack([split, plain, plain]), torch.stack([split, split, plain]))
    assert score.class_means()[0] == pytest.approx([200 / 3, 200 / 3, 100])


def test_no_image_gives_no_figure() -> None:
    for absent in ("omit", "perfect"):
        score = BoundaryScore(2, [1, 2], absent)
        assert score.class_means() == [[None, None], [None, None]]
        assert score.means() == [None, None]


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'perfect'.*allowed: omit, perfect"):
        BoundaryScore(2, [1], "prefect")  # type: ignore[arg-type]


def test_pieces_and_their_order_do_not_change_a_bit() -> None:
    prediction, target = maps(7, (12, 10, 10), 5)
    whole, pieces = BoundaryScore(5, [1, 2]), BoundaryScore(5, [1, 2])
    whole.update(prediction, target)
    for part in (torch.arange(7, 12), torch.arange(0, 3), torch.arange(3, 7)):
        pieces.update(prediction[part], target[part])
    assert pieces.class_means() == whole.class_means()
    scores = boundary_f1(prediction, target, 5, [1, 2])
    assert whole.class_means()[1] == pytest.approx((100 * scores[1].nanmean(0)).tolist(), abs=1e-8)
