from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.training.boundary import boundary_f1
from bench.training.labels import IGNORE, LabelSet
from bench.training.metrics import Score, Scores
from bench.training.record import FIELDS, FOLDS, make_record
from modules.options import SpecError

LABELS = LabelSet(
    dataset="toy",
    classes=("plain", "a0", "a1", "b0", "b1", "rare"),
    groups={"plain": (0,), "scene": (1, 2, 3, 4), "thin": (5,)},
    twins={"scene": ((1, 2), (3, 4)), "pairwise": ((3, 4),)},
)
PLAIN = LabelSet(dataset="other", classes=("road", "sky"))


def maps(seed: int, shape: tuple[int, int, int], classes: int = 6, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.randint(classes, shape, generator=generator) for _ in range(2))
    target = torch.where(torch.rand(shape, generator=generator) < 0.4, prediction, target)
    return prediction, target.masked_fill(torch.rand(shape, generator=generator) < ignored, IGNORE)


def scored(prediction: Tensor, target: Tensor, mixed: Tensor | None = None, labels: LabelSet = LABELS) -> Scores:
    score = Score(labels)
    score.update(prediction, target, range(len(target)), mixed)
    return score.result()


def pixels(prediction: Tensor, target: Tensor) -> list[tuple[int, int, int]]:
    """(image, predicted, true) of every pixel that counts."""
    b, h, w = target.shape
    every = ((i, int(prediction[i, y, x]), int(target[i, y, x])) for i in range(b) for y in range(h) for x in range(w))
    return [pixel for pixel in every if pixel[2] != IGNORE]


def percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def average(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 4),
    classes=st.integers(1, 6),
    ignored=st.sampled_from([0, 0.3, 1]),
)
def test_equals_counting_pixel_by_pixel(seed: int, images: int, classes: int, ignored: float) -> None:
    prediction, target = maps(seed, (images, 4, 5), classes, ignored)
    mixed = torch.arange(images) % 2 == 1
    result = scored(prediction, target, mixed)
    seen = pixels(prediction, target)

    ious = []
    for label in range(LABELS.count):
        both = sum(p == t == label for _, p, t in seen)
        ious.append(percent(both, sum(label in (p, t) for _, p, t in seen)))
    assert list(result.class_iou.values()) == pytest.approx(ious)
    assert result.miou == pytest.approx(average(ious))
    assert result.groups == pytest.approx({"plain": ious[0], "scene": average(ious[1:5]), "thin": ious[5]})
    assert result.pixel_accuracy == pytest.approx(percent(sum(p == t for _, p, t in seen), len(seen)))

    for kind, pairs in LABELS.twins.items():
        for suffix, chosen in (("", range(images)), ("_mixed", range(1, images, 2))):
            asked = [(p, t) for i, p, t in seen if i in chosen and any(p in pair and t in pair for pair in pairs)]
            assert result.resolving is not None
            assert result.resolving[kind + suffix] == percent(sum(p == t for p, t in asked), len(asked))

    for label in range(LABELS.count):
        for image in range(images):
            mine = [(p, t) for i, p, t in seen if i == image]
            assert result.folds["intersection"][image][label] == sum(p == t == label for p, t in mine)
            assert result.folds["prediction"][image][label] == sum(p == label for p, _ in mine)
            assert result.folds["target"][image][label] == sum(t == label for _, t in mine)


def test_a_small_case_by_hand() -> None:
    target = torch.tensor([[[0, 0, 1, 1], [0, 0, 2, IGNORE]]])
    prediction = torch.tensor([[[0, 1, 1, 2], [0, 0, 2, 5]]])
    result = scored(prediction, target)
    # IoU: plain 3/4, a0 1/3, a1 1/2; the rest never occurs where pixels count.
    assert list(result.class_iou.values()) == pytest.approx([75, 100 / 3, 50, None, None, None])
    assert result.miou == pytest.approx((75 + 100 / 3 + 50) / 3)
    assert result.pixel_accuracy == pytest.approx(500 / 7)
    assert result.groups == {"plain": 75, "scene": pytest.approx(125 / 3), "thin": None}
    assert result.resolving == {
        "scene": pytest.approx(200 / 3),
        "pairwise": None,
        "scene_mixed": None,
        "pairwise_mixed": None,
    }


def test_miou_is_of_the_pixels_of_the_data_set_and_not_a_mean_of_images() -> None:
    target = torch.zeros(2, 1, 10, dtype=torch.long)
    prediction = target.clone()
    prediction[0, 0, :6] = 1
    target[1, 0, :2] = 1
    prediction[1, 0, :2] = 1
    result = scored(prediction, target, labels=PLAIN)
    assert list(result.class_iou.values()) == pytest.approx([100 * 12 / 18, 25])


