"""Multiply-adds, counted twice: by PyTorch's dispatch formulas on meta, and by fvcore on the graph of
a call that it runs.

`macs` means multiply-adds of convolutions, linear layers, matrix products and attention, as fvcore counts them. Each
counter also names the operators that it passed over although they work on every element: softmax, pooling,
normalisation, reductions, resampling, and whatever it does not know.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from bench.static.operators import Operator, moves_no_data
from bench.static.taps import executed

_MAC_OPERATORS = frozenset(
    {"conv", "linear", "addmm", "matmul", "mm", "bmm", "baddbmm", "einsum", "attention", "windows"}
)
_CREATION = frozenset(
    {
        *("new_empty", "new_zeros", "new_ones", "new_full", "empty", "empty_like", "empty_strided", "empty_permuted"),
        *("zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "scalar_tensor", "arange", "linspace"),
        *("rand", "rand_like", "randn", "randn_like", "randint", "randperm", "fill_", "zero_"),
    }
)
_MOVEMENT = frozenset(
    {
        *("clone", "copy", "copy_", "_to_copy", "to", "contiguous", "cat", "stack", "constant_pad_nd", "pad", "repeat"),
        *(
            "index",
            "index_select",
            "gather",
            "roll",
            "flip",
            "slice_backward",
            "select_backward",
            "_local_scalar_dense",
        ),
        *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "squeeze", "unsqueeze", "expand"),
        *("expand_as", "chunk", "split", "split_with_sizes", "narrow", "slice", "select", "detach", "size", "numpy_T"),
        *("dropout", "feature_dropout", "meshgrid"),
    }
)


_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_IN_PLACE = {torch.ops.aten.baddbmm_: torch.ops.aten.baddbmm}
_VECTOR_PRODUCTS = {torch.ops.aten.mv: 0, torch.ops.aten.dot: 0, torch.ops.aten.addmv: 1}


@dataclass
class DispatchCount:
    """Counts with the formulas of `torch.utils.flop_counter`, which has none for products with vectors and for those
    added in place; an observer of a `Trace`.

    Attributes:
        macs: multiply-adds so far.
        by_operator: the same, by operator.
        by_class: the same, by class of rate, see `bench.static.taps`.
        executed: the same by class, without the taps of convolutions that fall outside of the map.
        passed_over: calls of operators that have weight but no formula.
    """

    by_operator: Counter[str] = field(default_factory=Counter)
    by_class: Counter[str] = field(default_factory=Counter)
    executed: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def macs(self) -> int:
        return sum(self.by_operator.values())

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        packet = _IN_PLACE.get(operator._overloadpacket, operator._overloadpacket)
        if packet in flop_registry:
            macs = flop_registry[packet](*args, **kwargs, out_val=outputs) // 2
        elif packet is _FLASH:
            query, key, value = args[:3]
            macs = query.numel() * key.shape[2] + outputs[0].numel() * value.shape[2]
        elif packet in _VECTOR_PRODUCTS:
            macs = args[_VECTOR_PRODUCTS[packet]].numel()
        else:
            self.passed_over.update([plain_name(operator._schema.name)] if _has_weight(operator) else [])
            return
        kind, inside = executed(packet, args, outputs)
        self.by_operator[packet.__name__] += macs
        self.by_class[kind] += macs
        self.executed[kind] += macs if inside is None else inside


@dataclass(frozen=True)
class FvcoreCount:
    """What fvcore counts for one forward call.

    Attributes:
        macs: multiply-adds of the operators that count as such.
        by_operator: everything that fvcore gives a figure for, normalisation and pooling included.
        passed_over: calls of operators that have weight but no figure in `macs`.
    """

    macs: int
    by_operator: Counter[str]
    passed_over: Counter[str]


def count_with_fvcore(module: nn.Module, inputs: tuple[Tensor, ...]) -> FvcoreCount:
    """Count one forward call by fvcore, which runs it: its tracer does not work on meta tensors.

    fvcore 0.1.5 passes over `scaled_dot_product_attention` and `baddbmm`, fails on products into a given tensor,
    miscounts matrix products that broadcast, and rounds einsum to four digits; they are given handles here.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # fvcore is built on torch.jit, which newer PyTorch calls deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        for name, handle in _HANDLES.items():
            analysis.set_op_handle(name, handle)
        counted = Counter({name: round(count) for name, count in analysis.by_operator().items()})
        unsupported = analysis.unsupported_ops()
    passed = Counter({plain_name(name): n for name, n in unsupported.items() if _is_weighty_name(name)})
    passed.update(name for name in counted if name not in _MAC_OPERATORS)
    macs = sum(count for name, count in counted.items() if name in _MAC_OPERATORS)
    return FvcoreCount(macs, counted, passed)


