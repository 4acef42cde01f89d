"""Streams: one random generator an image, read for many images at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS: Mapping[str, int] = {"train": 0, "test": 1}

Floats = NDArray[np.float32]
Bits = NDArray[np.bool_]
Integers = NDArray[np.intp]


class Stream:
    """Random numbers of n images. Those of an image depend on its index alone, not on which others are asked for."""

    def __init__(self, purpose: int, split: str, seed: int, indices: Sequence[int]) -> None:
        """A stream.

        Args:
            purpose: which of an image's independent streams.
            split: a key of `SPLITS`; the splits share no stream.
            seed: of the data set, not negative.
            indices: of the images, not negative.
        """
        sources = (np.random.SeedSequence((seed, SPLITS[split], purpose, index)) for index in indices)
        self._generators = [np.random.Generator(np.random.PCG64(source)) for source in sources]

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """Uniform in [low, high): (n, *shape)."""
        drawn: Floats = np.array([generator.random(shape, np.float32) for generator in self._generators])
        drawn *= np.float32(high - low)
        drawn += np.float32(low)
        return drawn

    def normal(self, *shape: int) -> Floats:
        """Standard normal: (n, *shape)."""
        return np.array([generator.standard_normal(shape, np.float32) for generator in self._generators])

    def bits(self, *shape: int) -> Bits:
        """Fair bits: (n, *shape)."""
        return self.uniform(0, 1, *shape) < 0.5

    def choice(self, count: int, *shape: int) -> Integers:
        """Integers in [0, count), each as likely: (n, *shape)."""
        return np.minimum(self.uniform(0, count, *shape).astype(np.intp), count - 1)

    def order(self, count: int) -> Integers:
        """0 ... count - 1 in random order: (n, count)."""
        return np.argsort(self.uniform(0, 1, count), axis=1)
