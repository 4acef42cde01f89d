"""The affinity core that the non-local blocks share, by operators or fused, and how their result joins the input."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from modules.fused_attention import attend_fused
from modules.observation import observe, observed

Implementation: TypeAlias = Literal["reference", "fused"]
Normalise: TypeAlias = Literal["softmax", "count"]
Fusion: TypeAlias = Literal["add", "concat", "project", "none"]


def attend(
    query_BND: Tensor,
    key_BDS: Tensor,
    value_BSE: Tensor,
    *,
    normalise: Normalise = "softmax",
    scale: float | None = None,
    impl: Implementation = "reference",
) -> Tensor:
    """Aggregate S values for each of N positions by affinity.

    `reference` runs one operation after the other as published. Its affinity is one name, rebound at each step: at
    most two N x S tensors live at once. `fused` has none, see `modules.fused_attention`, and shows none to observers.

    Args:
        query_BND: one query a position.
        key_BDS: one key an anchor.
        value_BSE: one value an anchor.
        normalise: softmax over the S anchors, or division by their number.
        scale: what the affinity is multiplied by before normalisation.
        impl: how it is computed; the result is the same.

    Returns:
        O of shape (B,N,E).

    Source: Non-local Neural Networks, Eq. 1-5; Asymmetric Non-local Neural Networks, Eq. 2-4.
    """
    if impl == "fused":
        return attend_fused(query_BND, key_BDS, value_BSE, normalise, 1.0 if scale is None else scale)
    affinity = torch.bmm(query_BND, key_BDS)
    if scale is not None:
        affinity = affinity * scale
    observe(query=query_BND, key=key_BDS, product=affinity)
    affinity = torch.softmax(affinity, dim=-1) if normalise == "softmax" else affinity / affinity.shape[-1]
    observe(attention=affinity)
    return torch.bmm(affinity, value_BSE)


def as_map(sequence_BNE: Tensor, height: int, width: int) -> Tensor:
    """A sequence of N = height * width positions as a contiguous map (B,E,height,width)."""
    return sequence_BNE.transpose(1, 2).contiguous().view(sequence_BNE.shape[0], -1, height, width)


def inner_width(channels: int, given: int | None = None, parts: int = 2) -> int:
    """The width that a block works at inside: the one `given`, or the channels over `parts`.

    Raises:
        ValueError: the given width is below 1, or the channels do not divide.
    """
    if given is not None:
        if given < 1:
            raise ValueError(f"an inner width must be at least 1, not {given}")
        return given
    if channels % parts:
        raise ValueError(f"channels {channels} are not divisible by {parts}, so the inner width must be given")
    return channels // parts


class Fuse(nn.Module):
    """Join a block's result with its input: sum, concatenation, projected concatenation, or the result alone.

    `project` is concat, 1x1 2C->C with bias, batch norm and, where `relu`, ReLU. Without autograd `fused`
    adds in place.

    Shapes: (B,C,H,W), (B,C,H,W) -> (B,C,H,W); (B,2C,H,W) for `concat`.

    Source: Asymmetric Non-local Neural Networks, Eq. 5, 11 and 17; `project` is the wrapping in its authors' code.
    """

    def __init__(self, channels: int, how: Fusion, relu: bool = True, impl: Implementation = "reference") -> None:
        super().__init__()
        self.how, self.impl = how, impl
        if how == "project":
            layers = [nn.Conv2d(2 * channels, channels, 1), nn.BatchNorm2d(channels)]
            self.project = nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)

    def forward(self, result: Tensor, x: Tensor) -> Tensor:
        if self.how == "none":
            return result
        if self.how == "add":
            spare = self.impl == "fused" and not observed() and not torch.is_grad_enabled()
            return result.add_(x) if spare else result + x
        joined = torch.cat([result, x], dim=1)
        if self.how == "concat":
            return joined
        projected: Tensor = self.project(joined)
        return projected
