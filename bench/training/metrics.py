"""Metrics: what a segmentation of a whole data set is worth, counted batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from bench.training.boundary import Absent, BoundaryScore, mean
from bench.training.labels import IGNORE, LabelSet
from bench.training.record import FOLDS
from modules.options import SpecError


@dataclass(frozen=True)
class Scores:
    """Figures of one evaluation, in percent; null where undefined. Fields are named as in `bench.training.record`.

    Attributes:
        miou: mean IoU over the classes that occur, in the target or the prediction.
        pixel_accuracy: share of the pixels that count which are right.
        class_iou: IoU by class, from the pixel counts of the whole data set; null for a class that never occurs.
        groups: mean IoU by group of classes.
        resolving: by kind of context, of the pixels that belong to a class of a twin pair and are predicted as either
            class of that pair, the share predicted right, all pairs of the kind pooled: 50 is chance. `<kind>_mixed`
            is the same on the images marked so. Null for data without twins.
        boundary_f1: boundary F-score at the narrowest width.
        boundary_f1_at: the same at every width; its key is the width as it was given, pixels or share of the diagonal.
        boundary_f1_merged: the same at the narrowest width with twin classes taken as one; null for data without twins.
        folds: `intersection`, `prediction` and `target`: pixel counts by test fold and class.
    """

    miou: float | None
    pixel_accuracy: float | None
    class_iou: Mapping[str, float | None]
    groups: Mapping[str, float | None]
    resolving: Mapping[str, float | None] | None
    boundary_f1: float | None
    boundary_f1_at: Mapping[str, float | None]
    boundary_f1_merged: float | None
    folds: Mapping[str, list[list[int]]]

    def fields(self) -> dict[str, Any]:
        """The figures as fields of a record."""
        return asdict(self)


class Score:
    """Counts of right and wrong over a data set; integers throughout, so that order and batches do not matter.

    Args:
        labels: the classes.
        widths: tolerances of the boundary F-score, all in pixels (from 1 on) or all as shares of the image's diagonal
            (below 1); `bench.training.boundary.PAPER_WIDTHS` are those of GALD v2.
        folds: image i belongs to fold i % folds.
        total: images of the data set; where it is given, `result` sees to it that each was counted once.
        absent: what an image without a boundary of a class counts for it, see `BoundaryScore`.
        device: where the counts are kept; NCCL wants the GPU.

    Raises:
        SpecError: the widths or `absent` cannot be, or there are no folds.
    """

    def __init__(
        self,
        labels: LabelSet,
        widths: Sequence[float] = (1,),
        folds: int = FOLDS,
        total: int | None = None,
        absent: Absent = "omit",
        device: torch.device | str = "cpu",
    ) -> None:
        if folds < 1:
            raise SpecError(f"folds {folds}; allowed: integers from 1")
        self.labels = labels
        self.boundary = BoundaryScore(labels.count, widths, absent, device)
        self._merged = BoundaryScore(labels.count, self.boundary.widths[:1], absent, device) if labels.twins else None
        self._merging = _merging(labels)
        self._confusion = torch.zeros(folds, labels.count, labels.count, dtype=torch.int64, device=device)
        self._mixed = torch.zeros(labels.count, labels.count, dtype=torch.int64, device=device)
        self._seen = torch.zeros(total or 0, dtype=torch.int64, device=device)
        self._total = total

    def update(self, prediction: Tensor, target: Tensor, indices: Sequence[int], mixed: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            prediction: labels (B,H,W), integers, on any device.
            target: labels (B,H,W) on the same device, with `IGNORE` for pixels that do not count.
            indices: of the B images in the data set.
            mixed: (B,) bool, the images that `<kind>_mixed` is about.

        Raises:
            SpecError: shapes do not fit, or there is a label that the data set does not have.
        """
        if prediction.shape != target.shape or target.ndim != 3 or len(indices) != len(target):
            shapes = f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)}, {len(indices)} indices"
            raise SpecError(f"{shapes}; allowed: (B,H,W) twice and B indices")
        if mixed is not None and mixed.shape != target.shape[:1]:
            raise SpecError(f"mixed {tuple(mixed.shape)}; allowed: ({len(target)},), one mark an image")
        counts = target != IGNORE
        self._check_labels("target", target[counts])
        self._check_labels("prediction", prediction[counts])
        places = torch.as_tensor(indices, dtype=torch.int64, device=target.device)
        if self._total is not None:
            self._see(places)

        n = self.labels.count
        pairs = target.long() * n + prediction
        folded = pairs + (places % len(self._confusion))[:, None, None] * (n * n)
        self._confusion += _tally(folded[counts], self._confusion)
        if mixed is not None:
            chosen = counts & mixed.to(target.device, torch.bool)[:, None, None]
            self._mixed += _tally(pairs[chosen], self._mixed)
        self.boundary.update(prediction, target)
        if self._merged is not None:
            merging = self._merging.to(target.device)
            at = torch.where(counts, target, 0).long()
            one = torch.where(counts, prediction, 0).long()
            self._merged.update(merging[one], torch.where(counts, merging[at], IGNORE))

    def _check_labels(self, name: str, values: Tensor) -> None:
        if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise SpecError(f"{name} of {values.dtype}; allowed: integers")
        wrong = values[(values < 0) | (values >= self.labels.count)]
        if len(wrong):
            extra = f" and {IGNORE}" if name == "target" else ""
            allowed = f"0 to {self.labels.count - 1}{extra} in {self.labels.dataset}"
            raise SpecError(f"{name} holds the label {int(wrong[0])}; allowed: {allowed}")

    def _see(self, places: Tensor) -> None:
        wrong = places[(places < 0) | (places >= len(self._seen))]
        if len(wrong):
            raise SpecError(f"image {int(wrong[0])}; allowed: 0 to {len(self._seen) - 1} in {self.labels.dataset}")
        self._seen += torch.bincount(places, minlength=len(self._seen)).to(self._seen.device)

    def state_tensors(self) -> list[Tensor]:
        """The counts themselves, int64: add those of several processes, in place, and the result is that of all."""
        merged = [] if self._merged is None else self._merged.state_tensors()
        return [self._confusion, self._mixed, self._seen, *self.boundary.state_tensors(), *merged]

    def merge(self, other: Score) -> None:
        """Add what another score of the same making has counted.

        Raises:
            ValueError: it was made for other labels, widths, folds or a data set of another length.
        """
        if _making(self) != _making(other):
            raise ValueError("scores of different labels, widths, folds or totals do not add up")
        for ours, theirs in zip(self.state_tensors(), other.state_tensors(), strict=True):
            ours += theirs.to(ours.device)

    def reduce(self) -> None:
        """Add up what all processes of `torch.distributed` have counted: each then holds the whole. Every process must
        call it, once; alone, it does nothing."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for tensor in self.state_tensors():
                torch.distributed.all_reduce(tensor)

    def result(self) -> Scores:
        """The figures of what was counted so far.

        Raises:
            ValueError: a `total` was given and some image was not counted once.
        """
        wrong = (self._seen != 1).nonzero()
        if len(wrong):
            place = int(wrong[0])
            raise ValueError(f"image {place} of {len(self._seen)} was counted {int(self._seen[place])} times, not once")
        folds = {
            "intersection": self._confusion.diagonal(dim1=1, dim2=2),
            "prediction": self._confusion.sum(1),
            "target": self._confusion.sum(2),
        }
        hits, predicted, true = (counts.sum(0).tolist() for counts in folds.values())
        ious = [_share(hit, p + t - hit) for hit, p, t in zip(hits, predicted, true, strict=True)]
        boundary = self.boundary.means()
        keys = (f"{width:g}" for width in self.boundary.widths)
        return Scores(
            miou=mean(ious),
            pixel_accuracy=_share(sum(hits), sum(true)),
            class_iou=dict(zip(self.labels.classes, ious, strict=True)),
            groups={name: mean([ious[label] for label in group]) for name, group in self.labels.groups.items()},
            resolving=self._resolving() if self.labels.twins else None,
            boundary_f1=boundary[0],
            boundary_f1_at=dict(zip(keys, boundary, strict=True)),
            boundary_f1_merged=None if self._merged is None else self._merged.means()[0],
            folds={name: counts.tolist() for name, counts in folds.items()},
        )

    def _resolving(self) -> dict[str, float | None]:
        shares: dict[str, float | None] = {}
        for suffix, confusion in (("", self._confusion.sum(0)), ("_mixed", self._mixed)):
            rows = confusion.tolist()
            for kind, pairs in self.labels.twins.items():
                right = sum(rows[label][label] for pair in pairs for label in pair)
                wrong = sum(rows[a][b] + rows[b][a] for a, b in pairs)
                shares[kind + suffix] = _share(right, right + wrong)
        return shares


def _merging(labels: LabelSet) -> Tensor:
    """(classes,) the label that stands for each one when twins are taken as one class."""
    merging = torch.arange(labels.count)
    for pairs in labels.twins.values():
        for a, b in pairs:
            merging[merging == merging[b].item()] = merging[a].item()
    return merging


def _making(score: Score) -> tuple[object, ...]:
    shapes = [tuple(tensor.shape) for tensor in score.state_tensors()]
    return score.labels, score.boundary.widths, score.boundary.absent, shapes


def _tally(keys: Tensor, like: Tensor) -> Tensor:
    """How often each key occurs, in the shape and on the device of `like`."""
    return torch.bincount(keys, minlength=like.numel()).view_as(like).to(like.device)


def _share(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
