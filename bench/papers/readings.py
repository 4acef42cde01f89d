"""Readings: what a network costs if its tables were counted as only their printed digits suggest.

No text or code says so: each rule names the parts of the built network that it counts otherwise, and by how much.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import nn

from bench.case import Case
from bench.papers.conventions import ptflops, ptflops_modules, recount
from bench.workload import build
from modules.comparison import DualHead
from modules.criss_cross import CrissCross
from modules.dual_attention import PositionAttention
from modules.global_context import GlobalContext

Reading: TypeAlias = Callable[[Case], int]

_GATE = 2 * 7 * 7


def ptflops_criss_cross(case: Case) -> int:
    """`ptflops`, of a criss-cross pass with 2 N (H+W-1) D for its two products.

    Executed are N (H+W) (D+C): the position itself lies in its row and its column, and values have C channels.

    Used by GCNet Table 13, row CCNet.
    """
    reach = case.height + case.width - 1
    passes = sum(
        part.recurrence * part.query.out_channels for part in _network(case).modules() if isinstance(part, CrissCross)
    )
    return ptflops_modules(recount(case).tally) + 2 * case.positions * reach * passes


def ptflops_dual(case: Case) -> int:
    """`ptflops`, with the convolutions of position attention counted twice, and the classifier called for each branch
    as well as for their sum.

    Used by GCNet Table 13, row DANet.
    """
    more: dict[str, int] = {}
    for name, part in _network(case).named_modules():
        if isinstance(part, PositionAttention):
            more |= {f"{name}.{inner}": 1 for inner, layer in part.named_modules() if isinstance(layer, nn.Conv2d)}
        if isinstance(part, DualHead):
            more[f"{name}.classify"] = len(part.branches)
    tally = recount(case).tally
    return ptflops(tally) + sum(more.get(call.module, 0) * (call.macs + call.bias) for call in tally.calls)


def senet_params(case: Case) -> int:
    """Parameters, of a squeeze-excitation block the two matrices alone: 2/r sum of N_s C_s^2 over its stages.

    Neither biases nor layer norm count. The formula of Squeeze-and-Excitation Networks, Eq. 5.

    Used by GCNet Table 8(b), rows avg, and Table 9, row SENet.
    """
    small = 0
    for block in _blocks(_network(case)):
        matrices = sum(layer.weight.numel() for layer in block.modules() if isinstance(layer, nn.Conv2d))
        small += sum(weight.numel() for weight in block.parameters()) - matrices
    return recount(case).params - small


def cbam_params(case: Case) -> int:
    """The same, with a gate of positions in each block: a 7x7 convolution of two maps, without bias.

    Used by GCNet Table 9, row CBAM.
    """
    return senet_params(case) + _GATE * len(_blocks(_network(case)))


READINGS: Mapping[str, Reading] = types.MappingProxyType(
    {reading.__name__: reading for reading in (ptflops_criss_cross, ptflops_dual, senet_params, cbam_params)}
)


def _network(case: Case) -> nn.Module:
    return build(case, "meta").module


def _blocks(network: nn.Module) -> list[GlobalContext]:
    return [part for part in network.modules() if isinstance(part, GlobalContext)]