def test_a_pixel_confused_with_another_pair_does_not_count_as_resolved_or_not() -> None:
    result = scored(torch.tensor([[[3, 1, 0]]]), torch.tensor([[[1, 1, 1]]]))
    assert result.resolving is not None
    assert result.resolving["scene"] == 100


def test_pieces_any_order_and_merging_equal_all_at_once() -> None:
    prediction, target = maps(1, (45, 6, 6))
    mixed = torch.arange(45) % 3 == 0
    at_once = Score(LABELS, widths=(1, 2), total=45)
    at_once.update(prediction, target, range(45), mixed)
    first, second = Score(LABELS, widths=(1, 2), total=45), Score(LABELS, widths=(2, 1), total=45)
    order = torch.randperm(45, generator=torch.Generator().manual_seed(2))
    for number, part in enumerate(torch.split(order, 4)):
        score = (first, second)[number % 2]
        score.update(prediction[part], target[part], part.tolist(), mixed[part])
    first.merge(second)
    assert first.result() == at_once.result()
    assert all(tensor.dtype == torch.int64 for tensor in first.state_tensors())
    assert len(at_once.result().folds["target"]) == FOLDS


def test_folds_hold_every_nth_image_and_add_up_to_the_whole() -> None:
    prediction, target = maps(4, (7, 5, 5))
    score = Score(LABELS, folds=3)
    score.update(prediction, target, [0, 1, 2, 3, 4, 5, 6])
    result = score.result()
    alone = scored(prediction[[1, 4]], target[[1, 4]])
    assert result.folds["intersection"][1] == torch.tensor(alone.folds["intersection"]).sum(0).tolist()
    assert torch.tensor(result.folds["target"]).sum() == (target != IGNORE).sum()
    hits, ours, true = (torch.tensor(result.folds[name]).sum(0) for name in ("intersection", "prediction", "target"))
    assert result.miou == pytest.approx(float((100 * hits / (ours + true - hits)).mean()), rel=1e-6)


def test_boundary_figures_are_those_of_the_boundary_room() -> None:
    prediction, target = maps(6, (5, 8, 8), ignored=0.1)
    score = Score(LABELS, widths=(3, 1))
    score.update(prediction, target, range(5))
    result = score.result()
    wanted = 100 * boundary_f1(prediction, target, 6, [1, 3]).nanmean(1).mean(1)
    assert list(result.boundary_f1_at) == ["1", "3"]
    assert list(result.boundary_f1_at.values()) == pytest.approx(wanted.tolist())
    assert result.boundary_f1 == result.boundary_f1_at["1"]

    one = torch.tensor([0, 1, 1, 3, 3, 5])
    joined = torch.where(target == IGNORE, IGNORE, one[target.clamp(max=5)])
    merged = boundary_f1(one[prediction], joined, 6, [1]).nanmean(1)
    assert result.boundary_f1_merged == pytest.approx(float(100 * merged[:, [0, 1, 3, 5]].mean()))


def test_twins_taken_for_one_another_cost_the_outline_but_not_the_merged_one() -> None:
    target = torch.zeros(1, 12, 12, dtype=torch.long)
    target[:, 3:9, 3:9] = 1
    result = scored(torch.where(target == 1, 2, target), target)
    assert result.boundary_f1 == pytest.approx(100 / 3)
    assert result.boundary_f1_merged == 100


def test_shares_of_the_diagonal_keep_their_name() -> None:
    score = Score(PLAIN, widths=(0.00088, 0.005))
    score.update(torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 4, 4, dtype=torch.long), [0])
    assert score.result().boundary_f1_at == {"0.00088": None, "0.005": None}


def test_a_data_set_without_twins_has_no_figures_of_them() -> None:
    result = scored(*maps(8, (2, 4, 4), 2), labels=PLAIN)
    assert result.resolving is None
    assert result.boundary_f1_merged is None
    assert result.groups == {}


def test_nothing_counted_is_null_and_not_zero() -> None:
    result = Score(LABELS).result()
    assert result.miou is None
    assert result.pixel_accuracy is None
    assert result.boundary_f1 is None
    assert set(result.class_iou.values()) == {None}


def test_figures_are_fields_of_a_record_and_survive_json() -> None:
    result = scored(*maps(9, (3, 5, 5)), mixed=torch.tensor([True, False, True]))
    record = make_record(result.fields())
    assert {field.name for field in fields(Scores)} <= set(FIELDS)
    assert json.loads(json.dumps(record)) == record


