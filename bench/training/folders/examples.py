"""Folder examples: images and annotations on disk, as a trainer and an evaluation read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.training.folders.annotation import read_image
from bench.training.folders.dataset import Source
from bench.training.folders.transform import Transform, augment, normalise
from bench.training.labels import LabelSet
from modules.options import SpecError

_SEEDS = 1 << 64


@dataclass
class FolderExamples:
    """A split of a data set on disk, an `Examples`; files are read anew for each batch.

    Attributes:
        labels: its classes.
        source: its files.
        transform: of images; its augmentation is for batches with a seed.
    """

    labels: LabelSet
    source: Source
    transform: Transform

    def __len__(self) -> int:
        return len(self.source.pairs)

    def batch(self, indices: Sequence[int], seed: int | None) -> tuple[Tensor, Tensor]:
        """Images (B,3,H,W), normalised float32, and labels (B,H,W), int64 with `IGNORE` for pixels that do not count.

        Args:
            indices: which examples.
            seed: of the augmentation. What is drawn for an example depends on the seed and its index alone, so that
                parts of a batch, wherever they are read, equal the batch. Null for whole images as they are.

        Raises:
            SpecError: a file cannot be read, does not fit its pair, or holds what the data set does not have; or
                images of different sizes with nothing that crops them.
        """
        examples = [self._example(index, seed) for index in indices]
        sizes = {label.shape: index for index, (_, label) in zip(indices, examples, strict=True)}
        if len(sizes) > 1:
            (one, a), (other, b) = list(sizes.items())[:2]
            raise SpecError(
                f"images {a} and {b} of '{self.labels.dataset}' are {one[0]}x{one[1]} and {other[0]}x{other[1]} "
                "and cannot be of one batch; allowed: a crop, or batches of 1"
            )
        images = torch.from_numpy(np.stack([image for image, _ in examples]))
        return images, torch.from_numpy(np.stack([label for _, label in examples])).long()

    def _example(self, index: int, seed: int | None) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        pair = self.source.pairs[index]
        image, label = read_image(pair.image), self.source.read(pair.label)
        if image.shape[:2] != label.shape:
            given, other = ("x".join(map(str, sides)) for sides in (label.shape, image.shape[:2]))
            raise SpecError(f"annotation '{pair.label}' is {given}, its image {other}; allowed: one size")
        if seed is None:
            return normalise(self.transform, image), label
        return augment(self.transform, image, label, np.random.default_rng([seed % _SEEDS, index]))
