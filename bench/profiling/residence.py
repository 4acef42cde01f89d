"""Residence: live traced memory by the class of the operator that made it, operator by operator, and at the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.profiling.classes import class_of
from bench.profiling.record import CLASSES
from bench.static.memory import LiveStorage
from bench.static.operators import Operator, moves_no_data


@dataclass(frozen=True)
class Step:
    """What is alive right after one operator.

    Attributes:
        operator: its name, `bmm`.
        live: bytes by class, in the order of `CLASSES`.
    """

    operator: str
    live: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return sum(self.live)


@dataclass(frozen=True)
class Resident:
    """A storage that operators made.

    Attributes:
        operator: that made it.
        kind: class of that operator.
        shape: of the tensor that was made first.
        bytes: as an allocator hands them out.
    """

    operator: str
    kind: str
    shape: tuple[int, ...]
    bytes: int


class Residence(LiveStorage):
    """`LiveStorage` that also remembers who made what is alive; an observer of a `Trace`.

    Attributes:
        steps: one for each operator so far, views left out.
        at_peak: what was alive when there was most.
        peak_step: number of the operator that made the peak, as in `steps`; null while nothing has been allocated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.at_peak: tuple[Resident, ...] = ()
        self.peak_step: int | None = None
        self._operator = ""
        self._residents: dict[int, Resident] = {}
        self._live = dict.fromkeys(CLASSES, 0)

    @property
    def peak_by_class(self) -> dict[str, int]:
        """Bytes alive at the peak by class; they add up to `peak_bytes`."""
        return {kind: sum(one.bytes for one in self.at_peak if one.kind == kind) for kind in CLASSES}

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        self._operator = operator._overloadpacket.__name__
        super().see(operator, args, kwargs, outputs)
        if not moves_no_data(operator):
            self.steps.append(Step(self._operator, tuple(self._live.values())))

    def _follow(self, tensor: Tensor, size: int) -> None:
        address, before = id(tensor.untyped_storage()), self.peak_bytes
        if address in self._held:
            return
        super()._follow(tensor, size)
        kind = class_of(self._operator)
        self._residents[address] = Resident(self._operator, kind, tuple(tensor.shape), size)
        self._live[kind] += size
        if self.peak_bytes > before:
            self.at_peak = tuple(one for one in self._residents.values() if one.bytes)
            self.peak_step = len(self.steps)

    def _release(self, address: int) -> None:
        super()._release(address)
        gone = self._residents.pop(address)
        self._live[gone.kind] -= gone.bytes
