"""Global aggregation and local distribution: how `gald` puts its halves together, and the two halves `ldv1`, `ldv2`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modules import registry
from modules.observation import observed_by
from modules.registry import create

C = 16


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


@pytest.mark.parametrize("down", ["depthwise", "average", "bilinear"])
@torch.no_grad()
def test_padded_stages_of_ldv1_halve_upwards_whatever_they_are_made_of(down: str) -> None:
    module = create("ldv1", 4, down=down, stages=2, padding=1).eval()

    assert module.down(torch.randn(1, 4, 16, 17)).shape == (1, 4, 4, 5)
    assert module(torch.randn(1, 4, 1, 2)).shape == (1, 4, 1, 2)


@torch.no_grad()
def test_the_mask_of_ldv1_is_above_a_half_with_the_last_relu_and_anywhere_without() -> None:
    x = torch.randn(2, 4, 16, 16)
    masks = {}
    for relu in (True, False):
        torch.manual_seed(0)
        module = create("ldv1", 4, stages=2, padding=1, relu=relu)
        with observed_by(lambda name, mask, relu=relu: masks.__setitem__((relu, name), mask)):
            module(x)

    assert set(masks) == {(True, "mask"), (False, "mask")}
    assert masks[True, "mask"].min() >= 0.5 > masks[False, "mask"].min()


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
