"""Compact generalised non-local block: attention over channels and positions at linear cost."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Implementation, inner_width
from modules.pointwise import joined
from modules.registry import register


@register("cgnl", family="context", paper="Compact Generalized Non-local Network", equation="Sec. 3")
class CompactNonLocal(nn.Module):
    """Compact generalised non-local block: per group one scalar p.g over all channels and positions scales t.

    t, p, g: 1x1 C->D without bias; z: grouped 1x1 D->C; group norm; + x. There is never an N x N matrix.

    Args:
        channels: C.
        inner: D; C/2 where not given.
        groups: of D and of C.
        scale: divide the scalar by the root of what it sums over, D/groups * N.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,C,H,W).

    Raises:
        ValueError: C or D is not divisible by the groups.
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        groups: int = 8,
        scale: bool = False,
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        if groups < 1:
            raise ValueError(f"groups must be at least 1, not {groups}")
        if channels % groups:
            raise ValueError(f"channels {channels} are not divisible by {groups} groups")
        width = inner_width(channels, inner)
        if width % groups:
            raise ValueError(f"inner width {width} is not divisible by {groups} groups")
        self.groups, self.scale, self.impl = groups, scale, impl
        self.t = nn.Conv2d(channels, width, 1, bias=False)
        self.p = nn.Conv2d(channels, width, 1, bias=False)
        self.g = nn.Conv2d(channels, width, 1, bias=False)
        self.z = nn.Conv2d(width, channels, 1, groups=groups, bias=False)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.impl == "fused":
            return self._fused(x)
        t, p, g = self.t(x), self.p(x), self.g(x)
        rows = x.shape[0] * self.groups
        affinity = torch.bmm(p.reshape(rows, 1, -1), g.reshape(rows, -1, 1))
        if self.scale:
            affinity = affinity / (t[0].numel() / self.groups) ** 0.5
        scaled = torch.bmm(affinity, t.reshape(rows, 1, -1)).view(t.shape)
        result: Tensor = self.norm(self.z(scaled))
        return result + x

    def _fused(self, x: Tensor) -> Tensor:
        """Each group's scalar scales the weights of z instead of t, and what joins x is written once."""
        result: Tensor = self.norm(self._scaled(x))
        return result.add_(x)

    def _scaled(self, x: Tensor) -> Tensor:
        weight, _ = joined(self.p, self.g)
        batch, width, groups = x.shape[0], self.t.out_channels, self.groups
        t, both = self.t(x), functional.conv2d(x, weight[:, :, None, None]).flatten(2)
        scalars = [torch.bmm(pg[:width].reshape(groups, 1, -1), pg[width:].reshape(groups, -1, 1)) for pg in both]
        affinity = torch.stack(scalars)
        if self.scale:
            affinity = affinity / (t[0].numel() / groups) ** 0.5
        scaled = affinity * self.z.weight.view(1, groups, -1, width // groups)
        z = torch.bmm(scaled.flatten(0, 1), t.reshape(batch * groups, width // groups, -1))
        return z.view(x.shape)
