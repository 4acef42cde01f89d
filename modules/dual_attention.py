"""Dual attention: positions that attend to positions, channels that attend to channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.attention import Implementation, as_map, attend, inner_width
from modules.pointwise import joined, on_map, positions, prefers_channels_last, times, tokens
from modules.registry import register

_DANET = "Dual Attention Network for Scene Segmentation"


@register("pam", family="context", paper=_DANET, equation="Eq. 1-2")
class PositionAttention(nn.Module):
    """Position attention: each position gathers from all by softmax(q.k), scaled by a learned gamma, + x.

    q, k: 1x1 C->D with bias, v: 1x1 C->C with bias; the logits are not scaled. gamma starts at 0, so that a new
    block is the identity.

    Args:
        channels: C.
        inner: D; C/8 where not given.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> the same. MACs: N (2CD + C^2) + N^2 (D + C).

    Raises:
        ValueError: C is not divisible by 8 and `inner` not given; `inner` below 1.
    """

    def __init__(self, channels: int, inner: int | None = None, impl: Implementation = "reference") -> None:
        super().__init__()
        self.impl = impl
        width = inner_width(channels, inner, parts=8)
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.impl == "fused":
            return self._fused(x)
        query_BND = self.query(x).flatten(2).transpose(1, 2)
        value_BNC = self.value(x).flatten(2).transpose(1, 2)
        gathered_BNC = attend(query_BND, self.key(x).flatten(2), value_BNC)
        return x + self.gamma * as_map(gathered_BNC, x.shape[2], x.shape[3])

    def _fused(self, x: Tensor) -> Tensor:
        """gamma scales the projection of the values, whose weighted mean then joins x as it is."""
        query_BND, key_BND = tokens(x, self.query, self.key)
        weight_CC, bias_C = joined(self.value)
        assert bias_C is not None
        value_BNC = times(positions(x), self.gamma * weight_CC.t(), self.gamma * bias_C)
        gathered_BNC = attend(query_BND, key_BND.transpose(1, 2), value_BNC, impl="fused")
        return x + on_map(gathered_BNC.transpose(1, 2), x)


@register("cam", family="context", paper=_DANET, equation="Eq. 3-4")
class ChannelAttention(nn.Module):
    """Channel attention: each channel gathers from all by softmax of their products, scaled by a learned gamma, + x.

    There are no projections: the C x C affinity is that of the map's own channels. gamma starts at 0.

    Args:
        channels: C; whatever the map has is taken, as no weight depends on it.
        negate: softmax(-X X^T), which is what the authors' code does: it subtracts each row from its maximum, and
            softmax does not see the shift. The paper's Eq. 3 is softmax(X X^T).
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> the same. MACs: 2NC^2.
    """

    def __init__(self, channels: int, negate: bool = True, impl: Implementation = "reference") -> None:
        super().__init__()
        self.impl = impl
        self.scale = -1.0 if negate else None
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        x_BCN = x.flatten(2)
        if self.impl == "fused":
            logits_BCC = torch.bmm(x_BCN, x_BCN.transpose(1, 2))
            weight_BCC = self.gamma * torch.softmax(logits_BCC if self.scale is None else -logits_BCC, dim=-1)
            if prefers_channels_last(x):
                x_BNC = positions(x)
                return on_map(times(x_BNC, weight_BCC.transpose(1, 2), x_BNC).transpose(1, 2), x)
            return on_map(times(weight_BCC, x_BCN, x_BCN), x)
        gathered_BCN = attend(x_BCN, x_BCN.transpose(1, 2), x_BCN, scale=self.scale)
        return x + self.gamma * gathered_BCN.view(x.shape)
