"""Scenes: a split of the generated data set, whose labels need context by construction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.training.labels import LabelSet
from bench.training.scenes.classes import LABELS
from bench.training.scenes.render import Rendered, render
from bench.training.scenes.streams import SPLITS
from modules.options import SpecError, nearest

SMALLEST, STEP = 64, 4
CHUNK = 32
MEAN, SD = 0.48, 0.18
"""Of all pixels and colours of a large set, in [0, 1]."""


class Scenes:
    """Pictures in memory. Picture i depends on split, seed, side and i alone, and all sides show the same picture i.

    A label of the groups `scene` and `pairwise` is decided by a sign on the other side of the picture, a label of
    `regional` by a badge at one end of its bar; looks are drawn apart from what decides, so that nothing near a pixel
    tells its label from its twin's. Sides of `SMALLEST` and more keep signs and what they decide further apart than a
    convolution-only network of stride 4 with a field of 23 pixels sees.

    Attributes:
        labels: the classes.
        split, size, seed: as given.
        images: (N, 3, S, S), uint8.
        targets: (N, S, S), uint8, the class of each pixel; none is to be ignored.
        mixed: (N,), bool: the bits of the legend are not all equal.
    """

    labels: LabelSet = LABELS

    def __init__(self, split: str, count: int, size: int = 64, seed: int = 0) -> None:
        """Generate the first `count` pictures of a split.

        Args:
            split: `train` or `test`, which share no picture.
            count: N, at least 1.
            size: S, image side in pixels, a multiple of 4 from 64 on.
            seed: of the data set, not negative.

        Raises:
            SpecError: an argument is none of those.
        """
        if split not in SPLITS:
            raise SpecError(f"scenes have no split '{split}'{nearest(split, SPLITS)}")
        if count < 1:
            raise SpecError(f"scenes: {count} images; allowed: 1 or more")
        if size < SMALLEST or size % STEP:
            raise SpecError(f"scenes: image side {size}; allowed: multiples of {STEP} from {SMALLEST} on")
        if seed < 0:
            raise SpecError(f"scenes: seed {seed}; allowed: 0 or more")
        self.split, self.size, self.seed = split, size, seed
        self.images = torch.empty((count, 3, size, size), dtype=torch.uint8)
        self.targets = torch.empty((count, size, size), dtype=torch.uint8)
        self.mixed = torch.empty(count, dtype=torch.bool)
        for start in range(0, count, CHUNK):
            indices = range(start, min(start + CHUNK, count))
            part, place = self._render(indices), slice(indices.start, indices.stop)
            self.images[place] = torch.from_numpy(part.images)
            self.targets[place] = torch.from_numpy(part.targets)
            self.mixed[place] = torch.from_numpy(part.codes.mixed)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Images (B,3,S,S), normalised float32, and labels (B,S,S), int64. There is no augmentation to be seeded."""
        del seed
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return normalise(self.images[chosen]), self.targets[chosen].long()

    def twin(self, indices: Sequence[int], which: str) -> tuple[Tensor, Tensor]:
        """As `batch`, of the counterfactual twins: one code flipped, all else as it was.

        Args:
            indices: which pictures.
            which: one of `FLIPS`.

        Raises:
            SpecError: no such code.
            IndexError: no such picture.
        """
        for index in indices:
            if not 0 <= index < len(self):
                raise IndexError(f"picture {index} of {len(self)}")
        part = self._render(indices, which)
        return normalise(torch.from_numpy(part.images)), torch.from_numpy(part.targets).long()

    def _render(self, indices: Sequence[int], flip: str | None = None) -> Rendered:
        return render(self.split, indices, self.size, self.seed, flip)


def normalise(images: Tensor) -> Tensor:
    """uint8 pictures as float32 of about zero mean and unit deviation, the same for every picture and colour."""
    return images.float().sub_(255 * MEAN).div_(255 * SD)
