"""Counting conventions of the papers, by name.

The same network has several costs in print, because each paper let another script count. Each convention here is a
pure function of the `Tally` of one forward call, so that all of them speak of the same call. Memory, anchors and
positions follow from the case itself.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch

from bench.case import Case
from bench.papers.recount import Recount, recount
from bench.papers.tally import Call, Kind, Tally
from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from bench.workload import build
from modules.options import SpecError

__all__ = [
    "COUNTS",
    "Count",
    "Recount",
    "Tally",
    "anchors",
    "ann_memory",
    "ann_memory_stale",
    "macs",
    "macs_pooled",
    "positions",
    "ptflops",
    "ptflops_modules",
    "recount",
    "torchstat",
    "torchstat_apart",
    "twice_macs",
]

Count: TypeAlias = Callable[[Tally], int]

_MIB = 2**20
_LOOPS = 3


def macs(tally: Tally) -> int:
    """Multiply-adds of convolutions, linear layers, matrix products and attention; each executed call counts.

    The rule of this project's `macs` column and of fvcore. Used by GCNet Tables 8 to 11, but for a few rows.
    """
    return tally.macs


def twice_macs(tally: Tally) -> int:
    """Operations, two to a multiply-add: the `flops` column of this project. No table of the five papers uses it."""
    return 2 * tally.macs


def macs_pooled(tally: Tally) -> int:
    """Multiply-adds, and the elements that go into a pooling layer.

    It prints what GCNet Tables 8 and 9 do in every row, also in those without attention pooling, where `macs` does not.
    """
    return tally.macs + _pooled(tally.calls)


def ptflops(tally: Tally) -> int:
    """Multiply-adds and the elements that small layers touch.

    Multiply-adds of convolutions, linear layers and matrix products; one for each output element of a convolution
    with bias; two for each batch-norm element; one for each ReLU element; one for each element that goes into a
    pooling layer. A transposed convolution counts its kernel at every output position, as if it were a plain one. Each
    executed call counts. The rule of the ptflops package, with matrix products added.

    Used by GCNet Tables 5, 7, 12 and 13.
    """
    spread = sum(call.spread for call in tally.calls)
    return tally.macs + spread + _small_layers(tally.calls) + _pooled(tally.calls)


def ptflops_modules(tally: Tally) -> int:
    """The same by hooks of modules: a product of two activations, such as that of attention pooling, is a call of
    torch.matmul, which no hook sees.

    Used by GCNet Table 12(a), rows with GC in the backbone.
    """
    return ptflops(tally) - _macs_of(_products(tally.calls))


def torchstat(tally: Tally) -> int:
    """Counts of modules, of which a repeated call replaces the one before.

    Multiply-adds of convolutions and linear layers, one for each output element of a convolution with bias, two for
    each batch-norm element, one for each ReLU element and each element that goes into a pooling layer; a layer that
    runs twice counts once, as last called. The products of two activations that one module makes are calls of one
    MatMul layer: the last of them counts, at two operations to a multiply-add. The rule of `efficiency_statics`,
    which ANN's authors released (`compute_flops.py`); their non-local block has one such layer.

    Used by ANN Table 1, rows NB.
    """
    return _torchstat(tally, {call.module: call for call in _products(tally.calls)}.values())


def torchstat_apart(tally: Tally) -> int:
    """The same counter where each product of two activations is a MatMul layer of its own, so that none replaces
    another.

    Used by ANN Table 1, rows APNB.
    """
    return _torchstat(tally, _products(tally.calls))


COUNTS: Mapping[str, Count] = types.MappingProxyType(
    {
        count.__name__: count
        for count in (macs, twice_macs, macs_pooled, ptflops, ptflops_modules, torchstat, torchstat_apart)
    }
)


def ann_memory(case: Case) -> float:
    """MiB that a block adds to a loop over fresh inputs, as ANN's timing script had it.

    The peak of live storage of the loop with the block, weights included, minus that of the loop with none. An input
    lives until the next one is there, so that the loop alone holds two. Fresh peak at each size.

    Used by ANN Table 1, at 96x96.
    """
    return (_loop_peak(case) - _null_peak(case)) / _MIB


def ann_memory_stale(case: Case, base_case: Case) -> float:
    """The same, minus a baseline that the loop of `base_case` left behind: the script never reset the peak, so the
    loop with no block read the largest peak so far.

    Used by ANN Table 1, at 256x128, where the block NB at 96x96 ran before.
    """
    return (_loop_peak(case) - max(_null_peak(case), _loop_peak(base_case))) / _MIB


def anchors(case: Case) -> int:
    """S, the positions that keys and values are sampled to; found by sampling a map of the case's size.

    Used by ANN Table 7 and Sec. 3.2.

    Raises:
        SpecError: the block samples nothing.
    """
    work = build(case, "meta")
    sample = getattr(work.module, "sample", None)
    if not isinstance(sample, torch.nn.Module):
        raise SpecError(f"anchors are counted of blocks that sample, such as apnb and afnb, not of {case.label}")
    sampled: torch.Tensor = sample(work.inputs[0][:1, :1])
    return sampled.shape[2]


def positions(case: Case) -> int:
    """N, the positions of the map. Used by ANN Sec. 3.2, N/S."""
    return case.positions


def _of(kind: Kind, calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if call.kind == kind]


def _products(calls: Iterable[Call]) -> list[Call]:
    """Products of two activations, such as an affinity."""
    return [call for call in _of("matmul", calls) if call.weight is None]


def _last_calls(calls: Iterable[Call]) -> list[Call]:
    """The last call of every layer: a layer is its weight, or its module where it has none; one of pooling also has a
    size of output."""
    layers = [call for call in calls if call.kind != "matmul" or call.weight is not None]
    return list({(call.kind, call.weight or call.module, call.cells): call for call in layers}.values())


def _pooled(calls: Iterable[Call]) -> int:
    return sum(call.elements for call in _of("pool", calls))


def _torchstat(tally: Tally, products: Iterable[Call]) -> int:
    last = _last_calls(tally.calls)
    return _macs_of(last) + _small_layers(last) + _pooled(last) + 2 * _macs_of(products)


def _macs_of(calls: Iterable[Call]) -> int:
    return sum(call.macs for call in calls)


def _small_layers(calls: list[Call]) -> int:
    """Bias elements, two for each batch-norm element and one for each ReLU element."""
    norms = sum(call.elements for call in _of("batch_norm", calls))
    rectified = sum(call.elements for call in _of("relu", calls))
    return sum(call.bias for call in calls) + 2 * norms + rectified


@functools.lru_cache(maxsize=512)
def _loop_peak(case: Case) -> int:
    """Peak bytes of a loop that calls the block, its weights included."""
    work, live = build(case, "meta"), LiveStorage()
    for weight in (*work.module.parameters(), *work.module.buffers()):
        live.hold(weight)
    return _peak_of_loop(live, work.inputs, work.module)


def _null_peak(case: Case) -> int:
    """Peak bytes of the same loop with no block in it."""
    return _peak_of_loop(LiveStorage(), build(case, "meta").inputs, None)


def _peak_of_loop(live: LiveStorage, like: Sequence[torch.Tensor], module: torch.nn.Module | None) -> int:
    with torch.no_grad(), Trace(live):
        for _ in range(_LOOPS):
            inputs = [torch.empty_like(tensor) for tensor in like]
            if module is not None:
                module(*inputs)
    return live.peak_bytes
