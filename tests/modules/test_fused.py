"""The fused implementations: output and gradients of the reference, for every option that has a path of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.agreement import TOLERANCES, Difference
from bench.case import make_case
from bench.workload import input_shapes
from modules import registry
from modules.attention import attend
from modules.registry import create, describe
from modules.symmetric_attention import attend_symmetric

Options = dict[str, Any]
Layout = Callable[[Tensor], Tensor]
FUSED = [name for name in registry.names() if "fused" in describe(name).impls]
SPECS: list[tuple[str, Options]] = [
    *(("nl", {"mode": mode, **more}) for mode in ("embedded_gaussian", "gaussian", "dot_product", "concat")
      for more in ({}, {"sub_sample": True}, {"sub_sample": True, "pool_first": True})),
    *(("nl", options) for options in ({"scale": True}, {"norm": True}, {"inner": 3}, {"fuse": "concat"})),
    *(("nl", {"mode": "dot_product", "inner": inner}) for inner in (3, 400)),
    *(("fnb", {"mode": mode}) for mode in ("embedded_gaussian", "dot_product", "concat")),
    ("fnb", {"fuse": "project"}),
    *(("apnb", {"sizes": (1, 2, 3), "share": share, "norm": norm})
      for share in ("key_value", "query_key", "none") for norm in (False, True)),
    *(("apnb", {"sampling": f"pyramid_{kind}", "sizes": (2, 3), "share": share})
      for kind in ("max", "random") for share in ("key_value", "none")),
    *(("apnb", {"sampling": "none", **more}) for more in ({}, {"share": "none", "value_inner": 8})),
    ("apnb", {"share": "none", "value_inner": 8}),
    ("afnb", {}),
    ("afnb", {"share": "none", "sizes": (1, 2)}),
    ("pam", {}), ("cam", {}), ("cam", {"negate": False}), ("criss_cross", {}),
    ("snl", {}), ("gc", {"ratio": 4, "fusion": "both"}), ("gc", {"pooling": "avg"}),
    ("cgnl", {}), ("cgnl", {"scale": True}),
    ("ldv1", {}), ("ldv1", {"down": "average", "padding": 1}),
    ("ldv2", {}), ("ldv2", {"kernel": 3, "dilation": 2, "scale": True}), ("ldv2", {"mask_border": True}),
    ("ldv2", {"value_from": "xg", "kernel": 7, "dilation": 1}), ("ldv2", {"kernel": 1, "mask_border": True}),
    ("gald", {"ga": "nl", "ld": "v2"}), ("gald", {"ga": "psp", "arrangement": "parallel"}),
    ("encoding", {}), ("psp", {}), ("psp", {"out": 16}), ("aspp", {"rates": (2, 3)}),
    ("psa", {"reach": 3}), ("psa", {"reach": (20, 9)}), ("psa", {"normalise": "count", "shrink": 1, "reach": 30}),
]  # fmt: skip
LAYOUTS: dict[str, Layout] = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "sliced": lambda x: torch.cat([x, x], dim=3)[..., ::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


def pair(name: str, options: Options, dtype: torch.dtype, training: bool) -> tuple[nn.Module, nn.Module]:
    """The two implementations with the same weights, none of which is all zero."""
    torch.manual_seed(0)
    reference, fused = (create(name, 32, impl, **options).to(dtype).train(training) for impl in ("reference", "fused"))
    for parameter in reference.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    fused.load_state_dict(reference.state_dict())
    return reference, fused


def computed(module: nn.Module, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Output, gradients and buffers of a call; outside of training also the output without autograd."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    output = module(*leaves)
    assert isinstance(output, Tensor)
    incoming = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    names = [*(f"input.{number}" for number in range(len(leaves))), *(name for name, _ in module.named_parameters())]
    gradients = torch.autograd.grad(output, [*leaves, *module.parameters()], incoming)
    found = {"output": output.detach(), **dict(zip(names, gradients, strict=True))}
    found |= {f"buffer {name}": buffer.clone() for name, buffer in module.named_buffers()}
    if not module.training:
        with torch.no_grad():
            found["output without autograd"] = module(*inputs)
    return found


def furthest(expected: dict[str, Tensor], given: dict[str, Tensor]) -> Difference:
    """The largest difference, relative to the largest element of the layer."""
    scales: dict[str, float] = {}
    for name, tensor in expected.items():
        layer = name.rpartition(".")[0] or name
        scales[layer] = max(scales.get(layer, 0.0), tensor.abs().max().item())
    apart = [
        Difference(name, (expected[name].double() - given[name].double()).abs().max().item() / (scales[layer] or 1.0))
        for name in expected
        for layer in [name.rpartition(".")[0] or name]
    ]
    assert all(expected[name].shape == given[name].shape for name in expected)
    return max(apart, key=lambda difference: difference.relative)


def inputs_of(name: str, module: nn.Module, size: tuple[int, int], dtype: torch.dtype) -> list[Tensor]:
    case = make_case(name, {}, *size, 32, batch=2)
    return [torch.randn(shape).to(dtype) for shape in input_shapes(case, module)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options"), SPECS)
def test_in_double_precision_it_is_the_reference(name: str, options: Options, training: bool) -> None:
    reference, fused = pair(name, options, torch.float64, training)
    size = (17, 15) if name in ("ldv1", "gald") else (9, 12) if training else (13, 11)
    inputs = inputs_of(name, reference, size, torch.float64)
    worst = furthest(computed(reference, inputs), computed(fused, inputs))
    assert worst.relative <= 1e-10, worst


@pytest.mark.parametrize(("name", "options"), [spec for spec in SPECS if spec[0] != "cgnl"])
def test_in_single_precision_it_is_near_for_every_layout(name: str, options: Options) -> None:
    reference, fused = pair(name, options, torch.float32, training=False)
    inputs = inputs_of(name, reference, (17, 15) if name in ("ldv1", "gald") else (10, 7), torch.float32)
    for layout, arrange in LAYOUTS.items():
        arranged = [arrange(tensor) for tensor in inputs]
        worst = furthest(computed(reference, arranged), computed(fused, arranged))
        assert worst.relative <= TOLERANCES["fp32"], (layout, worst)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["nl", "fnb", "apnb", "afnb", "pam"])
def test_pointwise_products_may_be_convolutions(name: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.pointwise.runs_as_convolution", lambda map_BCHW: True)
    reference, fused = pair(name, {}, torch.float64, training=False)
    inputs = [LAYOUTS[layout](tensor) for tensor in inputs_of(name, reference, (10, 7), torch.float64)]
    worst = furthest(computed(reference, inputs), computed(fused, inputs))
    assert worst.relative <= 1e-10, worst


@pytest.mark.parametrize("name", FUSED)
def test_in_bf16_its_output_is_near(name: str) -> None:
    reference, fused = pair(name, {}, torch.bfloat16, training=False)
    inputs = inputs_of(name, reference, (15, 17), torch.bfloat16)
    with torch.no_grad():
        expected, given = reference(*inputs).float(), fused(*inputs).float()
    assert (expected - given).abs().max() <= TOLERANCES["bf16"] * expected.abs().max()


@pytest.mark.parametrize(("name", "options"), SPECS)
def test_a_checkpoint_of_one_is_a_checkpoint_of_the_other(name: str, options: Options) -> None:
    reference, fused = (create(name, 32, impl, **options).state_dict() for impl in ("reference", "fused"))
    assert {key: value.shape for key, value in reference.items()} == {key: value.shape for key, value in fused.items()}


@pytest.mark.parametrize("name", [name for name in FUSED if describe(name).family == "context"])
def test_an_input_is_left_as_it_was(name: str) -> None:
    _, fused = pair(name, {}, torch.float32, training=False)
    (x,) = inputs_of(name, fused, (15, 16), torch.float32)
    before = x.clone()
    with torch.no_grad():
        fused(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["nl", "ldv2", "pam"])
def test_the_maps_may_differ_in_size(name: str) -> None:
    for height, width in ((1, 1), (2, 31), (23, 5)):
        reference, fused = pair(name, {}, torch.float64, training=False)
        inputs = inputs_of(name, reference, (height, width), torch.float64)
        assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= 1e-10


def test_fusion_blocks_take_a_low_map_of_another_size() -> None:
    for name in ("fnb", "afnb"):
        reference, fused = pair(name, {}, torch.float64, training=False)
        inputs = [torch.randn(2, 16, 9, 8, dtype=torch.float64), torch.randn(2, 32, 11, 13, dtype=torch.float64)]
        assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= 1e-10


def test_ldv2_fuses_two_maps() -> None:
    reference, fused = pair("ldv2", {"kernel": 3, "dilation": 4}, torch.float64, training=True)
    inputs = [torch.randn(2, 32, 10, 11, dtype=torch.float64) for _ in range(2)]
    assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= 1e-10


def test_many_queries_are_answered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, fused = pair("nl", {}, torch.float64, training=False)
    inputs = inputs_of("nl", reference, (9, 11), torch.float64)
    monkeypatch.setattr("modules.fused_attention.MANY", 16)
    assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= 1e-10


def test_blocks_of_queries_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.blockwise.BLOCK_BYTES", 2**10)
    for name in ("pam", "nl"):
        reference, fused = pair(name, {}, torch.float64, training=True)
        inputs = inputs_of(name, reference, (13, 11), torch.float64)
        assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= 1e-10


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("height", "width"), [(1, 40), (13, 11), (16, 8)])
def test_tiles_above_the_diagonal_make_both_sides(
    height: int, width: int, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.symmetric_attention.TILE_ELEMENTS", 2**10)
    monkeypatch.setattr("modules.symmetric_attention._SMALLEST", 8)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, TOLERANCES["fp32"])):
        for options in ({}, {"scale": True}):
            reference, fused = pair("nl", {"mode": "gaussian", **options}, dtype, training=False)
            inputs = [LAYOUTS[layout](tensor) for tensor in inputs_of("nl", reference, (height, width), dtype)]
            worst = furthest(computed(reference, inputs), computed(fused, inputs))
            assert worst.relative <= tolerance, (dtype, worst)


def test_tiles_in_bf16_are_near_in_output_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.symmetric_attention.TILE_ELEMENTS", 2**10)
    torch.manual_seed(0)
    x, value, incoming = (0.3 * torch.randn(2, 150, width).bfloat16() for width in (32, 24, 24))

    def run(attention: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
        leaves = [part.to(dtype).requires_grad_() for part in (x, value)]
        result = attention(*leaves)
        return result.detach(), *torch.autograd.grad(result, leaves, incoming.to(dtype))

    exact = run(lambda x, value: attend(x, x.transpose(1, 2), value), torch.float64)
    for expected, given in zip(
        exact, run(lambda x, value: attend_symmetric(x, value, 1.0), torch.bfloat16), strict=True
    ):
        assert given.dtype == torch.bfloat16
        assert (expected - given).abs().max() <= TOLERANCES["bf16"] * expected.abs().max()


def test_tiles_in_bf16_hold_where_logits_are_large() -> None:
    """There a position's logit to itself, in single precision, is far above what its tile rounds it to."""
    torch.manual_seed(0)
    x, value = (5 * torch.randn(1, 1100, 512)).bfloat16(), torch.randn(1, 1100, 32).bfloat16()
    exact = attend(x.double(), x.double().transpose(1, 2), value.double())
    given = attend_symmetric(x, value, 1.0)
    assert (exact - given).abs().max() <= TOLERANCES["bf16"] * exact.abs().max()


