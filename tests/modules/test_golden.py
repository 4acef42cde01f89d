"""Every block computes what the authors' published module computes, from the same weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modules.pyramid import PyramidPooling
from modules.registry import create
from modules.resnet import ResNet
from modules.upsampling import JointPyramid, JointPyramidX, SeparableConv

FOLDER = Path(__file__).parents[1] / "golden"
State = dict[str, Tensor]


@dataclass(frozen=True)
class Golden:
    """One recording: the authors' class with its arguments, weights, inputs and outputs."""

    source: str
    config: Mapping[str, Any]
    state: State
    inputs: list[Tensor]
    outputs: list[Tensor]
    tolerance: float


@functools.cache
def read(stem: str) -> Golden:
    data = torch.load(FOLDER / f"{stem}.pt", weights_only=True)
    if data.get("state_dict"):
        state = dict(data["state_dict"])
    else:
        coded = data["state_dict_int8"].items()
        state = {key: value.float() * 2.0**-e if value.dtype == torch.int8 else value for key, (value, e) in coded}
    outputs = data["output"] if isinstance(data["output"], list) else [data["output"]]
    largest = max(float(output.abs().max()) for output in outputs)
    error = data["meta"].get("fp64_max_abs_err") or 0.0
    return Golden(data["source"], data["config"], state, list(data["inputs"]), outputs, max(1e-5 * largest, 20 * error))


def renamed(state: State, prefixes: Mapping[str, str]) -> State:
    """`state` with the first matching prefix of each name replaced; every name must match."""
    names = {}
    for name in state:
        old = next(prefix for prefix in prefixes if name.startswith(prefix))
        names[name] = prefixes[old] + name.removeprefix(old)
    assert len(set(names.values())) == len(names)
    return {names[name]: value for name, value in state.items()}


def reordered(weight: Tensor, blocks: list[int], order: list[int], dim: int) -> Tensor:
    """`weight` with the blocks of widths `blocks` along `dim` in another order."""
    parts = weight.split(blocks, dim=dim)
    return torch.cat([parts[index] for index in order], dim=dim)


Built = tuple[nn.Module, State]


def apnb(golden: Golden) -> Built:
    config = golden.config
    module = create(
        "apnb",
        config["in_channels"],
        inner=config["key_channels"],
        value_inner=config["value_channels"],
        sizes=tuple(config["psp_size"]),
        share="query_key",
        norm=True,
        fuse="project",
    )
    return module, renamed(
        untied(golden.state, "stages.0."),
        {
            "stages.0.f_key.0.": "query.0.",
            "stages.0.f_key.1.0.": "query.1.",
            "stages.0.f_value.": "value.",
            "stages.0.W.": "out.",
            "conv_bn_dropout.0.": "fuse.project.0.",
            "conv_bn_dropout.1.0.": "fuse.project.1.",
        },
    )


def untied(state: State, prefix: str) -> State:
    """`state` without the second name, f_query, of the module that key and query share."""
    query = {name: value for name, value in state.items() if name.startswith(f"{prefix}f_query.")}
    for name, value in query.items():
        assert torch.equal(value, state[name.replace("f_query", "f_key")])
    return {name: value for name, value in state.items() if name not in query}


def afnb(golden: Golden) -> Built:
    config = golden.config
    module = create(
        "afnb",
        config["high_in_channels"],
        inner=config["key_channels"],
        value_inner=config["value_channels"],
        sizes=tuple(config["psp_size"]),
        share="none",
        norm=True,
        fuse="project",
        low_channels=config["low_in_channels"],
    )
    return module, renamed(
        golden.state,
        {
            "stages.0.f_key.0.": "key.0.",
            "stages.0.f_key.1.0.": "key.1.",
            "stages.0.f_query.0.": "query.0.",
            "stages.0.f_query.1.0.": "query.1.",
            "stages.0.f_value.": "value.",
            "stages.0.W.": "out.",
            "conv_bn_dropout.": "fuse.project.",
        },
    )


