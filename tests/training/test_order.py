from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.training.distributed import Ranks, share
from bench.training.order import Order, batches
from tests.training.toy import Toy


@given(count=st.integers(1, 40), batch=st.integers(1, 17), seed=st.integers(0, 2**40))
def test_every_example_comes_once_an_epoch(count: int, batch: int, seed: int) -> None:
    order = Order(count, batch, seed)
    stream = [index for number in range(-(-3 * count // batch)) for index in order.indices(number)]
    for epoch in range(3):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    order = Order(100, 8, 3)
    forward = [order.indices(i) for i in range(30)]
    backward = [order.indices(i) for i in reversed(range(30))]
    assert forward == backward[::-1]
    assert forward != [Order(100, 8, 4).indices(i) for i in range(30)]
    assert forward[:12] != forward[12:24]
    assert len({order.augmentation(i) for i in range(30)} | {Order(100, 8, 4).augmentation(0)}) == 31


@given(count=st.integers(0, 30), world=st.integers(1, 7))
def test_shares_make_up_the_batch(count: int, world: int) -> None:
    indices = list(range(count))
    parts = [share(indices, Ranks(rank, world)) for rank in range(world)]
    assert [index for part in parts for index in part] == indices
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("ranks", [Ranks(), Ranks(1, 2)])
def test_loader_processes_read_what_this_one_reads(ranks: Ranks) -> None:
    examples, order = Toy(), Order(24, 5, 1)
    here = list(batches(examples, order, range(4, 9), ranks))
    there = list(batches(examples, order, range(4, 9), ranks, workers=1))
    assert len(here) == 5
    for (image, label), (other, same) in zip(here, there, strict=True):
        assert torch.equal(image, other)
        assert torch.equal(label, same)
