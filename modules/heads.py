"""Segmentation heads: from the four maps of a backbone to logits."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from modules.attention import inner_width
from modules.encoding import ContextEncoding
from modules.insertion import applied
from modules.pyramid import AtrousPyramid, PyramidPooling, conv_norm
from modules.registry import create
from modules.resnet import Maps

Fused: TypeAlias = Literal["afnb", "fnb", "common", "none"]


def to_classes(width: int, classes: int) -> nn.Conv2d:
    """The 1x1 that ends every head: (B,width,H,W) -> logits (B,classes,H,W).

    Raises:
        ValueError: there is no class.
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1, not {classes}")
    return nn.Conv2d(width, classes, 1)


def classifier(channels: int, width: int, classes: int, bias: bool = False) -> nn.Sequential:
    """3x3 to `width`, with bias where asked, batch norm, ReLU, 1x1 to `classes`: (B,C,H,W) -> (B,classes,H,W)."""
    conv = nn.Conv2d(channels, width, 3, padding=1, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True), to_classes(width, classes))


class PlainHead(nn.Module):
    """FCN's head: 3x3 C->C/4, batch norm, ReLU, 1x1 to the classes, on c5.

    Shapes: maps c2 to c5, of which the last is (B,C,H,W) -> logits (B,classes,H,W).

    Raises:
        ValueError: there is no class.

    Source: Fully Convolutional Networks; FastFCN, Sec. 4.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classify = classifier(channels, channels // 4, classes)

    def forward(self, maps: Maps) -> Tensor:
        logits: Tensor = self.classify(maps[-1])
        return logits


class ContextHead(nn.Module):
    """A context block between two 3x3 convolutions of width C/4, concatenated with c5, 3x3 to C/4, 1x1 to the classes.

    The block may return more channels than it takes, as a parallel `gald` does; `width` stands in for C/4 where given.
    It is applied `recurrence` times, each time to what it returned before.

    Shapes: maps c2 to c5, of which the last is (B,C,H,W) -> logits (B,classes,H,W).

    Raises:
        ValueError: the block returns other channels than `returned`; C is not divisible by 4 and `width` not given;
            `recurrence` is below 1; there is no class.

    Source: GCNet, Table 12; GALD, Sec. 3 (the head of CCNet's code).
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        block: nn.Module,
        returned: int,
        width: int | None = None,
        recurrence: int = 1,
    ) -> None:
        super().__init__()
        if recurrence < 1:
            raise ValueError(f"recurrence must be at least 1, not {recurrence}")
        width = inner_width(channels, width, parts=4)
        self.before = conv_norm(channels, width, 3)
        self.block, self.returned, self.recurrence = block, returned, recurrence
        self.after = conv_norm(returned, width, 3)
        self.classify = classifier(channels + width, width, classes)

    def forward(self, maps: Maps) -> Tensor:
        context = self.before(maps[-1])
        for _ in range(self.recurrence):
            context = applied(self.block, context, self.returned)
        context = self.after(context)
        logits: Tensor = self.classify(torch.cat([maps[-1], context], dim=1))
        return logits


class EncodingHead(nn.Module):
    """Context encoding of a C/4 map, with the classifier of what is in the image beside the one of pixels.

    Args:
        channels: of the map that the neck returns.
        width: C/4.
        classes: of the data set.
        kernel: of the first convolution: 1 behind a JPU, 3 else, 0 for none where the neck has done it.
        presence: when that classifier is executed: in training mode only, always, or never.

    Shapes: maps -> logits (B,classes,H,W), logits of presence (B,classes); the first alone without presence.

    Source: Context Encoding for Semantic Segmentation, Fig. 2; FastFCN, Sec. 4.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        classes: int,
        kernel: int,
        presence: Literal["train", "always", "none"] = "always",
    ) -> None:
        super().__init__()
        self.presence = presence
        self.reduce = conv_norm(channels, width, kernel) if kernel else nn.Identity()
        self.encode = ContextEncoding(width, classes=classes)
        self.classify = to_classes(width, classes)

    def forward(self, maps: Maps) -> Tensor | tuple[Tensor, Tensor]:
        gated, vector = self.encode.encode(self.reduce(maps[-1]))
        logits: Tensor = self.classify(gated)
        if self.presence == "none" or (self.presence == "train" and not self.training):
            return logits
        return logits, self.encode.classify(vector)


class PyramidHead(nn.Module):
    """Pyramid pooling, 3x3 to `width`, 1x1 to the classes.

    Shapes: maps c2 to c5, of which the last is (B,C,H,W) -> logits (B,classes,H,W).

    Source: Pyramid Scene Parsing Network, Fig. 3; FastFCN, Sec. 4.
    """

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.pool = PyramidPooling(channels)
        self.classify = classifier(2 * channels, width, classes)

    def forward(self, maps: Maps) -> Tensor:
        logits: Tensor = self.classify(self.pool(maps[-1]))
        return logits


class AtrousHead(nn.Module):
    """Atrous pyramid to C/8, 3x3, 1x1 to the classes.

    Shapes: maps c2 to c5, of which the last is (B,C,H,W) -> logits (B,classes,H,W).

    Source: Rethinking Atrous Convolution, Fig. 5; FastFCN, Sec. 4.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        width = inner_width(channels, parts=8)
        self.pyramid = AtrousPyramid(channels)
        self.classify = classifier(width, width, classes)

    def forward(self, maps: Maps) -> Tensor:
        logits: Tensor = self.classify(self.pyramid(maps[-1]))
        return logits


class AsymmetricHead(nn.Module):
    """ANN's head: c4 fused into c5, 3x3 to C/4, a non-local block, 1x1 to the classes.

    Args:
        channels: C of c5.
        classes: of the data set.
        fusion: AFNB or FNB, ReLU(BN(conv(c4))) + c5 (`common`), or c5 alone.
        context: APNB, the non-local block that it stands for (`nb`), or none.

    Shapes: maps c2 to c5, the last two (B,C/2,H',W') and (B,C,H,W) -> logits (B,classes,H,W).

    Source: Asymmetric Non-local Neural Networks, Fig. 3, Sec. 3.4 and Table 6; widths as in its authors' code.
    """

    def __init__(self, channels: int, classes: int, fusion: Fused, context: Literal["apnb", "nb", "none"]) -> None:
        super().__init__()
        width, inner = channels // 4, channels // 8
        options: dict[str, object] = {"inner": inner, "norm": True, "fuse": "project"}
        self.fuse: nn.Module | None = None
        if fusion == "common":
            self.fuse = conv_norm(channels // 2, channels)
        elif fusion != "none":
            sampling = "none" if fusion == "fnb" else "pyramid_average"
            self.fuse = create("afnb", channels, "reference", share="none", sampling=sampling, **options)
        self.common = fusion == "common"
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.context: nn.Module | None = None
        if context != "none":
            sampling = "none" if context == "nb" else "pyramid_average"
            self.context = create("apnb", width, "reference", share="query_key", sampling=sampling, **options)
        self.classify = to_classes(width, classes)

    def forward(self, maps: Maps) -> Tensor:
        _, _, c4, x = maps
        if self.fuse is not None:
            x = x + self.fuse(c4) if self.common else self.fuse(c4, x)
        x = self.reduce(x)
        if self.context is not None:
            x = self.context(x)
        logits: Tensor = self.classify(x)
        return logits
