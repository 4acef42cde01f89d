"""Order: which examples make up each batch, a function of the seed and the batch's number alone."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.training.distributed import Ranks, share
from bench.training.examples import Examples
from modules.options import SpecError


def drawn_seed(*parts: object) -> int:
    """A seed, of 56 bits, that the parts decide."""
    text = " ".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Order:
    """Epoch after epoch, each shuffled anew, cut into batches; one may hold the end of an epoch and the next's begin.

    Attributes:
        count: examples of the data set, at least 1.
        batch: indices a batch.
        seed: of the shuffling and the augmentation.
    """

    count: int
    batch: int
    seed: int

    def indices(self, number: int) -> list[int]:
        """Of the examples of batch `number`, from 0."""
        places = range(number * self.batch, (number + 1) * self.batch)
        return [_shuffled(self.count, self.seed, place // self.count)[place % self.count] for place in places]

    def augmentation(self, number: int) -> int:
        """Seed of the augmentation of batch `number`."""
        return drawn_seed(self.seed, "augmentation", number)


@functools.lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(drawn_seed(seed, "epoch", epoch))
    found: list[int] = torch.randperm(count, generator=generator).tolist()
    return found


def read(examples: Examples, indices: Sequence[int], seed: int | None) -> tuple[Tensor, Tensor] | SpecError:
    """A batch, or what is wrong with a file of it: a loader process hands errors on as values, as they lose their
    type, and gain a traceback, when they are raised there."""
    try:
        return examples.batch(indices, seed)
    except SpecError as error:
        return error


def raised(loaded: Iterable[tuple[Tensor, Tensor] | SpecError]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a loader that are none of `read`'s errors.

    Raises:
        SpecError: one is.
    """
    for batch in loaded:
        if isinstance(batch, SpecError):
            raise batch
        yield batch


class _Batches(Dataset["tuple[Tensor, Tensor] | SpecError"]):
    """What a loader process reads: this process's share of batch i."""

    def __init__(self, examples: Examples, order: Order, ranks: Ranks) -> None:
        self.examples, self.order, self.ranks = examples, order, ranks

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | SpecError:
        indices = share(self.order.indices(number), self.ranks)
        return read(self.examples, indices, self.order.augmentation(number))


def batches(
    examples: Examples, order: Order, numbers: range, ranks: Ranks, workers: int = 0, pin: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of the batches of the given numbers, in order: images (b,3,H,W) and labels (b,H,W).

    Args:
        examples: to read.
        order: which ones.
        numbers: of the batches.
        ranks: whose share.
        workers: processes that read ahead; 0 reads in this one. What is read is the same.
        pin: into page-locked memory, from where a card copies faster; with workers only.
    """
    source = _Batches(examples, order, ranks)
    if workers == 0:
        return raised(source[number] for number in numbers)
    return raised(DataLoader(source, batch_size=None, sampler=numbers, num_workers=workers, pin_memory=pin))
