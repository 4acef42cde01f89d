"""Boundary F-score: how well the outline of each class is hit, within a tolerance.

GALD v2 (section IV-B4, Table V) reports it with tolerances of 0.00088, 0.001875, 0.00375 and 0.005 of the image's
diagonal: 3, 5, 9 and 12 pixels at 1024x2048. It takes the measure from Gated-SCNN, and that from DAVIS:

- a pixel is on the boundary of a class if it and its right, lower or lower right neighbour are not all alike in whether
  they are of the class; pixels labelled `IGNORE` are of no class, in the target and in the prediction;
- a boundary pixel is matched if the other map has one of the same class in the disc dx^2 + dy^2 <= radius^2 around it;
- precision is the matched share of the predicted pixels, recall that of the true ones, F = 2PR / (P + R);
- F is taken image by image and class by class, averaged over images, then over classes.

Bits of one integer hold the classes, so that a map is grown for 31 of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from bench.training.labels import IGNORE
from modules.options import SpecError, nearest

PAPER_WIDTHS = (0.00088, 0.001875, 0.00375, 0.005)
"""Tolerances of GALD v2, Table V: shares of the image's diagonal."""

Absent: TypeAlias = Literal["omit", "perfect"]

_WORD = 31
_UNIT = 2**40  # F-scores are summed as integers, so that no order and no number of processes changes the sum


def radius_of(width: float, height: int, across: int) -> float:
    """The tolerance in pixels for an image of `height` x `across`: `width` itself from 1 on, below it a share of the
    diagonal, rounded up."""
    return width if width >= 1 else float(math.ceil(width * math.hypot(height, across)))


def check_widths(widths: Sequence[float]) -> tuple[float, ...]:
    """The widths in ascending order, each once.

    Raises:
        SpecError: none is given, one is not a positive number, or pixels and shares of the diagonal are mixed.
    """
    given = ", ".join(f"{width:g}" for width in widths)
    allowed = "allowed: pixels from 1 on, or shares of the image's diagonal below 1"
    if not widths or not all(math.isfinite(width) and width > 0 for width in widths):
        raise SpecError(f"boundary widths '{given}'; {allowed}")
    if min(widths) < 1 <= max(widths):
        raise SpecError(f"boundary widths '{given}' mix pixels with shares of the diagonal; {allowed}, not both")
    return tuple(sorted(set(widths)))


def boundary_f1(prediction: Tensor, target: Tensor, classes: int, widths: Sequence[float]) -> Tensor:
    """F-scores (width, image, class) between 0 and 1, float64; NaN where neither map has a boundary of the class.

    Args:
        prediction: labels (B,H,W), integers from 0 to `classes` - 1 wherever the target counts.
        target: labels (B,H,W), integers from 0 to `classes` - 1, or `IGNORE`.
        classes: how many there are.
        widths: tolerances, in pixels from 1 on, as shares of the diagonal below.
    """
    radii = [radius_of(width, *target.shape[-2:]) for width in widths]
    ignored = target == IGNORE
    maps = [labels.long().masked_fill(ignored, classes) for labels in (prediction, target)]
    parts = []
    for first in range(0, classes, _WORD):
        count = min(_WORD, classes - first)
        table = torch.zeros(classes + 1, dtype=torch.int32, device=target.device)
        table[first : first + count] = 1 << torch.arange(count, dtype=torch.int32, device=target.device)
        ours, true = (_outline(table[labels]) for labels in maps)
        parts.append(_f1(_matched(ours, _grown(true, radii), count), _matched(true, _grown(ours, radii), count)))
    return torch.cat(parts, dim=-1)


def _outline(words: Tensor) -> Tensor:
    """Boundary pixels of every class, as bits, of maps (B,H,W) whose pixels carry the bit of their class."""
    outline = torch.zeros_like(words)
    outline[:, :, :-1] |= words[:, :, :-1] ^ words[:, :, 1:]
    outline[:, :-1] |= words[:, :-1] ^ words[:, 1:]
    outline[:, :-1, :-1] |= words[:, :-1, :-1] ^ words[:, 1:, 1:]
    return outline