def measured_attention(golden: Golden) -> Built:
    """The two blocks of ANN's efficiency table, which end in Wo."""
    config = golden.config
    pooled = "psp_size" in config
    module = create(
        "apnb",
        config["in_channels"],
        inner=config["key_channels"],
        value_inner=config["value_channels"],
        sizes=tuple(config["psp_size"]) if pooled else (1,),
        sampling="pyramid_average" if pooled else "none",
        share="query_key",
        norm=True,
        fuse="none",
    )
    norm = "model.f_key.1.0." if pooled else "model.f_key.1."
    prefixes = {"model.f_key.0.": "query.0.", norm: "query.1.", "model.f_value.": "value.", "model.W.": "out."}
    return module, renamed(untied(golden.state, "model."), prefixes)


def non_local(golden: Golden) -> Built:
    config = golden.config
    mode = {"concatenation": "concat"}.get(config["mode"], config["mode"])
    inner = config["in_channels"] // config["reduction"]
    official = golden.source == "mmcv.NonLocal2d"
    module = create(
        "nl",
        config["in_channels"],
        mode=mode,
        inner=inner,
        scale=official and config["use_scale"] and mode == "embedded_gaussian",
        sub_sample=config.get("sub_sample", False),
        norm=config.get("norm_cfg") is not None,
    )
    prefixes = {f"{name}.{at}conv.": f"{name}." for name in ("theta", "phi", "g") for at in ("", "0.")}
    prefixes |= {"conv_out.conv.": "out.0.", "conv_out.bn.": "out.1.", "concat_project.conv.": "affinity."}
    state = renamed(golden.state, prefixes)
    if not official and config["use_scale"] and mode == "embedded_gaussian":
        for name in ("theta.weight", "theta.bias"):  # this repository divides by inner ** -0.5
            state[name] = state[name] * inner**0.5
    return module, state


CONTEXT_NAMES = {"conv_mask.": "key.", "channel_add_conv.": "add.", "channel_mul_conv.": "multiply."}


def global_context(golden: Golden) -> Built:
    config = golden.config
    fusion = {1: config["fusion_types"][0].removeprefix("channel_"), 2: "both"}[len(config["fusion_types"])]
    channels = config.get("in_channels") or config["inplanes"]
    module = create("gc", channels, ratio=round(1 / config["ratio"]), pooling=config["pooling_type"], fusion=fusion)
    return module, renamed(golden.state, CONTEXT_NAMES)


def compact_non_local(golden: Golden) -> Built:
    config = golden.config
    options = {"inner": config["planes"], "groups": config["groups"], "scale": config["use_scale"]}
    return create("cgnl", config["inplanes"], **options), renamed(golden.state, {"gn.": "norm.", "": ""})


def pyramid_pooling(golden: Golden) -> Built:
    module = create("psp", golden.config["in_channels"])
    return module, renamed(golden.state, {f"conv{index + 1}.": f"levels.{index}." for index in range(4)})


def pyramid_pooling_padded(golden: Golden) -> Built:
    """GALD's: no ReLU in the levels, input last in the concatenation, a bottleneck padded by 1."""
    channels, out, sizes = (golden.config[name] for name in ("features", "out_features", "sizes"))
    module = create("psp", channels, sizes=tuple(sizes), width=out, out=out, activation=False)
    assert isinstance(module, PyramidPooling)
    assert module.bottleneck is not None
    conv = module.bottleneck[0]
    assert isinstance(conv, nn.Conv2d)
    conv.padding = (1, 1)
    prefixes = {f"stages.{i}.{j}.": f"levels.{i}.{j - 1}." for i in range(len(sizes)) for j in (1, 2)}
    state = renamed(golden.state, prefixes | {"bottleneck.": "bottleneck."})
    widths = [out] * len(sizes) + [channels]
    order = [len(sizes), *range(len(sizes))]
    state["bottleneck.0.weight"] = reordered(state["bottleneck.0.weight"], widths, order, dim=1)
    return module, state


