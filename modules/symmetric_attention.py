"""Symmetric attention: softmax attention of positions by their own vectors, each pair's logit computed once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules.blockwise import add_product, product

TILE_ELEMENTS = 2**20
"""Of a tile of logits, all images together: large enough for the matrix product, small enough for a cache."""
_SMALLEST = 64


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a compiler would only unroll the tiles
def attend_symmetric(x_BND: Tensor, value_BNE: Tensor, scale: float) -> Tensor:
    """softmax(scale * x x^T) value.

    The logits of i to j are those of j to i, so that tiles on one side of the diagonal make the rows of both. That
    saves half of the one product of the width D, and one and a half of three in the backward pass, of which one
    computes the logits again. There is never more than a tile of the N x N matrix, and what is kept for the backward
    pass is x, value, the result and a number a position.

    Args:
        x_BND: what asks and is asked.
        value_BNE: what is gathered.
        scale: of the logits.

    Returns:
        O of shape (B,N,E).

    Source: Non-local Neural Networks, Eq. 2 (gaussian). Maxima and sums of a row that is not yet complete are
    corrected as in FlashAttention, Sec. 3.1; its gradient is that of Sec. 3.1 and B.2.
    """
    least = min((x_BND.dtype, value_BNE.dtype), key=lambda dtype: dtype.itemsize)
    x_BND, value_BNE = x_BND.to(least), value_BNE.to(least)
    if torch.is_grad_enabled() and (x_BND.requires_grad or value_BNE.requires_grad):
        result: Tensor = _Symmetric.apply(x_BND, value_BNE, scale)  # type: ignore[no-untyped-call]
        return result
    return _forward(x_BND, value_BNE, scale)[0]


class _Symmetric(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, value: Tensor, scale: float) -> Tensor:
        result, norm = _forward(x, value, scale)
        context.save_for_backward(x, value, result, norm)
        context.scale = scale
        return result

    @staticmethod
    @once_differentiable
    def backward(context: Any, *incoming: Tensor) -> tuple[Tensor, Tensor, None]:
        x, value, result, norm = context.saved_tensors
        (given,), scale = incoming, context.scale
        mean = (given * (result - value)).sum(2, dtype=norm.dtype)  # but for each position's own slope, see below
        to_x, to_value = (torch.zeros_like(part, dtype=norm.dtype) for part in (x, value))
        for rows, columns, rooms in _tiles(x, norm.dtype, 4):
            logits, weights, slope, other = rooms
            product(x[:, rows], x[:, columns].mT, scale, logits)

            _weigh(logits, norm[:, rows, None], weights)
            add_product(to_value[:, columns], weights.mT.to(value.dtype), given[:, rows])
            product(given[:, rows], value[:, columns].mT, 1.0, slope)
            if rows == columns:  # so that rounding cancels where a position attends to itself alone
                mean[:, rows] += slope.diagonal(dim1=1, dim2=2)
            slope.sub_(mean[:, rows, None]).mul_(weights)
            if rows == columns:
                both = torch.add(slope, slope.mT, out=weights).to(x.dtype)
                add_product(to_x[:, rows], both, x[:, rows], scale)
                continue

            _weigh(logits, norm[:, None, columns], weights)
            add_product(to_value[:, rows], weights.to(value.dtype), given[:, columns])
            product(value[:, rows], given[:, columns].mT, 1.0, other)
            both = slope.add_(other.sub_(mean[:, None, columns]).mul_(weights)).to(x.dtype)
            add_product(to_x[:, rows], both, x[:, columns], scale)
            add_product(to_x[:, columns], both.mT, x[:, rows], scale)
        return to_x.to(x.dtype), to_value.to(value.dtype), None


def _forward(x: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The result, and of each position the logarithm of the sum that its softmax divides by."""
    exact = torch.promote_types(x.dtype, torch.float32)
    highest = x.new_full(x.shape[:2], -math.inf, dtype=exact)
    total = torch.zeros_like(highest)
    result = value.new_zeros(value.shape, dtype=exact)

    def gather(asking: slice, asked: slice, logits: Tensor, weights: Tensor) -> None:
        now = torch.maximum(highest[:, asking], logits.amax(2))
        fewer = torch.exp(highest[:, asking] - now)
        _weigh(logits, now[:, :, None], weights)
        total[:, asking].mul_(fewer).add_(weights.sum(2))
        add_product(result[:, asking].mul_(fewer[:, :, None]), weights.to(value.dtype), value[:, asked])
        highest[:, asking] = now

    for rows, columns, (logits, weights) in _tiles(x, exact, 2):
        product(x[:, rows], x[:, columns].mT, scale, logits)
        gather(rows, columns, logits, weights)
        if rows != columns:
            gather(columns, rows, logits.mT, weights.mT)
    return result.div_(total[:, :, None]).to(value.dtype), highest + total.log()


def _weigh(logits: Tensor, norm: Tensor, out: Tensor) -> None:
    """out = exp(logits - norm), and the root of the smallest number where that would be less.

    Beside a weight of 1 that is nothing, while numbers near the smallest make exponentials and products several times
    as slow.
    """
    torch.sub(logits, norm, out=out).clamp_(min=math.log(torch.finfo(out.dtype).tiny) / 2).exp_()


def _tiles(x: Tensor, dtype: torch.dtype, count: int) -> Iterator[tuple[slice, slice, list[Tensor]]]:
    """The tiles on the diagonal, then those above it, all of about one size: rows, columns, room for `count` tiles."""
    batch, positions, _ = x.shape
    most = max(_SMALLEST, math.isqrt(TILE_ELEMENTS // max(1, batch)))
    side = -(-positions // -(-positions // most))
    rooms = x.new_empty((count, batch * side * side), dtype=dtype)
    parts = [slice(start, min(start + side, positions)) for start in range(0, positions, side)]
    for rows, columns in [*zip(parts, parts, strict=True), *itertools.combinations(parts, 2)]:
        shape = (batch, rows.stop - rows.start, columns.stop - columns.start)
        yield rows, columns, [room[: math.prod(shape)].view(shape) for room in rooms]
