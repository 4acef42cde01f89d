"""Pointwise convolutions as matrix products: several of one map at once, in the layout that what follows reads best."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.placement import device_kind


def positions(map_BCHW: Tensor) -> Tensor:
    """(B,N,C): a view of the map with one vector a position."""
    return map_BCHW.flatten(2).transpose(1, 2)


def tokens(map_BCHW: Tensor, *convs: nn.Conv2d) -> tuple[Tensor, ...]:
    """What 1x1 convolutions return, (B,N,D) each: slices of one product, so that the map is read once.

    Along D the stride is 1, as attention kernels need it, unless `runs_as_convolution`. All of the convolutions have a
    bias or none has.
    """
    weight_DC, bias_D = joined(*convs)
    if runs_as_convolution(map_BCHW):
        product = positions(functional.conv2d(map_BCHW, weight_DC[:, :, None, None], bias_D))
    else:
        product = times(positions(map_BCHW), weight_DC.t(), bias_D)
    return torch.split(product, [conv.out_channels for conv in convs], dim=2)


def runs_as_convolution(map_BCHW: Tensor) -> bool:
    """Whether a 1x1 convolution of the map stays one, rather than a matrix product.

    PyTorch has a switch for TF32 in convolutions, on by default, and another in products, off by default. Where they
    stand so, a product in fp32 on CUDA is more exact than the convolution of the published form, and several times as
    slow. With gradients it stays a product: those of single numbers, such as a gamma, would hardly agree in TF32.
    """
    if torch.is_grad_enabled() or map_BCHW.dtype != torch.float32 or map_BCHW.ndim != 4:
        return False
    if device_kind(map_BCHW) != "cuda":
        return False
    return torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def joined(*convs: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """Weight (D,C) and bias (D) of several 1x1 convolutions as of one, their outputs one after the other."""
    if len(convs) == 1:
        return convs[0].weight.flatten(1), convs[0].bias
    biases = [conv.bias for conv in convs if conv.bias is not None]
    return torch.cat([conv.weight.flatten(1) for conv in convs]), torch.cat(biases) if biases else None


def times(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """The batched product of (B,I,J) and (B,J,K), with a bias that broadcasts; either may lack the batch."""
    batch = left.shape[0] if left.ndim == 3 else right.shape[0]
    left = left if left.ndim == 3 else left.expand(batch, -1, -1)
    right = right if right.ndim == 3 else right.expand(batch, -1, -1)
    return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)


def onto_map(weight: Tensor, bias: Tensor | None, tokens_BNE: Tensor, like_BCHW: Tensor) -> Tensor:
    """An affine map of every position, weight (C,E), bias (C), or one a batch item, laid out as another map is.

    Returns:
        (B,C,H,W).
    """
    if weight.ndim == 2 and (bias is None or bias.ndim == 1) and runs_as_convolution(like_BCHW):
        return functional.conv2d(on_map(tokens_BNE.transpose(1, 2), like_BCHW), weight[:, :, None, None], bias)
    if prefers_channels_last(like_BCHW):
        y_BCN = times(tokens_BNE, weight.mT, None if bias is None else bias.unsqueeze(-2)).transpose(1, 2)
    else:
        y_BCN = times(weight, tokens_BNE.transpose(1, 2), None if bias is None else bias.unsqueeze(-1))
    return on_map(y_BCN, like_BCHW)


def on_map(positions_BCN: Tensor, like_BCHW: Tensor) -> Tensor:
    """(B,C,H,W): a view with the height and width of another map."""
    return positions_BCN.view(*positions_BCN.shape[:2], *like_BCHW.shape[2:])


def prefers_channels_last(map_BCHW: Tensor) -> bool:
    """Whether a map lies in memory position by position."""
    return map_BCHW.is_contiguous(memory_format=torch.channels_last) and not map_BCHW.is_contiguous()
