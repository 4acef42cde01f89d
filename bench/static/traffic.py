"""Memory traffic: what operators read and write, and what could not be avoided by any implementation."""

from __future__ import annotations

import math
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
        self._touched: set[int] = set()

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        if moves_no_data(operator):
            return
        read = (*tensors_in(args), *tensors_in(list(kwargs.values())))
        self.bytes += size_of((*read, *tensors_in(outputs)))
        self._touched.update(id(tensor.untyped_storage()) for tensor in read)

    def compulsory(self, sources: Sequence[Tensor], results: Sequence[Tensor]) -> int:
        """Bytes that no implementation can avoid: sources that some operator read, and results of their own storage.

        Args:
            sources: tensors that were there before, kept alive by the caller since.
            results: what the call returned.
        """
        given = {id(tensor.untyped_storage()) for tensor in sources}
        read = [tensor for tensor in sources if id(tensor.untyped_storage()) in self._touched]
        return size_of(read) + size_of(tensor for tensor in results if id(tensor.untyped_storage()) not in given)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the elements of all tensors; one that is expanded has no more of them than it was expanded from."""
    return sum(_elements(tensor) * tensor.element_size() for tensor in tensors)


def _elements(tensor: Tensor) -> int:
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not size)
