"""From strides 8, 16 and 32 to one map at stride 8: JPU, FPN, bilinear."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from modules.attention import inner_width
from modules.pyramid import conv_norm, upsample
from modules.registry import register

_FASTFCN = "FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic Segmentation"
_GROUPS = 32


class SeparableConv(nn.Module):
    """Depthwise dilated 3x3, batch norm (group norm where `groups`), pointwise 1x1; no ReLU between.

    Shapes: (B,C,H,W) -> (B,out,H,W).

    Source: FastFCN, Sec. 3.3.3.
    """

    def __init__(self, channels: int, out: int, dilation: int, groups: int | None = None) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False
        )
        self.norm = nn.BatchNorm2d(channels) if groups is None else nn.GroupNorm(groups, channels)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pointwise(self.norm(self.depthwise(x)))
        return result


class JointPyramid(nn.Module):
    """JPU: 3x3 each to one width, up to the first map's size, four parallel separable convolutions, concatenated.

    Args:
        in_channels: of the maps at strides 8, 16, 32.
        width: of every branch.

    Shapes: three maps, sizes halving -> (B,4*width,H,W) at the size of the first.

    Source: FastFCN, Eq. 4 and Fig. 4.
    """

    def __init__(self, in_channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(conv_norm(channels, width, 3) for channels in in_channels)
        self.branches = nn.ModuleList(
            nn.Sequential(SeparableConv(3 * width, width, dilation), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
            for dilation in (1, 2, 4, 8)
        )

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        maps = [lateral(x) for lateral, x in zip(self.laterals, (c3, c4, c5), strict=True)]
        joined = torch.cat([maps[0], *(upsample(x, like=maps[0]) for x in maps[1:])], dim=1)
        return torch.cat([branch(joined) for branch in self.branches], dim=1)


class JointUpsampling(nn.Module):
    """JUM: one step of JPU_X, a coarse map brought to the size of a fine one and joined with it.

    Three separable convolutions with group norm; the upsampled coarse projection is kept before them.

    Args:
        coarse_channels: of the coarse map.
        fine_channels: of the fine map.
        width: of each projection and branch.
        dilations: of the separable convolutions.

    Shapes: coarse (B,C_c,H/2,W/2), fine (B,C_f,H,W) -> (B,4*width,H,W).

    Source: the FastFCN authors' code.
    """

    def __init__(self, coarse_channels: int, fine_channels: int, width: int, dilations: tuple[int, int, int]) -> None:
        super().__init__()
        self.coarse = conv_norm(coarse_channels, width, 3)
        self.fine = conv_norm(fine_channels, width, 3)
        self.branches = nn.ModuleList(
            nn.Sequential(
                SeparableConv(2 * width, width, dilation, _GROUPS),
                nn.GroupNorm(_GROUPS, width),
                nn.ReLU(inplace=True),
            )
            for dilation in dilations
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        guide: Tensor = self.fine(fine)
        enlarged = upsample(self.coarse(coarse), like=guide)
        joined = torch.cat([enlarged, guide], dim=1)
        return torch.cat([enlarged, *(branch(joined) for branch in self.branches)], dim=1)


class JointPyramidX(nn.Module):
    """JPU_X: conv4 is upsampled with conv3 at half the width, then conv5 with the result.

    Shapes: three maps, sizes halving -> (B,4*width,H,W) at the size of the first.

    Raises:
        ValueError: half the width is not divisible by 32 groups.

    Source: the FastFCN authors' code.
    """

    def __init__(self, in_channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        if width % (2 * _GROUPS):
            raise ValueError(f"width {width} is not divisible by {2 * _GROUPS}, twice the {_GROUPS} groups of jpu_x")
        c3, c4, c5 = in_channels
        self.first = JointUpsampling(c4, c3, width // 2, (1, 2, 4))
        self.second = JointUpsampling(c5, 2 * width, width, (2, 4, 8))

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        result: Tensor = self.second(c5, self.first(c4, c3))
        return result


@register("jpu", family="upsample", paper=_FASTFCN, equation="Eq. 4, Fig. 4")
class JointPyramidUpsampling(nn.Module):
    """Joint pyramid upsampling: conv3, conv4, conv5 to a map at stride 8 that stands in for a dilated backbone's.

    Args:
        channels: C of conv5; conv4 has C/2, conv3 C/4.
        width: of every branch; C/4 where not given.
        variant: the paper's module, or the authors' later two-step one.

    Shapes: (B,C/4,H,W), (B,C/2,H/2,W/2), (B,C,H/4,W/4) -> (B,4*width,H,W), C channels by default.

    Raises:
        ValueError: C is not divisible by 4; the width of `jpu_x` is not divisible by 64.
    """

    def __init__(self, channels: int, width: int | None = None, variant: Literal["jpu", "jpu_x"] = "jpu") -> None:
        super().__init__()
        build = JointPyramid if variant == "jpu" else JointPyramidX
        self.body = build(_pyramid_channels(channels), inner_width(channels, width, parts=4))

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        result: Tensor = self.body(c3, c4, c5)
        return result


@register(
    "fpn", family="upsample", paper="Feature Pyramid Networks for Object Detection", equation="Sec. 3; FastFCN Table 1"
)
class FeaturePyramid(nn.Module):
    """Feature pyramid: lateral 1x1 convolutions, added top-down to stride 8.

    Args:
        channels: C of conv5; conv4 has C/2, conv3 C/4.
        width: of the laterals; C/4 where not given.
        smooth: 3x3 convolution on the result.

    Shapes: (B,C/4,H,W), (B,C/2,H/2,W/2), (B,C,H/4,W/4) -> (B,width,H,W).

    Raises:
        ValueError: C is not divisible by 4.
    """

    def __init__(self, channels: int, width: int | None = None, smooth: bool = False) -> None:
        super().__init__()
        out = inner_width(channels, width, parts=4)
        self.laterals = nn.ModuleList(nn.Conv2d(inputs, out, 1) for inputs in _pyramid_channels(channels))
        self.smooth = nn.Conv2d(out, out, 3, padding=1) if smooth else None

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        low, middle, high = (lateral(x) for lateral, x in zip(self.laterals, (c3, c4, c5), strict=True))
        middle = middle + upsample(high, like=middle)
        result: Tensor = low + upsample(middle, like=low)
        if self.smooth is not None:
            result = self.smooth(result)
        return result


class LateralPyramid(nn.Module):
    """FPN as FastFCN compares with it: c5 3x3, c3 and c4 1x1 to one width, concatenated at conv3's size, 3x3.

    Maps of other sizes are brought to conv3's bilinearly; the published code expects maps of one size.

    Args:
        in_channels: of the maps at strides 8, 16, 32.
        width: of every branch.

    Shapes: three maps -> (B,width,H,W) at the size of the first.

    Source: FastFCN, Tables 1 and 2 (Encoding-8-FPN), and its authors' code.
    """

    def __init__(self, in_channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        low, middle, high = in_channels
        self.top = conv_norm(high, width, 3)
        self.laterals = nn.ModuleList(conv_norm(inputs, width) for inputs in (low, middle))
        self.fuse = conv_norm(3 * width, width, 3)

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        joined = [self.top(c5), *(lateral(x) for lateral, x in zip(self.laterals, (c3, c4), strict=True))]
        result: Tensor = self.fuse(torch.cat([upsample(x, like=c3) for x in joined], dim=1))
        return result


@register("bilinear", family="upsample", paper=_FASTFCN, equation="Table 1")
class Bilinear(nn.Module):
    """Plain bilinear upsampling of conv5 to conv3's size, corners aligned.

    Shapes: (B,C/4,H,W), (B,C/2,H/2,W/2), (B,C,H/4,W/4) -> (B,C,H,W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        return upsample(c5, like=c3)


def _pyramid_channels(channels: int) -> tuple[int, int, int]:
    if channels % 4:
        raise ValueError(f"channels {channels} are not divisible by 4, so conv3 cannot have a quarter of them")
    return channels // 4, channels // 2, channels
