"""Every block: shapes, gradients, options, seeds, and what it says to input that does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modules import registry
from modules.asymmetric import AnchorSampling
from modules.registry import create
from modules.resnet import ResNet

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


@pytest.mark.parametrize(
    "options", [{}, {"mode": "gaussian"}, {"mode": "dot_product"}, {"mode": "concat"}, {"norm": True}]
)
@torch.no_grad()
def test_nl_sees_positions_in_any_number_of_dimensions(options: Options) -> None:
    module = create("nl", 8, **options).eval()
    clip = torch.randn(2, 8, 3, 4, 5)

    expected = module(clip.reshape(2, 8, 12, 5))
    torch.testing.assert_close(module(clip).reshape(expected.shape), expected)
    torch.testing.assert_close(module(clip.flatten(2)).reshape(expected.shape), expected)


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian", "dot_product", "concat"])
@torch.no_grad()
def test_nl_sub_samples_within_frames(mode: str) -> None:
    module = create("nl", 8, mode=mode, sub_sample=True)
    frames = torch.randn(2, 8, 5, 7)

    torch.testing.assert_close(module(frames.unsqueeze(2)).squeeze(2), module(frames))
    assert module(torch.randn(2, 8, 3, 5, 7)).shape == (2, 8, 3, 5, 7)
    assert module(torch.randn(2, 8, 9)).shape == (2, 8, 9)


@torch.no_grad()
def test_dot_product_divides_by_the_keys_that_are_left() -> None:
    full, halved = (create("nl", 4, mode="dot_product", sub_sample=sub, fuse="none").eval() for sub in (False, True))
    halved.load_state_dict(full.state_dict())
    x = torch.randn(1, 4, 3, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)

    torch.testing.assert_close(halved(x), full(x))


@pytest.mark.parametrize("name", ["nl", "apnb"])
@torch.no_grad()
def test_fuse_joins_the_same_result_with_the_input(name: str) -> None:
    alone, added, joined = (create(name, 8, fuse=fuse) for fuse in ("none", "add", "concat"))
    added.load_state_dict(alone.state_dict())
    joined.load_state_dict(alone.state_dict())
    x = torch.randn(2, 8, 9, 8)

    torch.testing.assert_close(added(x), alone(x) + x)
    torch.testing.assert_close(joined(x), torch.cat([alone(x), x], dim=1))


@torch.no_grad()
def test_apnb_without_sampling_is_a_scaled_non_local_block() -> None:
    ours = create("apnb", 8, sampling="none", share="none")
    theirs = create("nl", 8, scale=True)
    names = {"theta": "query.0", "phi": "key.0", "g": "value", "out.0": "out"}
    state = dict(ours.state_dict())
    theirs.load_state_dict(
        {f"{nl}.{p}": state[f"{apnb}.{p}"] for nl, apnb in names.items() for p in ("weight", "bias")}
    )
    x = torch.randn(2, 8, 6, 5)

    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
def test_fnb_of_one_map_is_nl() -> None:
    fusion = create("fnb", 8, low_channels=8, norm=True, sub_sample=True).eval()
    single = create("nl", 8, norm=True, sub_sample=True).eval()
    single.load_state_dict(fusion.state_dict())
    x = torch.randn(2, 8, 6, 5)

    torch.testing.assert_close(fusion(x, x), single(x))


@pytest.mark.parametrize(
    ("share", "convolutions", "projections"), [("key_value", 3, 3), ("query_key", 3, 4), ("none", 4, 4)]
)
def test_sharing_saves_weights_and_only_with_the_value_also_work(
    share: str, convolutions: int, projections: int
) -> None:
    module = create("apnb", 8, share=share)
    calls: Counter[str] = Counter()
    for name, child in module.named_modules():
        if isinstance(child, nn.Conv2d):
            child.register_forward_hook(lambda *_, name=name: calls.update([name]))
    module(torch.randn(1, 8, 9, 9))

    assert len(calls) == convolutions
    assert sum(calls.values()) == projections


def test_random_anchors_depend_on_the_seed_alone() -> None:
    x = torch.arange(144.0).view(1, 1, 12, 12)
    one, same, other = (AnchorSampling("pyramid_random", (2, 5), seed)(x).flatten().tolist() for seed in (3, 3, 4))

    assert one == same != other
    assert len(set(one[:4])) == 4
    assert len(set(one[4:])) == 25


def test_random_anchors_do_not_depend_on_sizes_seen_before() -> None:
    fresh, used = AnchorSampling("random", (3,), 0), AnchorSampling("random", (3,), 0)
    used(torch.randn(1, 1, 5, 5))
    x = torch.randn(1, 1, 6, 6)

    assert torch.equal(fresh(x), used(x))


def test_random_anchors_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = create("apnb", 8, sampling="random", sizes=(3,), share="none")
    x = torch.randn(1, 8, 6, 6)
    first = module(x)

    def drawn(*_: object, **__: object) -> Tensor:
        raise AssertionError("drawn again")

    monkeypatch.setattr(torch, "randperm", drawn)
    torch.testing.assert_close(module(x), first)


@torch.no_grad()
def test_random_keys_and_values_are_the_same_positions() -> None:
    """Values that say where they are come back from where the keys are."""
    sampling = AnchorSampling("random", (3,), 1)
    x = torch.randn(1, 2, 6, 6)

    assert torch.equal(sampling(x + 1), sampling(x) + 1)


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


@torch.no_grad()
def test_ldv2_of_one_neighbour_returns_its_value() -> None:
    module = create("ldv2", 4, kernel=1)
    x_g, x_l = torch.randn(2, 2, 4, 5, 6)

    torch.testing.assert_close(module.distribute(x_g, x_l), module.value(torch.cat([x_g, x_l], 1)))
    torch.testing.assert_close(module(x_g), module(x_g, x_g))


@pytest.mark.parametrize("arrangement", ["gald", "ldga", "parallel"])
@torch.no_grad()
def test_gald_arranges_its_two_halves(arrangement: str) -> None:
    module = create("gald", C, arrangement=arrangement, ld="v2").eval()
    x = torch.randn(2, C, 17, 19)

    def ga(x: Tensor) -> Tensor:
        small = module.ga(module.down(x))
        return nn.functional.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=True)

    expected: dict[str, Callable[[], Tensor]] = {
        "gald": lambda: module.ld(ga(x), x),
        "ldga": lambda: ga(module.ld(x, x)),
        "parallel": lambda: torch.cat([module.ld(x, x), ga(x)], dim=1),
    }
    torch.testing.assert_close(module(x), expected[arrangement]())


@torch.no_grad()
def test_gald_s_code_adds_the_aggregate_once_more() -> None:
    paper, code = (create("gald", C, arrangement="parallel", residual=how).eval() for how in ("paper", "code"))
    code.load_state_dict(paper.state_dict())
    x = torch.randn(2, C, 17, 19)

    torch.testing.assert_close(code(x)[:, :C], paper(x)[:, :C] + x)


@pytest.mark.parametrize("down", ["depthwise", "average", "bilinear"])
@pytest.mark.parametrize("stages", [1, 3])
@torch.no_grad()
def test_ldv1_says_how_small_a_map_may_be(down: str, stages: int) -> None:
    module = create("ldv1", 4, down=down, stages=stages).eval()
    smallest = {1: 3, 3: 15}[stages]

    assert module(torch.randn(1, 4, smallest, smallest)).shape == (1, 4, smallest, smallest)
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest}, not {smallest}x{smallest - 1}"):
        module(torch.randn(1, 4, smallest, smallest - 1))


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("nl", 7, {}, "channels 7 are not divisible by 2"),
        ("nl", 8, {"inner": 0}, "at least 1, not 0"),
        ("nl", 8, {"mode": "concat", "scale": True}, "scale applies to the softmax modes only"),
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


def test_gald_refuses_an_aggregation_of_other_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    class Halved(nn.Module):
        """Half of the channels."""

        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x[:, ::2]

    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    registry.register("halved", family="context")(Halved)
    with pytest.raises(ValueError, match="ga must return 8 channels, not 4"):
        create("gald", 8, ga="halved")(torch.randn(2, 8, 15, 15))


def on_meta(name: str, channels: int, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create(name, channels, **options).eval()


@pytest.mark.parametrize(("depth", "count"), [(50, 23_508_032), (101, 42_500_160)])
def test_resnet_is_the_published_one_without_its_classifier(depth: int, count: int) -> None:
    module = on_meta("resnet", 2048, depth=depth)
    keys = module.state_dict().keys()

    assert sum(parameter.numel() for parameter in module.parameters()) == count
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer4.2.bn3.weight"} <= keys
    assert list(on_meta("dilated", 2048, depth=depth).state_dict()) == list(keys)


@pytest.mark.parametrize(("os", "strides"), [(32, (4, 8, 16, 32)), (16, (4, 8, 16, 16)), (8, (4, 8, 8, 8))])
def test_resnet_keeps_the_output_stride(os: int, strides: tuple[int, ...]) -> None:
    image = torch.empty(2, 3, 64, 96, device="meta")
    expected = [(2, 128 // k, 64 // stride, 96 // stride) for k, stride in zip((8, 4, 2, 1), strides, strict=True)]
    for style in ("pytorch", "caffe"):
        maps = on_meta("resnet", 128, os=os, style=style, stem="deep")(image)
        assert [tuple(x.shape) for x in maps] == expected
    if os == 8:
        assert [tuple(x.shape) for x in on_meta("dilated", 128)(image)] == expected


@pytest.mark.parametrize(("size", "rounded_up"), [((769, 769), (97, 97)), ((1024, 2048), (129, 257))])
def test_ceil_mode_gives_the_sizes_of_ann_and_gald(size: tuple[int, int], rounded_up: tuple[int, int]) -> None:
    module = on_meta("dilated", 32, ceil_mode=True)

    assert module(torch.empty(1, 3, *size, device="meta"))[-1].shape[2:] == rounded_up


@pytest.mark.parametrize(("up", "out"), [("bilinear", 64), ("fpn", 16), ("jpu", 64)])
def test_an_upsampler_behind_returns_one_map_at_stride_8(up: str, out: int) -> None:
    module = create("resnet", 64, up=up)
    image = torch.randn(2, 3, 64, 96)
    output = module(image)

    assert output.shape == (2, out, 8, 12)
    total(output).backward()  # type: ignore[no-untyped-call]


def test_resnet_s_gradients_reach_every_parameter() -> None:
    module = create("resnet", 64, context="gc", os=16)
    total(module(torch.randn(2, 3, 64, 96))).backward()  # type: ignore[no-untyped-call]

    assert all(parameter.grad is not None for parameter in module.parameters())


def dilations(stage: nn.Module) -> list[int]:
    return [block.conv2.dilation[0] for block in stage.children()]


def test_dilation_follows_first_dilation_and_multi_grid() -> None:
    half = ResNet((1, 1, 2, 3), 1, output_stride=8)
    full = ResNet((1, 1, 2, 3), 1, output_stride=8, first_dilation="full", multi_grid=(1, 2, 4))
    middle = ResNet((1, 1, 2, 4), 1, output_stride=16, multi_grid=(1, 2))

    assert (dilations(half.layer3), dilations(half.layer4)) == ([1, 2], [2, 4, 4])
    assert (dilations(full.layer3), dilations(full.layer4)) == ([2, 2], [4, 8, 16])
    assert (dilations(middle.layer3), dilations(middle.layer4)) == ([1, 1], [1, 4, 2, 4])


@pytest.mark.parametrize("context", ["gc", "psp", "snl"])
def test_a_context_block_stands_in_every_later_bottleneck(context: str) -> None:
    module = on_meta("resnet", 256, context=context)
    with_context = {name.split(".context")[0] for name in module.state_dict() if ".context." in name}

    assert len(with_context) == 4 + 6 + 3
    assert not any(name.startswith("layer1") for name in with_context)
    assert module(torch.empty(1, 3, 64, 64, device="meta"))[-1].shape == (1, 256, 2, 2)
