from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.training.network import build_network
from bench.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from bench.training.recipe import Recipe
from modules.options import SpecError

NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def by_name(network: nn.Module, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Weight decay and rate of every parameter."""
    optimizer = make_optimizer(network, recipe)
    set_learning_rate(optimizer, 1.0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = optimizer.param_groups
    return {names[id(p)]: (group["weight_decay"], group["lr"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("label", ["gc", "apnb", "cgnl", "pam", "encoding"])
def test_only_weights_decay_and_every_parameter_is_in_one_group(kind: str, label: str) -> None:
    network = build_network(label, {}, 4)
    found = by_name(network, Recipe(optimizer=kind, weight_decay=0.5))  # type: ignore[arg-type]
    assert set(found) == {name for name, _ in network.named_parameters()}
    norms = {f"{name}.{p}" for name, m in network.named_modules() if isinstance(m, NORMS) for p in ("weight", "bias")}
    convolutions = (nn.Conv2d, nn.Linear)
    weights = {f"{name}.weight" for name, m in network.named_modules() if isinstance(m, convolutions)}
    biases = {name for name in found if name.endswith(".bias")}
    assert {found[name][0] for name in weights} == {0.5}
    assert {found[name][0] for name in biases} == {0.0}
    assert {found[name][0] for name in norms} == {0.0}


def test_all_decay_where_asked() -> None:
    found = by_name(build_network("gc", {}, 4), Recipe(weight_decay=0.5, decay_norms=True))
    assert {decay for decay, _ in found.values()} == {0.5}


def test_the_head_learns_faster_where_asked() -> None:
    found = by_name(build_network("gc", {}, 4), Recipe(lr_head_factor=10))
    assert {rate for name, (_, rate) in found.items() if name.startswith("trunk.")} == {1.0}
    assert {rate for name, (_, rate) in found.items() if not name.startswith("trunk.")} == {10.0}
    assert {rate for _, rate in by_name(nn.Conv2d(1, 1, 1), Recipe()).values()} == {1.0}
    with pytest.raises(SpecError, match="lr_head_factor 10 needs a network with a backbone named 'trunk'"):
        make_optimizer(nn.Conv2d(1, 1, 1), Recipe(lr_head_factor=10))


def test_the_schedule_rises_linearly_and_falls_by_the_poly_rule() -> None:
    recipe = Recipe(lr=0.5, power=0.9, warmup=4)
    rates = [learning_rate(recipe, i, 100) for i in range(100)]
    assert rates[0] == pytest.approx(0.5 / 4)
    assert rates[1] == pytest.approx(0.5 * 2 / 4 * 0.99**0.9)
    assert rates[4] == pytest.approx(0.5 * 0.96**0.9)
    assert rates[50] == pytest.approx(0.5 * 0.5**0.9)
    assert rates[99] == pytest.approx(0.5 * 0.01**0.9)
    assert learning_rate(Recipe(lr=0.5, warmup=0), 0, 100) == 0.5


def test_sgd_steps_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    optimizer = make_optimizer(layer, Recipe(optimizer="sgd", momentum=0.5, weight_decay=0.1))
    wanted, momentum = 1.0, 0.0
    for rate in (0.2, 0.1):
        set_learning_rate(optimizer, rate)
        layer.weight.grad = torch.full((1, 1), 2.0)
        optimizer.step()
        momentum = 0.5 * momentum + 2.0 + 0.1 * wanted
        wanted -= rate * momentum
    assert layer.weight.item() == pytest.approx(wanted)
