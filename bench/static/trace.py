"""One pass over the operators of a call, on meta tensors: nothing is executed, everything is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.static.operators import Operator, is_composite
from bench.static.shapes import infer


class Observer(Protocol):
    """Something that wants to see each operator with its tensors."""

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        """Called after `operator` gave `outputs`."""


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows every operator that runs inside the `with` block to its observers.

    Composite operators are taken apart as autograd would, so observers see the primitive ones only.

    Attributes:
        strayed: whether an operator gave a tensor that is not on meta.
    """

    def __init__(self, *observers: Observer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._observers = observers
        self.strayed = False

    def __torch_dispatch__(
        self, func: Operator, types: object, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        outputs = infer(func, tuple(args), kwargs)
        self.strayed = self.strayed or any(tensor.device.type != "meta" for tensor in tensors_in(outputs))
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
