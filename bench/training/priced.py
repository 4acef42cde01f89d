"""Priced: whatever can be trained as an entry of the registry, so that a sweep measures just what was trained.

Loaded as a plugin: compositions, controls, and blocks with the options that suit a small map have no entry otherwise.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from bench.training.chain import read_chain
from bench.training.network import build_block
from bench.training.record import PRICED, unpacked
from modules.registry import register


@register(PRICED, family="context")
class Trained(nn.Module):
    """A block as it is trained, composition or control.

    Args:
        channels: C.
        chain: its label, with `@` for `:` and `;` for `,`, see `bench.training.record.packed`.
        impl: of the blocks that have it; the others are as published.

    Shapes: (B,C,H,W) -> (B,C',H,W).
    """

    def __init__(
        self, channels: int, chain: str = "identity", impl: Literal["reference", "fused"] = "reference"
    ) -> None:
        super().__init__()
        self.block = build_block(read_chain(unpacked(chain)), channels, impl=impl)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return y
