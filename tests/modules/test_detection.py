"""Mask R-CNN's static network: the figures of GCNet Table 5, its parts, small and odd images, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.static.flops import DispatchCount
from bench.static.trace import Trace
from modules.detection import MaskRegions, PyramidLevels, RegionGrid
from modules.options import SpecError
from modules.registry import create

ONE: dict[str, Any] = {"stages": (4,), "often": "once", "place": "after_add"}
LEVELS = (200 * 320, 100 * 160, 50 * 80, 25 * 40)
FIFTH = 13 * 20


def counted(module: nn.Module) -> int:
    """Multiply-adds of a module on meta at 800 x 1280."""
    count = DispatchCount()
    with torch.no_grad(), Trace(count):
        module.eval()(torch.empty(1, 3, 800, 1280, device="meta"))
    return count.macs


def network(**options: Any) -> MaskRegions:
    with torch.device("meta"):
        return MaskRegions(2048, **options)


@pytest.mark.parametrize(
    ("published", "options"),
    [
        (44.4, {}),
        (46.5, {"context": "nl", **ONE}),
        (45.4, {"context": "snl", **ONE}),
        (44.5, {"context": "gc", **ONE}),
        (46.9, {"context": "gc"}),
        (46.9, {"context": "gc", "place": "after_add"}),
        (44.5, {"context": "gc", "stages": (3,)}),
        (45.2, {"context": "gc", "stages": (4,)}),
        (45.9, {"context": "gc", "stages": (5,)}),
        (64.4, {"context": "snl"}),
        (54.4, {"context": "gc/ratio=4"}),
        (49.4, {"context": "gc/ratio=8"}),
        (45.7, {"context": "gc/ratio=32"}),
        (46.9, {"context": "gc/pooling=avg/fusion=mul"}),
    ],
)
def test_parameters_are_those_of_gcnet_table_5(published: float, options: dict[str, Any]) -> None:
    """Two cells of the table, +1 SNL and c5, are truncated instead of rounded."""
    millions = sum(parameter.numel() for parameter in network(**options).parameters()) / 1e6
    assert published in (round(millions, 1), int(10 * millions) / 10)


def test_the_baseline_has_the_published_layers_to_the_last_parameter() -> None:
    assert sum(parameter.numel() for parameter in network().parameters()) == 44_400_693


def test_macs_are_the_sum_of_the_parts() -> None:
    with torch.device("meta"):
        backbone = counted(create("resnet", 2048))
    laterals = 256 * sum(n * c for n, c in zip(LEVELS, (256, 512, 1024, 2048), strict=True))
    smooth = 9 * 256 * 256 * sum(LEVELS)
    proposals = (sum(LEVELS) + FIFTH) * (9 * 256 * 256 + 256 * 15)
    boxes = 1000 * (12544 * 1024 + 1024 * 1024 + 1024 * (81 + 324))
    masks = 100 * (4 * 14 * 14 * 9 * 256 * 256 + 14 * 14 * 4 * 256 * 256 + 28 * 28 * 256 * 81)

    assert counted(network()) == backbone + laterals + smooth + proposals + boxes + masks == 259_340_375_040


@pytest.mark.parametrize(
    "options",
    [{"depth": 101}, {"style": "caffe"}, {"groups": 32, "base_width": 4}, {"context": "gc/ratio=4", "stages": (5,)}],
)
def test_options_of_the_trunk_cost_what_they_cost_in_resnet(options: dict[str, Any]) -> None:
    with torch.device("meta"):
        plain, other = (counted(create("resnet", 2048, **given)) for given in ({}, options))
    assert other != plain
    assert counted(network(**options)) - counted(network()) == other - plain


def test_regions_cost_where_they_are_used() -> None:
    full, fewer = counted(network()), counted(network(boxes=10, masks=1))
    box = 12544 * 1024 + 1024 * 1024 + 1024 * 405
    mask = 4 * 196 * 9 * 65536 + 196 * 4 * 65536 + 784 * 256 * 81
    assert full - fewer == 990 * box + 99 * mask


@pytest.mark.parametrize(
    ("added", "context"),
    [("nl", 4 * 4000 * 1024 * 512 + 2 * 4000 * 4000 * 512), ("snl", 4000 * 1024 + 4000 * 1024 + 1024 * 1024)],
)
def test_one_block_sits_on_the_map_of_conv4(added: str, context: int) -> None:
    assert counted(network(context=added, **ONE)) - counted(network()) == context


@pytest.mark.parametrize(
    "options",
    [
        {"boxes": 2, "masks": 1},
        {"boxes": 9, "masks": 5, "style": "caffe", "context": "gc/ratio=4"},
        {"boxes": 4, "masks": 4, "context": "nl", **ONE, "groups": 2, "base_width": 32},
    ],
)
@pytest.mark.parametrize("shape", [(2, 3, 64, 96), (1, 3, 65, 97)])
def test_small_and_odd_images_give_every_output_and_gradient(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    module = create("mask_rcnn", 64, classes=3, **options).train()
    batch = shape[0]
    levels = {
        (64, 96): [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)],
        (65, 97): [(17, 25), (9, 13), (5, 7), (3, 4), (2, 2)],
    }
    outputs = module(torch.randn(shape))

    assert [tuple(output.shape) for output in outputs] == [
        *((batch, 3, *size) for size in levels[shape[2:]]),
        *((batch, 12, *size) for size in levels[shape[2:]]),
        (batch * options["boxes"], 3),
        (batch * options["boxes"], 12),
        (batch * options["masks"], 3, 28, 28),
    ]
    torch.stack([output.square().sum() for output in outputs]).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_levels_are_laterals_added_top_down() -> None:
    torch.manual_seed(1)
    pyramid = PyramidLevels((4, 8), 6)
    fine, coarse = torch.randn(2, 4, 7, 9), torch.randn(2, 8, 4, 5)
    top = pyramid.laterals[1](coarse)
    doubled = functional.interpolate(top, scale_factor=2, mode="nearest")

    first, second, third = pyramid([fine, coarse])

    torch.testing.assert_close(second, pyramid.smooth[1](top))
    torch.testing.assert_close(third, second[:, :, ::2, ::2])
    assert first.shape == (2, 6, 7, 9)
    even = pyramid([fine[:, :, :6, :8], coarse[:, :, :3, :4]])[0]
    expected = pyramid.smooth[0](pyramid.laterals[0](fine[:, :, :6, :8]) + doubled[:, :, :6, :8])
    torch.testing.assert_close(even, expected)


def test_regions_are_the_cells_of_a_grid() -> None:
    """Maps that hold their own coordinates come back as the centres of the bins."""
    y, x = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(24) + 0.5, indexing="ij")
    coordinates = torch.stack([x, y]).expand(2, -1, -1, -1)

    regions = RegionGrid(3, side=2, levels=1)([coordinates])

    assert regions.shape == (6, 2, 2, 2)
    for image in range(2):
        for cell, (left, top) in enumerate([(0, 0), (12, 0), (0, 6)]):
            columns, rows = regions[3 * image + cell]
            expected = torch.tensor([left + 3.0, left + 9.0]), torch.tensor([top + 1.5, top + 4.5])
            torch.testing.assert_close(columns, expected[0].expand(2, 2))
            torch.testing.assert_close(rows, expected[1].view(2, 1).expand(2, 2))


@pytest.mark.parametrize(("count", "shared"), [(1, [1, 0, 0, 0]), (6, [2, 2, 1, 1]), (1000, [250] * 4)])
def test_regions_are_shared_by_the_levels(count: int, shared: list[int]) -> None:
    maps = [torch.full((1, 1, 5, 5), float(level)) for level in (1, 2, 3, 4)]
    regions: Tensor = RegionGrid(count, side=3, levels=4)(maps)

    assert regions.shape == (count, 1, 3, 3)
    values = regions.round().int().flatten(1).tolist()
    assert values == [[level] * 9 for level, share in enumerate(shared, start=1) for _ in range(share)]


def test_nothing_but_weights_is_saved_and_the_trunk_has_the_names_of_resnet() -> None:
    saved = MaskRegions(32, boxes=1, masks=1).state_dict()
    trunk = {name.removeprefix("backbone.") for name in saved if name.startswith("backbone.")}

    assert trunk == set(create("resnet", 32).state_dict())
    assert not any("points" in name for name in saved)


@pytest.mark.parametrize(
    ("channels", "options", "said"),
    [
        (40, {}, "channels 40 are not divisible by 32"),
        (64, {"depth": 34}, "depth 34 is not one of 50, 101"),
        (64, {"boxes": 0}, "classes, boxes and masks must be at least 1, not 81, 0, 100"),
        (64, {"masks": -1}, "must be at least 1"),
        (64, {"stages": "1", "context": "gc"}, "stage 1 does not exist"),
        (64, {"context": "gc/ratio=5"}, "not divisible by the ratio 5"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(channels: int, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        create("mask_rcnn", channels, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