def atrous_pyramid(golden: Golden) -> Built:
    module = create("aspp", golden.config["in_channels"], rates=tuple(golden.config["atrous_rates"]))
    prefixes = {"b0.": "point.", "b1.": "atrous.0.", "b2.": "atrous.1.", "b3.": "atrous.2."}
    prefixes |= {"b4.gap.1.": "image.0.", "b4.gap.2.": "image.1.", "project.": "project."}
    return module, renamed(golden.state, prefixes)


def atrous_pyramid_of_gald(golden: Golden) -> Built:
    """GALD's: the image pool first in the concatenation."""
    config = golden.config
    width = config["inner_features"]
    module = create(
        "aspp",
        config["features"],
        rates=tuple(config["dilations"]),
        width=width,
        out=config["out_features"],
    )
    prefixes = {"conv1.1.": "image.0.", "conv1.2.": "image.1.", "conv2.": "point.", "conv3.": "atrous.0."}
    prefixes |= {"conv4.": "atrous.1.", "conv5.": "atrous.2.", "bottleneck.": "project."}
    state = renamed(golden.state, prefixes)
    state["project.0.weight"] = reordered(state["project.0.weight"], [width] * 5, [1, 2, 3, 4, 0], dim=1)
    return module, state


def masks(golden: Golden) -> Built:
    module = create("ldv1", golden.config["inplane"])
    return module, renamed(golden.state, {f"dconv{index + 1}.": f"down.{index}." for index in range(3)})


def local_affinity(golden: Golden) -> Built:
    config = golden.config
    module = create(
        "ldv2",
        config["channels"],
        inner=config["inter_channels"],
        kernel=config["k"],
        dilation=config["r"],
        value_from=config.get("value_from", "x"),
        mask_border=config.get("mask_border", False),
        scale=config.get("use_scale", False),
    )
    return module, golden.state


def gald(golden: Golden) -> Built:
    module = create("gald", golden.config["inplane"], residual="code")
    prefixes = {"down.": "down.", "long_relation.gn.": "ga.norm.", "long_relation.": "ga."}
    prefixes |= {f"local_attention.dconv{index + 1}.": f"ld.down.{index}." for index in range(3)}
    return module, renamed(golden.state, prefixes)


SEPARABLE_NAMES = {"conv1.": "depthwise.", "bn.": "norm.", "pointwise.": "pointwise."}


def separable(golden: Golden) -> Built:
    config = golden.config
    return SeparableConv(config["inplanes"], config["planes"], config["dilation"]), renamed(
        golden.state, SEPARABLE_NAMES
    )


def branches(count: int, prefix: str = "", ours: str = "") -> dict[str, str]:
    """Names of the parallel separable convolutions that close a JPU or JUM."""
    parts = {f"0.{old}": f"0.{new}" for old, new in SEPARABLE_NAMES.items()} | {"1.": "1."}
    return {
        f"{prefix}dilation{index + 1}.{old}": f"{ours}branches.{index}.{new}"
        for index in range(count)
        for old, new in parts.items()
    }


def jpu(golden: Golden) -> Built:
    """The authors concatenate conv5, conv4, conv3; ours conv3, conv4, conv5."""
    width = golden.config["width"]
    module = JointPyramid(tuple(golden.config["in_channels"]), width)
    prefixes = {f"conv{index + 3}.": f"laterals.{index}." for index in range(3)} | branches(4)
    state = renamed(golden.state, prefixes)
    for name, value in state.items():
        if ".0.depthwise" in name or (".0.norm" in name and value.ndim):
            state[name] = reordered(value, [width] * 3, [2, 1, 0], dim=0)
        elif ".0.pointwise" in name:
            state[name] = reordered(value, [width] * 3, [2, 1, 0], dim=1)
    return module, state


def jpu_x(golden: Golden) -> Built:
    module = JointPyramidX(tuple(golden.config["in_channels"]), golden.config["width"])
    prefixes: dict[str, str] = {}
    for theirs, ours in (("jum_1.", "first."), ("jum_2.", "second.")):
        prefixes |= {f"{theirs}conv_l.": f"{ours}coarse.", f"{theirs}conv_h.": f"{ours}fine."}
        prefixes |= branches(3, theirs, ours)
    return module, renamed(golden.state, prefixes)


