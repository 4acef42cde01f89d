"""A tiny data set and settings for tests of the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.training.labels import IGNORE, LabelSet
from bench.training.recipe import Recipe

SIDE, CLASSES = 16, 4


@dataclass
class Toy:
    """Images whose label is which of three channels is the brightest, or the fourth class; some pixels are ignored."""

    count: int = 24
    labels: LabelSet = field(default_factory=lambda: LabelSet("toy", ("red", "green", "blue", "grey")))

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int], seed: int | None) -> tuple[Tensor, Tensor]:
        pairs = [self._example(index, seed) for index in indices]
        return torch.stack([image for image, _ in pairs]), torch.stack([label for _, label in pairs])

    def _example(self, index: int, seed: int | None) -> tuple[Tensor, Tensor]:
        image = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(index))
        best, label = image.max(0)
        label = label.where(best > 0.5, 3)
        label[0, : index % 3] = IGNORE
        if seed is not None and (seed + index) % 2:
            image, label = image.flip(2), label.flip(1)
        return image - 0.5, label


class Droppy(nn.Module):
    """Convolutions with batch norm and dropout; a second output with `auxiliary`."""

    def __init__(self, auxiliary: bool = False) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(8, CLASSES, 1))
        self.auxiliary = nn.Conv2d(8, CLASSES, 1) if auxiliary else None

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.trunk(image)
        logits: Tensor = self.head(x)
        return logits if self.auxiliary is None else (logits, x.mean((2, 3))[:, :CLASSES], self.auxiliary(x))


def droppy(seed: int = 0, auxiliary: bool = False) -> Droppy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Droppy(auxiliary)


def recipe(**settings: object) -> Recipe:
    """A short recipe with some settings changed."""
    return Recipe(**{"name": "toy", "iterations": 20, "batch": 5, "warmup": 3, "checkpoint_every": 3, **settings})  # type: ignore[arg-type]
