"""Every block: shapes, gradients, options, seeds, and what it says to input that does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modules import registry
from modules.registry import create

C = 16
Options = dict[str, Any]


def case(name: str, out: int = C, **options: Any) -> Any:
    return pytest.param(name, options, out, id=registry.spell(name, options))


CONTEXT = [
    case("identity"),
    case("nl"),
    case("nl", mode="gaussian", scale=True),
    case("nl", mode="dot_product", sub_sample=True),
    case("nl", mode="concat", inner=3),
    case("nl", norm=True, sub_sample=True, inner=5),
    case("nl", sub_sample=True, pool=3),
    case("nl", mode="dot_product", sub_sample=True, pool=3, pool_first=True, norm=True),
    case("nl", fuse="project"),
    case("nl", out=2 * C, fuse="concat"),
    case("snl"),
    case("gc"),
    case("gc", ratio=4, pooling="avg", fusion="mul"),
    case("gc", ratio=4, fusion="both"),
    case("se"),
    case("apnb"),
    case("apnb", sizes=(1, 2, 3), sampling="pyramid_max", share="none", value_inner=6),
    case("apnb", sizes=(1, 4), sampling="pyramid_random", fuse="project"),
    case("apnb", sizes=(5,), sampling="random", seed=7),
    case("apnb", sizes=(5,), sampling="average", norm=True),
    case("apnb", sizes=(5,), sampling="max", fuse="none", scale=False),
    case("apnb", out=2 * C, sampling="none", share="query_key", norm=True, fuse="concat"),
    case("cgnl"),
    case("cgnl", inner=4, groups=2, scale=True),
    case("psp", out=2 * C),
    case("psp", out=C + 6, sizes=(1, 4), width=3),
    case("aspp", out=2),
    case("aspp", out=6, rates=(2, 5), width=6),
    case("ldv1"),
    case("ldv1", down="average", stages=2),
    case("ldv1", down="bilinear", stages=1),
    case("ldv1", stages=2, padding=1, relu=False),
    case("ldv2"),
    case("ldv2", kernel=3, dilation=2, inner=4, value_from="xg", mask_border=True, scale=True),
    *(case("gald", ga=ga, ld=ld) for ga in ("cgnl", "psp", "aspp", "nl") for ld in ("v1", "v2")),
    case("gald", arrangement="ldga"),
    case("gald", out=2 * C, arrangement="parallel", residual="code"),
    case("gald", out=2 * C, arrangement="parallel", ld="v2", ga="apnb"),
    case("encoding"),
    case("encoding", codewords=5),
    case("pam"),
    case("pam", inner=3),
    case("cam"),
    case("cam", negate=False),
    case("criss_cross"),
    case("criss_cross", recurrence=1, inner=3),
    case("psa", out=2 * C),
    case("psa", reach=(3, 5), shrink=1, inner=3, normalise="count", fuse="project"),
]
FUSION = [
    case("fnb"),
    case("fnb", mode="dot_product", inner=4, norm=True, sub_sample=True, fuse="project"),
    case("fnb", sub_sample=True, pool=3, pool_first=True),
    case("afnb"),
    case("afnb", sampling="random", sizes=(4,), share="none"),
    case("afnb", out=2 * C, sampling="pyramid_max", fuse="concat", low_channels=8),
]
UPSAMPLE = [
    case("jpu", channels=64, out=64),
    case("jpu", channels=64, out=20, width=5),
    case("jpu", channels=256, out=256, variant="jpu_x"),
    case("fpn", channels=64, out=16),
    case("fpn", channels=64, out=6, width=6, smooth=True),
    case("bilinear", channels=64, out=64),
]


def total(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """One number that depends on every element of the output."""
    maps = output if isinstance(output, tuple) else (output,)
    return torch.stack([(x * torch.arange(x.numel(), device=x.device).view(x.shape).sin()).sum() for x in maps]).sum()


def check(module: nn.Module, inputs: list[Tensor], shape: tuple[int, ...]) -> None:
    """Shape on the CPU and on meta, with and without autograd; finite gradients of every input and parameter."""
    for x in inputs:
        x.requires_grad_()
    module.train()
    output = module(*inputs)
    assert output.shape == shape
    total(output).backward()  # type: ignore[no-untyped-call]
    for tensor in (*inputs, *module.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    module.to("meta")
    meta = [x.detach().to("meta").requires_grad_() for x in inputs]
    assert module(*meta).shape == shape
    total(module(*meta)).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        assert module.eval()(*meta).shape == shape


@pytest.mark.parametrize(("name", "options", "out"), CONTEXT)
@pytest.mark.parametrize("size", [(31, 33), (40, 36)])
def test_context_maps_a_map_to_a_map(name: str, options: Options, out: int, size: tuple[int, int]) -> None:
    if options.get("mode") == "concat":
        size = (7, 9)
    check(create(name, C, **options), [torch.randn(2, C, *size)], (2, out, *size))


@pytest.mark.parametrize(("name", "options", "out"), FUSION)
@pytest.mark.parametrize("size", [(9, 11), (18, 22)])
def test_fusion_returns_a_map_of_the_high_size(name: str, options: Options, out: int, size: tuple[int, int]) -> None:
    inputs = [torch.randn(2, C // 2, *size), torch.randn(2, C, 9, 11)]
    check(create(name, C, **options), inputs, (2, out, 9, 11))


@pytest.mark.parametrize(("name", "options", "out"), UPSAMPLE)
@pytest.mark.parametrize("sizes", [[(16, 12), (8, 6), (4, 3)], [(17, 13), (9, 7), (5, 4)]])
def test_upsampling_ends_at_the_first_size(name: str, options: Options, out: int, sizes: list[tuple[int, int]]) -> None:
    channels = options["channels"]
    inputs = [
        torch.randn(2, width, *size)
        for width, size in zip((channels // 4, channels // 2, channels), sizes, strict=True)
    ]
    module = create(name, channels, **{key: value for key, value in options.items() if key != "channels"})
    if name == "bilinear":
        assert module(*inputs).shape == (2, out, *sizes[0])
        return
    check(module, inputs, (2, out, *sizes[0]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nl", {}),
        ("nl", {"mode": "gaussian", "sub_sample": True}),
        ("nl", {"mode": "concat"}),
        ("apnb", {"sizes": (1, 2)}),
        ("apnb", {"sizes": (2,), "sampling": "random", "share": "none"}),
        ("cgnl", {"groups": 2, "scale": True}),
        ("snl", {}),
        ("ldv2", {"kernel": 3, "dilation": 2, "mask_border": True}),
        ("ldv1", {"stages": 1}),
    ],
    ids=str,
)
def test_gradients_are_the_function_s(name: str, options: Options) -> None:
    torch.manual_seed(0)
    module = create(name, 4, **options).double().eval()
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(module, (x,))


@torch.no_grad()
def test_gc_starts_without_effect_and_se_halves() -> None:
    x = torch.randn(2, 16, 5, 4)

    torch.testing.assert_close(create("gc", 16)(x), x)
    torch.testing.assert_close(create("gc", 16, fusion="both")(x), x / 2)
    torch.testing.assert_close(create("se", 16)(x), x / 2)


@torch.no_grad()
def test_snl_adds_one_context_to_every_position() -> None:
    module = create("snl", 8)
    x = torch.randn(2, 8, 5, 4)
    alpha = module.key(x).flatten(2).softmax(-1)
    context = (x.flatten(2) * alpha).sum(-1)[..., None, None]

    torch.testing.assert_close(module(x), x + module.value(context))


@torch.no_grad()
def test_cgnl_is_attention_over_all_channels_and_positions_of_a_group() -> None:
    module = create("cgnl", 4, inner=4, groups=2).eval()
    x = torch.randn(2, 4, 3, 3)
    t, p, g = (conv(x).view(2, 2, -1) for conv in (module.t, module.p, module.g))
    full = torch.einsum("bgi,bgj,bgj->bgi", t, p, g).view(2, 4, 3, 3)

    torch.testing.assert_close(module(x), module.norm(module.z(full)) + x)


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("nl", 7, {}, "channels 7 are not divisible by 2"),
        ("nl", 8, {"inner": 0}, "at least 1, not 0"),
        ("nl", 8, {"mode": "concat", "scale": True}, "scale applies to the softmax modes only"),
        ("nl", 8, {"sub_sample": True, "pool": 1}, "pool must be at least 2, not 1"),
        ("fnb", 8, {"sub_sample": True, "pool": 0}, "pool must be at least 2, not 0"),
        ("gc", 100, {}, "channels 100 are not divisible by the ratio 16"),
        ("se", 16, {"ratio": 0}, "ratio must be at least 1, not 0"),
        ("cgnl", 100, {}, "channels 100 are not divisible by 8 groups"),
        ("cgnl", 16, {"inner": 12}, "inner width 12 is not divisible by 8 groups"),
        ("cgnl", 16, {"groups": 0}, "groups must be at least 1"),
        ("apnb", 8, {"sampling": "max", "sizes": (1, 2)}, "sampling max takes exactly 1 size, such as sizes=15, not 2"),
        ("apnb", 8, {"sizes": (0,)}, "sizes must be at least 1, not 0"),
        ("apnb", 8, {"value_inner": 6}, "inner is 4 and value_inner 6"),
        ("fnb", 7, {"inner": 2}, "channels 7 are not divisible by 2"),
        ("psp", 10, {}, "channels 10 are not divisible by 4"),
        ("psp", 8, {"sizes": (0, 1)}, "sizes must be at least 1"),
        ("aspp", 12, {}, "channels 12 are not divisible by 8"),
        ("aspp", 16, {"rates": (0,)}, "rates must be at least 1"),
        ("ldv1", 8, {"stages": 0}, "stages must be at least 1"),
        ("ldv1", 8, {"padding": 2}, "padding must be 0 or 1, not 2"),
        ("ldv2", 8, {"kernel": 4}, "kernel must be odd and at least 1, not 4"),
        ("ldv2", 8, {"dilation": 0}, "dilation must be at least 1"),
        ("gald", 12, {}, "channels 12 are not divisible by 8 groups"),
        ("gald", 16, {"ld": "v2", "residual": "code"}, "residual=code is defined for ld=v1 only"),
        ("jpu", 18, {}, "channels 18 are not divisible by 4"),
        ("jpu", 128, {"variant": "jpu_x"}, "width 32 is not divisible by 64"),
        ("fpn", 18, {"width": 4}, "channels 18 are not divisible by 4"),
        ("resnet", 48, {}, "channels 48 are not divisible by 32"),
        ("resnet", 64, {"depth": 34}, "depth 34 is not one of 50, 101"),
        ("resnet", 64, {"os": 4}, "output stride 4 is not one of 8, 16, 32"),
        ("resnet", 64, {"os": 8, "up": "jpu"}, "up=jpu needs an output stride of 32, not 8"),
        ("resnet", 64, {"multi_grid": (0,)}, "multi_grid factors must be at least 1, not 0"),
        ("dilated", 64, {"depth": 18}, "depth 18 is not one of 50, 101"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(name: str, channels: int, options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(name, channels, **options)


@pytest.mark.parametrize(
    ("name", "options", "shapes", "message"),
    [
        ("nl", {}, [(2, 8)], r"not \(2, 8\)"),
        ("nl", {}, [(2, 6, 4, 4)], r"\(B,8,L\)"),
        ("nl", {"sub_sample": True}, [(2, 8, 1, 4)], "at least 2"),
        ("nl", {"sub_sample": True, "pool": 3}, [(2, 8, 4, 2)], r"extents of at least 3, not \(4, 2\)"),
        ("nl", {"sub_sample": True, "pool": 3, "pool_first": True}, [(2, 8, 2)], r"at least 3, not \(2,\)"),
        ("apnb", {"sampling": "random", "sizes": (15,)}, [(2, 8, 9, 9)], "cannot draw 225 positions from a map of 81"),
        ("fnb", {}, [(2, 5, 9, 9), (2, 8, 9, 9)], "low map must have 4 channels, not 5"),
        ("afnb", {}, [(2, 5, 9, 9), (2, 8, 9, 9)], "low map must have 4 channels, not 5"),
        ("ldv2", {}, [(2, 8, 9, 9), (2, 8, 9, 8)], "maps of one shape"),
        ("gald", {"ga": "nl", "ld": "v2"}, [(2, 8, 2, 9)], "at least 3x3, not 2x9"),
        ("gald", {"ga": "nl"}, [(2, 8, 14, 20)], "at least 15x15, not 14x20"),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    name: str, options: Options, shapes: list[tuple[int, ...]], message: str
) -> None:
    module = create(name, 8, **options)
    with pytest.raises(ValueError, match=message):
        module(*(torch.randn(shape) for shape in shapes))
