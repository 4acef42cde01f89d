from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bench.training.chain import read_chain
from bench.training.network import (
    CHANNELS,
    Composition,
    Pointwise,
    ProbeNetwork,
    build_block,
    build_network,
    check_impl,
)
from modules import registry
from modules.options import SpecError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def built(label: str, **settings: object) -> ProbeNetwork:
    network = build_network(label, {}, 16, **settings)  # type: ignore[arg-type]
    assert isinstance(network, ProbeNetwork)
    return network


def state(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = list(zip(state(one), state(other), strict=True))
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", [*registry.names("context"), "mlp", "nl+ldv1", "psp+ldv2", "nl+mlp"])
def test_every_block_trains_in_the_probe_network(name: str) -> None:
    network = built(name)
    logits = network(IMAGES)
    assert logits.shape == (2, 16, 64, 64)
    logits.square().mean().backward()
    assert all(p.grad is not None for part in (network.trunk, network.merge) for p in part.parameters())


def test_the_backbone_is_the_one_that_was_published_with_the_scenes() -> None:
    convolutions = [m for m in built("identity").trunk if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.stride[0], c.kernel_size[0]) for c in convolutions] == [
        (16, 2, 3),
        (32, 2, 3),
        (48, 1, 3),
        (48, 1, 3),
    ]
    assert built("identity").trunk(IMAGES).shape == (2, CHANNELS, 16, 16)


def test_backbone_and_classifier_of_one_seed_are_equal_across_blocks() -> None:
    first = built("identity", seed=5)
    for name in ("nl", "psp", "gald", "nl+ldv2", "mlp"):
        other = built(name, seed=5)
        assert same(first.trunk, other.trunk)
        assert same(first.classifier, other.classifier)
    assert not same(first.trunk, built("identity", seed=6).trunk)
    assert not same(first.classifier, built("identity", seed=6).classifier)
    block = built("nl+ldv1", seed=5).block
    assert isinstance(block, Composition)
    assert same(block.blocks[0], built("nl", seed=5).block)


def test_building_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    built("nl+ldv2")
    assert torch.equal(torch.rand(3), wanted)


def test_identity_is_one_pointwise_convolution_and_mlp_two() -> None:
    one, two = built("identity").block, built("mlp").block
    assert isinstance(one, Pointwise)
    assert isinstance(two, Pointwise)
    counts = [sum(isinstance(m, nn.Conv2d) for m in block) for block in (one, two)]
    assert counts == [1, 2]
    assert sum(p.numel() for p in one.parameters()) == CHANNELS**2 + 2 * CHANNELS


def test_a_convolution_only_network_sees_23_pixels_before_the_resizing() -> None:
    network = built("identity").double().eval()
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    network.trunk(image)[0, :, 8, 8].sum().backward()
    assert image.grad is not None
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 <= 23


def test_blocks_of_other_widths_are_concatenated_all_the_same() -> None:
    psp, aspp = built("psp"), built("aspp")
    assert next(iter(psp.merge.parameters())).shape[1] == CHANNELS + 2 * CHANNELS
    assert next(iter(aspp.merge.parameters())).shape[1] == CHANNELS + CHANNELS // 8
    assert build_network("nl", {}, 5, channels=64)(IMAGES).shape == (2, 5, 64, 64)


def test_ldv2_behind_a_block_gets_its_result_and_the_input() -> None:
    composition = build_block(read_chain("nl+ldv2")).eval()
    assert isinstance(composition, Composition)
    x = torch.randn(1, CHANNELS, 8, 8)
    nl, ldv2 = composition.blocks
    with torch.no_grad():
        assert torch.equal(composition(x), ldv2(nl(x), x))
        wide = build_block(read_chain("psp+ldv1+ldv2")).eval()
        assert wide(x).shape == (1, 2 * CHANNELS, 8, 8)


def test_implementations(registered: object) -> None:
    @registry.register("twofold", family="context")
    class Twofold(nn.Module):
        """Twice the map."""

        def __init__(self, channels: int, impl: Literal["reference", "fused"] = "reference") -> None:
            super().__init__()
            self.impl = impl

        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    block = built("twofold", impl="fused").block
    assert isinstance(block, Twofold)
    assert block.impl == "fused"
    composition = build_block(read_chain("gc+twofold"), impl="fused")
    assert isinstance(composition, Composition)
    assert getattr(composition.blocks[1], "impl", None) == "fused"
    assert type(built("se", impl="fused").block) is type(built("se").block)
    check_impl([read_chain("se"), read_chain("gc+twofold")], "fused")
    with pytest.raises(SpecError, match="what is to be trained has no implementation 'fused'; allowed: reference"):
        check_impl([read_chain("se"), read_chain("mlp")], "fused")


def test_a_whole_network_without_the_implementation_is_as_published() -> None:
    published, other = (build_network("fcn:layers=1+1+1+1", channels=64, impl=impl) for impl in ("reference", "fused"))
    assert same(published, other)


def test_whole_networks_get_the_classes_of_the_data_set() -> None:
    network = build_network("fastfcn", {"layers": "1+1+1+1"}, classes=7, channels=64)
    again = build_network("fastfcn:layers=1+1+1+1", classes=7, channels=64)
    assert same(network, again)
    logits, presence, auxiliary = network(torch.randn(2, 3, 64, 64))
    assert (logits.shape, presence.shape, auxiliary.shape) == ((2, 7, 64, 64), (2, 7), (2, 7, 64, 64))


@pytest.mark.parametrize("name", ["gc_resnet", "slow_only", "mask_rcnn"])
def test_networks_that_segment_nothing_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=name):
        build_network(name, {}, classes=7, channels=64)


def test_a_users_block_that_does_not_fit_is_one_line(registered: object) -> None:
    @registry.register("halving", family="context")
    class Halving(nn.Module):
        """Returns half of the map."""

        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, ::2]

    @registry.register("failing", family="context")
    class Failing(nn.Module):
        """Fails."""

        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no\nluck")

    with pytest.raises(SpecError, match=r"'halving' returns \(2, 48, 8, 16\) for a map of"):
        build_network("halving", {}, 16)
    with pytest.raises(SpecError, match="'failing' cannot be trained on a map") as caught:
        build_network("failing", {}, 16)
    assert "\n" not in str(caught.value)


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(SpecError, match="classes must be at least 1, not 0"):
        build_network("nl", {}, 0)
    with pytest.raises(SpecError, match="channels"):
        build_network("nl", {}, 3, channels=-4)
