"""Evaluation: a network's predictions for a split of a data set, judged; and the ways to infer a prediction.

An inference gives scores (B,classes,H,W) at the size of the images; the class with the largest is the prediction.
`Whole` and `Sliding` give logits, `MultiScale` gives probabilities. Logits are taken as float32, and resized bilinearly
where the network answers at another size. Of a network that returns a tuple the first are the logits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, get_args

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from bench.training.examples import Examples
from bench.training.metrics import Score, Scores
from modules.options import SpecError, nearest

Mode: TypeAlias = Literal["single", "multi", "sliding"]


class Inference(Protocol):
    """A way from images (B,3,H,W) to scores (B,classes,H,W)."""

    def __call__(self, network: Callable[[Tensor], Any], images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Whole:
    """Logits of whole images at one scale."""

    def __call__(self, network: Callable[[Tensor], Any], images: Tensor) -> Tensor:
        output = network(images)
        logits = output[0] if isinstance(output, (tuple, list)) else output
        return _resized(logits.float(), images.shape[-2:])


@dataclass(frozen=True)
class Sliding:
    """Logits of crops that together cover the image, averaged where they overlap.

    The first crop begins at the upper left corner, the others follow `stride` apart, and the last of a row or column
    ends at the border. Images smaller than the crop are padded with 0, the mean of normalised images, on the right and
    below.

    Attributes:
        crop: height and width in pixels.
        stride: distance of two crops as a share of the crop, rounded up to a pixel.

    Raises:
        SpecError: a side is not positive or the stride not in (0, 1].
    """

    crop: tuple[int, int]
    stride: float = 2 / 3

    def __post_init__(self) -> None:
        if min(self.crop) < 1:
            raise SpecError(f"evaluation crop {list(self.crop)}; allowed: height and width, integers from 1")
        if not 0 < self.stride <= 1:
            raise SpecError(f"evaluation stride {self.stride:g}; allowed: a share of the crop above 0, 1 at most")

    def __call__(self, network: Callable[[Tensor], Any], images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        tall, broad = self.crop
        padded = F.pad(images, (0, max(broad - width, 0), 0, max(tall - height, 0)))
        mean: Tensor | None = None
        covered = torch.zeros(padded.shape[-2:], device=images.device)
        for top in self._starts(padded.shape[-2], tall):
            for left in self._starts(padded.shape[-1], broad):
                window = (..., slice(top, top + tall), slice(left, left + broad))
                logits = Whole()(network, padded[window])
                if mean is None:
                    mean = logits.new_zeros(*logits.shape[:2], *padded.shape[-2:])
                covered[window] += 1
                # The running mean of equal logits is those logits to the last bit, a sum over a count is not.
                mean[window] += (logits - mean[window]) / covered[window]
        assert mean is not None
        return mean[..., :height, :width]

    def _starts(self, length: int, crop: int) -> list[int]:
        """Where the crops along one side of the image begin."""
        return [*range(0, length - crop, math.ceil(crop * self.stride)), length - crop]


@dataclass(frozen=True)
class MultiScale:
    """Probabilities averaged over scales of the image and, where asked for, its mirror image.

    Attributes:
        scales: of the image's sides; resized bilinearly, to whole pixels.
        flip: also infer from the image turned left to right, and turn the result back.
        inner: how each of them is inferred: whole, or sliding.

    Raises:
        SpecError: there is no scale, or one is not a positive number.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    inner: Inference = field(default_factory=Whole)

    def __post_init__(self) -> None:
        if not self.scales or not all(math.isfinite(scale) and scale > 0 for scale in self.scales):
            given = ", ".join(f"{scale:g}" for scale in self.scales)
            raise SpecError(f"evaluation scales [{given}]; allowed: one positive number or more")

    def __call__(self, network: Callable[[Tensor], Any], images: Tensor) -> Tensor:
        size = images.shape[-2:]
        mean: Tensor | None = None
        count = 0
        for scale in self.scales:
            scaled = _resized(images, torch.Size(max(1, round(side * scale)) for side in size))
            for flipped in (False, True)[: 1 + self.flip]:
                logits = self.inner(network, scaled.flip(-1) if flipped else scaled)
                found = _resized(logits.flip(-1) if flipped else logits, size).softmax(dim=1)
                count += 1
                mean = found if mean is None else mean + (found - mean) / count
        assert mean is not None
        return mean