def test_rounding_cancels_where_positions_attend_to_themselves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of softmax are then exactly of one 1, so that what gathers them has no slope at all in the reference."""
    monkeypatch.setattr("modules.symmetric_attention.TILE_ELEMENTS", 2**10)
    monkeypatch.setattr("modules.symmetric_attention._SMALLEST", 8)
    x = (20 * torch.eye(90, 96)).unsqueeze(0).requires_grad_()
    value = torch.randn(1, 90, 64)
    incoming = torch.randn(1, 90, 64)
    result = attend_symmetric(x, value, 1.0)
    (to_x,) = torch.autograd.grad(result, x, incoming)
    assert torch.equal(result, value)
    assert to_x.abs().max() < 1e-10


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian"])
def test_under_autocast_blocks_of_queries_take_one_precision(mode: str) -> None:
    reference, fused = pair("nl", {"mode": mode}, torch.float32, training=True)
    inputs = inputs_of("nl", reference, (9, 8), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected, given = reference(*inputs).float(), fused(*inputs).float()
        given.sum().backward()
    assert (expected - given).abs().max() <= TOLERANCES["bf16"] * expected.abs().max()


def test_three_dimensional_clips_and_sequences_are_fused_too() -> None:
    reference, fused = pair("nl", {"sub_sample": True}, torch.float64, training=False)
    for shape in ((2, 32, 3, 5, 6), (2, 32, 17)):
        inputs = [torch.randn(shape, dtype=torch.float64)]
        assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= 1e-10


def test_a_block_inside_gald_is_fused_where_it_can_be() -> None:
    assert create("gald", 32, "fused", ga="nl").ga.impl == "fused"
    assert create("gald", 32, "fused", ga="se").ga.impl == "reference"
