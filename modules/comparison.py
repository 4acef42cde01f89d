"""Networks of other papers that the tables compare with: DANet, CCNet, PSANet."""

from __future__ import annotations

from torch import Tensor, nn

from modules.criss_cross import CrissCross
from modules.dual_attention import ChannelAttention, PositionAttention
from modules.gald import aggregation
from modules.heads import ContextHead, classifier, to_classes
from modules.networks import deep_trunk
from modules.pointwise_spatial import PointwiseSpatial
from modules.pyramid import conv_norm
from modules.registry import register
from modules.resnet import Maps, stem_width
from modules.segmentation import Auxiliary, Segmentation, Side, auxiliary_head


class DualHead(nn.Module):
    """Position and channel attention side by side on C/4 channels, each between two 3x3, summed, 1x1 to the classes.

    Shapes: maps c2 to c5, of which the last is (B,C,H,W) -> logits (B,classes,H,W).

    Source: Dual Attention Network, Fig. 2, with the classifier of the sum alone.
    """

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(conv_norm(channels, width, 3), attention, conv_norm(width, width, 3))
            for attention in (PositionAttention(width), ChannelAttention(width))
        )
        self.classify = to_classes(width, classes)

    def forward(self, maps: Maps) -> Tensor:
        position, channel = (branch(maps[-1]) for branch in self.branches)
        logits: Tensor = self.classify(position + channel)
        return logits


class PointwiseHead(nn.Module):
    """Point-wise spatial attention on c5, 3x3 to C/4, 1x1 to the classes.

    Shapes: maps c2 to c5, of which the last is (B,C,H,W) -> logits (B,classes,H,W).

    Source: PSANet, Fig. 5.
    """

    def __init__(self, channels: int, width: int, classes: int, reach: tuple[int, ...], shrink: int) -> None:
        super().__init__()
        self.attention = PointwiseSpatial(channels, reach=reach, shrink=shrink)
        self.classify = classifier(2 * channels, width, classes)

    def forward(self, maps: Maps) -> Tensor:
        logits: Tensor = self.classify(self.attention(maps[-1]))
        return logits


@register("danet", family="network", paper="Dual Attention Network for Scene Segmentation", equation="Fig. 2")
class DualAttentionNetwork(Segmentation):
    """DANet: dilated ResNet, position and channel attention in parallel.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        classes: of the data set.
        aux: auxiliary head in training mode only, always, or none.
        side: image sides of 8n, or of 8n-7 (`odd`).
        resize: logits at the image's size.

    Shapes: image (B,3,8H,8W) -> logits (B,classes,8H,8W), and the auxiliary ones.

    Raises:
        ValueError: C is not divisible by 32; another depth.
    """

    def __init__(
        self,
        channels: int,
        depth: int = 101,
        layers: tuple[int, ...] | None = None,
        classes: int = 19,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        width = 8 * stem_width(channels)
        super().__init__(
            deep_trunk(channels, depth, layers),
            DualHead(channels, width, classes),
            auxiliary=auxiliary_head(channels // 2, width, classes, aux, bias=True),
            aux=aux,
            side=side,
            resize=resize,
        )


@register("ccnet", family="network", paper="CCNet: Criss-Cross Attention for Semantic Segmentation", equation="Fig. 2")
class CrissCrossNetwork(Segmentation):
    """CCNet: dilated ResNet, criss-cross attention, applied twice, in the head that GCNet and GALDNet took over.

    Args:
        channels: C of conv5; 2048 is the published width.
        block: the context block of the head on C/4 channels, `name` or `name/option=value`, in place of the attention.
        recurrence: how often the block is applied.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        classes: of the data set.
        aux: auxiliary head in training mode only, always, or none.
        side: image sides of 8n, or of 8n-7 (`odd`).
        resize: logits at the image's size.

    Shapes: image (B,3,8H,8W) -> logits (B,classes,8H,8W), and the auxiliary ones.

    Raises:
        ValueError: C is not divisible by 32; another depth; recurrence below 1; a block that does not exist or fit.
    """

    def __init__(
        self,
        channels: int,
        block: str = "criss_cross",
        recurrence: int = 2,
        depth: int = 101,
        layers: tuple[int, ...] | None = None,
        classes: int = 19,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        width = 8 * stem_width(channels)
        own = block == "criss_cross"
        looped = CrissCross(width, recurrence) if own else aggregation(block, width)
        super().__init__(
            deep_trunk(channels, depth, layers),
            ContextHead(channels, classes, looped, width, recurrence=1 if own else recurrence),
            auxiliary=auxiliary_head(channels // 2, width, classes, aux, bias=True),
            aux=aux,
            side=side,
            resize=resize,
        )


@register("psanet", family="network", paper="PSANet: Point-wise Spatial Attention Network", equation="Fig. 5")
class PointwiseSpatialNetwork(Segmentation):
    """PSANet: dilated ResNet, every position collects from and distributes to all others by predicted masks.

    Args:
        channels: C of conv5; 2048 is the published width.
        reach: farthest offset of the masks, in positions of the shrunk map; one number, or height+width.
        shrink: factor by which the map is shrunk for the attention.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        classes: of the data set.
        aux: auxiliary head in training mode only, always, or none.
        side: image sides of 8n, or of 8n-7 (`odd`).
        resize: logits at the image's size.

    Shapes: image (B,3,8H,8W) -> logits (B,classes,8H,8W), and the auxiliary ones.

    Raises:
        ValueError: C is not divisible by 32; another depth; a reach or shrink that cannot be.
    """

    def __init__(
        self,
        channels: int,
        reach: tuple[int, ...] = (48,),
        shrink: int = 2,
        depth: int = 101,
        layers: tuple[int, ...] | None = None,
        classes: int = 19,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        width = 8 * stem_width(channels)
        super().__init__(
            deep_trunk(channels, depth, layers),
            PointwiseHead(channels, width, classes, reach, shrink),
            auxiliary=auxiliary_head(channels // 2, channels // 8, classes, aux, bias=False),
            aux=aux,
            side=side,
            resize=resize,
        )
