"""Blockwise attention: softmax attention a block of queries at a time, so that no N x S matrix is ever there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules.placement import device_kind

BLOCK_BYTES = 2**25
"""Of a block: products fill a card, or are worth the packing of all keys on a CPU, and a last cache holds it."""
MOST_BYTES = 2**27
"""Of a block of a backward pass, which adds to the gradients of all keys once a block."""
_FEWEST, _MOST_ON_CPU = 64, 512
_SHARE = 16


def attend_in_blocks(
    query_BND: Tensor, key_BDS: Tensor, value_BSE: Tensor, scale: float, spare: bool = False
) -> Tensor:
    """softmax(scale * query key) value, where key and value may be of different widths.

    The affinity of a block of queries is there at a time, see `rows_a_block`. The backward pass computes it again from
    query, key and value, which are all that is kept.

    Args:
        query_BND, key_BDS, value_BSE: what asks, what is asked, and what is gathered.
        scale: of the logits.
        spare: whether the result may take the place of the queries, which must then be as wide, without autograd.

    Returns:
        O of shape (B,N,E).

    Source: the recomputation is that of FlashAttention, Sec. 3.1; the blocks here run over queries alone.
    """
    parts = (query_BND, key_BDS, value_BSE)
    least = min((part.dtype for part in parts), key=lambda dtype: dtype.itemsize)
    query_BND, key_BDS, value_BSE = (part.to(least) for part in parts)
    if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
        result: Tensor = _Blockwise.apply(query_BND, key_BDS, value_BSE, scale)  # type: ignore[no-untyped-call]
        return result
    return _forward(query_BND, key_BDS, value_BSE, scale, query_BND if spare else None)


def rows_a_block(query_BND: Tensor, keys: int, backward: bool = False) -> int:
    """How many queries of each image make a block.

    A block is of `BLOCK_BYTES`: some hundreds of rows or more, so that each product is worth its overhead, and at
    128x256 positions still a twentieth of the published form's memory. A CPU gains nothing by more than
    `_MOST_ON_CPU` rows. The backward pass reads and writes the gradients of all keys and values once a block, so that
    there a block of a large matrix on a card is larger: a sixteenth of the matrix, at most `MOST_BYTES`.
    """
    batch, count, _ = query_BND.shape
    row_bytes = max(1, batch * keys * query_BND.element_size())
    if device_kind(query_BND) == "cpu":
        return max(_FEWEST, min(_MOST_ON_CPU, BLOCK_BYTES // row_bytes // _FEWEST * _FEWEST))
    most = min(MOST_BYTES, row_bytes * count // _SHARE) if backward else 0
    return max(_FEWEST, max(BLOCK_BYTES, most) // row_bytes // _FEWEST * _FEWEST)


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        context.save_for_backward(query, key, value)
        context.scale = scale
        return _forward(query, key, value, scale)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *incoming: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = context.saved_tensors
        (given,), scale = incoming, context.scale
        size = rows_a_block(query, key.shape[2], backward=True)
        exact = torch.promote_types(query.dtype, torch.float32)
        to_query = query.new_empty(query.shape)
        to_key = key.new_zeros((key.shape[0], key.shape[2], key.shape[1]), dtype=exact)
        to_value = value.new_zeros(value.shape, dtype=exact)
        rooms = [_room(query, key, size) for _ in range(2)]
        for start in range(0, query.shape[1], size):
            asking, wanted = query[:, start : start + size], given[:, start : start + size]
            affinity, slope = (_fitting(room, asking, key) for room in rooms)
            _affinity(asking, key, scale, affinity)
            torch.bmm(wanted, value.transpose(1, 2), out=slope)
            add_product(to_value, affinity.transpose(1, 2), wanted)
            torch.ops.aten._softmax_backward_data.out(slope, affinity, -1, slope.dtype, grad_input=slope)
            product(slope, key.transpose(1, 2), scale, to_query[:, start : start + size])
            add_product(to_key, slope.transpose(1, 2), asking, scale)
        return to_query, to_key.to(key.dtype).transpose(1, 2), to_value.to(value.dtype), None


def _forward(query: Tensor, key: Tensor, value: Tensor, scale: float, into: Tensor | None = None) -> Tensor:
    result = query.new_empty(query.shape[0], query.shape[1], value.shape[2]) if into is None else into
    size = rows_a_block(query, key.shape[2])
    room = _room(query, key, size)
    for start in range(0, query.shape[1], size):
        asking = query[:, start : start + size]
        affinity = _affinity(asking, key, scale, _fitting(room, asking, key))
        torch.bmm(affinity, value, out=result[:, start : start + size])
    return result


def _affinity(asking: Tensor, key: Tensor, scale: float, room: Tensor) -> Tensor:
    product(asking, key, scale, room)
    return torch.softmax(room, dim=-1, out=room)


def product(left: Tensor, right: Tensor, scale: float, out: Tensor) -> None:
    """out = scale * left right, where `out` may be more exact than what is multiplied.

    The scale is one of the product's own, so that nothing passes over the result again.
    """
    if out.dtype != left.dtype:
        out.copy_(torch.bmm(left, right)).mul_(scale)
    elif scale == 1.0:
        torch.bmm(left, right, out=out)
    else:
        torch.baddbmm(out, left, right, beta=0, alpha=scale, out=out)


def add_product(total: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> None:
    """total += scale * left right, where the total may be more exact than what is multiplied."""
    if total.dtype == left.dtype:
        total.baddbmm_(left, right, alpha=scale)
    else:
        total.add_(torch.bmm(left, right), alpha=scale)


def _room(query: Tensor, key: Tensor, size: int) -> Tensor:
    """Where the affinity of one block lies after the other."""
    return query.new_empty(query.shape[0] * min(size, query.shape[1]) * key.shape[2])


def _fitting(room: Tensor, asking: Tensor, key: Tensor) -> Tensor:
    """As much of it as a block fills, contiguous, as softmax writes it."""
    shape = (asking.shape[0], asking.shape[1], key.shape[2])
    return room[: shape[0] * shape[1] * shape[2]].view(shape)
