"""Whole segmentation networks of the five papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from modules.gald import GlobalAggregationLocalDistribution, aggregation
from modules.heads import (
    AsymmetricHead,
    AtrousHead,
    ContextHead,
    EncodingHead,
    Fused,
    PlainHead,
    PyramidHead,
)
from modules.insertion import Insertion, Often, Place
from modules.registry import create, register
from modules.resnet import FirstDilation, ResNet, Stem, layers_of, stem_width
from modules.segmentation import Auxiliary, Segmentation, Side, auxiliary_head
from modules.upsampling import LateralPyramid

_GALD = "Global Aggregation then Local Distribution (GALD)"
_FASTFCN = "FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic Segmentation"
_GCNET = "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond"
_ANN = "Asymmetric Non-local Neural Networks for Semantic Segmentation"


def deep_trunk(
    channels: int,
    depth: int,
    layers: tuple[int, ...] | None,
    *,
    output_stride: int = 8,
    stem: Stem = "deep",
    ceil_mode: bool = True,
    first_dilation: FirstDilation = "full",
    multi_grid: tuple[int, ...] | None = None,
    insertion: Insertion | None = None,
) -> ResNet:
    """The ResNet that segmentation networks stand on: a deep stem by default, stride in the 3x3.

    Raises:
        ValueError: as `resnet`.
    """
    return ResNet(
        layers_of(depth, layers),
        stem_width(channels),
        output_stride=output_stride,
        stem=stem,
        ceil_mode=ceil_mode,
        first_dilation=first_dilation,
        multi_grid=multi_grid,
        insertion=insertion or Insertion(),
    )


@register("fcn", family="network", paper="Fully Convolutional Networks; FastFCN", equation="FastFCN Sec. 4")
class FullyConvolutional(Segmentation):
    """FCN: dilated ResNet, 3x3 C->C/4, 1x1, with an auxiliary head on c4.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        ceil_mode: of the stem's max pooling; with it an image of 8n makes a map of n+1.
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
        depth: int = 50,
        layers: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
        classes: int = 19,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        super().__init__(
            deep_trunk(channels, depth, layers, ceil_mode=ceil_mode, first_dilation="half"),
            PlainHead(channels, classes),
            auxiliary=auxiliary_head(channels // 2, channels // 8, classes, aux, bias=False),
            aux=aux,
            side=side,
            resize=resize,
        )


@register("gcnet", family="network", paper=_GCNET, equation="Table 12")
class ContextNetwork(Segmentation):
    """Dilated ResNet with any context block in a CCNet-style head, in the backbone, or in both.

    Args:
        channels: C of conv5; 2048 is the published width.
        head: the context block of the head, on C/4 channels; `identity` makes the baseline.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        classes: of the data set.
        context, stages, place, often: context blocks in the backbone, see `Insertion`.
        aux: auxiliary head in training mode only, always, or none.
        side: image sides of 8n, or of 8n-7 (`odd`).
        resize: logits at the image's size.

    Shapes: image (B,3,8H,8W) -> logits (B,classes,8H,8W), and the auxiliary ones.

    Raises:
        ValueError: C is not divisible by 32; another depth; a context block that does not exist or does not fit.
    """

    def __init__(
        self,
        channels: int,
        head: str = "gc/ratio=4",
        depth: int = 101,
        layers: tuple[int, ...] | None = None,
        classes: int = 19,
        context: str = "none",
        stages: tuple[int, ...] = (3, 4, 5),
        place: Place = "after1x1",
        often: Often = "every",
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        width = stem_width(channels) * 8
        super().__init__(
            deep_trunk(channels, depth, layers, insertion=Insertion(context, stages, place, often)),
            ContextHead(channels, classes, aggregation(head, width), width),
            auxiliary=auxiliary_head(channels // 2, width, classes, aux, bias=True),
            aux=aux,
            side=side,
            resize=resize,
        )


@register("galdnet", family="network", paper=_GALD, equation="Fig. 3; GALDv2 Fig. 3")
class GaldNetwork(Segmentation):
    """GALDNet: dilated ResNet with multi-grid and a `gald` block in a CCNet-style head.

    Args:
        channels: C of conv5; 2048 is the published width.
        ga, ld, arrangement, residual: of the `gald` block.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        classes: of the data set.
        aux: auxiliary head in training mode only, always, or none.
        side: image sides of 8n, or of 8n-7 (`odd`).
        resize: logits at the image's size.

    Shapes: image (B,3,8H,8W) -> logits (B,classes,8H,8W), and the auxiliary ones; H and W at least 15 with v1.

    Raises:
        ValueError: C is not divisible by 32; another depth; a `gald` block that cannot be.
    """

    def __init__(
        self,
        channels: int,
        ga: str = "cgnl",
        ld: Literal["v1", "v2"] = "v1",
        arrangement: Literal["gald", "ldga", "parallel"] = "gald",
        residual: Literal["paper", "code"] = "paper",
        depth: int = 50,
        layers: tuple[int, ...] | None = None,
        classes: int = 19,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        width = stem_width(channels) * 8
        block = GlobalAggregationLocalDistribution(width, ga, ld, arrangement, residual)
        super().__init__(
            deep_trunk(channels, depth, layers, multi_grid=(1, 2, 4)),
            ContextHead(channels, classes, block, 2 * width if arrangement == "parallel" else width),
            auxiliary=auxiliary_head(channels // 2, width, classes, aux, bias=True),
            aux=aux,
            side=side,
            resize=resize,
        )


@register("ann", family="network", paper=_ANN, equation="Fig. 3, Table 6")
class AsymmetricNetwork(Segmentation):
    """ANN: dilated ResNet, c4 fused into c5 by AFNB, 3x3 C->C/4, APNB; and every row of the paper's ablation.

    Args:
        channels: C of conv5; 2048 is the published width.
        fusion: of c4 and c5: AFNB, FNB, ReLU(BN(conv(c4))) + c5 (`common`), or none.
        context: APNB, the non-local block that it stands for (`nb`), or none.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        multi_grid: factors of layer4's dilations.
        stem: one 7x7, or three 3x3 (the authors' published networks).
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
        fusion: Fused = "afnb",
        context: Literal["apnb", "nb", "none"] = "apnb",
        depth: int = 101,
        layers: tuple[int, ...] | None = None,
        multi_grid: tuple[int, ...] | None = None,
        stem: Stem = "deep",
        classes: int = 19,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        super().__init__(
            deep_trunk(channels, depth, layers, stem=stem, first_dilation="half", multi_grid=multi_grid),
            AsymmetricHead(channels, classes, fusion, context),
            auxiliary=auxiliary_head(channels // 2, channels // 4, classes, aux, bias=True),
            aux=aux,
            side=side,
            resize=resize,
        )


@register("fastfcn", family="network", paper=_FASTFCN, equation="Fig. 2, Tables 1 and 2")
class FastFcn(Segmentation):
    """FastFCN: ResNet of output stride 32 with a JPU, or what it is compared with, under one of three heads.

    Args:
        channels: C of conv5; 2048 is the published width.
        head: context encoding, atrous pyramid or pyramid pooling.
        up: JPU, FPN-like laterals or bilinear upsampling of c5; `none` dilates the backbone instead.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        variant: the paper's JPU, or the authors' later two-step one.
        classes: of the data set.
        aux: auxiliary head, and encoding's logits of presence, in training mode only, always, or none.
        side: image sides of 8n, or of 8n-7 (`odd`).
        resize: logits at the image's size.

    Shapes: image (B,3,8H,8W) -> logits (B,classes,8H,8W), [presence (B,classes),] and the auxiliary ones.

    Raises:
        ValueError: C is not divisible by 32; another depth.
    """

    def __init__(
        self,
        channels: int,
        head: Literal["encoding", "aspp", "psp"] = "encoding",
        up: Literal["jpu", "none", "bilinear", "fpn"] = "jpu",
        depth: int = 50,
        layers: tuple[int, ...] | None = None,
        variant: Literal["jpu", "jpu_x"] = "jpu",
        classes: int = 59,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        if variant != "jpu" and up != "jpu":
            raise ValueError(f"variant={variant} is one of JPU, so it needs up=jpu, not up={up}")
        stride = 8 if up == "none" else 32
        width = stem_width(channels) * 8
        necks: dict[str, Callable[[], nn.Module]] = {
            "jpu": lambda: create("jpu", channels, width=width, variant=variant),
            "bilinear": lambda: create("bilinear", channels),
            "fpn": lambda: LateralPyramid((channels // 4, channels // 2, channels), width),
        }
        neck = None if up == "none" else necks[up]()
        given = width if up == "fpn" else channels
        if head == "encoding":
            top: nn.Module = EncodingHead(given, width, classes, {"jpu": 1, "fpn": 0}.get(up, 3), aux)
        else:
            top = AtrousHead(given, classes) if head == "aspp" else PyramidHead(given, width, classes)
        super().__init__(
            deep_trunk(channels, depth, layers, output_stride=stride, ceil_mode=False, first_dilation="half"),
            top,
            neck=neck,
            auxiliary=auxiliary_head(channels // 2, channels // 8, classes, aux, bias=False),
            aux=aux,
            side=side,
            resize=resize,
        )
