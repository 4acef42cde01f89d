"""Whole networks: what they return, that all of them learns, what they weigh, image sides, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bench.axes import parse_blocks
from bench.case import make_case
from bench.static import trace_figures
from bench.workload import build
from modules import registry
from modules.attention import attend
from modules.heads import AsymmetricHead
from modules.options import SpecError
from modules.registry import create

ONE = (1, 1, 1, 1)
SEGMENTATION = ["fcn", "gcnet", "galdnet", "ann", "fastfcn", "danet", "ccnet", "psanet"]
CEILED = ["gcnet", "galdnet", "ann", "danet", "ccnet", "psanet"]
HEADS = ["nl", "nl/norm=true/sub_sample=true", "snl", "gc/ratio=4", "identity", "apnb", "criss_cross", "psa/fuse=add"]
FUSIONS, NECKS = ("afnb", "fnb", "common", "none"), ("jpu", "none", "bilinear", "fpn")
SPECS = [
    "fcn",
    *(f"gcnet:head={head}" for head in HEADS),
    "gcnet:head=gc/ratio=4/pooling=avg/fusion=both,context=snl,stages=5,place=after_add",
    *(f"galdnet:ga={ga},ld={ld}" for ga in ("psp", "aspp", "nl", "cgnl") for ld in ("v1", "v2")),
    *(f"galdnet:ld={ld},arrangement={how}" for ld in ("v1", "v2") for how in ("ldga", "parallel")),
    *(f"ann:fusion={one},context={other}" for one in FUSIONS for other in ("apnb", "nb", "none")),
    *(f"fastfcn:head={head},up={up}" for head in ("encoding", "aspp", "psp") for up in NECKS),
    "fastfcn:variant=jpu_x",
    "danet",
    "ccnet",
    "ccnet:block=nl/inner=3",
    "psanet",
    "gc_resnet",
    "gc_resnet:context=nl/inner=3,style=pytorch,stem=deep",
]


def small(spec: str, **more: Any) -> Any:
    """The network with one bottleneck a stage; at the least width that its options allow."""
    ((name, options),) = parse_blocks(spec)
    return create(name, 256 if "jpu_x" in spec else 64, layers=ONE, **options, **more)


def on_meta(name: str, channels: int, **options: Any) -> Any:
    with torch.device("meta"):
        return create(name, channels, **options).eval()


def shapes(outputs: Tensor | tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(x.shape) for x in (outputs if isinstance(outputs, tuple) else (outputs,))]


def expected(spec: str, batch: int, size: tuple[int, int], training: bool) -> list[tuple[int, ...]]:
    """Logits at the image's size, then encoding's logits of presence, then the auxiliary ones."""
    if spec.startswith("gc_resnet"):
        return [(batch, 1000)]
    classes = 59 if spec.startswith("fastfcn") else 19
    logits = (batch, classes, *size)
    encoding = spec.startswith("fastfcn") and "aspp" not in spec and "psp" not in spec
    presence = [(batch, classes)] if encoding else []
    return [logits, *presence, logits] if training else [logits]


def test_no_network_is_left_out() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == {*SEGMENTATION, "gc_resnet"}
    assert {*SEGMENTATION, "gc_resnet", "slow_only", "mask_rcnn"} == set(registry.names("network"))


@pytest.mark.parametrize("spec", SPECS)
def test_all_of_a_network_learns_from_even_and_odd_images(spec: str) -> None:
    torch.manual_seed(0)
    network = small(spec).train()
    narrow = spec.startswith("galdnet") and "v2" not in spec
    for size in ((128, 120), (121, 113)) if narrow else ((64, 72), (57, 65)):
        network.zero_grad()
        outputs = network(torch.randn(2, 3, *size))
        assert shapes(outputs) == expected(spec, 2, size, training=True)
        flat = torch.cat([x.flatten() for x in (outputs if isinstance(outputs, tuple) else (outputs,))])
        (flat * torch.randn_like(flat)).sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        with torch.no_grad():
            assert shapes(network.eval()(torch.randn(1, 3, *size))) == expected(spec, 1, size, training=False)
        network.train()


@pytest.mark.parametrize("name", [*SEGMENTATION, "gc_resnet"])
@torch.no_grad()
def test_networks_run_in_bf16(name: str) -> None:
    torch.manual_seed(0)
    network, image = small(name).eval(), torch.randn(1, 3, 128, 120)
    single = network(image)
    half = network.bfloat16()(image.bfloat16())

    assert half.dtype == torch.bfloat16
    assert (half.float() - single).abs().max() < 0.1 * single.abs().max()


@pytest.mark.parametrize("name", SEGMENTATION)
@torch.no_grad()
def test_outputs_are_those_of_the_parts(name: str) -> None:
    """Trunk, neck, head and auxiliary head called one by one, and what each value of `aux` returns of them."""
    torch.manual_seed(0)
    network, image = small(name, aux="always").eval(), torch.randn(2, 3, 121, 129)
    maps = network.trunk(image)
    neck = network.neck
    found = network.head(maps if neck is None else (*maps[:3], neck(maps[1], maps[2], maps[3])))
    logits, presence = found if isinstance(found, tuple) else (found, None)

    def at(size: Any) -> list[Tensor]:
        sized = [logits, network.auxiliary(maps[2])]
        if size is not None:
            sized = [functional.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in sized]
        return sized if presence is None else [sized[0], presence, sized[1]]

    assert (neck is not None) == (presence is not None) == (name == "fastfcn")
    for resize, size in ((True, image.shape[2:]), (False, None)):
        network.resize = resize
        for one, other in zip(network(image), at(size), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_aux_decides_what_is_there_and_what_is_returned(name: str) -> None:
    image = torch.empty(2, 3, 128, 120, device="meta")
    many = 3 if name == "fastfcn" else 2
    networks = {aux: on_meta(name, 64, layers=ONE, aux=aux) for aux in ("train", "always", "none")}

    def returned(network: Any, training: bool) -> int | str:
        outputs = network.train(training)(image)
        return "logits" if isinstance(outputs, Tensor) else len(outputs)

    assert {aux: (returned(network, True), returned(network, False)) for aux, network in networks.items()} == {
        "train": (many, "logits"),
        "always": (many, many),
        "none": ("logits", "logits"),
    }
    assert [network.auxiliary is None for network in networks.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("fcn", 35_444_454),
        ("fcn:aux=none", 33_079_763),
        ("gcnet:head=identity", 70_959_590),
        ("gcnet:head=identity,aux=none", 66_229_715),
        ("gcnet:head=nl/inner=128", 70_959_590 + 4 * 512 * 128 + 3 * 128 + 512),
        ("gcnet:head=snl", 70_959_590 + 512 + 1 + 512 * 512 + 512),
        ("gcnet:head=gc/ratio=4", 70_959_590 + 512 + 1 + 2 * 512 * 128 + 3 * 128 + 512),
        ("gcnet:head=identity,context=gc/ratio=4", 70_959_590 + 61_461_854 - 42_500_160),
        ("galdnet", 52_402_662),
        ("galdnet:depth=101", 71_394_790),
        ("galdnet:depth=101,aux=none", 66_664_915),
        ("galdnet:ld=v2", 52_402_662 - 3 * (9 + 1 + 2) * 512 + 2_362_880),
        ("ann", 67_694_310),
        ("ann:stem=plain", 67_570_534),
        ("ann:fusion=fnb,context=nb", 67_694_310),
        ("ann:fusion=common", 67_694_310 - 7_870_208),
        ("fastfcn", 47_394_769),
        ("fastfcn:depth=101", 66_386_897),
        ("fastfcn:up=none", 36_047_825),
        ("fastfcn:up=none,depth=101", 55_039_953),
        ("fastfcn:up=bilinear", 36_047_825),
        ("fastfcn:variant=jpu_x", 47_378_385),
        ("fastfcn:head=aspp", 61_882_934),
        ("fastfcn:head=aspp,up=none", 42_147_382),
        ("fastfcn:head=aspp,depth=101", 80_875_062),
        ("fastfcn:head=psp", 68_846_390),
        ("fastfcn:head=psp,up=none", 49_110_838),
        ("fastfcn:head=psp,depth=101", 87_838_518),
        ("gc_resnet:context=none", 25_557_032),
        ("gc_resnet", 28_078_773),
        ("gc_resnet:context=gc/ratio=4", 35_557_941),
        ("danet", 71_288_936),
        ("ccnet", 71_287_911),
        ("ccnet:block=nl/inner=128", 71_222_630),
        ("psanet", 78_235_366),
    ],
)
def test_networks_weigh_what_the_published_ones_do(spec: str, count: int) -> None:
    ((name, options),) = parse_blocks(spec)
    network = on_meta(name, 2048, **options)

    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("name", SEGMENTATION)
def test_odd_sides_have_the_map_asked_for_and_even_ones_one_more_where_pooling_rounds_up(name: str) -> None:
    even, odd = (on_meta(name, 64, layers=ONE, side=side, resize=False) for side in ("even", "odd"))
    image = torch.empty(odd.input_shape(1, 97, 129), device="meta")

    assert image.shape == (1, 3, 769, 1025)
    assert even.input_shape(2, 97, 129) == (2, 3, 776, 1032)
    assert odd.trunk(image)[1].shape[2:] == odd(image).shape[2:] == (97, 129)
    assert even(torch.empty(1, 3, 256, 512, device="meta")).shape[2:] == ((33, 65) if name in CEILED else (32, 64))


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("fcn:side=odd", (2, 3, 121, 137)),
        ("fastfcn:side=odd", (2, 3, 121, 137)),
        ("ann", (2, 3, 128, 144)),
        ("gc_resnet", (2, 3, 128, 144)),
        ("slow_only", (2, 3, 8, 128, 144)),
        ("slow_only:frames=3", (2, 3, 3, 128, 144)),
    ],
)
@pytest.mark.parametrize("memory_format", ["channels_first", "channels_last"])
def test_a_workload_has_the_input_that_the_network_asks_for(
    spec: str, shape: tuple[int, ...], memory_format: str
) -> None:
    ((name, options),) = parse_blocks(spec)
    case = make_case(name, options, 16, 18, 64, batch=2, memory_format=memory_format)
    work = build(case, "meta")
    (image,) = work.inputs
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d

    assert tuple(image.shape) == shape
    assert image.is_contiguous(memory_format=last) == (memory_format == "channels_last")
    assert not image.requires_grad
    assert work.forward()[0].shape[0] == 2


def test_clips_and_odd_images_run_in_channels_last() -> None:
    axes = {"mode": "train", "batch": 2, "memory_format": "channels_last"}
    for name, options in (("slow_only", {"frames": 2}), ("fcn", {"side": "odd", "layers": ONE})):
        work = build(make_case(name, options, 5, 6, 32, **axes))
        work.call()
        assert work.inputs[0].shape[-2:] == ((33, 41) if name == "fcn" else (40, 48))


def test_a_nested_block_is_spelled_and_read_back() -> None:
    spec = "gcnet:head=gc/ratio=8/pooling=avg,depth=50,stages=3+4"
    ((name, options),) = parse_blocks(spec)
    case = make_case(name, options, 8, 8, 64)
    ((_, again),) = parse_blocks(case.label)

    assert case.label == spec
    assert make_case(name, again, 8, 8, 64).key == case.key
    assert case.key != make_case(name, {**options, "head": "gc/ratio=8"}, 8, 8, 64).key
    assert trace_figures(case).params > trace_figures(case.with_entry("gcnet", {**options, "head": "se"})).params


@torch.no_grad()
@pytest.mark.parametrize("recurrence", [1, 2, 3])
def test_ccnet_applies_any_block_as_often_as_asked(recurrence: int) -> None:
    network = small("ccnet:block=nl/inner=3", recurrence=recurrence).eval()
    head, c5 = network.head, torch.randn(1, 64, 5, 6)
    once = head.before(c5)
    for _ in range(recurrence):
        once = head.block(once)
    told = head((c5, c5, c5, c5))
    torch.testing.assert_close(told, head.classify(torch.cat([c5, head.after(once)], dim=1)), rtol=0, atol=0)


def test_ccnet_loops_criss_cross_attention_itself_or_in_the_head_alike() -> None:
    torch.manual_seed(0)
    inside = small("ccnet:recurrence=2").eval()
    outside = small("ccnet:block=criss_cross/recurrence=1", recurrence=2).eval()
    outside.load_state_dict(inside.state_dict())
    c5 = torch.randn(1, 64, 5, 6)
    with torch.no_grad():
        inside.head.block.gamma.fill_(0.5)
        outside.head.block.gamma.fill_(0.5)
        torch.testing.assert_close(outside.head((c5,) * 4), inside.head((c5,) * 4))


def test_ann_s_fusions_are_those_of_table_6() -> None:
    torch.manual_seed(0)
    c4, c5 = torch.randn(2, 16, 9, 10), torch.randn(2, 32, 9, 10)
    heads = {fusion: AsymmetricHead(32, 5, fusion, "none").eval() for fusion in ("common", "none", "fnb", "afnb")}
    for head in heads.values():
        head.reduce.load_state_dict(heads["none"].reduce.state_dict())
        head.classify.load_state_dict(heads["none"].classify.state_dict())
    heads["fnb"].fuse.load_state_dict(heads["afnb"].fuse.state_dict())  # type: ignore[union-attr]

    def alone(x: Tensor) -> Tensor:
        return heads["none"]((c4, c4, torch.full_like(c4, torch.nan), x))

    common: Any = heads["common"].fuse
    fnb: Any = heads["fnb"].fuse
    query, key, value = (x.flatten(2) for x in (fnb.query(c5), fnb.key(c4), fnb.value(c4)))
    gathered = attend(query.transpose(1, 2), key, value.transpose(1, 2), scale=4**-0.5)
    joined = torch.cat([fnb.out(gathered.transpose(1, 2).unflatten(2, (9, 10))), c5], 1)
    fused = {"common": common(c4) + c5, "fnb": fnb.fuse.project(joined)}

    for fusion, x in fused.items():
        torch.testing.assert_close(heads[fusion]((c4, c4, c4, c5)), alone(x))
    assert not torch.allclose(heads["afnb"]((c4, c4, c4, c5)), alone(fused["fnb"]))


@pytest.mark.parametrize("name", [*SEGMENTATION, "gc_resnet"])
@pytest.mark.parametrize(
    ("channels", "options", "said"),
    [
        (48, {}, "channels 48 are not divisible by 32"),
        (64, {"depth": 34}, "depth 34 is not one of 50, 101"),
        (64, {"layers": "1+1+1"}, "layers must be four positive numbers such as 3+4+6+3, not 1+1+1"),
        (64, {"layers": (1, 0, 1, 1)}, "not 1+0+1+1"),
        (64, {"layers": ONE, "classes": 0}, "classes must be at least 1, not 0"),
        (64, {"depth": "deep"}, "cannot be 'deep'; allowed: integer"),
    ],
)
def test_every_network_refuses_what_cannot_be(name: str, channels: int, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        create(name, channels, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", ["nl/fuse=concat", "psa", "gald/ga=nl/ld=v2/arrangement=parallel"])
def test_a_head_that_changes_the_width_is_named_with_its_widths(head: str) -> None:
    network = small("gcnet", head=head).eval()
    with pytest.raises(ValueError, match=r"must return 16 channels here, not 32 as [A-Z][A-Za-z]+ does"):
        network(torch.randn(1, 3, 64, 64))
