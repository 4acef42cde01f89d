"""Memory traffic: what operators read and write, and what could not be avoided by any implementation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from bench.static.operators import Operator, moves_no_data
from bench.static.trace import tensors_in


class Traffic:
    """Sums the bytes of every operator's tensor inputs and outputs, views excepted; an observer of a `Trace`.

    Attributes:
        bytes: the sum so far. An in-place operator counts its tensor as read and as written.
    """

    def __init__(self) -> None:
        self.bytes = 0

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        if moves_no_data(operator):
            return
        read = (*tensors_in(args), *tensors_in(list(kwargs.values())))
        self.bytes += size_of((*read, *tensors_in(outputs)))


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the elements of all tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
