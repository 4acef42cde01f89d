"""Our module from the authors' constructor arguments and weights."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modules.checkpoints import ann, fastfcn, gald, gcnet
from modules.checkpoints.fit import fit, load
from modules.checkpoints.source import Source
from modules.options import SpecError, nearest

SOURCES: Mapping[str, Source] = types.MappingProxyType(
    {**ann.SOURCES, **fastfcn.SOURCES, **gald.SOURCES, **gcnet.SOURCES}
)


def from_official(source: str, state_dict: Mapping[str, Tensor], **config: object) -> nn.Module:
    """The module of ours that computes what a class of the authors computes with these weights.

    It stands on the device of the weights, in training mode; weights on the meta device need no memory. Networks
    return what the authors' do: FastFCN and ANN the auxiliary logits always (ours last), GALDNet logits of its map's
    size.

    Args:
        source: repository and class, such as `ann.APNB` or `fastfcn.EncNet`; see `SOURCES`.
        state_dict: all the class's parameters and buffers under the authors' names.
        config: the authors' constructor arguments; `layers`, and `width_div` of a network whose literal widths were
            divided by it, stand for the name of the backbone.

    Raises:
        SpecError: source or argument unknown, an argument missing or impossible, or a state dict with other names or
            shapes than these arguments make, or with two names of one tensor that differ.
    """
    if source not in SOURCES:
        raise SpecError(f"unknown source '{source}'{nearest(source, SOURCES)}")
    if not isinstance(state_dict, Mapping):
        given = type(state_dict).__name__
        raise SpecError(f"from_official takes a state dict, not {given}; read_state(path) gives that of a file")
    made = SOURCES[source]
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise SpecError(f"'{name}' in the weights of '{source}' is no tensor, but {type(value).__name__}")
    device = next(iter(state_dict.values())).device if state_dict else torch.device("cpu")
    with device:
        module = made.module(source, config)
    naming = made.naming(module)
    naming = dataclasses.replace(naming, changes={**naming.changes, **made.changes(config)})
    problem = fit(module, naming, state_dict).problem
    if problem:
        raise SpecError(f"these weights do not fit '{source}': {problem}")
    load(module, naming, state_dict)
    return module
