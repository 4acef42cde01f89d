"""Query-independent context: one vector for all positions (SNL, GC, SE)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Implementation, inner_width
from modules.attention_pooling import pool_by_key
from modules.observation import observe
from modules.registry import register

_GCNET = "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond"


def pool_by_attention(x_BCHW: Tensor, logits_B1HW: Tensor) -> Tensor:
    """The context (B,C,1,1): positions summed with softmax weights, as a matrix product (GCNet Eq. 3)."""
    alpha_BN1 = torch.softmax(logits_B1HW.flatten(2), dim=-1).transpose(1, 2)
    observe(attention=alpha_BN1.transpose(1, 2))
    return torch.bmm(x_BCHW.flatten(2), alpha_BN1).unsqueeze(-1)


@register("snl", family="context", paper=_GCNET, equation="Eq. 3")
class SimplifiedNonLocal(nn.Module):
    """Simplified non-local block: one attention map for all queries, z = x + Wv sum(alpha x).

    Args:
        channels: C.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,C,H,W).
    """

    def __init__(self, channels: int, impl: Implementation = "reference") -> None:
        super().__init__()
        self.impl = impl
        self.key = nn.Conv2d(channels, 1, 1)
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        context: Tensor = self.value(
            pool_by_key(x, self.key) if self.impl == "fused" else pool_by_attention(x, self.key(x))
        )
        return x + context


@register("gc", family="context", paper=_GCNET, equation="Eq. 5")
class GlobalContext(nn.Module):
    """Global context block: pooled context through a bottleneck with layer norm, added or multiplied to x.

    Args:
        channels: C.
        ratio: r of the bottleneck C -> C/r -> C.
        pooling: attention pooling as in SNL, or the average.
        fusion: add the context, multiply by its sigmoid, or both: first multiply, then add.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,C,H,W). The last convolution of each branch starts at zero.

    Raises:
        ValueError: C is not divisible by r.
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        pooling: Literal["att", "avg"] = "att",
        fusion: Literal["add", "mul", "both"] = "add",
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        self.impl = impl
        if ratio < 1:
            raise ValueError(f"ratio must be at least 1, not {ratio}")
        if channels % ratio:
            raise ValueError(f"channels {channels} are not divisible by the ratio {ratio}")
        width = inner_width(channels, parts=ratio)
        self.key = nn.Conv2d(channels, 1, 1) if pooling == "att" else None
        self.multiply = _transform(channels, width) if fusion != "add" else None
        self.add = _transform(channels, width) if fusion != "mul" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.key is None:
            context = functional.adaptive_avg_pool2d(x, 1)
        else:
            context = pool_by_key(x, self.key) if self.impl == "fused" else pool_by_attention(x, self.key(x))
        if self.multiply is not None:
            x = x * torch.sigmoid(self.multiply(context))
        if self.add is not None:
            x = x + self.add(context)
        return x


@register("se", family="context", paper=_GCNET, equation="Eq. 4; Squeeze-and-Excitation Networks, Eq. 2-4")
class SqueezeExcitation(GlobalContext):
    """Squeeze-excitation in GCNet's frame: average pooling, bottleneck with layer norm, sigmoid gate.

    Args:
        channels: C.
        ratio: r of the bottleneck C -> C/r -> C.

    Shapes: (B,C,H,W) -> (B,C,H,W).

    Raises:
        ValueError: C is not divisible by r.
    """

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__(channels, ratio=ratio, pooling="avg", fusion="mul")


def _transform(channels: int, width: int) -> nn.Sequential:
    last = nn.Conv2d(width, channels, 1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.LayerNorm([width, 1, 1]), nn.ReLU(inplace=True), last)
