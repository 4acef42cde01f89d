"""Observation: what a block computes inside, shown to whoever asks. Costs an empty loop where nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from torch import Tensor

Observer: TypeAlias = Callable[[str, Tensor], None]

_observers: list[Observer] = []


def observe(**quantities: Tensor) -> None:
    """Show tensors by name to every observer.

    Names and shapes, for N positions that ask and S that are asked: `query` (B,N,D), `key` (B,D,S), `product` (B,N,S)
    before and `attention` (B,N,S) after normalisation; where all positions ask the same, N is 1. `output` (B,C,H,W) is
    what joins the input; `mask` (B,C,H,W) that of LDv1; `affinity` (BN,1,K) that of LDv2 to its K neighbours.
    """
    for observer in _observers:
        for name, value in quantities.items():
            observer(name, value)


def observed() -> bool:
    """Whether somebody looks, and may keep what is shown: then it must not be written over."""
    return bool(_observers)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Have `observer` see every quantity that a block shows inside the `with` block."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)
