"""Context at several scales in parallel: pooled pyramids (PSP) and dilated convolutions (ASPP)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.anchors import AnchorSampling
from modules.attention import Implementation, inner_width
from modules.pointwise import on_map, times
from modules.registry import register


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """(B,C,H,W) and (B,D,H',W') -> (B,C,H',W'): `x` at the height and width of `like`; bilinear, corners aligned."""
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def conv_norm(channels: int, out: int, kernel: int = 1, *, dilation: int = 1, activation: bool = True) -> nn.Sequential:
    """(B,C,H,W) -> (B,out,H,W): convolution of an odd kernel without bias, batch norm and, where `activation`, ReLU."""
    conv = nn.Conv2d(channels, out, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False)
    norm = nn.BatchNorm2d(out)
    return nn.Sequential(conv, norm, nn.ReLU(inplace=True)) if activation else nn.Sequential(conv, norm)


@register("psp", family="context", paper="Pyramid Scene Parsing Network", equation="Sec. 3.2")
class PyramidPooling(nn.Module):
    """Pyramid pooling: averages over grids of several sizes, 1x1 each, upsampled and concatenated with x.

    Args:
        channels: C.
        sizes: one grid of n x n cells each.
        width: channels of each level; C/4 where not given.
        out: channels of the 1x1 bottleneck at the end; where not given there is none.
        activation: ReLU after the batch norm of each level; the bottleneck has it always.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,C + len(sizes) * width,H,W), 2C channels by default; (B,out,H,W) with `out`.

    Raises:
        ValueError: C is not divisible by 4 and `width` not given; a size below 1; training with a batch of one where
            a grid has a single cell, which cannot be batch-normed.
    """

    def __init__(
        self,
        channels: int,
        sizes: tuple[int, ...] = (1, 2, 3, 6),
        width: int | None = None,
        out: int | None = None,
        activation: bool = True,
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        self.impl, self.pool, self.spread = impl, AnchorSampling("pyramid_average", sizes, 0, "fused"), Spread(sizes)
        if min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1, not {min(sizes)}")
        inner = inner_width(channels, width, parts=4)
        self.sizes = sizes
        self.levels = nn.ModuleList(conv_norm(channels, inner, activation=activation) for _ in sizes)
        joined = channels + len(sizes) * inner
        self.bottleneck: nn.Sequential | None = None
        if out is not None:
            self.bottleneck = conv_norm(joined, inner_width(joined, out))

    def forward(self, x: Tensor) -> Tensor:
        if self.impl == "fused":
            return self._fused(x)
        maps = [x]
        for size, level in zip(self.sizes, self.levels, strict=True):
            maps.append(upsample(level(functional.adaptive_avg_pool2d(x, size)), like=x))
        joined = torch.cat(maps, dim=1)
        if self.bottleneck is None:
            return joined
        result: Tensor = self.bottleneck(joined)
        return result

    def _fused(self, x: Tensor) -> Tensor:
        """Pooled and upsampled by matrix products; a bottleneck's 1x1 comes before the upsampling, which sums up."""
        cells = [size**2 for size in self.sizes]
        grids_BCS = torch.split(self.pool(x), cells, dim=2)
        levels = [
            level(grid.view(*x.shape[:2], size, size)).flatten(2)
            for size, level, grid in zip(self.sizes, self.levels, grids_BCS, strict=True)
        ]
        spread_SN = self.spread(x)
        if self.bottleneck is None and not torch.is_grad_enabled():
            return _beside(x, levels, torch.split(spread_SN, cells))
        if self.bottleneck is None:
            maps = [times(level, part) for level, part in zip(levels, torch.split(spread_SN, cells), strict=True)]
            return torch.cat([x, *(on_map(part, x) for part in maps)], dim=1)
        conv = self.bottleneck[0]
        assert isinstance(conv, nn.Conv2d)
        widths = [x.shape[1], *(level.shape[1] for level in levels)]
        first_OC, *others = torch.split(conv.weight.flatten(1), widths, dim=1)
        mixed_BOS = torch.cat([times(weight, level) for weight, level in zip(others, levels, strict=True)], dim=2)
        own_BON = functional.conv2d(x, first_OC[:, :, None, None]).flatten(2)
        result: Tensor = self.bottleneck[1:](on_map(times(mixed_BOS, spread_SN, own_BON), x))
        return result


