"""The bottleneck of a residual network."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from modules.insertion import Place, applied

Style: TypeAlias = Literal["pytorch", "caffe"]
EXPANSION = 4


class Residual(nn.Module):
    """How a bottleneck computes, whatever its convolutions: three with batch norm, a context block, + residual, ReLU.

    A subclass makes `conv1` to `conv3`, `bn1` to `bn3`, and `downsample` where the residual changes its shape.

    Args:
        context: applied where `place` says; must keep the shape of what it is given.
        place: `after1x1`: to the last batch norm's result, before the residual is added; `after_add`: to the output.

    Shapes: (B,C,H,W) -> what `conv3` returns, at the size that `conv1` to `conv3` leave.

    Source: Deep Residual Learning, Fig. 5 (right); places of the context block: GCNet, Table 5(b).
    """

    conv1: nn.Module
    bn1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    conv3: nn.Module
    bn3: nn.Module
    downsample: nn.Module | None

    def __init__(self, context: nn.Module | None, place: Place) -> None:
        super().__init__()
        self.context, self.place = context, place

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        if self.context is not None and self.place == "after1x1":
            y = applied(self.context, y, y.shape[1])
        y = y + (x if self.downsample is None else self.downsample(x))
        y = functional.relu(y, inplace=True)
        if self.context is not None and self.place == "after_add":
            y = applied(self.context, y, y.shape[1])
        return y


class Bottleneck(Residual):
    """1x1, 3x3, 1x1 with batch norm, + residual, ReLU, and a context block where given.

    Args:
        channels: of the input.
        planes: a quarter of the output's channels.
        stride: in the 3x3 (`pytorch`) or in the first 1x1 (`caffe`).
        dilation: of the 3x3.
        style: see `stride`.
        context: applied where `place` says.
        place: `after1x1`: to the last batch norm's result, before the residual is added; `after_add`: to the output.
        groups: of the 3x3.
        base_width: width of each group where `planes` is 64; 64 is a plain ResNet.

    Shapes: (B,channels,H,W) -> (B,4*planes,H/stride,W/stride).

    Raises:
        ValueError: the 3x3 would have no channels, or such that do not divide by the groups; the context
            block returns other channels than it is given.

    Source: Deep Residual Learning, Fig. 5; GCNet, Table 5(b); groups: Aggregated Residual Transformations, Table 1.
    """

    def __init__(
        self,
        channels: int,
        planes: int,
        stride: int,
        dilation: int,
        style: Style,
        context: nn.Module | None,
        place: Place = "after1x1",
        groups: int = 1,
        base_width: int = 64,
    ) -> None:
        super().__init__(context, place)
        if groups < 1 or base_width < 1 or planes * base_width < 64:
            raise ValueError(f"groups {groups} of width {base_width} leave no channels of {planes}")
        first, second = (1, stride) if style == "pytorch" else (stride, 1)
        width, out = planes * base_width // 64 * groups, EXPANSION * planes
        self.conv1 = nn.Conv2d(channels, width, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width, width, 3, stride=second, padding=dilation, dilation=dilation, groups=groups, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
