"""xvjiarui/GCNet and open-mmlab/mmcv: non-local and global context blocks, and the backbone with them inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from modules.bottleneck import Style
from modules.checkpoints.naming import Naming
from modules.checkpoints.source import Source, only, part, static
from modules.global_context import GlobalContext
from modules.insertion import Insertion
from modules.non_local import NonLocal
from modules.registry import create
from modules.resnet import ResNet, layers_of

_CONTEXT = Naming({"key.": "conv_mask.", "add.": "channel_add_conv.", "multiply.": "channel_mul_conv."})
_MODES = {"concatenation": "concat"}
_FUSIONS = {"channel_add": "add", "channel_mul": "mul"}


def _context_options(
    ratio: float, pooling_type: str = "att", fusion_types: Sequence[str] = ("channel_add",)
) -> dict[str, str]:
    only("the number of fusion_types", len(fusion_types), 1, 2)
    for fusion in fusion_types:
        only("fusion_types", fusion, *_FUSIONS)
    fusion = _FUSIONS[fusion_types[0]] if len(set(fusion_types)) == 1 else "both"
    return {"ratio": str(round(1 / ratio)), "pooling": pooling_type, "fusion": fusion}


def _context_of_mmcv(
    in_channels: int, ratio: float, pooling_type: str = "att", fusion_types: Sequence[str] = ("channel_add",)
) -> nn.Module:
    return create("gc", in_channels, **_context_options(ratio, pooling_type, fusion_types))


def _context(
    inplanes: int, ratio: float, pooling_type: str = "att", fusion_types: Sequence[str] = ("channel_add",)
) -> nn.Module:
    return create("gc", inplanes, **_context_options(ratio, pooling_type, fusion_types))


def _non_local_of_mmcv(
    in_channels: int,
    reduction: int = 2,
    use_scale: bool = True,
    norm_cfg: Mapping[str, object] | None = None,
    mode: str = "embedded_gaussian",
    sub_sample: bool = False,
) -> nn.Module:
    """Its scale applies to the embedded gaussian alone."""
    only("norm_cfg", None if norm_cfg is None else norm_cfg["type"], None, "BN")
    return create(
        "nl",
        in_channels,
        mode=_MODES.get(mode, mode),
        inner=in_channels // reduction,
        scale=use_scale and mode == "embedded_gaussian",
        sub_sample=sub_sample,
        norm=norm_cfg is not None,
    )


def _non_local(
    in_channels: int, reduction: int = 2, use_scale: bool = True, mode: str = "embedded_gaussian"
) -> nn.Module:
    only("mode", mode, "embedded_gaussian", "dot_product")
    return create("nl", in_channels, mode=mode, inner=in_channels // reduction)


def _sharpened(config: Mapping[str, object]) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """This repository divides its logits by D ** -0.5; theta takes that factor here."""
    if not config.get("use_scale", True) or config.get("mode", "embedded_gaussian") != "embedded_gaussian":
        return {}

    def change(theta: Tensor) -> Tensor:
        return theta * float(theta.shape[0] ** 0.5)

    return {r"theta\.(weight|bias)": change}


def _non_local_naming(module: nn.Module) -> Naming:
    """What is pooled stands first in a sequence."""
    pooled = "0." if part(module, NonLocal).sub_sample else ""
    return Naming(
        {
            "theta.": "theta.conv.",
            "phi.": f"phi.{pooled}conv.",
            "g.": f"g.{pooled}conv.",
            "affinity.": "concat_project.conv.",
            "out.0.": "conv_out.conv.",
            "out.1.": "conv_out.bn.",
        }
    )


def _backbone(
    depth: int = 50,
    num_stages: int = 4,
    out_indices: Sequence[int] = (0, 1, 2, 3),
    style: Style = "pytorch",
    gcb: Mapping[str, object] | None = None,
    stage_with_gcb: Sequence[bool] = (False, False, False, False),
    norm_eval: bool = True,
    base_channels: int = 64,
    stage_blocks: Sequence[int] | None = None,
) -> nn.Module:
    only("num_stages", num_stages, 4)
    only("out_indices", tuple(out_indices), [0, 1, 2, 3])
    only("style", style, "pytorch", "caffe")
    context = "none"
    if gcb is not None:
        only("gcb", sorted(set(gcb) - {"ratio", "pooling_type", "fusion_types"}), [])
        options = _context_options(**gcb)  # type: ignore[arg-type]
        context = "/".join(["gc", *(f"{name}={value}" for name, value in options.items())])
    return ResNet(
        layers_of(depth, None if stage_blocks is None else tuple(stage_blocks)),
        base_channels,
        style=style,
        insertion=Insertion(context, tuple(stage + 2 for stage, here in enumerate(stage_with_gcb) if here)),
    )


def _backbone_naming(module: nn.Module) -> Naming:
    names: dict[str, str] = {}
    for path, inner in module.named_modules():
        if isinstance(inner, GlobalContext):
            there = path.removesuffix("context") + "context_block"
            names |= dict(_CONTEXT.under(f"{path}.", f"{there}.").prefixes)
    return Naming(names)


SOURCES: Mapping[str, Source] = {
    "mmcv.ContextBlock": Source(_context_of_mmcv, static(_CONTEXT), ("gc", "se")),
    "gcnet.ContextBlock": Source(_context, static(_CONTEXT)),
    "mmcv.NonLocal2d": Source(_non_local_of_mmcv, _non_local_naming, ("nl",)),
    "gcnet.NonLocal2D": Source(_non_local, _non_local_naming, changes=_sharpened),
    "gcnet.ResNet": Source(_backbone, _backbone_naming, ("resnet", "dilated")),
}
