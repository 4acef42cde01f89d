"""Residual networks that classify images, with context blocks inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.bottleneck import Style
from modules.insertion import Insertion, Often, Place
from modules.registry import register
from modules.resnet import ResNet, Stem, layers_of, stem_width

_GCNET = "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond"


@register("gc_resnet", family="network", paper=_GCNET, equation="Tables 8 and 9")
class ContextClassifier(nn.Module):
    """ResNet for classification with context blocks in its bottlenecks: global average of c5, linear layer.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: 50 or 101.
        layers: bottlenecks of the four stages, instead of those of `depth`.
        classes: of the data set, 1000 for ImageNet.
        stem: one 7x7, or three 3x3.
        style: stride in the first 1x1 (`caffe`, as GCNet's costs show) or in the 3x3 (`pytorch`).
        context, stages, place, often: the context blocks, see `Insertion`; `none` makes the plain ResNet.

    Shapes: image (B,3,8H,8W) -> logits (B,classes).

    Raises:
        ValueError: C is not divisible by 32; another depth or stage; no classes; a context block that does not
            exist or fit.
    """

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        layers: tuple[int, ...] | None = None,
        classes: int = 1000,
        stem: Stem = "plain",
        style: Style = "caffe",
        context: str = "gc",
        stages: tuple[int, ...] = (3, 4, 5),
        place: Place = "after1x1",
        often: Often = "every",
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, not {classes}")
        insertion = Insertion(context, stages, place, often)
        base = stem_width(channels)
        self.trunk = ResNet(layers_of(depth, layers), base, stem=stem, style=style, insertion=insertion)
        self.fc = nn.Linear(channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        c5_BCHW = self.trunk(image)[-1]
        pooled_BC = torch.flatten(nn.functional.adaptive_avg_pool2d(c5_BCHW, 1), 1)
        logits: Tensor = self.fc(pooled_BC)
        return logits
