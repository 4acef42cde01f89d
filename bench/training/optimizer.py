"""Optimizer: parameter groups, SGD and AdamW, and the learning rate of each iteration."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from bench.training.recipe import Recipe
from modules.options import SpecError

BACKBONE = "trunk"
"""Attribute of a network that holds its backbone."""

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all learnable parameters of a network.

    Its groups differ in weight decay, which parameters of normalisation, and all of one dimension (biases, scalar
    gains), have only with `decay_norms`, and in `factor`, which is `lr_head_factor` outside of the backbone.

    Raises:
        SpecError: `lr_head_factor` is not 1, and the network has no backbone to tell from the rest.
    """
    if recipe.lr_head_factor != 1 and not isinstance(getattr(network, BACKBONE, None), nn.Module):
        raise SpecError(
            f"lr_head_factor {recipe.lr_head_factor:g} needs a network with a backbone named '{BACKBONE}', "
            f"which {type(network).__name__} has not; allowed: 1"
        )
    norms = {id(parameter) for norm in network.modules() if isinstance(norm, _NORMS) for parameter in norm.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = recipe.decay_norms or (parameter.ndim > 1 and id(parameter) not in norms)
            factor = 1.0 if name.startswith(f"{BACKBONE}.") else recipe.lr_head_factor
            groups.setdefault((recipe.weight_decay if decays else 0.0, factor), []).append(parameter)
    listed = [
        {"params": parameters, "weight_decay": decay, "factor": factor, "lr": recipe.lr * factor}
        for (decay, factor), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(listed, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    return torch.optim.AdamW(listed, lr=recipe.lr, fused=True)


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """Rate of an iteration: lr (1 - i / iterations)^power, times (i + 1) / warmup before `warmup`.

    Args:
        recipe: gives `lr`, `power` and `warmup`.
        iteration: i, from 0.
        iterations: of the whole run.

    Source: the poly policy of DeepLab, as all five papers use it.
    """
    rise = min(1.0, (iteration + 1) / recipe.warmup) if recipe.warmup else 1.0
    return float(recipe.lr * rise * (1 - iteration / iterations) ** recipe.power)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
