"""Distance: the average cosine distance between the vectors of all positions, without a matrix of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1 << 20
"""Numbers that are held in float64 at once."""


@dataclass(frozen=True)
class Distance:
    """The average cosine distance of a set of vectors.

    Attributes:
        mean: 1/N^2 sum_ij (1 - cos(v_i, v_j)) / 2 over all pairs, each vector with itself included; null where no
            vector has a direction, or one is not finite.
        vectors: N, those that have a direction.
        zeros: how many are zero. Their cosine is undefined, so they are left out of the mean.
    """

    mean: float | None
    vectors: int
    zeros: int

    @property
    def apart(self) -> float | None:
        """The same over the pairs of two different vectors: N / (N - 1) times the mean, as a vector is at distance 0
        from itself. Null for a single vector."""
        if self.mean is None or self.vectors < 2:
            return None
        return self.mean * self.vectors / (self.vectors - 1)


def average_distance(vectors_ND: Tensor) -> Distance:
    """The average cosine distance between vectors.

    With unit vectors u_i the cosines of all pairs sum up to |sum_i u_i|^2, so the average distance is
    (1 - |mean u|^2) / 2: N x D operations, in float64, a few rows at a time.

    Args:
        vectors_ND: one vector a row, of any floating type, on any device that knows float64.

    Source: GCNet, Sec. 3.2.2.
    """
    count, width = vectors_ND.shape
    total = torch.zeros(width, dtype=torch.float64, device=vectors_ND.device)
    directed = torch.zeros((), dtype=torch.int64, device=vectors_ND.device)
    for rows_ND in torch.split(vectors_ND, max(1, CHUNK // max(width, 1))):
        rows_ND = rows_ND.double()
        norms_N1 = torch.linalg.vector_norm(rows_ND, dim=1, keepdim=True)
        has = norms_N1 != 0
        total += torch.where(has, rows_ND / norms_N1, 0).sum(0)
        directed += has.sum()
    found = int(directed)
    squared = float((total / found).square().sum()) if found else float("nan")
    mean = max(0.0, (1 - squared) / 2) if squared == squared else None
    return Distance(mean, found, count - found)
