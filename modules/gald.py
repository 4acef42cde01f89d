"""Global aggregation and local distribution, in any order and with any context block."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from modules.attention import Implementation, inner_width
from modules.local_distribution import DynamicLocalDistribution, LocalDistribution, strided_depthwise
from modules.options import SpecError
from modules.pyramid import upsample
from modules.registry import create_nested, read_nested, register


def aggregation(spec: str, channels: int, impl: Implementation = "reference") -> nn.Module:
    """A context block of the registry, `name` or `name/option=value`, that returns as many channels as it takes.

    `psp` and `aspp` end in a bottleneck to `channels` and have the widths of GALD's; its PSP has no ReLU in the levels.

    Raises:
        SpecError: there is no such context block, or it cannot be built for `channels`.
    """
    name, _ = read_nested(spec)
    if name == "psp":
        return create_nested(spec, channels, impl, width=channels, out=channels, activation=False)
    if name == "aspp":
        return create_nested(spec, channels, impl, width=inner_width(channels), out=channels)
    return create_nested(spec, channels, impl)


@register(
    "gald", family="context", paper="Global Aggregation then Local Distribution (GALD)", equation="Eq. 1-2, Fig. 3"
)
class GlobalAggregationLocalDistribution(nn.Module):
    """Global aggregation (GA) at half resolution and local distribution (LD) of its result.

    GA: depthwise 3x3 of stride 2 without padding, batch norm, ReLU, any context block, bilinear upsampling.

    Args:
        channels: C.
        ga: the context block that aggregates, `name` or `name/option=value`; any but `gald`.
        ld: masks (`v1`, see `ldv1`) or local affinity (`v2`, see `ldv2`: X_g is GA's result, X_l the input).
        arrangement: LD of GA(x); GA of LD(x); or both of x, concatenated.
        residual: what v1 returns: x * (1 + M) as in the paper, or x * (2 + M) as in the authors' code.
        impl: of both parts, where `ga` has it: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,C,H,W); [LD, GA] of 2C channels for `parallel`. H and W are at least 3, with v1 15.

    Raises:
        ValueError: `ga` is no context block or `gald`, or does not fit C; `residual=code` with v2; a map too small.
    """

    def __init__(
        self,
        channels: int,
        ga: str = "cgnl",
        ld: Literal["v1", "v2"] = "v1",
        arrangement: Literal["gald", "ldga", "parallel"] = "gald",
        residual: Literal["paper", "code"] = "paper",
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        if read_nested(ga)[0] == "gald":
            raise SpecError("ga cannot be 'gald' itself; allowed: any other context block")
        if residual == "code" and ld == "v2":
            raise ValueError("residual=code is defined for ld=v1 only, not for ld=v2")
        self.channels, self.arrangement, self.residual = channels, arrangement, residual
        self.down = strided_depthwise(channels)
        self.ga = aggregation(ga, channels, impl)
        build = LocalDistribution if ld == "v1" else DynamicLocalDistribution
        self.ld = build(channels, impl=impl)

    def forward(self, x: Tensor) -> Tensor:
        if self.arrangement == "ldga":
            return self._aggregate(self._distribute(x, x))
        x_g = self._aggregate(x)
        if self.arrangement == "parallel":
            return torch.cat([self._distribute(x, x), x_g], dim=1)
        return self._distribute(x_g, x)

    def _aggregate(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < 3:
            raise ValueError(f"gald needs a map of at least 3x3, not {x.shape[2]}x{x.shape[3]}")
        result: Tensor = self.ga(self.down(x))
        if result.shape[1] != self.channels:
            raise ValueError(f"ga must return {self.channels} channels, not {result.shape[1]}")
        return upsample(result, like=x)

    def _distribute(self, x_g: Tensor, x_l: Tensor) -> Tensor:
        result: Tensor = self.ld(x_g) if isinstance(self.ld, LocalDistribution) else self.ld(x_g, x_l)
        return result + x_g if self.residual == "code" else result