def make_inference(
    mode: str,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    crop: Sequence[int] | None = None,
    stride: float = 2 / 3,
) -> Inference:
    """The inference that the settings of a recipe ask for.

    Args:
        mode: `single`, whole images at one scale; `multi`, whole images at `scales`; `sliding`, crops at one scale.
        scales: of `multi`; the others pass them over.
        flip: in any mode, average with the mirrored image.
        crop, stride: see `Sliding`.

    Raises:
        SpecError: there is no such mode, or a setting that it needs is missing or cannot be.
    """
    if mode not in get_args(Mode):
        raise SpecError(f"evaluation mode '{mode}'{nearest(mode, get_args(Mode))}")
    inner: Inference = Whole()
    if mode == "sliding":
        if crop is None or len(crop) != 2:
            given = "none" if crop is None else list(crop)
            raise SpecError(f"evaluation crop {given} for mode 'sliding'; allowed: height and width, integers from 1")
        inner = Sliding((crop[0], crop[1]), stride)
    if mode == "multi":
        return MultiScale(tuple(scales), flip, inner)
    return MultiScale((1.0,), True, inner) if flip else inner


def evaluate(
    network: nn.Module,
    examples: Examples,
    score: Score,
    inference: Inference | None = None,
    batch: int = 16,
    device: torch.device | str = "cpu",
    indices: Sequence[int] | None = None,
    workers: int = 0,
    shared: bool = False,
) -> Scores:
    """Judge a network on examples, not augmented. Its modules are left in the modes they were found in.

    Args:
        network: images (B,3,H,W) to logits (B,classes,h,w), or a tuple that begins with them; already on the device,
            and not wrapped for distributed training, which would wait for the other processes in every call.
        examples: of labels that the score was made for. Where they have `mixed`, (N,) bool, the score is told.
        score: it counts; what it has counted before stays in it, and must be nothing if `shared`.
        inference: `Whole()` if null.
        batch: images at once, all of one size: 1 for data whose images differ.
        indices: which examples; all if null.
        workers: threads that load ahead; 0 loads each batch when it is wanted.
        shared: every process of `torch.distributed` calls this, infers its share, and returns the figures of the whole.
            Without it a process judges alone.

    Raises:
        SpecError: the batch is not positive, or the labels do not fit the score.
    """
    if batch < 1:
        raise SpecError(f"evaluation batch {batch}; allowed: integers from 1")
    infer = inference or Whole()
    chosen = list(range(len(examples)) if indices is None else indices)
    if shared and torch.distributed.is_available() and torch.distributed.is_initialized():
        chosen = chosen[torch.distributed.get_rank() :: torch.distributed.get_world_size()]
    batches = [chosen[first : first + batch] for first in range(0, len(chosen), batch)]
    marks = getattr(examples, "mixed", None)
    mixed = None if marks is None else torch.as_tensor(marks, dtype=torch.bool)
    with _evaluating(network), torch.no_grad():
        for places, (images, target) in zip(batches, _loaded(examples, batches, workers), strict=True):
            prediction = infer(network, images.to(device)).argmax(dim=1)
            score.update(prediction, target.to(device), places, None if mixed is None else mixed[places])
    if shared:
        score.reduce()
    return score.result()


def _loaded(examples: Examples, batches: Sequence[Sequence[int]], workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches in order, up to `workers` of them loaded ahead."""
    if workers < 1:
        yield from (examples.batch(places, None) for places in batches)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for places in batches:
            ahead.append(pool.submit(examples.batch, places, None))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode, and each back in its own afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
