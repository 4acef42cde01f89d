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
from modules import registry

Reading: TypeAlias = Callable[[Case], int]

_GATE = 2 * 7 * 7


def ptflops_criss_cross(case: Case) -> int:
    """`ptflops`, of a criss-cross pass with 2 N (H+W-1) D for its two products.

    Executed are N (H+W) (D+C): the position itself lies in its row and its column, and values have C channels.

    Used by GCNet Table 13, row CCNet.
    """
    tally, reach = recount(case).tally, case.height + case.width - 1
    queries = {f"{name}.query" for name in _parts(case, "criss_cross")}
    return ptflops_modules(tally) + sum(2 * reach * call.elements for call in tally.calls if call.module in queries)


def ptflops_dual(case: Case) -> int:
    """`ptflops`, with the convolutions of position attention counted twice, and the classifier, which is the last
    convolution, called for each branch as well as for their sum.

    Used by GCNet Table 13, row DANet.
    """
    tally = recount(case).tally
    convolutions = [call for call in tally.calls if call.kind == "convolution"]
    position = tuple(f"{name}." for name in _parts(case, "pam"))
    more = [call for call in convolutions if call.module.startswith(position)]
    more += convolutions[-1:] * len(_parts(case, "pam", "cam"))
    return ptflops(tally) + sum(call.macs + call.bias for call in more)


def senet_params(case: Case) -> int:
    """Parameters, of a squeeze-excitation block the two matrices alone: 2/r sum of N_s C_s^2 over its stages.

    Neither biases nor layer norm count. The formula of Squeeze-and-Excitation Networks, Eq. 5.

    Used by GCNet Table 8(b), rows avg, and Table 9, row SENet.
    """
    small = 0
    for block in _parts(case, "se", "gc").values():
        matrices = sum(layer.weight.numel() for layer in block.modules() if isinstance(layer, nn.Conv2d))
        small += sum(weight.numel() for weight in block.parameters()) - matrices
    return recount(case).params - small


def cbam_params(case: Case) -> int:
    """The same, with a gate of positions in each block: a 7x7 convolution of two maps, without bias.

    Used by GCNet Table 9, row CBAM.
    """
    return senet_params(case) + _GATE * len(_parts(case, "se", "gc"))


READINGS: Mapping[str, Reading] = types.MappingProxyType(
    {reading.__name__: reading for reading in (ptflops_criss_cross, ptflops_dual, senet_params, cbam_params)}
)


def _parts(case: Case, *entries: str) -> dict[str, nn.Module]:
    """The blocks of these entries in the case's network, by their path."""
    kinds = {registry.describe(entry).build for entry in entries}
    return {name: part for name, part in build(case, "meta").module.named_modules() if type(part) in kinds}
