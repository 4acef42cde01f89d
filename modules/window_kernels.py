"""Window kernels: Triton's products and sums over the k x k dilated neighbours of every position of a map.

A neighbour is p + r (i - c, j - c) for the place (i, j) in the window and its centre c = (k - 1) / 2. Maps are read by
their strides, in whatever memory format. Importing this file needs Triton.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_POSITIONS = 32
"""Neighbouring positions of a row in one program."""
_CHANNELS = {"products": 16, "sums": 32}
"""Channels at a time: `products` holds as many for every place of a row of the window."""


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _products(  # type: ignore[no-untyped-def]  # Triton reads annotations as its own
    left,
    right,
    out,
    scale,
    channels,
    height,
    width,
    left_b,
    left_d,
    left_h,
    left_w,
    right_b,
    right_d,
    right_h,
    right_w,
    KERNEL: tl.constexpr,
    DILATION: tl.constexpr,
    MASKED: tl.constexpr,
    WIDE: tl.constexpr,
    PLACES: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """One row of the window, i, for some positions of one row of the map."""
    x = (tl.program_id(0) // KERNEL) * POSITIONS + tl.arange(0, POSITIONS)
    i = tl.program_id(0) % KERNEL
    y = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    j = tl.arange(0, PLACES)
    there_y = tl.zeros((1, POSITIONS), dtype=tl.int32) + (y + (i - KERNEL // 2) * DILATION)
    there_x = x[None, :] + (j[:, None] - KERNEL // 2) * DILATION
    asked = (j[:, None] < KERNEL) & (x[None, :] < width)
    on_map = asked & (there_y >= 0) & (there_y < height) & (there_x >= 0) & (there_x < width)
    d = tl.arange(0, CHANNELS)
    from_left = left + image * left_b + y * left_h + d[:, None] * left_d + x[None, :] * left_w
    from_right = right + image * right_b + (there_y * right_h + there_x * right_w)[:, None, :]
    from_right = from_right + d[None, :, None] * right_d
    total = tl.zeros((PLACES, CHANNELS, POSITIONS), dtype=WIDE)
    for start in range(0, channels, CHANNELS):
        inside = start + d < channels
        one = tl.load(from_left + start * left_d, mask=inside[:, None] & (x[None, :] < width), other=0.0)
        seen = inside[None, :, None] & on_map[:, None, :]
        other = tl.load(from_right + start * right_d, mask=seen, other=0.0)
        total += one.to(WIDE)[None, :, :] * other.to(WIDE)
    found = tl.sum(total, axis=1) * scale
    if MASKED:
        found = tl.where(on_map, found, float("-inf"))
    place = (image * KERNEL * KERNEL + i * KERNEL + j[:, None]) * height + y
    tl.store(out + place * width + x[None, :], found, mask=asked)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _sums(  # type: ignore[no-untyped-def]  # likewise
    weights,
    maps,
    out,
    channels,
    height,
    width,
    maps_b,
    maps_d,
    maps_h,
    maps_w,
    out_b,
    out_d,
    out_h,
    out_w,
    KERNEL: tl.constexpr,
    DILATION: tl.constexpr,
    TURNED: tl.constexpr,
    WIDE: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Some channels of some positions of one row."""
    columns = tl.cdiv(width, POSITIONS)
    x = (tl.program_id(0) % columns) * POSITIONS + tl.arange(0, POSITIONS)
    d = (tl.program_id(0) // columns) * CHANNELS + tl.arange(0, CHANNELS)
    y = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    inside = d < channels
    total = tl.zeros((CHANNELS, POSITIONS), dtype=WIDE)
    for place in range(KERNEL * KERNEL):
        step_y = (place // KERNEL - KERNEL // 2) * DILATION
        step_x = (place % KERNEL - KERNEL // 2) * DILATION
        if TURNED:
            step_y, step_x = -step_y, -step_x
        there_y = tl.zeros((POSITIONS,), dtype=tl.int32) + (y + step_y)
        there_x = x + step_x
        on_map = (x < width) & (there_y >= 0) & (there_y < height) & (there_x >= 0) & (there_x < width)
        row = (image * KERNEL * KERNEL + place) * height
        if TURNED:
            weight = tl.load(weights + (row + there_y) * width + there_x, mask=on_map, other=0.0)
        else:
            weight = tl.load(weights + (row + y) * width + x, mask=on_map, other=0.0)
        source = maps + image * maps_b + d[:, None] * maps_d + (there_y * maps_h + there_x * maps_w)[None, :]
        value = tl.load(source, mask=inside[:, None] & on_map[None, :], other=0.0)
        total += weight[None, :] * value.to(WIDE)
    target = out + image * out_b + y * out_h + d[:, None] * out_d + x[None, :] * out_w
    tl.store(target, total.to(out.dtype.element_ty), mask=inside[:, None] & (x[None, :] < width))


def products(left: Tensor, right: Tensor, out: Tensor, kernel: int, dilation: int, scale: float, masked: bool) -> None:
    """out = scale times the product of each vector of `left` with the k^2 neighbours of its place in `right`.

    Args:
        left, right: (B,D,H,W) of any strides. Beyond the map `right` is zero.
        out: (B,k^2,H,W), contiguous, float32 or float64, in which products are summed.
        kernel, dilation, scale: k, r, and the factor.
        masked: whether neighbours outside the map give minus infinity instead of zero.
    """
    batch, channels, height, width = left.shape
    grid = (triton.cdiv(width, _POSITIONS) * kernel, height, batch)
    _products[grid](
        *(left, right, out, scale, channels, height, width, *left.stride(), *right.stride()),
        KERNEL=kernel,
        DILATION=dilation,
        MASKED=masked,
        WIDE=_wide(out),
        PLACES=triton.next_power_of_2(kernel),
        POSITIONS=_POSITIONS,
        CHANNELS=_CHANNELS["products"],
    )


def sums(weights: Tensor, maps: Tensor, out: Tensor, kernel: int, dilation: int, turned: bool) -> None:
    """out = the sum of the k^2 neighbours in `maps`, each weighted.

    Args:
        weights: (B,k^2,H,W), contiguous, float32 or float64, in which is summed.
        maps, out: (B,D,H,W) of any strides. Beyond the map `maps` is zero.
        kernel, dilation: k and r.
        turned: whether the neighbours are those whose windows reach the position, each with the weight that it gives
            the position, and not those that the position's own window reaches.
    """
    batch, channels, height, width = maps.shape
    grid = (triton.cdiv(width, _POSITIONS) * triton.cdiv(channels, _CHANNELS["sums"]), height, batch)
    _sums[grid](
        *(weights, maps, out, channels, height, width, *maps.stride(), *out.stride()),
        KERNEL=kernel,
        DILATION=dilation,
        TURNED=turned,
        WIDE=_wide(weights),
        POSITIONS=_POSITIONS,
        CHANNELS=_CHANNELS["sums"],
    )


def _wide(sums: Tensor) -> Any:
    return tl.float64 if sums.dtype == torch.float64 else tl.float32
