"""Criss-cross attention: every position attends to its row and column, and by recurrence to the whole map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.attention import Implementation, inner_width
from modules.pointwise import joined, on_map, positions, times
from modules.registry import register


def columns(map_BDHW: Tensor) -> Tensor:
    """(B*W,H,D): each column as a sequence."""
    return map_BDHW.permute(0, 3, 2, 1).flatten(0, 1)


def rows(map_BDHW: Tensor) -> Tensor:
    """(B*H,W,D): each row as a sequence."""
    return map_BDHW.permute(0, 2, 3, 1).flatten(0, 1)


@register(
    "criss_cross", family="context", paper="CCNet: Criss-Cross Attention for Semantic Segmentation", equation="Eq. 1-2"
)
class CrissCross(nn.Module):
    """Criss-cross attention: each position gathers from its row and column, `recurrence` times with the same weights.

    q, k: 1x1 C->D with bias, v: 1x1 C->C with bias; softmax over the H + W - 1 positions, without scale. The column
    holds the position itself too: that logit is computed and then set to -inf. Each time the result, times a learned
    gamma that starts at 0, is added to the input. After two times every position has seen every other.

    Args:
        channels: C.
        recurrence: how often the attention is applied.
        inner: D; C/8 where not given.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> the same. MACs: each time N (2CD + C^2) + N (H + W) (D + C).

    Raises:
        ValueError: C is not divisible by 8 and `inner` not given; `inner` or `recurrence` below 1.
    """

    def __init__(
        self,
        channels: int,
        recurrence: int = 2,
        inner: int | None = None,
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        self.impl = impl
        if recurrence < 1:
            raise ValueError(f"recurrence must be at least 1, not {recurrence}")
        width = inner_width(channels, inner, parts=8)
        self.recurrence = recurrence
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            x = x + (self._scaled(x) if self.impl == "fused" else self.gamma * self.gather(x))
        return x

    def gather(self, x: Tensor) -> Tensor:
        """What each position gathers from its row and column once: a map of the shape of x."""
        return self._gathered(self.query(x), self.key(x), self.value(x))

    def _scaled(self, x: Tensor) -> Tensor:
        """gamma times the same: the projections are one product, in which gamma scales the values' weights."""
        (weight_DC, bias_D), (value_CC, value_C) = joined(self.query, self.key), joined(self.value)
        assert bias_D is not None
        assert value_C is not None
        weight = torch.cat([weight_DC, self.gamma * value_CC])
        product_BNE = times(positions(x), weight.t(), torch.cat([bias_D, self.gamma * value_C]))
        maps_BEHW = on_map(product_BNE.transpose(1, 2), x)
        inner = self.query.out_channels
        return self._gathered(*torch.split(maps_BEHW, [inner, inner, x.shape[1]], dim=1))

    def _gathered(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, _, height, width = value.shape
        vertical = torch.bmm(columns(query), columns(key).transpose(1, 2))
        vertical.diagonal(dim1=1, dim2=2).fill_(float("-inf"))
        horizontal = torch.bmm(rows(query), rows(key).transpose(1, 2))
        logits_BHWS = torch.cat(
            [
                vertical.view(batch, width, height, height).transpose(1, 2),
                horizontal.view(batch, height, width, width),
            ],
            dim=3,
        )
        weights_BHWS = torch.softmax(logits_BHWS, dim=3)
        vertical, horizontal = weights_BHWS[..., :height], weights_BHWS[..., height:]
        from_column = torch.bmm(vertical.transpose(1, 2).flatten(0, 1), columns(value))
        from_row = torch.bmm(horizontal.flatten(0, 1), rows(value))
        column_BCHW = from_column.view(batch, width, height, -1).permute(0, 3, 2, 1)
        row_BCHW = from_row.view(batch, height, width, -1).permute(0, 3, 1, 2)
        spare = self.impl == "fused" and not torch.is_grad_enabled()
        return row_BCHW.add_(column_BCHW) if spare else column_BCHW + row_BCHW