def plain_name(name: str) -> str:
    """`aten::_softmax` to `softmax`; operators of other libraries keep their namespace."""
    space, _, operator = name.rpartition("::")
    if space not in ("", "aten"):
        return name
    return operator.strip("_").removeprefix("native_").partition("_legit")[0]


def uncounted(*counters: Iterable[str]) -> list[str]:
    """The operators that one of the counters passed over, each once."""
    return sorted({name for counter in counters for name in counter})


@functools.cache
def _has_weight(operator: Operator) -> bool:
    if moves_no_data(operator) or torch.Tag.pointwise in operator.tags:
        return False
    return operator._overloadpacket.__name__ not in _CREATION | _MOVEMENT


@functools.cache
def _is_weighty_name(name: str) -> bool:
    space, _, plain = name.partition("::")
    if space != "aten":
        return space != "prim"
    packet = getattr(torch.ops.aten, plain, None)
    if packet is None:
        return True
    return _has_weight(getattr(packet, packet.overloads()[0]))


def _matmul(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    inner = inputs[0].type().sizes()[-1]
    return Counter({"matmul": math.prod(outputs[0].type().sizes() or [1]) * inner})


def _batched(name: str, first: int, inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """A batched product, whose operands are `first` and the one after it; an `out` may follow."""
    left, right = (inputs[place].type().sizes() for place in (first, first + 1))
    return Counter({name: math.prod(left) * right[-1]})


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    query, key, value = (inputs[i].type().sizes() for i in range(3))
    pairs = math.prod(query[:-1]) * key[-2]
    return Counter({"attention": pairs * (query[-1] + value[-1])})


def _windows(first: int, inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Products with the k^2 neighbours of every place of a map, or their sums; `first` is the map, k follows."""
    return Counter({"windows": math.prod(inputs[first].type().sizes()) * inputs[2].toIValue() ** 2})


def _einsum(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """One multiply-add for each combination of the indices of two operands; nothing is multiplied with fewer."""
    shapes = [value.type().sizes() for value in inputs[1].node().inputs()]
    terms = inputs[0].toIValue().replace(" ", "").partition("->")[0].split(",")
    if "." in "".join(terms) or len(terms) != 2:
        from fvcore.nn.jit_handles import einsum_flop_jit

        return Counter({"einsum": 0 if len(terms) == 1 else round(einsum_flop_jit(inputs, outputs))})
    extents = {
        index: size for term, shape in zip(terms, shapes, strict=True) for index, size in zip(term, shape, strict=True)
    }
    return Counter({"einsum": math.prod(extents.values())})


_HANDLES = {
    "aten::matmul": _matmul,
    "aten::bmm": functools.partial(_batched, "bmm", 0),
    "aten::baddbmm": functools.partial(_batched, "baddbmm", 1),
    "aten::baddbmm_": functools.partial(_batched, "baddbmm", 1),
    "aten::einsum": _einsum,
    "aten::scaled_dot_product_attention": _attention,
    "contextbench::window_products": functools.partial(_windows, 0),
    "contextbench::window_sums": functools.partial(_windows, 1),
}
