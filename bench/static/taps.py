"""Taps: the class of rate that an operator's multiply-adds have, and how many a convolution has inside its map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

CLASSES = ("product", "pointwise", "convolution", "grouped")
"""Products and attention; 1x1 convolutions; convolutions with larger kernels, dense and grouped."""
_CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten._convolution)


def executed(packet: object, args: Sequence[Any], outputs: Any) -> tuple[str, int | None]:
    """The class of an operator that multiplies, and the multiply-adds of a convolution that fall inside its map.

    A tap that falls into the padding multiplies by zero: `macs` counts it, a kernel may spare it.

    Args:
        packet: the operator.
        args, outputs: of the call.

    Returns:
        One of `CLASSES`; the multiply-adds, or null for what has no taps.
    """
    if packet not in _CONVOLUTIONS:
        return "product", None
    x, weight, _, stride, padding, dilation, transposed, _, groups = args[:9]
    kernel, axes = tuple(weight.shape[2:]), x.ndim - 2
    steps = zip(*(_each(value, axes) for value in (stride, padding, dilation)), strict=True)
    long, short = (x.shape[2:], outputs.shape[2:]) if not transposed else (outputs.shape[2:], x.shape[2:])
    taps = math.prod(
        taps_inside(size, places, width, *step)
        for size, places, width, step in zip(long, short, kernel, steps, strict=True)
    )
    kind = "pointwise" if math.prod(kernel) == 1 else "grouped" if groups > 1 else "convolution"
    return kind, x.shape[0] * weight.shape[0] * weight.shape[1] * taps


def taps_inside(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many of `places` x `kernel` taps along one axis fall inside a map of that size.

    Place `i` reads `i * stride + tap * dilation - padding`; a transposed convolution writes there.
    """
    count = 0
    for tap in range(kernel):
        offset = padding - tap * dilation
        first = max(0, -(-offset // stride))
        last = min(places - 1, (size - 1 + offset) // stride)
        count += max(0, last - first + 1)
    return count


def _each(value: Sequence[int], axes: int) -> Sequence[int]:
    """A setting for each axis; PyTorch also takes one number for all of them."""
    return value if len(value) == axes else tuple(value) * axes
