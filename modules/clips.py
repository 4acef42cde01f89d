"""Slow-only ResNet: classes of a clip, with context blocks over all of its positions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from modules.bottleneck import EXPANSION, Residual, Style
from modules.insertion import Insertion, Often, Place
from modules.non_local import NonLocal
from modules.registry import register
from modules.resnet import layers_of, stem_width

_TEMPORAL_STAGES = (4, 5)


class ClipContext(nn.Module):
    """A context block on clips. `nl` takes a clip; any other block gets the frames below one another, as one map.

    Args:
        block: the context block; it must return the shape that it is given.

    Shapes: (B,C,T,H,W) -> (B,C,T,H,W).

    Raises:
        ValueError: the block returns another shape.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        x = x_BCTHW if isinstance(self.block, NonLocal) else x_BCTHW.flatten(2, 3)
        y: Tensor = self.block(x)
        if y.shape != x.shape:
            raise ValueError(f"a context block must keep the shape {tuple(x.shape)}, not make it {tuple(y.shape)}")
        return y.reshape(x_BCTHW.shape)


class ClipBottleneck(Residual):
    """1x1x1 or 3x1x1, 1x3x3, 1x1x1 with batch norm, + residual, ReLU, and a context block where given.

    Args:
        channels: of the input.
        planes: width of the 1x3x3, a quarter of the output's channels.
        stride: over height and width, in the 1x3x3 (`pytorch`) or in the first convolution (`caffe`).
        frames: that the first convolution spans, 1 or 3.
        style: see `stride`.
        context: the context block.
        place: of the context block: before the residual is added, or after the last ReLU.

    Shapes: (B,channels,T,H,W) -> (B,4*planes,T,H/stride,W/stride).

    Source: SlowFast Networks, Table 1 (slow pathway); GCNet, Table 10.
    """

    def __init__(
        self,
        channels: int,
        planes: int,
        stride: int,
        frames: int,
        style: Style,
        context: nn.Module | None = None,
        place: Place = "after1x1",
    ) -> None:
        super().__init__(context, place)
        first, second = (1, stride) if style == "pytorch" else (stride, 1)
        out = EXPANSION * planes
        self.conv1 = nn.Conv3d(
            channels, planes, (frames, 1, 1), stride=(1, first, first), padding=(frames // 2, 0, 0), bias=False
        )
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = nn.Conv3d(planes, planes, (1, 3, 3), stride=(1, second, second), padding=(0, 1, 1), bias=False)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = nn.Conv3d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out)
        self.downsample = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv3d(channels, out, 1, stride=(1, stride, stride), bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(out))


@register("slow_only", family="network", paper="SlowFast Networks for Video Recognition", equation="GCNet Table 10")
class SlowOnly(nn.Module):
    """Slow-only ResNet: classes of a clip; 3x1x1 convolutions in layer3 and layer4, 1x7x7 stem, no temporal stride.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: 50 or 101.
        style: spatial stride in the 1x3x3 (`pytorch`) or in the convolution before it (`caffe`).
        classes: of the linear layer at the end; 400 in Kinetics.
        frames: T of the clips that it is measured with; it takes any number.
        context: the context block, `name` or `name/option=value`.
        stages: which of c2 to c5 have it.
        place: before the residual is added, or after the residual block.
        often: in every bottleneck of a stage, in every second one, or once, before the last one.

    Shapes: clip (B,3,T,8H,8W) -> (B,classes).

    Raises:
        ValueError: C is not divisible by 32; another depth; less than one class or frame; a stage that does not exist;
            a context block that does not exist or does not fit; an input that is no clip.
    """

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        style: Style = "caffe",
        classes: int = 400,
        frames: int = 8,
        context: str = "none",
        stages: tuple[int, ...] = (3, 4, 5),
        place: Place = "after1x1",
        often: Often = "every",
    ) -> None:
        super().__init__()
        if min(classes, frames) < 1:
            raise ValueError(f"classes and frames must be at least 1, not {classes} and {frames}")
        layers, insertion = layers_of(depth), Insertion(context, stages, place, often)
        self.frames = frames
        planes = inputs = stem_width(channels)
        self.conv1 = nn.Conv3d(3, planes, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.maxpool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        built = []
        for stage, count in enumerate(layers, start=2):
            blocks: list[nn.Module] = []
            for index in range(count):
                block = insertion.block(stage, index, count, EXPANSION * planes)
                inside = None if block is None else ClipContext(block)
                stride = 2 if stage > 2 and index == 0 else 1
                span = 3 if stage in _TEMPORAL_STAGES else 1
                blocks.append(ClipBottleneck(inputs, planes, stride, span, style, inside, place))
                inputs = EXPANSION * planes
            built.append(nn.Sequential(*blocks))
            planes *= 2
        self.layer1, self.layer2, self.layer3, self.layer4 = built
        self.fc = nn.Linear(channels, classes)

    def input_shape(self, batch: int, height: int, width: int) -> tuple[int, ...]:
        """The clips (B,3,T,8H,8W) that stand for maps of `height` x `width` at stride 8."""
        return batch, 3, self.frames, 8 * height, 8 * width

    def forward(self, clip: Tensor) -> Tensor:
        if clip.dim() != 5 or clip.shape[1] != 3:
            raise ValueError(f"input must be a clip (B,3,T,H,W), not {tuple(clip.shape)}")
        x = self.maxpool(functional.relu(self.bn1(self.conv1(clip)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        result: Tensor = self.fc(functional.adaptive_avg_pool3d(x, 1).flatten(1))
        return result