def resnet(golden: Golden) -> Built:
    config = golden.config
    module = ResNet(
        tuple(config["layers"]),
        64 // config["width_div"],
        output_stride=8 if config["dilated"] else 32,
        stem="deep" if config["deep_base"] else "plain",
    )
    return module, golden.state


def resnet_of_gald(golden: Golden) -> Built:
    config = golden.config
    module = ResNet(
        tuple(config["layers"]),
        64 // config["width_div"],
        output_stride=8,
        stem="deep",
        multi_grid=(1, 2, 4),
        ceil_mode=True,
        first_dilation="full",
    )
    return module, golden.state


def resnet_with_context(golden: Golden) -> Built:
    config = golden.config
    module = ResNet(
        tuple(config["stage_blocks"]),
        config["base_channels"],
        style=config["style"],
        context=lambda channels: create("gc", channels, ratio=round(1 / config["gcb"]["ratio"])),
    )
    state = {}
    for name, value in golden.state.items():
        for theirs, ours in CONTEXT_NAMES.items():
            name = name.replace(f".context_block.{theirs}", f".context.{ours}")
        state[name] = value
    return module, state


BUILDERS: Mapping[str, Callable[[Golden], Built]] = {
    "ann.AFNB": afnb,
    "ann.APNB": apnb,
    "ann.efficiency.APNB": measured_attention,
    "ann.efficiency.BaseOC_Module": measured_attention,
    "fastfcn.ASPP_Module": atrous_pyramid,
    "fastfcn.JPU": jpu,
    "fastfcn.JPU_X": jpu_x,
    "fastfcn.PyramidPooling": pyramid_pooling,
    "fastfcn.ResNet": resnet,
    "fastfcn.SeparableConv2d": separable,
    "gald.ASPPModule": atrous_pyramid_of_gald,
    "gald.Backbone": resnet_of_gald,
    "gald.GALDBlock": gald,
    "gald.LocalAttenModule": masks,
    "gald.PSPModule": pyramid_pooling_padded,
    "gald.SpatialCGNL": compact_non_local,
    "gcnet.ContextBlock": global_context,
    "gcnet.NonLocal2D": non_local,
    "gcnet.ResNet": resnet_with_context,
    "mmcv.ContextBlock": global_context,
    "mmcv.NonLocal2d": non_local,
    "spec.LDv2": local_affinity,
}
STEMS = sorted(path.stem for path in FOLDER.glob("*.pt") if read(path.stem).source in BUILDERS)


def loaded(golden: Golden) -> nn.Module:
    module, state = BUILDERS[golden.source](golden)
    module.load_state_dict(state, strict=True)
    return module.eval()


@torch.no_grad()
def outputs_of(module: nn.Module, golden: Golden) -> list[Tensor]:
    inputs = golden.inputs[1:] if golden.source.startswith("fastfcn.JPU") else golden.inputs
    result = module(*inputs)
    if golden.source == "spec.LDv2":
        return [result, module.distribute(*inputs)]
    return list(result) if isinstance(result, tuple) else [result]


def distance(module: nn.Module, golden: Golden) -> float:
    """The largest difference from the recorded outputs."""
    ours = outputs_of(module, golden)
    assert [output.shape for output in ours] == [output.shape for output in golden.outputs]
    return max(float((a - b).abs().max()) for a, b in zip(ours, golden.outputs, strict=True))


def test_a_recording_of_every_source_is_here() -> None:
    assert {read(stem).source for stem in STEMS} == set(BUILDERS)


@pytest.mark.parametrize("stem", STEMS)
def test_output_equals_the_authors(stem: str) -> None:
    golden = read(stem)

    assert distance(loaded(golden), golden) <= golden.tolerance


@pytest.mark.parametrize("stem", STEMS)
def test_weights_off_by_a_thousandth_are_noticed(stem: str) -> None:
    golden = read(stem)
    module = loaded(golden)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.001)

    assert distance(module, golden) > golden.tolerance
