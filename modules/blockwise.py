"""Blockwise attention: softmax attention a block of queries at a time, so that no N x S matrix is ever there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK_ELEMENTS = 2**20
_FEWEST, _MOST = 64, 1024


def attend_in_blocks(query_BND: Tensor, key_BDS: Tensor, value_BSE: Tensor, scale: float) -> Tensor:
    """softmax(scale * query key) value, where key and value may be of different widths.

    The affinity of a block of queries is there at a time, about `BLOCK_ELEMENTS` elements. The backward pass computes
    it again from query, key and value, which are all that is kept.

    Returns:
        O of shape (B,N,E).

    Source: the recomputation is that of FlashAttention, Sec. 3.1; the blocks here run over queries alone.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query_BND, key_BDS, value_BSE)):
        result: Tensor = _Blockwise.apply(query_BND, key_BDS, value_BSE, scale)  # type: ignore[no-untyped-call]
        return result
    return _forward(query_BND, key_BDS, value_BSE, scale)


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        context.save_for_backward(query, key, value)
        context.scale = scale
        return _forward(query, key, value, scale)

    @staticmethod
    def backward(context: Any, *incoming: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = context.saved_tensors
        (given,) = incoming
        to_query = query.new_empty(query.shape)
        to_key = key.new_zeros(key.shape[0], key.shape[2], key.shape[1])
        to_value = value.new_zeros(value.shape)
        size = _block(query, key)
        room = query.new_empty(2, query.shape[0], min(size, query.shape[1]), key.shape[2])
        for start in range(0, query.shape[1], size):
            asking, wanted = query[:, start : start + size], given[:, start : start + size]
            affinity, slope = room[0, :, : asking.shape[1]], room[1, :, : asking.shape[1]]
            _affinity(asking, key, context.scale, affinity)
            torch.bmm(wanted, value.transpose(1, 2), out=slope)
            to_value.baddbmm_(affinity.transpose(1, 2), wanted)
            slope.sub_((slope * affinity).sum(-1, keepdim=True)).mul_(affinity)
            slope.mul_(context.scale)
            torch.bmm(slope, key.transpose(1, 2), out=to_query[:, start : start + size])
            to_key.baddbmm_(slope.transpose(1, 2), asking)
        return to_query, to_key.transpose(1, 2), to_value, None


def _forward(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    result = query.new_empty(query.shape[0], query.shape[1], value.shape[2])
    size = _block(query, key)
    room = query.new_empty(query.shape[0], min(size, query.shape[1]), key.shape[2])
    for start in range(0, query.shape[1], size):
        asking = query[:, start : start + size]
        affinity = _affinity(asking, key, scale, room[:, : asking.shape[1]])
        torch.bmm(affinity, value, out=result[:, start : start + size])
    return result


def _affinity(asking: Tensor, key: Tensor, scale: float, room: Tensor) -> Tensor:
    torch.bmm(asking, key, out=room)
    if scale != 1.0:
        room.mul_(scale)
    return torch.softmax(room, dim=-1, out=room)


def _block(query: Tensor, key: Tensor) -> int:
    """Queries a block: as many as fill it, in each image of the batch."""
    rows = BLOCK_ELEMENTS // max(1, query.shape[0] * key.shape[2])
    return max(_FEWEST, min(_MOST, rows // _FEWEST * _FEWEST))