def _grown(words: Tensor, radii: Sequence[float]) -> list[Tensor]:
    """Maps (B,H,W) of bits, dilated by a disc of each radius.

    A disc is a stack of horizontal strokes. The strokes are lengthened pixel by pixel, once for all radii, and each
    is laid down at the heights where a disc has that length.
    """
    results = [torch.zeros_like(words) for _ in radii]
    stroke = words.clone()
    for half in range(int(max(radii)) + 1):
        if half:
            _lay(stroke, words, 2, half)
            _lay(stroke, words, 2, -half)
        for result, radius in zip(results, radii, strict=True):
            for dy in range(-int(radius), int(radius) + 1):
                if math.isqrt(int(radius * radius) - dy * dy) == half:
                    _lay(result, stroke, 1, dy)
    return results


def _lay(into: Tensor, words: Tensor, dim: int, by: int) -> None:
    """Join to `into` the bits of `words` moved by some pixels; what leaves the map is lost."""
    length = words.shape[dim] - abs(by)
    if length > 0:
        into.narrow(dim, max(by, 0), length).bitwise_or_(words.narrow(dim, max(-by, 0), length))


def _matched(outline: Tensor, grown: Sequence[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Boundary pixels by image and class (B,count), and for each width (W,B,count) those inside the other, grown."""
    image, row, column = outline.nonzero(as_tuple=True)
    words = outline[image, row, column]
    bits = torch.arange(count, dtype=torch.int32, device=words.device)

    def counted(found: Tensor) -> Tensor:
        counts = torch.zeros(len(outline), count, dtype=torch.int64, device=words.device)
        return counts.index_add_(0, image, (found[:, None] >> bits & 1).long())

    return counted(words), torch.stack([counted(words & other[image, row, column]) for other in grown])


def _f1(predicted: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor]) -> Tensor:
    (n_predicted, hits), (n_true, found) = predicted, true
    precision = hits.double() / n_predicted.clamp(min=1)
    recall = found.double() / n_true.clamp(min=1)
    score = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
    return score.masked_fill((n_predicted + n_true == 0).expand_as(score), math.nan)


class BoundaryScore:
    """Boundary F-scores summed over a data set, image by image.

    Args:
        classes: how many there are.
        widths: tolerances, all in pixels (from 1 on) or all as shares of the image's diagonal (below 1).
        absent: what an image counts for a class that has no boundary in it, predicted or true. `omit` leaves it out of
            the mean of that class; `perfect` counts it as 100 %, as the code of Gated-SCNN does, which lifts rare
            classes and is what figures such as Table V of GALD v2 are to be compared with.
        device: where the sums are kept.

    Raises:
        SpecError: the widths or `absent` cannot be.
    """

    def __init__(
        self, classes: int, widths: Sequence[float], absent: Absent = "omit", device: torch.device | str = "cpu"
    ) -> None:
        if absent not in get_args(Absent):
            raise SpecError(f"absent '{absent}'{nearest(str(absent), get_args(Absent))}")
        self.classes = classes
        self.widths = check_widths(widths)
        self.absent = absent
        self._sums = torch.zeros(len(self.widths), classes, dtype=torch.int64, device=device)
        self._outlined = torch.zeros(classes, dtype=torch.int64, device=device)
        self._images = torch.zeros(1, dtype=torch.int64, device=device)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add images: labels (B,H,W) as `boundary_f1` takes them."""
        scores = boundary_f1(prediction, target, self.classes, self.widths)
        self._sums += (scores.nan_to_num(0) * _UNIT).round().long().sum(1).to(self._sums.device)
        self._outlined += (~scores[0].isnan()).sum(0).to(self._outlined.device)
        self._images += len(target)

    def state_tensors(self) -> list[Tensor]:
        """The sums themselves, int64: add those of several processes, in place, and the result is that of all."""
        return [self._sums, self._outlined, self._images]

    def class_means(self) -> list[list[float | None]]:
        """By width, ascending, and class: the mean over images in percent, null where no image says anything."""
        outlined, images = self._outlined.tolist(), int(self._images)
        perfect = self.absent == "perfect"
        return [
            [
                100 * (total / _UNIT + (images - seen if perfect else 0)) / (images if perfect else seen)
                if (images if perfect else seen)
                else None
                for total, seen in zip(sums, outlined, strict=True)
            ]
            for sums in self._sums.tolist()
        ]

    def means(self) -> list[float | None]:
        """By width, ascending: the mean over the classes that have one, in percent."""
        return [mean(row) for row in self.class_means()]


def mean(figures: Sequence[float | None]) -> float | None:
    """The mean of the figures that there are; null if there is none."""
    known = [figure for figure in figures if figure is not None]
    return math.fsum(known) / len(known) if known else None
