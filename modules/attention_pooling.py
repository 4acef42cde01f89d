"""Attention pooling: one softmax over all positions, whose backward pass writes the gradient of the map once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modules.observation import observe
from modules.pointwise import times


def pool_by_key(x_BCHW: Tensor, key: nn.Conv2d) -> Tensor:
    """The context (B,C,1,1): positions summed with weights softmax(key(x)), where `key` is 1x1 to one channel.

    The bias of `key` moves all logits alike, which softmax does not see: its gradient is zero.

    Shapes: (B,C,H,W) -> (B,C,1,1).

    Source: GCNet, Eq. 3 and 5, the context modeling.
    """
    x_BCN, weight_1C = x_BCHW.flatten(2), key.weight.flatten(1)
    if torch.is_grad_enabled() and (x_BCN.requires_grad or weight_1C.requires_grad):
        context: Tensor = _Pooling.apply(x_BCN, weight_1C, key.bias)  # type: ignore[no-untyped-call]
    else:
        context = _pool(x_BCN, weight_1C)[0]
    return context.unsqueeze(-1)


class _Pooling(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x_BCN: Tensor, weight_1C: Tensor, bias_1: Tensor) -> Tensor:
        pooled_BC1, alpha_B1N = _pool(x_BCN, weight_1C)
        context.save_for_backward(x_BCN, weight_1C, alpha_B1N, bias_1)
        return pooled_BC1

    @staticmethod
    def backward(context: Any, *incoming: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_BCN, weight_1C, alpha_B1N, bias_1 = context.saved_tensors
        (given_BC1,) = incoming
        slope_B1N = torch.bmm(given_BC1.transpose(1, 2), x_BCN)
        slope_B1N = (slope_B1N - (slope_B1N * alpha_B1N).sum(2, keepdim=True)) * alpha_B1N
        columns_BC2 = torch.cat([given_BC1, weight_1C.t().expand_as(given_BC1)], dim=2)
        to_x = torch.bmm(columns_BC2, torch.cat([alpha_B1N, slope_B1N], dim=1))
        to_weight = torch.bmm(x_BCN, slope_B1N.transpose(1, 2)).sum(0).t()
        return to_x, to_weight, torch.zeros_like(bias_1)


def _pool(x_BCN: Tensor, weight_1C: Tensor) -> tuple[Tensor, Tensor]:
    alpha_B1N = torch.softmax(times(weight_1C, x_BCN), dim=-1)
    observe(attention=alpha_B1N)
    return torch.bmm(x_BCN, alpha_B1N.transpose(1, 2)), alpha_B1N
