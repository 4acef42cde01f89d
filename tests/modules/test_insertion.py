"""Context blocks inside residual networks: in which bottlenecks, at which place of them, and what cannot be there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.bottleneck import Bottleneck
from modules.insertion import NOWHERE, Insertion, Place
from modules.options import SpecError
from modules.registry import create
from modules.resnet import ResNet

PLACES: tuple[Place, ...] = ("after1x1", "after_add")


def unsettle(module: nn.Module) -> None:
    """Statistics and affine parameters of their own, so that nothing is the identity by its initialisation."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    for parameter in module.parameters():
        if parameter.dim() == 1 or not parameter.any():
            nn.init.normal_(parameter, mean=0.5, std=0.2)


def where(network: nn.Module, kind: str) -> str:
    """The bottlenecks that hold a context block, as stage.index: '3.1 3.3 4.1'."""
    found = [
        name.removeprefix("trunk.").removeprefix("layer").removesuffix(".context").split(".")
        for name, module in network.named_modules()
        if name.endswith(".context") and type(module).__name__ == kind
    ]
    return " ".join(f"{int(layer) + 1}.{index}" for layer, index in found)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet", {}, "3.0 3.1 3.2 3.3 4.0 4.1 4.2 4.3 4.4 4.5 5.0 5.1 5.2"),
        ("resnet", {"stages": "3+4", "often": "alternate"}, "3.1 3.3 4.1 4.3 4.5"),
        ("resnet", {"stages": "2+5", "often": "alternate"}, "2.1 5.1"),
        ("resnet", {"often": "once"}, "3.2 4.4 5.1"),
        ("resnet", {"stages": (4,), "often": "once", "depth": 101}, "4.21"),
        ("resnet", {"stages": "5+2"}, "2.0 2.1 2.2 5.0 5.1 5.2"),
        ("resnet", {"layers": "1+1+1+2", "often": "once"}, "3.0 4.0 5.0"),
        ("resnet", {"layers": "1+1+1+2", "often": "alternate"}, "5.1"),
        ("resnet", {"context": "none"}, ""),
        ("dilated", {}, "3.0 3.1 3.2 3.3 4.0 4.1 4.2 4.3 4.4 4.5 5.0 5.1 5.2"),
        ("gcnet", {"stages": (5,), "head": "snl"}, "5.0 5.1 5.2"),
        ("gcnet", {"context": "none"}, ""),
        ("dilated", {"stages": "3+4", "often": "alternate"}, "3.1 3.3 4.1 4.3 4.5"),
        ("gc_resnet", {"often": "alternate"}, "3.1 3.3 4.1 4.3 4.5 5.1"),
        ("gc_resnet", {"stages": "2", "often": "once"}, "2.1"),
    ],
)
def test_blocks_stand_where_they_are_asked(name: str, options: dict[str, Any], expected: str) -> None:
    with torch.device("meta"):
        network = create(name, 64, **{"context": "snl", **options})
    assert where(network, "SimplifiedNonLocal") == expected


