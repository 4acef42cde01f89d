"""Checkpoint files: read without running code, their names recognised, loaded into a module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from modules.checkpoints.fit import fit, load
from modules.checkpoints.naming import Naming
from modules.checkpoints.official import SOURCES
from modules.options import SpecError

OWN_NAMES = "contextbench"
_WRAPPINGS = ("state_dict", "model")
_PARALLEL = "module."


def load_checkpoint(module: nn.Module, entry: str, path: Path) -> str:
    """Load a file into `module`, under our own names or those of the authors of `entry`.

    The file holds a state dict, alone or under `state_dict` or `model`; the prefix `module.` of all names is taken
    off. The old non-local block of the GCNet repository has mmcv's names and is read as that; `from_official` tells
    them apart.

    Args:
        module: an `entry` built with the options that the weights belong to.
        entry: its registered name.
        path: of the file.

    Returns:
        Whose names they are: `contextbench`, or the source, such as `ann.asymmetric_non_local_network`.

    Raises:
        SpecError: there is no such file, it is no checkpoint or would run code, or it does not fit the module, which
            then is as it was.
    """
    state = read_state(path)
    namings = {OWN_NAMES: Naming({})}
    namings |= {name: source.naming(module) for name, source in SOURCES.items() if entry in source.entries}
    fits = {name: fit(module, naming, state) for name, naming in namings.items()}
    whose = next((name for name in fits if not fits[name].problem), None)
    if whose is None:
        closest = max(fits, key=lambda name: fits[name].shared)
        raise SpecError(f"'{path}' does not fit '{entry}' by the names of '{closest}': {fits[closest].problem}")
    difference = "" if whose == OWN_NAMES else SOURCES[whose].unlike(module)
    if difference:
        raise SpecError(f"'{path}' does not fit '{entry}': weights of '{whose}' {difference}")
    load(module, namings[whose], state)
    return whose


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, alone or under `state_dict` or `model`, without the prefix `module.` of all names.

    Raises:
        SpecError: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise SpecError(f"no checkpoint file '{path}'")
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the reader raise almost anything
        raise SpecError(
            f"'{path}' is no checkpoint of tensors alone: it is damaged, or reading it runs code"
        ) from error
    for key in _WRAPPINGS:
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
            break
    named = isinstance(data, Mapping) and all(isinstance(name, str) for name in data)
    if not named or not data or not all(isinstance(value, Tensor) for value in data.values()):
        raise SpecError(
            f"'{path}' holds no state dict: expected names of tensors, alone or under 'state_dict' or 'model'"
        )
    odd = next((n for n, v in data.items() if v.layout is not torch.strided or v.is_meta or v.is_complex()), None)
    if odd is not None:
        raise SpecError(f"'{path}' holds '{odd}', which is no dense tensor of real numbers")
    if all(name.startswith(_PARALLEL) for name in data):
        data = {name.removeprefix(_PARALLEL): value for name, value in data.items()}
    return dict(data)
