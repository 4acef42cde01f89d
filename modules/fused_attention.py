"""Fused attention: what `modules.attention` computes, without an N x S matrix where both are large."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.blockwise import attend_in_blocks
from modules.placement import device_kind
from modules.pointwise import positions, times, tokens

Normalise: TypeAlias = Literal["softmax", "count"]
Product: TypeAlias = tuple[Tensor, Tensor | None, Tensor]
MANY = 2**14
_FLASH_WIDTH = 256


def attend_fused(
    query_BND: Tensor, key_BDS: Tensor, value_BSE: Tensor, normalise: Normalise, scale: float = 1.0
) -> Tensor:
    """Aggregate S values for each of N positions: O of shape (B,N,E).

    Softmax runs in one kernel (`scaled_dot_product_attention`) or block by block, see `runs_in_one_kernel`. Division by
    the number of keys leaves a product of three matrices, which is taken in the order that needs fewer multiply-adds:
    key with value first, unless there are few keys.

    Args:
        query_BND, key_BDS, value_BSE: as of `modules.attention.attend`; the widths D and E may differ.
        normalise: softmax over the keys, or division by their number.
        scale: of the logits.

    Source: the sum is that of Non-local Neural Networks, Eq. 1; softmax in one kernel or by blocks as in
    FlashAttention, Algorithm 1.
    """
    (_, count, width), (keys, value_width) = query_BND.shape, value_BSE.shape[1:]
    if normalise == "count":
        value_BSE = value_BSE * (scale / keys)
        if keys * count * (width + value_width) <= (keys + count) * width * value_width:
            return torch.bmm(torch.bmm(query_BND, key_BDS), value_BSE)
        return torch.bmm(query_BND, torch.bmm(key_BDS, value_BSE))
    if keys <= min(width, value_width):
        return torch.bmm(torch.softmax(torch.bmm(query_BND, key_BDS * scale), dim=-1), value_BSE)
    if not runs_in_one_kernel(query_BND, value_width):
        return attend_in_blocks(query_BND, key_BDS, value_BSE, scale)
    query, key, value = (_row_major(part).unsqueeze(1) for part in (query_BND, key_BDS.transpose(1, 2), value_BSE))
    return functional.scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)


def runs_in_one_kernel(query_BND: Tensor, value_width: int) -> bool:
    """Whether softmax attention is one kernel here, rather than blocks of queries through the matrix product.

    The kernels need values as wide as the keys, or fall back to a matrix of all pairs. On CUDA the flash kernel takes
    bf16 and fp16 up to a width of 256 (and pads what is no multiple of 8). What is wider, and fp32, would go to the
    memory-efficient kernel, which falls behind the matrix product: on an H200, fp32 without TF32, 32768 positions of
    width 1024, it took 1.4 times as long as the published form. TF32 speeds up the product and the published form
    alike, so that it does not change the choice. fp64 has no kernel at all there. On a CPU the kernel's backward pass
    is behind blocks of queries: in bf16, 4096 and 9409 positions of width 256, a training step took 1.4 and 1.6
    times as long.
    """
    width = query_BND.shape[2]
    if width != value_width:
        return False
    kind = device_kind(query_BND)
    if kind != "cuda":
        return kind != "cpu" or not torch.is_grad_enabled()
    return query_BND.dtype in (torch.bfloat16, torch.float16) and width <= _FLASH_WIDTH and width % 8 == 0


def gather(
    target_BCHW: Tensor,
    query: nn.Conv2d | None,
    key_BDS: Tensor | None,
    value_BSE: Tensor,
    out: nn.Conv2d,
    normalise: Normalise = "softmax",
    scale: float | None = None,
) -> Product:
    """out(attend(query(target), key, value)), all 1x1, with the projections moved to the S keys where those are fewer.

    A projection of the target before the affinity is one of the keys in the other direction, theta(x) . k = x . theta^T
    k, and one of the result is one of the values. Each is done on the side that needs fewer multiply-adds. Where the
    affinity is only divided by the number of keys, keys and values make one matrix for all positions.

    Args:
        target_BCHW: whose positions ask.
        query: theta; null where the target asks as it is.
        key_BDS: one key an anchor; null where the target's positions, as they are, ask and are asked.
        value_BSE: one value an anchor.
        out: of the aggregated values to the result's channels.
        normalise, scale: as of `modules.attention.attend`.

    Returns:
        The weight (O,E) or (B,O,E) and bias of a last product, and what it multiplies, (B,N,E).

    Source: Non-local Neural Networks, Eq. 1 and 6; with sampled keys, Asymmetric Non-local Neural Networks, Eq. 8-10.
    """
    factor = 1.0 if scale is None else scale
    weight_OE = out.weight.flatten(1)
    if key_BDS is None:
        many = value_BSE.shape[1] > min(target_BCHW.shape[1], value_BSE.shape[2])  # else their matrix is small
        if many and normalise == "softmax" and query is None and device_kind(target_BCHW) == "cpu":
            from modules.symmetric_attention import attend_symmetric  # loads the compiler, a second for this form alone

            return weight_OE, out.bias, attend_symmetric(positions(target_BCHW), value_BSE, factor)
        key_BDS = target_BCHW.flatten(2)
    if normalise == "count":
        return _linear(target_BCHW, query, key_BDS, value_BSE * (factor / value_BSE.shape[1]), weight_OE, out.bias)
    (outputs, value_width), (width, keys) = weight_OE.shape, key_BDS.shape[1:]
    channels, count = target_BCHW.shape[1], target_BCHW.shape[2] * target_BCHW.shape[3]
    shift_B1S, asking_BND, folded = None, positions(target_BCHW), False
    if query is not None:
        folded = channels * keys * (width + count) < count * width * (channels + keys)
    if query is not None and folded:
        shift_B1S = None if query.bias is None else times(query.bias[None, :], key_BDS * factor)
        key_BDS = times(query.weight.flatten(1).t(), key_BDS)
    elif query is not None:
        (asking_BND,) = tokens(target_BCHW, query)
        if keys > min(width, value_width) and width == value_width and not torch.is_grad_enabled():
            return weight_OE, out.bias, _attend_over(asking_BND, key_BDS, value_BSE, factor)
    if not folded and keys > min(width, value_width):
        return weight_OE, out.bias, attend_fused(asking_BND, key_BDS, value_BSE, "softmax", factor)
    affinity_BNS = torch.softmax(times(asking_BND, key_BDS * factor, shift_B1S), dim=-1)
    if keys * outputs * (value_width + count) < count * value_width * (keys + outputs):
        return times(weight_OE, value_BSE.transpose(1, 2)), out.bias, affinity_BNS
    return weight_OE, out.bias, torch.bmm(affinity_BNS, value_BSE)


def _attend_over(query_BND: Tensor, key_BDS: Tensor, value_BSE: Tensor, scale: float) -> Tensor:
    """Softmax attention whose result takes the place of the queries, a part at a time where there are many."""
    if not runs_in_one_kernel(query_BND, value_BSE.shape[2]):
        return attend_in_blocks(query_BND, key_BDS, value_BSE, scale, spare=True)
    size = query_BND.shape[1] if query_BND.shape[1] < MANY else -(-query_BND.shape[1] // 4)
    for part_BnD in torch.split(query_BND, size, dim=1):
        part_BnD.copy_(attend_fused(part_BnD, key_BDS, value_BSE, "softmax", scale))
    return query_BND


def attend_by_rank(left_BN: Tensor, right_BS: Tensor, value_BSE: Tensor) -> Tensor:
    """sum over j of ReLU(a_i + b_j) v_j, without the N x S sums.

    With the b_j in descending order, those that count for position i are the first ones, b_j > -a_i, so that the sum
    is a_i times a prefix sum of v plus one of b v.

    Returns:
        O of shape (B,N,E), in single precision at least.

    Source: the affinity is that of Non-local Neural Networks, Eq. 8; w^T [theta, phi] is a_i + b_j.
    """
    least = torch.promote_types(value_BSE.dtype, torch.float32)
    left_BN, right_BS, value_BSE = left_BN.to(least), right_BS.to(least), value_BSE.to(least)
    ranked_BS, order_BS = right_BS.sort(dim=1, descending=True)
    value_BSE = value_BSE.gather(1, order_BS.unsqueeze(2).expand_as(value_BSE))
    counted_BN = torch.searchsorted(-ranked_BS.detach(), left_BN.detach().contiguous())
    return _prefix(value_BSE, counted_BN) * left_BN.unsqueeze(2) + _prefix(
        value_BSE * ranked_BS.unsqueeze(2), counted_BN
    )


def _prefix(value_BSE: Tensor, counted_BN: Tensor) -> Tensor:
    """(B,N,E): for each position the sum of its first values; none is 0."""
    sums_BSE = functional.pad(value_BSE.cumsum(1), (0, 0, 1, 0))
    return sums_BSE.gather(1, counted_BN.unsqueeze(2).expand(-1, -1, value_BSE.shape[2]))


def _linear(
    target_BCHW: Tensor,
    query: nn.Conv2d | None,
    key_BDS: Tensor,
    value_BSE: Tensor,
    weight_OE: Tensor,
    bias_O: Tensor | None,
) -> Product:
    """out(query(target) key value): positions see one C x E or C x O matrix, or few keys."""
    channels, count = target_BCHW.shape[1], target_BCHW.shape[2] * target_BCHW.shape[3]
    (outputs, value_width), (width, keys) = weight_OE.shape, key_BDS.shape[1:]
    before, after = (0 if query is None else count * channels * width), count * value_width * outputs
    through_keys = before + count * keys * (width + value_width) + after
    inner = keys * width * value_width + (0 if query is None else channels * width * value_width)
    through_values = inner + count * channels * value_width + after
    at_once = inner + channels * value_width * outputs + count * channels * outputs
    if through_keys < min(through_values, at_once):
        asking_BND = positions(target_BCHW) if query is None else tokens(target_BCHW, query)[0]
        return weight_OE, bias_O, torch.bmm(torch.bmm(asking_BND, key_BDS), value_BSE)
    matrix_BCE = torch.bmm(key_BDS, value_BSE)
    shift_B1E = None
    if query is not None:
        shift_B1E = None if query.bias is None else times(query.bias[None, :], matrix_BCE)
        matrix_BCE = times(query.weight.flatten(1).t(), matrix_BCE)
    if through_values < at_once:
        return weight_OE, bias_O, times(positions(target_BCHW), matrix_BCE, shift_B1E)
    if shift_B1E is not None:
        shift = times(shift_B1E, weight_OE.t()).squeeze(1)
        bias_O = shift if bias_O is None else shift + bias_O
    return times(weight_OE, matrix_BCE.transpose(1, 2)), bias_O, positions(target_BCHW)


def _row_major(part_BSD: Tensor) -> Tensor:
    """With stride 1 along the width, which the kernels need."""
    return part_BSD if part_BSD.stride(2) == 1 else part_BSD.contiguous()
