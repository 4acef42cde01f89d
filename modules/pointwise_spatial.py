"""Point-wise spatial attention: every position predicts, by relative place, what it takes from and gives to all."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Fuse, Fusion, Implementation, Normalise, inner_width
from modules.pyramid import conv_norm, upsample
from modules.registry import register

Direction: TypeAlias = Literal["collect", "distribute"]


def crop(map_BYXHW: Tensor, axis: int, reach: int) -> Tensor:
    """What is predicted for offsets, as what is predicted for places, along rows (axis 0) or columns (1).

    One axis at a time, so that the index is H x H or W x W; at once it would have as many elements as the result.

    Args:
        map_BYXHW: at each position (H,W) values for all offsets, or already places, along Y and X.
        axis: the one that changes.
        reach: the index of the offset 0 along that axis; an offset beyond it has the value 0.

    Returns:
        The map with the places along H (W) in place of the offsets along Y (X).
    """
    extent = map_BYXHW.shape[3 + axis]
    beyond = max(0, extent - 1 - reach)
    if beyond:
        inside = (0, 0) * (3 - axis)
        map_BYXHW = functional.pad(map_BYXHW, (*inside, beyond, beyond))
    place = torch.arange(extent, device=map_BYXHW.device)
    offset = place[:, None] - place + (reach + beyond)
    index = offset[None, :, None, :, None] if axis == 0 else offset[None, None, :, None, :]
    shape = list(map_BYXHW.shape)
    shape[1 + axis] = extent
    return torch.gather(map_BYXHW, 1 + axis, index.expand(shape))


class PointwiseBranch(nn.Module):
    """One direction of point-wise spatial attention.

    Reduce 1x1 C->D; predict from it, by 1x1 D->D and 1x1 D->offsets, one weight for every offset within reach.
    `collect`: a position weights those from which it gathers, `distribute`: those to which it gives.

    Shapes: (B,C,H,W) -> (B,D,H',W'), H' and W' those of the shrunken map.

    Source: PSANet, Sec. 3.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        reach: tuple[int, int],
        shrink: int,
        normalise: Normalise,
        direction: Direction,
        impl: Implementation,
    ) -> None:
        super().__init__()
        self.impl = impl
        self.reach, self.shrink, self.normalise, self.direction = reach, shrink, normalise, direction
        self.reduce = conv_norm(channels, width)
        self.attention = conv_norm(width, width)
        self.predict = nn.Conv2d(width, (2 * reach[0] + 1) * (2 * reach[1] + 1), 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        if self.shrink > 1:
            size = [-(-extent // self.shrink) for extent in x.shape[2:]]
            x = functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
        reach = self.reach
        if self.impl == "fused":
            reach = min(reach[0], x.shape[2] - 1), min(reach[1], x.shape[3] - 1)
        weight = functional.conv2d(self.attention(x), self._predictors(*reach))
        weight = weight.view(x.shape[0], 2 * reach[0] + 1, 2 * reach[1] + 1, *x.shape[2:])
        for axis in (0, 1):
            weight = crop(weight, axis, reach[axis])
        weight_BST = weight.flatten(3).flatten(1, 2)
        if self.direction == "distribute":
            weight_BST = weight_BST.transpose(1, 2)
        weight_BST = torch.softmax(weight_BST, 1) if self.normalise == "softmax" else weight_BST / weight_BST.shape[1]
        return torch.bmm(x.flatten(2), weight_BST).view(x.shape)

    def _predictors(self, vertical: int, horizontal: int) -> Tensor:
        """The weights of `predict` for the offsets up to these; `fused` predicts none that no position can have."""
        if (vertical, horizontal) == self.reach:
            return self.predict.weight
        weight = self.predict.weight.view(2 * self.reach[0] + 1, 2 * self.reach[1] + 1, -1, 1, 1)
        rows, columns = (slice(r - n, r + n + 1) for r, n in zip(self.reach, (vertical, horizontal), strict=True))
        return weight[rows, columns].flatten(0, 1)


@register(
    "psa", family="context", paper="PSANet: Point-wise Spatial Attention Network for Scene Parsing", equation="Sec. 3"
)
class PointwiseSpatial(nn.Module):
    """Point-wise spatial attention: each position predicts its weights by offset, to collect and to distribute.

    Two branches, each 1x1 C->D, shrunk, with its own weights for all (2 reach + 1)^2 offsets, of which each position
    crops those that lie on the map. Both results concatenated, 1x1 2D->C, batch norm, ReLU, up to x's size, joined.

    Args:
        channels: C.
        inner: D; C/4 where not given.
        reach: the largest offset, on the shrunken map, one number or one each for rows and columns. The published
            networks have that of their training crop. An offset beyond it has the logit 0, as in the authors' code.
        shrink: how many times smaller, along each axis, the map is on which the attention works.
        normalise: softmax over the positions gathered from (the authors' code) or division by their number (the paper).
        fuse: how the result joins x.
        impl: `fused` predicts weights only for offsets that lie on the map.

    Shapes: (B,C,H,W) -> (B,2C,H,W); C channels for a `fuse` other than concat.
    MACs: 2NCD + n (2D^2 + 2DM + 2nD + 2DC), n = ceil(H/shrink) ceil(W/shrink), M = the number of offsets.

    Raises:
        ValueError: C is not divisible by 4 and `inner` not given; `inner` or `shrink` below 1; a reach below 0, or
            of more than two numbers.
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        reach: int | tuple[int, ...] = 48,
        shrink: int = 2,
        normalise: Normalise = "softmax",
        fuse: Fusion = "concat",
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        width = inner_width(channels, inner, parts=4)
        self.shrink = shrink
        if shrink < 1:
            raise ValueError(f"shrink must be at least 1, not {shrink}")
        vertical, horizontal = _two(reach)
        if min(vertical, horizontal) < 0:
            raise ValueError(f"reach must be at least 0, not {min(vertical, horizontal)}")
        self.collect, self.distribute = (
            PointwiseBranch(channels, width, (vertical, horizontal), shrink, normalise, direction, impl)
            for direction in ("collect", "distribute")
        )
        self.project = conv_norm(2 * width, channels)
        self.fuse = Fuse(channels, fuse)

    def forward(self, x: Tensor) -> Tensor:
        result = self.project(torch.cat([self.collect(x), self.distribute(x)], dim=1))
        if self.shrink > 1:
            result = upsample(result, like=x)
        joined: Tensor = self.fuse(result, x)
        return joined


def _two(reach: int | tuple[int, ...]) -> tuple[int, int]:
    numbers = (reach,) if isinstance(reach, int) else reach
    if len(numbers) not in (1, 2):
        raise ValueError(f"reach must be one number, or two for rows and columns, not {len(numbers)}")
    return numbers[0], numbers[-1]
