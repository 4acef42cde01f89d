"""lxtGH/GALD-DGCNet: blocks, backbone, head and network; and LDv2, which was described, but not published as code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from modules.checkpoints.naming import Naming, rotated, together
from modules.checkpoints.source import Source, only, part, static
from modules.gald import GlobalAggregationLocalDistribution
from modules.heads import ContextHead
from modules.networks import GaldNetwork
from modules.pyramid import AtrousPyramid, PyramidPooling
from modules.registry import create
from modules.resnet import ResNet

_WIDTH, _STEM = 2048, 64

_MASKS = Naming({f"down.{index}.": f"dconv{index + 1}." for index in range(3)})
_COMPACT = Naming({"norm.": "gn."})
_BLOCK = together(
    Naming({"down.": "down."}), _COMPACT.under("ga.", "long_relation."), _MASKS.under("ld.", "local_attention.")
)
_HEAD = together(
    Naming({"before.": "conva.", "after.": "convb.", "classify.": "bottleneck."}), _BLOCK.under("block.", "a2block.")
)
_NETWORK = together(
    Naming({"trunk.": "", "auxiliary.0.": "dsn.0.", "auxiliary.1.": "dsn.1.", "auxiliary.3.": "dsn.4."}),
    _HEAD.under("head.", "head."),
)


def _pyramid(features: int, out_features: int = 512, sizes: Sequence[int] = (1, 2, 3, 6)) -> nn.Module:
    """No ReLU in the levels, and a 1x1 bottleneck that is padded by 1."""
    module = create("psp", features, sizes=tuple(sizes), width=out_features, out=out_features, activation=False)
    _bottleneck(module).padding = (1, 1)
    return module


def _bottleneck(module: nn.Module) -> nn.Conv2d:
    bottleneck = part(module, PyramidPooling).bottleneck
    if bottleneck is None:
        raise TypeError("this psp has no bottleneck")
    return part(bottleneck, nn.Conv2d)


def _pyramid_naming(module: nn.Module) -> Naming:
    """The authors concatenate the map itself last, ours is first."""
    levels = part(module, PyramidPooling).levels
    width = sum(part(level, nn.Conv2d).out_channels for level in levels)
    names = {f"levels.{i}.{j - 1}.": f"stages.{i}.{j}." for i in range(len(levels)) for j in (1, 2)}
    return Naming(names, changes={r"bottleneck\.0\.weight": lambda weight: rotated(weight, width)})


def _unpadded(module: nn.Module) -> str:
    bottleneck = part(module, PyramidPooling).bottleneck
    if bottleneck is not None and part(bottleneck, nn.Conv2d).padding == (1, 1):
        return ""
    return "pad their bottleneck by 1, which no option of psp does"


def _atrous(
    features: int,
    inner_features: int = 256,
    out_features: int = 512,
    dilations: Sequence[int] = (12, 24, 36),
) -> nn.Module:
    only("the number of dilations", len(dilations), 3)
    return create("aspp", features, rates=tuple(dilations), width=inner_features, out=out_features)


def _atrous_naming(module: nn.Module) -> Naming:
    """The authors concatenate the image pool first, ours is last."""
    width = part(part(module, AtrousPyramid).image, nn.Conv2d).out_channels
    names = {"image.0.": "conv1.1.", "image.1.": "conv1.2.", "point.": "conv2.", "project.": "bottleneck."}
    names |= {f"atrous.{index}.": f"conv{index + 3}." for index in range(3)}
    return Naming(names, changes={r"project\.0\.weight": lambda weight: rotated(weight, width)})


def _compact(inplanes: int, planes: int, use_scale: bool = False, groups: int = 8) -> nn.Module:
    return create("cgnl", inplanes, inner=planes, groups=groups, scale=use_scale)


def _masks(inplane: int) -> nn.Module:
    return create("ldv1", inplane)


def _block(inplane: int, plane: int) -> GlobalAggregationLocalDistribution:
    return GlobalAggregationLocalDistribution(inplane, f"cgnl/inner={plane}", residual="code")


def _paper_residual(module: nn.Module) -> str:
    """The option decides what is computed, and no name tells."""
    if part(module, GlobalAggregationLocalDistribution).residual == "code":
        return ""
    return "were trained for x*(2+M); build it with residual=code"


def _head(inplanes: int, interplanes: int, num_classes: int) -> nn.Module:
    block = _block(interplanes, interplanes // 2)
    return ContextHead(inplanes, num_classes, block, interplanes, width=interplanes)


def _backbone(layers: Sequence[int], width_div: int = 1) -> nn.Module:
    return ResNet(
        tuple(layers),
        _STEM // width_div,
        output_stride=8,
        stem="deep",
        multi_grid=(1, 2, 4),
        ceil_mode=True,
        first_dilation="full",
    )


def _network(layers: Sequence[int], num_classes: int, width_div: int = 1) -> nn.Module:
    channels = _WIDTH // width_div
    return GaldNetwork(channels, residual="code", layers=tuple(layers), classes=num_classes, resize=False)


def _local_affinity(
    channels: int,
    inter_channels: int | None = None,
    k: int = 5,
    r: int = 6,
    value_from: str = "x",
    mask_border: bool = False,
    use_scale: bool = False,
) -> nn.Module:
    return create(
        "ldv2",
        channels,
        inner=inter_channels,
        kernel=k,
        dilation=r,
        value_from=value_from,
        mask_border=mask_border,
        scale=use_scale,
    )


SOURCES: Mapping[str, Source] = {
    "gald.LocalAttenModule": Source(_masks, static(_MASKS), ("ldv1",)),
    "gald.SpatialCGNL": Source(_compact, static(_COMPACT), ("cgnl",)),
    "gald.GALDBlock": Source(_block, static(_BLOCK), ("gald",), unlike=_paper_residual),
    "gald.GALDHead": Source(_head, static(_HEAD)),
    "gald.Backbone": Source(_backbone, static(Naming({}))),
    "gald.GALDNet": Source(_network, static(_NETWORK), ("galdnet",), unlike=_paper_residual),
    "gald.PSPModule": Source(_pyramid, _pyramid_naming, ("psp",), unlike=_unpadded),
    "gald.ASPPModule": Source(_atrous, _atrous_naming, ("aspp",)),
    "spec.LDv2": Source(_local_affinity, static(Naming({}))),
}
