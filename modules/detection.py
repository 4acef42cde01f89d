"""Mask R-CNN as one static network: what its layers cost, on regions that are given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.bottleneck import Style
from modules.insertion import Often, Place
from modules.registry import register
from modules.resnet import Backbone

_ANCHORS = 3
_BOX_SIDE, _MASK_SIDE = 7, 14


class PyramidLevels(nn.Module):
    """The feature pyramid of a detector: every level is kept, and a coarser one added.

    Laterals 1x1 with bias, added top-down by nearest upsampling, 3x3 with bias on each level; the last level is every
    second position of the one before it.

    Args:
        in_channels: of the maps, the finest first.
        width: of all levels.

    Shapes: maps of falling size -> the same sizes at `width` channels, and one of half the last size.

    Source: Feature Pyramid Networks for Object Detection, Sec. 3 and 4.1.
    """

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        sums: list[Tensor] = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for fine in reversed(range(len(sums) - 1)):
            sums[fine] = sums[fine] + functional.interpolate(sums[fine + 1], size=sums[fine].shape[2:], mode="nearest")
        levels: list[Tensor] = [smooth(x) for smooth, x in zip(self.smooth, sums, strict=True)]
        return [*levels, functional.max_pool2d(levels[-1], 1, stride=2)]


class ProposalHead(nn.Module):
    """RPN: 3x3 and ReLU, then 1x1 to the objectness and the four offsets of three anchors; shared by all levels.

    Shapes: (B,C,H,W) -> (B,3,H,W), (B,12,H,W).

    Source: Faster R-CNN, Sec. 3.1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, _ANCHORS, 1)
        self.offsets = nn.Conv2d(channels, 4 * _ANCHORS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.relu(self.conv(x), inplace=True)
        return self.objectness(x), self.offsets(x)


class RegionGrid(nn.Module):
    """Fixed regions of each level, sampled bilinearly: no proposal has a say in them.

    The regions are shared out evenly, the finest levels taking what is left over. On a level with n of them they are
    the first n cells, row by row, of the smallest square grid over the image that has n cells. Each is sampled at the
    centres of side x side bins.

    Args:
        count: regions of an image.
        side: of a sampled region.
        levels: that they are shared by.

    Shapes: `levels` maps (B,C,H,W) -> (B*count,C,side,side), level by level.

    Raises:
        ValueError: less than one region.
    """

    def __init__(self, count: int, side: int, levels: int) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"an image needs at least 1 region, not {count}")
        self.side = side
        self.counts = [count // levels + (level < count % levels) for level in range(levels)]
        self.points: Tensor
        self.register_buffer("points", torch.cat([_cell_points(n, side) for n in self.counts]), persistent=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        regions, start = [], 0
        for x_BCHW, count in zip(maps, self.counts, strict=True):
            end = start + count * self.side
            if count:
                regions.append(self._sample(x_BCHW, self.points[start:end]))
            start = end
        return torch.cat(regions)

    def _sample(self, x_BCHW: Tensor, points_PS2: Tensor) -> Tensor:
        batch, channels = x_BCHW.shape[:2]
        grid = points_PS2.expand(batch, -1, -1, -1)
        y_BCPS = functional.grid_sample(x_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)
        y_BCNSS = y_BCPS.reshape(batch, channels, -1, self.side, self.side)
        return y_BCNSS.transpose(1, 2).reshape(-1, channels, self.side, self.side)


class BoxHead(nn.Module):
    """Two fully connected layers with ReLU, then the class scores and four offsets a class.

    Shapes: (R,C,7,7) -> (R,classes), (R,4*classes).

    Source: Feature Pyramid Networks for Object Detection, Sec. 4.2.
    """

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * _BOX_SIDE**2, width)
        self.fc2 = nn.Linear(width, width)
        self.scores = nn.Linear(width, classes)
        self.offsets = nn.Linear(width, 4 * classes)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.relu(self.fc1(regions.flatten(1)), inplace=True)
        x = functional.relu(self.fc2(x), inplace=True)
        return self.scores(x), self.offsets(x)


class MaskHead(nn.Sequential):
    """Four 3x3 with ReLU, 2x2 transposed convolution of stride 2 with ReLU, 1x1 to one mask a class.

    Shapes: (R,C,14,14) -> (R,classes,28,28).

    Source: Mask R-CNN, Fig. 4 (right).
    """

    def __init__(self, channels: int, classes: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(channels, channels, 2, stride=2), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(channels, classes, 1))


@register("mask_rcnn", family="network", paper="Mask R-CNN", equation="Sec. 3; GCNet Table 5")
class MaskRegions(nn.Module):
    """Mask R-CNN with a feature pyramid, for its static cost; a fixed grid of regions stands for the proposals.

    It is no detector: proposals are computed but not used, nothing is suppressed, and the number of regions is fixed.
    Parameters are those of the published network. GCNet states neither its image size nor its numbers of regions, so
    its 279.4 G are not reached: at 800 x 1280 the defaults take 259.3 G multiply-adds, 275.6 G by GCNet's counting.

    Args:
        channels: C of conv5; 2048 is the published width.
        depth: of the residual network: 50 or 101.
        style: stride in the 3x3 (`pytorch`) or in the first 1x1 (`caffe`).
        classes: with the background; 81 in COCO.
        boxes: regions of an image that reach the box head.
        masks: regions of an image that reach the mask head.
        context: the context block, `name` or `name/option=value`.
        stages: which of c2 to c5 have it.
        place: before the residual is added, or after the residual block.
        often: in every bottleneck of a stage, in every second one, or once, before the last one.
        groups: of the 3x3 of the bottlenecks.
        base_width: of layer1's 3x3 in each group, at the published width.

    Shapes: image (B,3,8H,8W) -> objectness of five levels (B,3,h,w), offsets of the same (B,12,h,w), scores
        (B*boxes,classes), box offsets (B*boxes,4*classes), masks (B*masks,classes,28,28).

    Raises:
        ValueError: as `resnet`; less than one class, box or mask.
    """

    def __init__(
        self,
        channels: int,
        depth: int = 50,
        style: Style = "pytorch",
        classes: int = 81,
        boxes: int = 1000,
        masks: int = 100,
        context: str = "none",
        stages: tuple[int, ...] = (3, 4, 5),
        place: Place = "after1x1",
        often: Often = "every",
        groups: int = 1,
        base_width: int = 64,
    ) -> None:
        super().__init__()
        if min(classes, boxes, masks) < 1:
            raise ValueError(f"classes, boxes and masks must be at least 1, not {classes}, {boxes}, {masks}")
        self.backbone = Backbone(
            channels,
            depth=depth,
            style=style,
            context=context,
            stages=stages,
            place=place,
            often=often,
            groups=groups,
            base_width=base_width,
        )
        width = channels // 8
        self.pyramid = PyramidLevels([channels // 8, channels // 4, channels // 2, channels], width)
        self.proposals = ProposalHead(width)
        self.box_regions = RegionGrid(boxes, _BOX_SIDE, levels=4)
        self.mask_regions = RegionGrid(masks, _MASK_SIDE, levels=4)
        self.box_head = BoxHead(width, channels // 2, classes)
        self.mask_head = MaskHead(width, classes)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps: list[Tensor] = self.pyramid(self.backbone(image))
        objectness, offsets = zip(*(self.proposals(level) for level in maps), strict=True)
        scores, corrections = self.box_head(self.box_regions(maps[:4]))
        masks: Tensor = self.mask_head(self.mask_regions(maps[:4]))
        return (*objectness, *offsets, scores, corrections, masks)


def _cell_points(count: int, side: int) -> Tensor:
    """(count*side,side,2): x and y in -1..1 of the bins of the first `count` cells of a square grid."""
    cells = math.isqrt(max(count - 1, 0)) + 1
    index = torch.arange(count)
    bins = (torch.arange(side) + 0.5) / side
    x = (index % cells).view(-1, 1, 1) + bins.view(1, 1, -1)
    y = (index // cells).view(-1, 1, 1) + bins.view(1, -1, 1)
    points = torch.stack([x.expand(count, side, side), y.expand(count, side, side)], dim=-1)
    return (2 * points / cells - 1).reshape(count * side, side, 2)
