"""Small modules, and the tally of a call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.papers.tally import Tally
from bench.static.trace import Trace


def tally_of(module: nn.Module, *shape: int, train: bool = False) -> Tally:
    tally = Tally()
    with torch.no_grad(), tally.watch(module.to("meta").train(train)), Trace(tally):
        module(torch.empty(shape, device="meta"))
    return tally


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Siamese(nn.Module):
    """Key and query through one projection, an affinity and an aggregation."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.project = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.project(x).flatten(2), self.project(x).flatten(2)
        return torch.bmm(torch.bmm(query.transpose(1, 2), key), x.flatten(2).transpose(1, 2))
