"""Trunks: published sizes, output strides, dilations, upsampling behind them, context inside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from modules.bottleneck import Bottleneck
from modules.registry import create
from modules.resnet import ResNet
from tests.modules.test_blocks import total


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


def test_a_dilated_trunk_takes_context_where_it_is_asked() -> None:
    options: dict[str, Any] = {"context": "gc/ratio=4", "stages": (3, 4), "often": "alternate", "place": "after_add"}
    dilated, plain = on_meta("dilated", 256, **options), on_meta("resnet", 256, **options)
    blocks = {name.split(".context")[0] for name in dilated.state_dict() if ".context." in name}

    assert blocks == {"layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"}
    assert list(dilated.state_dict()) == list(plain.state_dict())
    assert {block.place for block in dilated.modules() if isinstance(block, Bottleneck)} == {"after_add"}


@pytest.mark.parametrize(("ceil_mode", "size"), [(False, (16, 24)), (True, (17, 25))])
def test_ceil_mode_makes_an_even_map_of_fcn_one_longer(ceil_mode: bool, size: tuple[int, int]) -> None:
    network: Any = on_meta("fcn", 64, layers=(1, 1, 1, 1), ceil_mode=ceil_mode, resize=False, aux="none")
    image = torch.empty(network.input_shape(1, 16, 24), device="meta")

    assert image.shape == (1, 3, 128, 192)
    assert network(image).shape == (1, 19, *size)
