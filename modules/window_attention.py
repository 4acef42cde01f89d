"""Window attention: attention of every position to k x k dilated neighbours, by kernels that read the maps as they are.

Two operators do it, of which `modules.window_kernels` has the kernels: products with the neighbours, and their weighted
sums. On meta they return what the kernels would, and their multiply-adds are known to PyTorch's counter.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from modules.dilated_windows import Windows
from modules.placement import device_kind

_WIDEST = 7
_LARGEST = 2**31 - 1


def kernels_take(map_BDHW: Tensor, windows: Windows) -> bool:
    """Whether the kernels run here: on CUDA with Triton, k up to 7, and maps that 32 bits can count.

    On meta, where no card is at hand, Triton is taken to be on the machine that the tensor stands for.
    """
    if device_kind(map_BDHW) != "cuda" or windows.kernel > _WIDEST or map_BDHW.shape[2] > 65535:
        return False
    if map_BDHW.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    elsewhere = map_BDHW.device.type == "meta" and not torch.cuda.is_available()
    return map_BDHW[0].numel() <= _LARGEST and (elsewhere or has_triton())


@functools.cache
def has_triton() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def attend_windows(query: Tensor, key: Tensor, value: Tensor, windows: Windows) -> Tensor:
    """softmax over k x k neighbours of query . key, times their values; all of (B,D,H,W), of any strides.

    Products and sums are taken in float32 at least. The backward pass computes the affinity again from query, key and
    value, which are all that is kept; only k^2 numbers a position, and no neighbours, are ever there.

    Source: GALDv2, Eq. 5-8; windows are symmetric, so that what a key gets back is a sum over its own window.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value)):
        result: Tensor = _Windowed.apply(query, key, value, windows)  # type: ignore[no-untyped-call]
        return result
    return _sums(_affinity(query, key, windows), value, windows, False)


class _Windowed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor, windows: Windows) -> Tensor:
        context.save_for_backward(query, key, value)
        context.windows = windows
        return _sums(_affinity(query, key, windows), value, windows, False)

    @staticmethod
    def backward(context: Any, *incoming: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = context.saved_tensors
        windows, (given,) = context.windows, incoming
        affinity = _affinity(query, key, windows)
        to_value = _sums(affinity, given, windows, True)
        slope: Tensor = window_products(given, value, windows.kernel, windows.dilation, windows.scale, False)
        torch.ops.aten._softmax_backward_data.out(slope, affinity, 1, slope.dtype, grad_input=slope)
        return _sums(slope, key, windows, False), _sums(slope, query, windows, True), to_value, None


def _affinity(query: Tensor, key: Tensor, windows: Windows) -> Tensor:
    """(B,k^2,H,W): the weight of each neighbour."""
    logits: Tensor = window_products(query, key, windows.kernel, windows.dilation, windows.scale, windows.masked)
    return torch.softmax(logits, dim=1, out=logits)


def _sums(weights: Tensor, maps: Tensor, windows: Windows, turned: bool) -> Tensor:
    summed: Tensor = window_sums(weights, maps, windows.kernel, windows.dilation, turned)
    return summed


@torch.library.custom_op("contextbench::window_products", mutates_args=())
def window_products(left: Tensor, right: Tensor, kernel: int, dilation: int, scale: float, masked: bool) -> Tensor:
    """(B,k^2,H,W) of two maps (B,D,H,W), see `modules.window_kernels.products`."""
    from modules.window_kernels import products

    out: Tensor = _products_like(left, right, kernel, dilation, scale, masked)
    products(left, right, out, kernel, dilation, scale, masked)
    return out


@torch.library.custom_op("contextbench::window_sums", mutates_args=())
def window_sums(weights: Tensor, maps: Tensor, kernel: int, dilation: int, turned: bool) -> Tensor:
    """(B,D,H,W) of weights (B,k^2,H,W) and a map (B,D,H,W), see `modules.window_kernels.sums`."""
    from modules.window_kernels import sums

    out = torch.empty_like(maps)
    sums(weights, maps, out, kernel, dilation, turned)
    return out


@window_products.register_fake
def _products_like(left: Tensor, right: Tensor, kernel: int, dilation: int, scale: float, masked: bool) -> Tensor:
    exact = torch.promote_types(left.dtype, torch.float32)
    return left.new_empty((left.shape[0], kernel**2, *left.shape[2:]), dtype=exact)


@window_sums.register_fake
def _sums_like(weights: Tensor, maps: Tensor, kernel: int, dilation: int, turned: bool) -> Tensor:
    return torch.empty_like(maps)


@register_flop_formula(torch.ops.contextbench.window_products)
def _products_flops(left: tuple[int, ...], right: tuple[int, ...], kernel: int, *_: Any, **__: Any) -> int:
    return 2 * math.prod(left) * kernel**2


@register_flop_formula(torch.ops.contextbench.window_sums)
def _sums_flops(weights: tuple[int, ...], maps: tuple[int, ...], kernel: int, *_: Any, **__: Any) -> int:
    return 2 * math.prod(maps) * kernel**2
