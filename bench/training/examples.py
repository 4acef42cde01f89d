"""Examples: one split of a data set, as a trainer and an evaluation read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from bench.training.labels import LabelSet


class Examples(Protocol):
    """A split of a data set. Must be picklable: loader processes read it too."""

    labels: LabelSet

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int], seed: int | None) -> tuple[Tensor, Tensor]:
        """Images (B,3,H,W), normalised float32, and labels (B,H,W), int64 with `IGNORE` for pixels that do not count.

        Args:
            indices: which examples; all of them must be of one size where nothing crops them.
            seed: of the augmentation, drawn anew for each batch; null for none, as evaluation wants it.
        """
