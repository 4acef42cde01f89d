"""ResNet-50 and -101 at output stride 8, 16 or 32, with context blocks inside or an upsampler behind."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from modules.bottleneck import EXPANSION, Bottleneck, Style
from modules.insertion import NOWHERE, Insertion, Often, Place
from modules.registry import create, register

Stem: TypeAlias = Literal["plain", "deep"]
FirstDilation: TypeAlias = Literal["half", "full"]
Maps: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]

_RESNET = "Deep Residual Learning for Image Recognition"
_LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def layers_of(depth: int, layers: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Bottlenecks of layer1 to layer4: those given, or those of the published `depth`.

    Raises:
        ValueError: another depth, or not four positive numbers.
    """
    if layers is None:
        if depth not in _LAYERS:
            raise ValueError(f"depth {depth} is not one of {', '.join(map(str, _LAYERS))}")
        return _LAYERS[depth]
    if len(layers) != 4 or min(layers) < 1:
        raise ValueError(f"layers must be four positive numbers such as 3+4+6+3, not {'+'.join(map(str, layers))}")
    return layers


def stem_width(channels: int) -> int:
    """Width of the first stage whose network ends in `channels`.

    Raises:
        ValueError: they are not divisible by 32.
    """
    if channels % 32:
        raise ValueError(f"channels {channels} are not divisible by 32, so the stem cannot have C/32 of them")
    return channels // 32


