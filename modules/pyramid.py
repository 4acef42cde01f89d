"""Context at several scales in parallel: pooled pyramids (PSP) and dilated convolutions (ASPP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import inner_width
from modules.registry import register


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the height and width of `like`; bilinear, corners aligned."""
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def conv_norm(channels: int, out: int, kernel: int = 1, *, dilation: int = 1, activation: bool = True) -> nn.Sequential:
    """Convolution that keeps the size, without bias, batch norm and, where `activation`, ReLU."""
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
    ) -> None:
        super().__init__()
        if min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1, not {min(sizes)}")
        inner = inner_width(channels, width, parts=4)
        self.sizes = sizes
        self.levels = nn.ModuleList(conv_norm(channels, inner, activation=activation) for _ in sizes)
        joined = channels + len(sizes) * inner
        self.bottleneck = None
        if out is not None:
            self.bottleneck = conv_norm(joined, inner_width(joined, out))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for size, level in zip(self.sizes, self.levels, strict=True):
            maps.append(upsample(level(functional.adaptive_avg_pool2d(x, size)), like=x))
        joined = torch.cat(maps, dim=1)
        if self.bottleneck is None:
            return joined
        result: Tensor = self.bottleneck(joined)
        return result


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
    ) -> None:
        super().__init__()
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
        maps.append(upsample(self.image(functional.adaptive_avg_pool2d(x, 1)), like=x))
        result: Tensor = self.project(torch.cat(maps, dim=1))
        return result
