"""Loss: weighted cross-entropy with hard example mining, auxiliary outputs, and the classes present."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bench.training.distributed import current_ranks, gathered, total
from bench.training.examples import Examples
from bench.training.labels import IGNORE
from bench.training.recipe import Recipe

_COUNTED = 2000


def class_weights(examples: Examples, recipe: Recipe) -> Tensor | None:
    """Weight of each class (classes,), or null where the recipe has `class_weights = "none"`.

    1 / sqrt(frequency), scaled so that the weight of a random pixel is 1 on average. Frequencies are counted in at
    most 2,000 images, evenly spaced in the data set, without augmentation; a class that they do not show gets the
    weight of the rarest that they do.
    """
    if recipe.class_weights == "none":
        return None
    classes, number = examples.labels.count, len(examples)
    counts = torch.zeros(classes, dtype=torch.float64)
    for place in range(min(number, _COUNTED)):
        _, labels = examples.batch([place * number // min(number, _COUNTED)], None)
        counts += torch.bincount(labels[labels != IGNORE], minlength=classes)
    frequency = counts / counts.sum().clamp(min=1)
    shown = frequency > 0
    if not shown.any():
        return torch.ones(classes)
    weights = torch.where(shown, frequency, frequency[shown].min()).rsqrt()
    return (weights / (weights * frequency).sum()).float()


def training_loss(outputs: Tensor | Sequence[Tensor], target: Tensor, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """The loss of a batch.

    main + aux * (sum over auxiliary outputs) + presence * (loss on the classes present). The main loss may mine hard
    examples, the auxiliary ones do not. In several processes each returns its part, scaled so that the mean over the
    processes is the loss of the whole batch, and so are the gradients.

    Args:
        outputs: what the network returns: logits (B,classes,H,W), or a tuple of them with what belongs to auxiliary
            heads (maps) and to the classes present (B,classes) behind, in any order. Maps are resized to the labels.
        target: labels (B,H,W), `IGNORE` for pixels that do not count.
        recipe: weights of the parts, and the mining.
        weights: of the classes (classes,), or null for equal ones.

    Source: auxiliary loss: PSPNet, Sec. 3.3. Loss on the classes present: Context Encoding for Semantic
    Segmentation, Sec. 3.1 (semantic encoding loss).
    """
    main, *others = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    if recipe.ohem:
        loss = mined_cross_entropy(main, target, recipe.ohem, recipe.ohem_threshold, weights)
    else:
        loss = cross_entropy(main, target, weights)
    for output in others:
        if output.ndim == 2:
            loss = loss + recipe.presence * presence_loss(output, target)
        else:
            loss = loss + recipe.aux * cross_entropy(output, target, weights)
    return loss


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum over the pixels that count of weight * -log softmax, over their number; 0 where none counts."""
    sized = _sized(logits, target)
    summed = functional.cross_entropy(sized, target, weights, ignore_index=IGNORE, reduction="sum")
    return summed * _mean_factor((target != IGNORE).sum())


def mined_cross_entropy(
    logits: Tensor, target: Tensor, least: int, threshold: float, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy over hard pixels alone: those whose class has a probability below `threshold`, and at least the
    `least` hardest of the batch (all, where it has fewer), over all processes together.

    Source: online hard example mining as in GALD, Sec. 3, and ANN, Sec. 4.2; bounds of the authors' code.
    """
    losses = functional.cross_entropy(_sized(logits, target), target, ignore_index=IGNORE, reduction="none")
    counted = target != IGNORE
    hardness = losses.detach().where(counted, -torch.inf).flatten()
    each = torch.full((least,), -torch.inf, dtype=hardness.dtype, device=hardness.device)
    hardest = hardness.topk(min(least, hardness.numel())).values
    each[: hardest.numel()] = hardest
    bound = gathered(each).topk(least).values[-1]
    easy = -torch.log(torch.tensor(threshold, dtype=hardness.dtype, device=hardness.device))
    kept = counted & ((hardness >= bound) | (hardness > easy)).view(counted.shape)
    weighted = losses if weights is None else losses * weights[target.where(counted, 0)]
    return weighted.where(kept, 0).sum() * _mean_factor(kept.sum())


def presence_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy between logits (B,classes) and which classes an image's labels (B,H,W) show; the mean."""
    images, classes = logits.shape
    shown = torch.zeros(images, max(classes, IGNORE) + 1, dtype=torch.float32, device=logits.device)
    shown.scatter_(1, target.flatten(1), 1)
    summed = functional.binary_cross_entropy_with_logits(logits.float(), shown[:, :classes], reduction="sum")
    return summed * _mean_factor(torch.tensor(logits.numel(), device=logits.device))


def _sized(logits: Tensor, target: Tensor) -> Tensor:
    sized = logits.float()
    if sized.shape[2:] != target.shape[1:]:
        sized = functional.interpolate(sized, size=target.shape[1:], mode="bilinear", align_corners=False)
    return sized


def _mean_factor(count: Tensor) -> Tensor:
    """What turns this process's sum into its part of the mean over all processes' pixels."""
    return current_ranks().world / total(count).clamp(min=1)
