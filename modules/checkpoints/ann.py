"""MendelXu/ANN: the asymmetric blocks, their efficiency study, and the whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from modules.checkpoints.naming import Naming, together
from modules.checkpoints.source import Source, only, part, static
from modules.networks import AsymmetricNetwork
from modules.registry import create
from modules.resnet import ResNet

_WIDTH = 2048

_APNB = Naming(
    {
        "query.0.": "stages.0.f_key.0.",
        "query.1.": "stages.0.f_key.1.0.",
        "value.": "stages.0.f_value.",
        "out.": "stages.0.W.",
        "fuse.project.0.": "conv_bn_dropout.0.",
        "fuse.project.1.": "conv_bn_dropout.1.0.",
    },
    tied={"stages.0.f_query.": "stages.0.f_key."},
)
_AFNB = Naming(
    {
        "query.0.": "stages.0.f_query.0.",
        "query.1.": "stages.0.f_query.1.0.",
        "key.0.": "stages.0.f_key.0.",
        "key.1.": "stages.0.f_key.1.0.",
        "value.": "stages.0.f_value.",
        "out.": "stages.0.W.",
        "fuse.project.": "conv_bn_dropout.",
    }
)
_DEEP_STEM = {
    "conv1.0.": "prefix.conv1.",
    "conv1.1.": "prefix.bn1.",
    "conv1.3.": "prefix.conv2.",
    "conv1.4.": "prefix.bn2.",
    "conv1.6.": "prefix.conv3.",
    "bn1.": "prefix.bn3.",
}
_PLAIN_STEM = {"conv1.": "prefix.conv1.", "bn1.": "prefix.bn1."}
_HEADS = Naming(
    {
        "head.reduce.0.": "context.0.",
        "head.reduce.1.": "context.1.0.",
        "head.classify.": "cls.",
        "auxiliary.0.": "dsn.0.",
        "auxiliary.1.": "dsn.1.0.",
        "auxiliary.3.": "dsn.3.",
    }
)


def _apnb(
    in_channels: int,
    out_channels: int,
    key_channels: int,
    value_channels: int,
    dropout: float = 0.05,
    sizes: Sequence[int] = (1,),
    norm_type: str = "batchnorm",
    psp_size: Sequence[int] = (1, 3, 6, 8),
) -> nn.Module:
    only("out_channels", out_channels, in_channels)
    only("sizes", sizes, [1])
    only("norm_type", norm_type, "batchnorm")
    return create(
        "apnb",
        in_channels,
        inner=key_channels,
        value_inner=value_channels,
        sizes=tuple(psp_size),
        share="query_key",
        norm=True,
        fuse="project",
    )


def _afnb(
    low_in_channels: int,
    high_in_channels: int,
    out_channels: int,
    key_channels: int,
    value_channels: int,
    dropout: float = 0.05,
    sizes: Sequence[int] = (1,),
    norm_type: str = "batchnorm",
    psp_size: Sequence[int] = (1, 3, 6, 8),
) -> nn.Module:
    only("out_channels", out_channels, high_in_channels)
    only("sizes", sizes, [1])
    only("norm_type", norm_type, "batchnorm")
    return create(
        "afnb",
        high_in_channels,
        inner=key_channels,
        value_inner=value_channels,
        sizes=tuple(psp_size),
        share="none",
        norm=True,
        fuse="project",
        low_channels=low_in_channels,
    )


def _measured_apnb(
    in_channels: int,
    out_channels: int,
    key_channels: int,
    value_channels: int,
    dropout: float = 0.05,
    norm_type: str = "batchnorm",
    psp_size: Sequence[int] | None = (1, 3, 6, 8),
) -> nn.Module:
    """The blocks of the efficiency study end in Wo; without `psp_size` every position is a key."""
    only("out_channels", out_channels, in_channels)
    only("norm_type", norm_type, "batchnorm")
    return create(
        "apnb",
        in_channels,
        inner=key_channels,
        value_inner=value_channels,
        sizes=(1,) if psp_size is None else tuple(psp_size),
        sampling="none" if psp_size is None else "pyramid_average",
        share="query_key",
        norm=True,
        fuse="none",
    )


def _measured_non_local(
    in_channels: int,
    out_channels: int,
    key_channels: int,
    value_channels: int,
    dropout: float = 0.05,
    norm_type: str = "batchnorm",
) -> nn.Module:
    return _measured_apnb(in_channels, out_channels, key_channels, value_channels, dropout, norm_type, None)


def _measured(norm: str) -> Naming:
    names = {"query.0.": "model.f_key.0.", "query.1.": norm, "value.": "model.f_value.", "out.": "model.W."}
    return Naming(names, tied={"model.f_query.": "model.f_key."})


def _network(
    num_classes: int,
    layers: Sequence[int],
    width_div: int = 1,
    deep_base: bool = True,
    dilate_scale: int = 8,
    multi_grid: Sequence[int] | None = None,
) -> nn.Module:
    only("dilate_scale", dilate_scale, 8)
    return AsymmetricNetwork(
        _WIDTH // width_div,
        layers=tuple(layers),
        multi_grid=None if multi_grid is None else tuple(multi_grid),
        stem="deep" if deep_base else "plain",
        classes=num_classes,
        aux="always",
    )


def _network_naming(module: nn.Module) -> Naming:
    stem = _DEEP_STEM if isinstance(part(module, ResNet).conv1, nn.Sequential) else _PLAIN_STEM
    return together(
        Naming(stem).under("trunk.", "backbone."),
        _AFNB.under("head.fuse.", "fusion."),
        _HEADS,
        _APNB.under("head.context.", "context.2."),
    )


SOURCES: Mapping[str, Source] = {
    "ann.APNB": Source(_apnb, static(_APNB), ("apnb",)),
    "ann.AFNB": Source(_afnb, static(_AFNB), ("afnb",)),
    "ann.efficiency.APNB": Source(_measured_apnb, static(_measured("model.f_key.1.0.")), ("apnb",)),
    "ann.efficiency.BaseOC_Module": Source(_measured_non_local, static(_measured("model.f_key.1.")), ("apnb",)),
    "ann.asymmetric_non_local_network": Source(_network, _network_naming, ("ann",)),
}
