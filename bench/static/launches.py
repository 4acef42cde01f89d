"""Launches: how many operators of a call compute or move something, each at least one kernel on a device."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from bench.static.operators import Operator, moves_no_data
from bench.static.trace import tensors_in

_ALLOCATIONS = frozenset(
    {
        *(
            "empty",
            "empty_like",
            "empty_strided",
            "empty_permuted",
            "empty_quantized",
            "new_empty",
            "new_empty_strided",
        ),
        *("resize_", "resize", "set_", "lift_fresh", "lift"),
    }
)


class Launches:
    """Counts the operators that launch a kernel; an observer of a `Trace`.

    Views, operators that only look at a shape, and allocations without a fill launch none; nor does one whose tensors
    have no elements. An operator counts once, however many kernels a library takes for it.

    Attributes:
        count: the operators so far.
    """

    def __init__(self) -> None:
        self.count = 0

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        if _works(operator) and any(tensor.numel() for tensor in tensors_in(outputs)):
            self.count += 1


@functools.cache
def _works(operator: Operator) -> bool:
    return not moves_no_data(operator) and operator._overloadpacket.__name__ not in _ALLOCATIONS
