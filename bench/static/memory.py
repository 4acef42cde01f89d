"""Traced memory: the peak of live tensor storage, exact to the allocator's rounding, without allocating anything."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch

from bench.static.operators import Operator, moves_no_data
from bench.static.trace import tensors_in

ALLOCATION_BYTES = 512


class LiveStorage:
    """Follows every storage that operators create until it is freed; an observer of a `Trace`.

    Counts what PyTorch's caching allocator would hand out: each storage rounded up to 512 bytes, no kernel workspace.
    Storage that existed before the trace is not counted, except through `hold`.

    Attributes:
        live_bytes: bytes alive now.
        peak_bytes: the most that were alive at once.
    """

    def __init__(self) -> None:
        self.live_bytes = 0
        self.peak_bytes = 0
        self._held: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        if not moves_no_data(operator):
            for tensor in tensors_in(outputs):
                self.hold(tensor)

    def hold(self, tensor: torch.Tensor) -> None:
        """Count the storage of `tensor` from now until it is freed."""
        size = tensor.untyped_storage().nbytes()
        self._follow(tensor, -(-size // ALLOCATION_BYTES) * ALLOCATION_BYTES)

    def ignore(self, tensors: Sequence[torch.Tensor]) -> None:
        """Leave the storage of `tensors` out, even if an operator hands it on in place."""
        for tensor in tensors:
            self._follow(tensor, 0)

    def _follow(self, tensor: torch.Tensor, size: int) -> None:
        storage = tensor.untyped_storage()
        address = id(storage)
        if address not in self._held:
            self._held[address] = (weakref.ref(storage, lambda _: self._release(address)), size)
            self.live_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _release(self, address: int) -> None:
        _, size = self._held.pop(address)
        self.live_bytes -= size