class ResNet(nn.Module):
    """A residual network of bottlenecks; parameters are named as torchvision's.

    Args:
        layers: bottlenecks of layer1 to layer4.
        base: width of layer1's 3x3, 64 in the paper; conv5 has 32 times as many channels.
        output_stride: 32, 16 or 8; what is not strided is dilated.
        stem: one 7x7 (`plain`), or three 3x3 that end in twice the base (`deep`).
        style: where bottlenecks stride.
        multi_grid: factors of the dilation of layer4's blocks, repeated over them.
        ceil_mode: of the stem's max pooling.
        first_dilation: the first block of a dilated stage has half of the stage's dilation (FastFCN), or all (GALD).
        insertion: the context blocks of its bottlenecks.
        groups, base_width: of the 3x3 convolutions, see `Bottleneck`.
        up: takes conv3, conv4, conv5; its map is then returned.

    Shapes: image (B,3,H,W) -> conv2 to conv5 of 4, 8, 16, 32 times the base; with `up` its map alone.

    Raises:
        ValueError: another output stride; a multi-grid factor below 1.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        base: int = 64,
        *,
        output_stride: int = 32,
        stem: Stem = "plain",
        style: Style = "pytorch",
        multi_grid: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
        first_dilation: FirstDilation = "half",
        insertion: Insertion = NOWHERE,
        groups: int = 1,
        base_width: int = 64,
        up: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output stride {output_stride} is not one of 8, 16, 32")
        grid = multi_grid or (1,)
        if min(grid) < 1:
            raise ValueError(f"multi_grid factors must be at least 1, not {min(grid)}")
        channels = base if stem == "plain" else 2 * base
        self.conv1: nn.Module = _plain_stem(base) if stem == "plain" else _deep_stem(base)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=ceil_mode)
        stages, stride = [], 4
        for index, count in enumerate(layers):
            step = 1 if index == 0 or stride == output_stride else 2
            stride *= step
            whole = 2 ** (index + 2) // stride
            blocks: list[nn.Module] = []
            for block in range(count):
                dilation = whole // 2 if block == 0 and whole > 1 and first_dilation == "half" else whole
                if index == 3:
                    dilation *= grid[block % len(grid)]
                planes = base * 2**index
                context = insertion.block(index + 2, block, count, EXPANSION * planes)
                where = (step if block == 0 else 1, dilation, style, context, insertion.place)
                blocks.append(Bottleneck(channels, planes, *where, groups, base_width))
                channels = EXPANSION * planes
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.up = up

    def forward(self, image: Tensor) -> Maps | Tensor:
        x = self.maxpool(functional.relu(self.bn1(self.conv1(image)), inplace=True))
        c2: Tensor = self.layer1(x)
        c3: Tensor = self.layer2(c2)
        c4: Tensor = self.layer3(c3)
        c5: Tensor = self.layer4(c4)
        if self.up is None:
            return c2, c3, c4, c5
        result: Tensor = self.up(c3, c4, c5)
        return result


@register("resnet", family="backbone", paper=_RESNET, equation="Table 1; FastFCN Sec. 3")
class Backbone(ResNet):
    """ResNet-50 or -101 of any output stride, with context blocks in its bottlenecks or an upsampler behind.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        os: output stride: 8, 16 or 32.
        stem: one 7x7, or three 3x3.
        style: stride in the 3x3 (`pytorch`) or in the first 1x1 (`caffe`).
        multi_grid: factors of layer4's dilations.
        ceil_mode: of the stem's max pooling.
        first_dilation: of the first block of a dilated stage: half of the stage's, or all.
        up: what brings an output stride of 32 back to 8.
        context, stages, place, often: the context blocks inside, see `Insertion`.
        groups, base_width: of the 3x3 convolutions: 32 and 4 make a ResNeXt 32x4d.

    Shapes: image (B,3,8H,8W) -> (c2, c3, c4, c5), c5 of C channels; with `up` one map at stride 8.

    Raises:
        ValueError: C is not divisible by 32; another depth, stage or output stride; `up` where the output stride is
            not 32; a context block that does not exist or does not fit.
    """

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        layers: tuple[int, ...] | None = None,
        os: int = 32,
        stem: Stem = "plain",
        style: Style = "pytorch",
        multi_grid: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
        first_dilation: FirstDilation = "half",
        up: Literal["none", "bilinear", "fpn", "jpu"] = "none",
        context: str = "none",
        stages: tuple[int, ...] = (3, 4, 5),
        place: Place = "after1x1",
        often: Often = "every",
        groups: int = 1,
        base_width: int = 64,
    ) -> None:
        if up != "none" and os != 32:
            raise ValueError(f"up={up} needs an output stride of 32, not {os}")
        super().__init__(
            layers_of(depth, layers),
            stem_width(channels),
            output_stride=os,
            stem=stem,
            style=style,
            multi_grid=multi_grid,
            ceil_mode=ceil_mode,
            first_dilation=first_dilation,
            insertion=Insertion(context, stages, place, often),
            groups=groups,
            base_width=base_width,
            up=None if up == "none" else create(up, channels),
        )


@register("dilated", family="backbone", paper="FastFCN; Dilated Residual Networks", equation="FastFCN Sec. 3.1, Fig. 1")
class Dilated(Backbone):
    """ResNet-50 or -101 whose last two stages are dilated instead of strided: output stride 8.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: 50 or 101.
        stem: one 7x7, or three 3x3.
        style: stride in the 3x3 (`pytorch`) or in the first 1x1 (`caffe`).
        multi_grid: factors of layer4's dilations.
        ceil_mode: of the stem's max pooling.
        first_dilation: of the first block of a dilated stage: half of the stage's, or all.
        context, stages, place, often: the context blocks inside, see `Insertion`.

    Shapes: image (B,3,8H,8W) -> (c2, c3, c4, c5), c5 of C channels at stride 8.

    Raises:
        ValueError: as `resnet`.
    """

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        stem: Stem = "plain",
        style: Style = "pytorch",
        multi_grid: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
        first_dilation: FirstDilation = "half",
        context: str = "none",
        stages: tuple[int, ...] = (3, 4, 5),
        place: Place = "after1x1",
        often: Often = "every",
    ) -> None:
        super().__init__(
            channels,
            depth=depth,
            os=8,
            stem=stem,
            style=style,
            multi_grid=multi_grid,
            ceil_mode=ceil_mode,
            first_dilation=first_dilation,
            context=context,
            stages=stages,
            place=place,
            often=often,
        )


def _plain_stem(base: int) -> nn.Conv2d:
    return nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)


def _deep_stem(base: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, base, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(base),
        nn.ReLU(inplace=True),
        nn.Conv2d(base, base, 3, padding=1, bias=False),
        nn.BatchNorm2d(base),
        nn.ReLU(inplace=True),
        nn.Conv2d(base, 2 * base, 3, padding=1, bias=False),
    )