def _beside(x: Tensor, levels: list[Tensor], spreads: Sequence[Tensor]) -> Tensor:
    """(B,C + all levels' widths,H,W): x, and behind it each level's cells (B,D,S) times its matrix (S,N)."""
    widths = [x.shape[1], *(level.shape[1] for level in levels)]
    joined = x.new_empty(x.shape[0], sum(widths), *x.shape[2:])
    own, *places = torch.split(joined.flatten(2), widths, dim=1)
    own.copy_(x.flatten(2))
    for level, spread, place in zip(levels, spreads, places, strict=True):
        torch.bmm(level, spread.expand(x.shape[0], -1, -1), out=place)
    return joined


class Spread(nn.Module):
    """Bilinear upsampling, corners aligned, of grids of several sizes, as one matrix: (S,N), S = sum of n^2.

    Made once for each size of map.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes = sizes
        self._made: dict[tuple[object, ...], Tensor] = {}

    def forward(self, like: Tensor) -> Tensor:
        height, width = like.shape[2:]
        key = (height, width, like.dtype, like.device)
        if key not in self._made:
            parts = []
            for size in self.sizes:
                cells = torch.eye(size**2, dtype=torch.float64, device="cpu").view(1, size**2, size, size)
                spread = functional.interpolate(cells, size=(height, width), mode="bilinear", align_corners=True)
                parts.append(spread.view(size**2, -1))
            self._made[key] = torch.cat(parts).to(like.device, like.dtype)
        return self._made[key]


@register(
    "aspp", family="context", paper="Rethinking Atrous Convolution for Semantic Image Segmentation", equation="Sec. 3.3"
)
class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, dilated 3x3 at several rates and an image pool, concatenated, 1x1.

    Args:
        channels: C.
        rates: dilation of each 3x3 convolution.
        width: channels of each branch; C/8 where not given.
        out: channels of the result; the width where not given.
        activation: ReLU after the batch norm of each branch; the last 1x1 has it always.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,out,H,W).

    Raises:
        ValueError: C is not divisible by 8 and `width` not given; a rate below 1; training with a batch of one, as
            the image pool cannot be batch-normed.
    """

    def __init__(
        self,
        channels: int,
        rates: tuple[int, ...] = (12, 24, 36),
        width: int | None = None,
        out: int | None = None,
        activation: bool = True,
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        self.impl = impl
        if min(rates) < 1:
            raise ValueError(f"rates must be at least 1, not {min(rates)}")
        inner = inner_width(channels, width, parts=8)
        self.point = conv_norm(channels, inner, activation=activation)
        self.atrous = nn.ModuleList(
            conv_norm(channels, inner, 3, dilation=rate, activation=activation) for rate in rates
        )
        self.image = conv_norm(channels, inner, activation=activation)
        joined = inner * (len(rates) + 2)
        self.project = conv_norm(joined, inner_width(joined, inner if out is None else out))

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.point(x), *(branch(x) for branch in self.atrous)]
        if self.impl == "fused":
            return self._projected(torch.cat(maps, dim=1), self.image(functional.adaptive_avg_pool2d(x, 1)))
        maps.append(upsample(self.image(functional.adaptive_avg_pool2d(x, 1)), like=x))
        result: Tensor = self.project(torch.cat(maps, dim=1))
        return result

    def _projected(self, maps: Tensor, image_BD11: Tensor) -> Tensor:
        """The last 1x1 of [maps, image], where the image's one vector is projected once for all positions."""
        conv = self.project[0]
        assert isinstance(conv, nn.Conv2d)
        of_maps, of_image = torch.split(conv.weight, [maps.shape[1], image_BD11.shape[1]], dim=1)
        projected = functional.conv2d(maps, of_maps).add_(functional.conv2d(image_BD11, of_image))
        result: Tensor = self.project[1:](projected)
        return result
