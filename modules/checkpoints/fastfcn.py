"""wuhuikai/FastFCN: upsamplers, backbone, context encoding, heads and the three networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from modules.checkpoints.naming import Naming, mirrored, together
from modules.checkpoints.source import Source, only, part, static
from modules.encoding import ContextEncoding, Encoding
from modules.heads import AtrousHead, EncodingHead, PlainHead, PyramidHead
from modules.networks import FastFcn
from modules.registry import create
from modules.resnet import Maps, ResNet
from modules.upsampling import JointPyramid, JointPyramidUpsampling, JointPyramidX, LateralPyramid, SeparableConv

_WIDTH, _STEM, _INNER = 2048, 64, 512
_BILINEAR = {"mode": "bilinear", "align_corners": True}
_CODEWORDS = 32


def _branches(count: int) -> dict[str, str]:
    """The parallel separable convolutions that close a JPU or JUM."""
    inner = {"0.depthwise.": "0.conv1.", "0.norm.": "0.bn.", "0.pointwise.": "0.pointwise.", "1.": "1."}
    return {
        f"branches.{index}.{ours}": f"dilation{index + 1}.{theirs}"
        for index in range(count)
        for ours, theirs in inner.items()
    }


def _thirds(dim: int) -> Callable[[Tensor], Tensor]:
    return lambda weight: mirrored(weight, 3, dim)


# The authors concatenate conv5, conv4, conv3; ours are conv3, conv4, conv5.
_JPU = Naming(
    {f"laterals.{index}.": f"conv{index + 3}." for index in range(3)} | _branches(4),
    changes={
        r"branches\.\d\.0\.(depthwise\.weight|norm\.(weight|bias|running_mean|running_var))": _thirds(0),
        r"branches\.\d\.0\.pointwise\.weight": _thirds(1),
    },
)
_JUM = Naming({"coarse.": "conv_l.", "fine.": "conv_h."} | _branches(3))
_JPU_X = together(_JUM.under("first.", "jum_1."), _JUM.under("second.", "jum_2."))
_SEPARABLE = Naming({"depthwise.": "conv1.", "norm.": "bn.", "pointwise.": "pointwise."})
_RESNET = Naming({}, dropped=("fc.weight", "fc.bias"))
_PSP = Naming({f"levels.{index}.": f"conv{index + 1}." for index in range(4)})
_ASPP = Naming(
    {
        "point.": "b0.",
        "atrous.0.": "b1.",
        "atrous.1.": "b2.",
        "atrous.2.": "b3.",
        "image.0.": "b4.gap.1.",
        "image.1.": "b4.gap.2.",
        "project.": "project.",
    }
)
_ENCODE = Naming(
    {
        "project.0.": "encoding.0.",
        "project.1.": "encoding.1.",
        "codebook.": "encoding.3.",
        "norm.": "encoding.4.",
        "gate.": "fc.",
        "selayer.": "selayer.",
    }
)
_CLASSIFIER = Naming({"0.": "conv5.0.", "1.": "conv5.1.", "3.": "conv5.4."})
_PSP_HEAD = together(
    _PSP.under("pool.", "conv5.0."),
    Naming({"classify.0.": "conv5.1.", "classify.1.": "conv5.2.", "classify.3.": "conv5.5."}),
)
_ASPP_HEAD = together(
    _ASPP.under("pyramid.", "aspp."),
    Naming({"classify.0.": "block.0.", "classify.1.": "block.1.", "classify.3.": "block.4."}),
)
_ENC_HEAD = together(
    Naming({"reduce.": "conv5.", "classify.": "conv6.1."}),
    _ENCODE.under("encode.", "encmodule."),
)
_LATERAL = Naming({"top.": "conv5.", "laterals.0.": "connect.0.", "laterals.1.": "connect.1.", "fuse.": "fusion."})


class LateralHead(nn.Module):
    """An encoding head behind FPN-like laterals: maps -> logits (B,classes,H,W), logits of presence (B,classes).

    Source: the FastFCN authors' code, `EncHead` with `lateral`.
    """

    def __init__(self, in_channels: tuple[int, int, int], width: int, classes: int) -> None:
        super().__init__()
        self.neck = LateralPyramid(in_channels, width)
        self.head = EncodingHead(width, width, classes, kernel=0)

    def forward(self, maps: Maps) -> tuple[Tensor, Tensor]:
        logits, presence = self.head((*maps[:3], self.neck(*maps[1:])))
        return logits, presence


def _jpu(
    in_channels: tuple[int, int, int],
    width: int = _INNER,
    norm_layer: str = "BatchNorm2d",
    up_kwargs: Mapping[str, object] = _BILINEAR,
) -> nn.Module:
    only("up_kwargs", up_kwargs, _BILINEAR)
    return JointPyramid(in_channels, width)


def _jpu_x(
    in_channels: tuple[int, int, int],
    width: int = _INNER,
    norm_layer: str = "BatchNorm2d",
    up_kwargs: Mapping[str, object] = _BILINEAR,
) -> nn.Module:
    only("up_kwargs", up_kwargs, _BILINEAR)
    return JointPyramidX(in_channels, width)


def _bare_or_entry(naming: Naming) -> Callable[[nn.Module], Naming]:
    """Names of the upsampler alone, or of the entry `jpu` that holds it."""
    return lambda module: naming.under("body.", "") if isinstance(module, JointPyramidUpsampling) else naming


def _separable(
    inplanes: int,
    planes: int,
    kernel_size: int = 3,
    padding: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Module:
    only("kernel_size", kernel_size, 3)
    only("padding", padding, dilation)
    only("bias", bias, False)
    return SeparableConv(inplanes, planes, dilation)


def _resnet(layers: Sequence[int], dilated: bool = True, deep_base: bool = True, width_div: int = 1) -> nn.Module:
    stem: Literal["deep", "plain"] = "deep" if deep_base else "plain"
    return ResNet(tuple(layers), _STEM // width_div, output_stride=8 if dilated else 32, stem=stem)


def _pyramid_pooling(
    in_channels: int, norm_layer: str = "BatchNorm2d", up_kwargs: Mapping[str, object] = _BILINEAR
) -> nn.Module:
    only("up_kwargs", up_kwargs, _BILINEAR)
    return create("psp", in_channels)


def _atrous_pyramid(
    in_channels: int,
    atrous_rates: Sequence[int] = (12, 24, 36),
    norm_layer: str = "BatchNorm2d",
    up_kwargs: Mapping[str, object] = _BILINEAR,
) -> nn.Module:
    only("up_kwargs", up_kwargs, _BILINEAR)
    only("the number of atrous_rates", len(atrous_rates), 3)
    return create("aspp", in_channels, rates=tuple(atrous_rates))


def _encoding(D: int, K: int) -> nn.Module:
    return Encoding(D, K)


def _enc_module(
    in_channels: int,
    nclass: int,
    ncodes: int = _CODEWORDS,
    se_loss: bool = True,
    norm_layer: str = "BatchNorm2d",
) -> nn.Module:
    return ContextEncoding(in_channels, ncodes, nclass if se_loss else None)


def _enc_head(
    in_channels: Sequence[int],
    out_channels: int,
    se_loss: bool = True,
    jpu: str | None = None,
    lateral: bool = False,
    width: int = _INNER,
) -> nn.Module:
    only("se_loss", se_loss, True)
    only("jpu", jpu, None, "JPU", "JPU_X")
    if lateral:
        only("jpu with lateral", jpu, None)
        low, middle, high = in_channels
        return LateralHead((low, middle, high), width, out_channels)
    return EncodingHead(in_channels[-1], width, out_channels, kernel=1 if jpu else 3)


def _enc_head_naming(module: nn.Module) -> Naming:
    if isinstance(module, LateralHead):
        return together(_LATERAL.under("neck.", ""), _ENC_HEAD.under("head.", ""))
    return _ENC_HEAD


def _fcn_head(in_channels: int, out_channels: int, norm_layer: str = "BatchNorm2d") -> nn.Module:
    return PlainHead(in_channels, out_channels)


def _psp_head(
    in_channels: int,
    out_channels: int,
    norm_layer: str = "BatchNorm2d",
    up_kwargs: Mapping[str, object] = _BILINEAR,
) -> nn.Module:
    only("up_kwargs", up_kwargs, _BILINEAR)
    return PyramidHead(in_channels, in_channels // 4, out_channels)


def _deeplab_head(
    in_channels: int,
    out_channels: int,
    norm_layer: str = "BatchNorm2d",
    up_kwargs: Mapping[str, object] = _BILINEAR,
    atrous_rates: Sequence[int] = (12, 24, 36),
) -> nn.Module:
    only("up_kwargs", up_kwargs, _BILINEAR)
    only("atrous_rates", tuple(atrous_rates), [12, 24, 36])
    return AtrousHead(in_channels, out_channels)


def _network(head: Literal["encoding", "aspp", "psp"]) -> Callable[..., nn.Module]:
    def build(
        nclass: int,
        layers: Sequence[int],
        aux: bool = True,
        jpu: str | None = None,
        dilated: bool = True,
        width_div: int = 1,
        jpu_width: int | None = None,
    ) -> nn.Module:
        only("jpu", jpu, None, "JPU", "JPU_X")
        only(f"dilated with jpu={jpu}", dilated, jpu is None)
        only("jpu_width", jpu_width, None, _INNER // width_div)
        network = FastFcn(
            _WIDTH // width_div,
            head,
            "none" if jpu is None else "jpu",
            layers=tuple(layers),
            variant="jpu_x" if jpu == "JPU_X" else "jpu",
            classes=nclass,
            aux="always",
        )
        if not aux:
            network.auxiliary = None
        return network

    return build


def _network_naming(head: Naming) -> Callable[[nn.Module], Naming]:
    def naming(module: nn.Module) -> Naming:
        neck = part(module, FastFcn).neck
        parts = [
            _RESNET.under("trunk.", "pretrained."),
            head.under("head.", "head."),
            _CLASSIFIER.under("auxiliary.", "auxlayer."),
        ]
        if isinstance(neck, LateralPyramid):
            parts.append(_LATERAL.under("neck.", "head."))
        elif isinstance(neck, JointPyramidUpsampling):
            jpu = _JPU if isinstance(neck.body, JointPyramid) else _JPU_X
            parts.append(jpu.under("neck.body.", "jpu."))
        return together(*parts)

    return naming


SOURCES: Mapping[str, Source] = {
    "fastfcn.JPU": Source(_jpu, _bare_or_entry(_JPU), ("jpu",)),
    "fastfcn.JPU_X": Source(_jpu_x, _bare_or_entry(_JPU_X), ("jpu",)),
    "fastfcn.SeparableConv2d": Source(_separable, static(_SEPARABLE)),
    "fastfcn.ResNet": Source(_resnet, static(_RESNET), ("resnet", "dilated")),
    "fastfcn.PyramidPooling": Source(_pyramid_pooling, static(_PSP), ("psp",)),
    "fastfcn.ASPP_Module": Source(_atrous_pyramid, static(_ASPP), ("aspp",)),
    "fastfcn.Encoding": Source(_encoding, static(Naming({}))),
    "fastfcn.EncModule": Source(_enc_module, static(_ENCODE), ("encoding",)),
    "fastfcn.EncHead": Source(_enc_head, _enc_head_naming),
    "fastfcn.FCNHead": Source(_fcn_head, static(_CLASSIFIER.under("classify.", ""))),
    "fastfcn.PSPHead": Source(_psp_head, static(_PSP_HEAD)),
    "fastfcn.DeepLabV3Head": Source(_deeplab_head, static(_ASPP_HEAD)),
    "fastfcn.EncNet": Source(_network("encoding"), _network_naming(_ENC_HEAD), ("fastfcn",)),
    "fastfcn.PSP": Source(_network("psp"), _network_naming(_PSP_HEAD), ("fastfcn",)),
    "fastfcn.DeepLabV3": Source(_network("aspp"), _network_naming(_ASPP_HEAD), ("fastfcn",)),
}
