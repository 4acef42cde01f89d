from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.training.labels import IGNORE
from bench.training.loss import class_weights, cross_entropy, mined_cross_entropy, presence_loss, training_loss
from bench.training.recipe import Recipe
from tests.training.toy import Toy


def example(seed: int, classes: int = 5, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 4, 5, generator=generator)
    target = torch.randint(classes, (2, 4, 5), generator=generator)
    return logits, target.masked_fill(torch.rand(target.shape, generator=generator) < ignored, IGNORE)


def pixels(logits: Tensor, target: Tensor) -> list[tuple[float, int]]:
    """Loss and class of every pixel that counts, by hand."""
    found = []
    for b, y, x in (target != IGNORE).nonzero().tolist():
        values, label = logits[b, :, y, x].double(), int(target[b, y, x])
        found.append((float(values.exp().sum().log() - values[label]), label))
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_the_weighted_mean_over_the_pixels_that_count(weighted: bool) -> None:
    logits, target = example(0)
    weights = torch.tensor([0.5, 1, 2, 3, 0.1]) if weighted else None
    each = [loss * (1.0 if weights is None else float(weights[label])) for loss, label in pixels(logits, target)]
    assert cross_entropy(logits, target, weights).item() == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_a_batch_in_which_nothing_counts_has_no_loss() -> None:
    logits, target = example(0)
    logits.requires_grad_()
    for loss in (cross_entropy(logits, target * 0 + IGNORE), mined_cross_entropy(logits, target * 0 + IGNORE, 3, 0.7)):
        loss.backward()
        assert loss.item() == 0
        assert logits.grad is not None
        assert not logits.grad.any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("least", [1, 7, 25, 1000])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_mining_keeps_what_a_sort_keeps(seed: int, least: int, threshold: float) -> None:
    logits, target = example(seed)
    weights = torch.tensor([0.5, 1, 2, 3, 0.1])
    ordered = sorted(pixels(logits, target), reverse=True)
    kept = [pair for place, pair in enumerate(ordered) if place < least or math.exp(-pair[0]) < threshold]
    wanted = sum(loss * float(weights[label]) for loss, label in kept) / len(kept)
    found = mined_cross_entropy(logits, target, least, threshold, weights)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_mining_all_pixels_is_plain_cross_entropy_with_its_gradient() -> None:
    logits, target = example(5)
    gradients = []
    for mined in (False, True):
        leaf = logits.clone().requires_grad_()
        (mined_cross_entropy(leaf, target, 1000, 0.0) if mined else cross_entropy(leaf, target)).backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def test_presence_is_which_classes_an_image_shows() -> None:
    target = torch.tensor([[[0, 2, IGNORE]], [[1, 1, 1]]])
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    shown = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    wanted = -(shown * logits.sigmoid().log() + (1 - shown) * (-logits).sigmoid().log()).mean()
    torch.testing.assert_close(presence_loss(logits, target), wanted)


def test_the_parts_of_the_loss_are_weighed_by_the_recipe() -> None:
    (main, target), (auxiliary, _), vector = example(1), example(2), torch.randn(2, 5)
    recipe = Recipe(aux=0.3, presence=0.7, class_weights="none")
    parts = (cross_entropy(main, target), cross_entropy(auxiliary, target), presence_loss(vector, target))
    wanted = parts[0] + 0.3 * parts[1] + 0.7 * parts[2]
    torch.testing.assert_close(training_loss((main, vector, auxiliary), target, recipe, None), wanted)
    torch.testing.assert_close(training_loss(main, target, recipe, None), parts[0])
    mined = mined_cross_entropy(main, target, 3, 0.7) + 0.3 * parts[1]
    torch.testing.assert_close(training_loss((main, auxiliary), target, Recipe(aux=0.3, ohem=3), None), mined)


def test_smaller_maps_are_resized_to_the_labels() -> None:
    logits, _ = example(1)
    target = torch.zeros(2, 8, 10, dtype=torch.int64)
    sized = torch.nn.functional.interpolate(logits, size=(8, 10), mode="bilinear", align_corners=False)
    torch.testing.assert_close(cross_entropy(logits, target), cross_entropy(sized, target))


def test_class_weights_are_inverse_roots_of_frequency_with_mean_one() -> None:
    examples = Toy(count=12)
    target = examples.batch(range(12), None)[1]
    counts = torch.bincount(target[target != IGNORE], minlength=4)
    frequency = counts / counts.sum()
    weights = class_weights(examples, Recipe(class_weights="sqrt"))
    assert weights is not None
    assert float((weights * frequency).sum()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(weights * frequency.sqrt(), (weights * frequency.sqrt())[:1].expand(4))
    assert class_weights(examples, Recipe(class_weights="none")) is None


def test_a_class_that_is_never_shown_weighs_as_the_rarest_that_is() -> None:
    class Without(Toy):
        def batch(self, indices: object, seed: int | None) -> tuple[Tensor, Tensor]:
            return torch.zeros(1, 3, 1, 4), torch.tensor([[[0, 0, 0, 1]]])

    weights = class_weights(Without(count=2), Recipe())
    assert weights is not None
    assert weights[1] == weights[2] == weights[3] > weights[0]