def test_counts_above_what_floats_hold_stay_exact() -> None:
    score = Score(PLAIN)
    score.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 1]]]), [0])
    score.state_tensors()[0].mul_(2**53 + 1)
    assert score.result().folds["prediction"][0] == [2**53 + 1, 2 * (2**53 + 1)]


def test_labels_of_any_integer_type_are_counted_alike() -> None:
    prediction, target = maps(10, (2, 6, 6))
    assert scored(prediction.byte(), target.byte()) == scored(prediction, target)
    assert scored(prediction.int(), target) == scored(prediction, target)


@pytest.mark.parametrize("which", ["prediction", "target"])
@pytest.mark.parametrize("label", [-1, 6, 254])
def test_a_label_that_is_none_is_refused(which: str, label: int) -> None:
    given = {name: torch.zeros(1, 2, 2, dtype=torch.long) for name in ("prediction", "target")}
    given[which][0, 1, 1] = label
    with pytest.raises(SpecError, match=f"{which} holds the label {label}; allowed: 0 to 5.* in toy"):
        Score(LABELS).update(given["prediction"], given["target"], [0])


def test_a_prediction_may_be_anything_where_nothing_counts() -> None:
    target = torch.tensor([[[0, IGNORE]]])
    assert scored(torch.tensor([[[0, 77]]]), target).pixel_accuracy == 100


@pytest.mark.parametrize(
    ("shapes", "indices", "marks"),
    [
        (((1, 2, 2), (1, 2, 3)), [0], None),
        (((1, 2, 2), (1, 2, 2)), [0, 1], None),
        (((2, 2), (2, 2)), [0, 1], None),
        (((2, 2, 2), (2, 2, 2)), [0, 1], 1),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], indices: list[int], marks: int | None
) -> None:
    prediction, target = (torch.zeros(shape, dtype=torch.long) for shape in shapes)
    mixed = None if marks is None else torch.zeros(marks, dtype=torch.bool)
    with pytest.raises(SpecError, match="allowed: "):
        Score(LABELS).update(prediction, target, indices, mixed)


def test_logits_are_no_labels() -> None:
    with pytest.raises(SpecError, match=r"prediction of torch\.float32; allowed: integers"):
        Score(LABELS).update(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), [0])


@pytest.mark.parametrize(("widths", "folds", "absent"), [((), 20, "omit"), ((1,), 0, "omit"), ((1,), 20, "all")])
def test_a_score_that_cannot_be_is_refused(widths: tuple[float, ...], folds: int, absent: str) -> None:
    with pytest.raises(SpecError, match="allowed: "):
        Score(LABELS, widths, folds, absent=absent)  # type: ignore[arg-type]


def test_a_total_sees_to_it_that_every_image_counts_once() -> None:
    image = torch.zeros(1, 2, 2, dtype=torch.long)
    score = Score(LABELS, total=2)
    score.update(image, image, [0])
    with pytest.raises(ValueError, match="image 1 of 2 was counted 0 times"):
        score.result()
    score.update(image, image, [1])
    assert score.result().pixel_accuracy == 100
    score.update(image, image, [0])
    with pytest.raises(ValueError, match="image 0 of 2 was counted 2 times"):
        score.result()
    with pytest.raises(SpecError, match="image 2; allowed: 0 to 1"):
        score.update(image, image, [2])


def test_scores_of_another_making_do_not_add_up() -> None:
    for other in (Score(PLAIN), Score(LABELS, widths=(2,)), Score(LABELS, folds=4), Score(LABELS, total=3)):
        with pytest.raises(ValueError, match="do not add up"):
            Score(LABELS).merge(other)


def test_alone_there_is_nothing_to_reduce() -> None:
    score = Score(LABELS)
    score.update(*maps(11, (2, 4, 4)), [0, 1])
    before = score.result()
    score.reduce()
    assert score.result() == before


@pytest.mark.cuda
def test_a_gpu_counts_the_same() -> None:
    prediction, target = maps(12, (4, 16, 16))
    mixed = torch.tensor([True, False, True, False])
    for device in ("cpu", "cuda"):
        score = Score(LABELS, widths=(1, 3), total=4, device=device)
        score.update(prediction.cuda(), target.cuda(), range(4), mixed)
        alone = Score(LABELS, widths=(1, 3), total=4)
        alone.update(prediction, target, range(4), mixed)
        assert score.result() == alone.result()
