"""One pass over the operators of a call, on meta tensors: nothing is executed, everything is seen."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Operator = torch._ops.OpOverload


class Observer(Protocol):
    """Something that wants to see each operator with its tensors."""

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        """Called after `operator` gave `outputs`."""


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows every operator that runs inside the `with` block to its observers.

    Composite operators are taken apart as autograd would, so observers see the primitive ones only.
    """

    def __init__(self, *observers: Observer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._observers = observers
        self._paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, operators run unseen."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __torch_dispatch__(
        self, func: Operator, types: object, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        outputs = func(*args, **kwargs)
        if not self._paused:
            for observer in self._observers:
                observer.see(func, args, kwargs, outputs)
        return outputs


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Every tensor in operator arguments or outputs, lists included."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors_in(value)


def moves_no_data(operator: Operator) -> bool:
    """Whether the operator only looks at existing storage (views and their unsafe kin)."""
    return operator._schema.name in _VIEWS or _is_view(operator)


@functools.cache
def _is_view(operator: Operator) -> bool:
    return operator.is_view


@functools.cache
def _is_composite(operator: Operator) -> bool:
    return operator.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


_VIEWS = frozenset({"aten::_unsafe_view", "aten::detach", "aten::lift_fresh", "aten::_reshape_alias", "aten::alias"})
