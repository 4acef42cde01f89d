"""Tally: what one forward call consists of, kind by kind, so that every counting rule can be applied afterwards."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from bench.static.flops import DispatchCount, plain_name
from bench.static.operators import Operator
from bench.static.trace import tensors_in

Kind: TypeAlias = Literal["convolution", "matmul", "batch_norm", "relu", "pool"]


@dataclass(frozen=True)
class Call:
    """One operator call that some published convention counts.

    Attributes:
        kind: convolutions include transposed ones; `matmul` is every matrix product, linear layers and attention
            included; `pool` is average and maximum pooling, adaptive or not, 1-D to 3-D.
        module: path of the innermost module that made the call, empty for the outermost.
        weight: name of the learned weight, the same for all calls that share it; null where there is none.
        macs: multiply-adds, as `DispatchCount` finds them.
        elements: of the output; of the input for `pool`.
        bias: elements of a convolution's output if it adds a bias, else 0.
        spread: multiply-adds that a transposed convolution would have more if its kernel were counted at every output
            position instead of every input position, else 0.
        cells: elements of the output of `pool`, else 0.
    """

    kind: Kind
    module: str
    weight: str | None
    macs: int
    elements: int
    bias: int
    spread: int = 0
    cells: int = 0


class Tally:
    """Writes down the calls of a module in order; an observer of a `Trace`.

    Holds sizes and names alone, never a tensor, so that it changes nothing that `LiveStorage` sees beside it. Without
    `watch` every call is the outermost module's and no weight has a name.

    Batch norm counts under every name that it is dispatched as, instance norm, which is dispatched as one, included;
    in-place ReLU counts as ReLU. Average pooling to a single cell is dispatched as a mean; therefore a mean over every
    spatial axis of a map (B,C,H,W) or clip (B,C,T,H,W), and over nothing else, is pooling, however it was written.

    Attributes:
        calls: so far.
        macs: multiply-adds so far.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._names: dict[int, str] = {}
        self._path = [""]

    @property
    def macs(self) -> int:
        return sum(call.macs for call in self.calls)

    @contextlib.contextmanager
    def watch(self, module: nn.Module) -> Iterator[None]:
        """While the block runs, know the parts and weights of `module` by name; afterwards it is as it was."""
        self._names = {id(value.untyped_storage()): name for name, value in module.named_parameters()}
        with contextlib.ExitStack() as hooks:
            for name, part in module.named_modules():
                enter = functools.partial(self._enter, name)
                hooks.callback(part.register_forward_pre_hook(enter).remove)
                hooks.callback(part.register_forward_hook(self._leave, always_call=True).remove)
            yield
        self._names = {}

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        count = DispatchCount()
        count.see(operator, args, kwargs, outputs)
        name = plain_name(operator._schema.name)
        kind = _kind(name, count.macs)
        if kind is None:
            return
        if name == "mean" and not _covers_space(args[0], _given(operator, args, kwargs, "dim")):
            return
        out = next(tensors_in(outputs))
        biased = kind == "convolution" and _given(operator, args, kwargs, "bias") is not None
        transposed = kind == "convolution" and bool(_given(operator, args, kwargs, "transposed"))
        self.calls.append(
            Call(
                kind=kind,
                module=self._path[-1],
                weight=self._weight(args),
                macs=count.macs,
                elements=args[0].numel() if kind == "pool" else out.numel(),
                bias=out.numel() if biased else 0,
                spread=_spread(count.macs, args[0], out) if transposed else 0,
                cells=out.numel() if kind == "pool" else 0,
            )
        )

    def _weight(self, args: Sequence[Any]) -> str | None:
        """The name of the learned operand; of several the one with most axes, which is never a bias."""
        learned = [tensor for tensor in tensors_in(args) if id(tensor.untyped_storage()) in self._names]
        chosen = max(learned, key=Tensor.dim, default=None)
        return None if chosen is None else self._names[id(chosen.untyped_storage())]

    def _enter(self, name: str, module: nn.Module, args: object) -> None:
        self._path.append(name)

    def _leave(self, module: nn.Module, args: object, output: object) -> None:
        self._path.pop()


def _kind(name: str, macs: int) -> Kind | None:
    if "backward" in name:
        return None
    if macs:
        return "convolution" if "conv" in name else "matmul"
    if "batch_norm" in name:
        return "batch_norm"
    if name == "relu":
        return "relu"
    return "pool" if "_pool" in name or name == "mean" else None


def _spread(macs: int, x: Tensor, out: Tensor) -> int:
    return macs * out[0, 0].numel() // x[0, 0].numel() - macs


def _given(operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], name: str) -> Any:
    """An argument of an operator by its name, wherever it stands; null where the operator has none."""
    for position, argument in enumerate(operator._schema.arguments):
        if argument.name == name:
            return args[position] if position < len(args) else kwargs.get(name)
    return None


def _covers_space(x: Tensor, dims: Sequence[int] | None) -> bool:
    """Whether axes are exactly those after (B,C) of a map or clip."""
    if dims is None or x.dim() not in (4, 5):
        return False
    return sorted(dim % x.dim() for dim in dims) == list(range(2, x.dim()))
