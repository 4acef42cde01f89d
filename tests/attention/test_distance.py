"""The closed form of the average cosine distance, against the double loop of GCNet's definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.attention import distance
from bench.attention.distance import average_distance


def double_loop(vectors: Tensor) -> float:
    rows = vectors.double().tolist()
    total = 0.0
    for one in rows:
        for other in rows:
            dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
            total += (1 - dot / math.hypot(*one) / math.hypot(*other)) / 2
    return total / len(rows) ** 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("softmax", [False, True])
def test_it_equals_the_double_loop(seed: int, softmax: bool) -> None:
    vectors = torch.randn(17, 23, generator=torch.Generator().manual_seed(seed)) * 3
    vectors = vectors.softmax(dim=1) if softmax else vectors
    assert average_distance(vectors).mean == pytest.approx(double_loop(vectors), abs=1e-6)


def test_pieces_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    whole = average_distance(vectors)
    for numbers in (1, 7, 30):
        monkeypatch.setattr(distance, "CHUNK", numbers)
        assert average_distance(vectors).mean == pytest.approx(whole.mean, abs=1e-12)


def test_vectors_of_one_direction_are_at_distance_0() -> None:
    row = torch.randn(64, generator=torch.Generator().manual_seed(0))
    vectors = row * torch.linspace(0.1, 9, 40)[:, None]
    assert average_distance(vectors).mean == pytest.approx(0, abs=1e-12)
    assert average_distance(row[None]).mean == pytest.approx(0, abs=1e-12)
    assert average_distance(row[None]).apart is None


@pytest.mark.parametrize("count", [2, 10, 256])
def test_orthogonal_vectors_are_half_apart_from_one_another_and_less_by_the_pairs_with_themselves(count: int) -> None:
    found = average_distance(torch.eye(count))
    assert found.mean == pytest.approx((1 - 1 / count) / 2, abs=1e-12)
    assert found.apart == pytest.approx(0.5, abs=1e-12)


def test_opposite_vectors_are_at_distance_1() -> None:
    found = average_distance(torch.tensor([[1.0, 2.0], [-1.0, -2.0]]))
    assert found.apart == pytest.approx(1)
    assert found.mean == pytest.approx(0.5)


def test_zero_vectors_have_no_direction_and_are_left_out() -> None:
    vectors = torch.eye(4)
    padded = torch.cat([vectors, torch.zeros(3, 4)])
    assert average_distance(padded).mean == average_distance(vectors).mean
    assert (average_distance(padded).vectors, average_distance(padded).zeros) == (4, 3)
    none = average_distance(torch.zeros(3, 4))
    assert (none.mean, none.apart, none.vectors, none.zeros) == (None, None, 0, 3)


def test_the_smallest_numbers_have_a_direction() -> None:
    assert average_distance(torch.eye(5) * 1e-40).mean == pytest.approx(0.4)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_has_no_distance(wrong: float) -> None:
    vectors = torch.eye(4)
    vectors[1, 2] = wrong
    assert average_distance(vectors).mean is None