@pytest.mark.parametrize("place", PLACES)
def test_blocks_have_the_options_and_the_width_of_their_bottleneck(place: Place) -> None:
    with torch.device("meta"):
        network = create("resnet", 128, context="gc/ratio=8/pooling=avg", place=place, often="once", stages=(2, 5))
    widths = [
        (name, module.add[0].in_channels, module.add[0].out_channels)  # type: ignore[index, union-attr]
        for name, module in network.named_modules()
        if type(module).__name__ == "GlobalContext"
    ]
    assert widths == [("layer1.1.context", 16, 2), ("layer4.1.context", 128, 16)]


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (23_508_032, {"context": "none"}),
        (26_029_773, {"context": "gc"}),
        (33_508_941, {"context": "gc/ratio=4"}),
        (61_461_854, {"context": "gc/ratio=4", "depth": 101}),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_the_published_backbones_of_gcnet_have_as_many_parameters(
    count: int, options: dict[str, Any], place: Place
) -> None:
    with torch.device("meta"):
        network = create("resnet", 2048, place=place, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def twins(block: nn.Module) -> tuple[Bottleneck, dict[str, Bottleneck]]:
    """A bottleneck without context, and one a place with it, of the same weights."""
    plain = Bottleneck(16, 4, 1, 1, "pytorch", None).eval()
    unsettle(plain)
    unsettle(block)
    placed = {place: Bottleneck(16, 4, 1, 1, "pytorch", block, place).eval() for place in PLACES}
    for module in placed.values():
        assert set(module.load_state_dict(plain.state_dict(), strict=False).unexpected_keys) == set()
    return plain, placed


@pytest.mark.parametrize("name", ["nl", "gc", "cgnl"])
@torch.no_grad()
def test_the_places_are_before_the_sum_and_behind_the_relu(name: str) -> None:
    torch.manual_seed(0)
    block = create(name, 16).eval()
    plain, placed = twins(block)
    x = torch.randn(2, 16, 9, 8)
    y = functional.relu(plain.bn1(plain.conv1(x)))
    y = plain.bn3(plain.conv3(functional.relu(plain.bn2(plain.conv2(y)))))
    expected = {"after1x1": functional.relu(block(y) + x), "after_add": block(functional.relu(y + x))}

    torch.testing.assert_close(plain(x), functional.relu(y + x))
    for place, module in placed.items():
        torch.testing.assert_close(module(x), expected[place])
    assert not torch.allclose(expected["after1x1"], expected["after_add"])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("often", ["every", "alternate", "once"])
@torch.no_grad()
def test_a_new_global_context_changes_nothing(place: Place, often: Any) -> None:
    torch.manual_seed(0)
    layers, image = (1, 2, 3, 2), torch.randn(2, 3, 64, 72)
    plain = ResNet(layers, 2).eval()
    network = ResNet(layers, 2, insertion=Insertion("gc/ratio=4", (2, 3, 4, 5), place, often)).eval()
    unsettle(plain)
    loaded = network.load_state_dict(plain.state_dict(), strict=False)

    assert loaded.missing_keys
    assert not loaded.unexpected_keys
    for one, other in zip(network(image), plain(image), strict=True):
        assert torch.equal(one, other)
    last = network.layer3[1].context
    assert isinstance(last, nn.Module)
    unsettle(last)
    torch.testing.assert_close(network(image)[1], plain(image)[1])
    assert not torch.allclose(network(image)[2], plain(image)[2])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("often", ["every", "alternate", "once"])
@pytest.mark.parametrize("stages", [(3, 4, 5), (2,)])
def test_every_block_inside_learns(place: Place, often: str, stages: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    options = {"context": "nl/norm=true", "stages": stages, "place": place, "often": often}
    network = create("resnet", 64, layers=(2, 2, 3, 2), **options)
    outputs: tuple[Tensor, ...] = network(torch.randn(2, 3, 64, 65))
    torch.stack([(x * torch.randn_like(x)).sum() for x in outputs]).sum().backward()  # type: ignore[no-untyped-call]

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_a_classifier_judges_the_mean_of_c5() -> None:
    torch.manual_seed(0)
    network: Any = create("gc_resnet", 64, layers=(1, 1, 1, 2), classes=7).eval()
    unsettle(network)
    image = torch.randn(2, 3, 64, 97)

    torch.testing.assert_close(network(image), network.fc(network.trunk(image)[3].mean((2, 3))))
    assert network.trunk(image)[3].shape == (2, 64, 2, 4)


def test_the_plain_network_holds_nothing() -> None:
    assert NOWHERE.block(4, 1, 6, 16) is None


@pytest.mark.parametrize("stage", [1, 6, 0, -3])
def test_a_stage_that_does_not_exist_is_refused(stage: int) -> None:
    with pytest.raises(ValueError, match=f"^stage {stage} does not exist; allowed: 2, 3, 4, 5$"):
        Insertion("gc", (3, stage))


@pytest.mark.parametrize("name", ["resnet", "gcnet", "gc_resnet"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stages": "3+6"}, "stage 6 does not exist; allowed: 2, 3, 4, 5"),
        ({"stages": "c3"}, "option 'stages' of"),
        ({"place": "after3x3"}, "cannot be 'after3x3'; did you mean 'after1x1'? allowed: after1x1|after_add"),
        ({"often": "never"}, "cannot be 'never'; did you mean 'every'? allowed: every|alternate|once"),
        ({"context": "gd"}, "'gd' is not a context block; did you mean 'gald'? allowed: identity, nl,"),
        ({"context": "fpn"}, "'fpn' is of family 'upsample', not a context block"),
        ({"context": "gc/ratio=0"}, "ratio must be at least 1, not 0"),
        ({"context": "gc/"}, "'' in 'gc/' is not an option of its own"),
    ],
)
def test_what_cannot_be_inserted_is_said_in_one_line(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        create(name, 64, **{"context": "gc", **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("context", ["nl/fuse=concat", "psa"])
def test_a_block_that_changes_the_width_is_named_with_its_widths(place: Place, context: str) -> None:
    network = create("resnet", 64, context=context, place=place, stages=(5,), often="once")
    with pytest.raises(ValueError, match=r"must return 64 channels here, not 128 as [A-Z][A-Za-z]+ does"):
        network(torch.randn(2, 3, 64, 64))
