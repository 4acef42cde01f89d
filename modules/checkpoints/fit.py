"""A state dict held against a module: what is missing, unexpected, of another shape, or at odds with itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modules.checkpoints.naming import Naming

_SHOWN = 3
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Fit:
    """How a state dict fits a module under a naming; every name here is the file's, not ours.

    Attributes:
        names: of everything that the module needs -> our name.
        missing: needed, not in the state dict.
        unexpected: in the state dict, not needed.
        shapes: name -> the shape given and the shape needed, where they differ.
        untied: pairs of names for one thing that hold different tensors.
    """

    names: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[torch.Size, torch.Size]]
    untied: tuple[tuple[str, str], ...]

    @property
    def shared(self) -> int:
        """How many needed names are there."""
        return len(self.names) - len(self.missing)

    @property
    def problem(self) -> str:
        """What does not fit, in words; empty where everything does."""
        said = []
        if self.missing:
            said.append(f"missing {_listed([repr(name) for name in self.missing])}")
        if self.unexpected:
            said.append(f"unexpected {_listed([repr(name) for name in self.unexpected])}")
        if self.shapes:
            shapes = [f"{name!r} {tuple(given)}, not {tuple(needed)}" for name, (given, needed) in self.shapes.items()]
            said.append(f"of another shape {_listed(shapes)}")
        if self.untied:
            second, first = self.untied[0]
            said.append(f"'{second}' and '{first}' are one tensor of the authors, but differ")
        return "; ".join(said)


def fit(module: nn.Module, naming: Naming, state: Mapping[str, Tensor]) -> Fit:
    """Hold `state` against `module`, whose tensors it names as `naming` says.

    The counters of batch norms may be absent altogether, as in files older than they are.
    """
    ours = module.state_dict()
    if not any(name.endswith(_COUNTER) for name in state):
        ours = {name: value for name, value in ours.items() if not name.endswith(_COUNTER)}
    names = {naming.theirs(name): name for name in ours}
    seconds = {second: first for first in names for second in naming.seconds(first)}
    needed = {**names, **{second: names[first] for second, first in seconds.items()}}
    return Fit(
        names=needed,
        missing=tuple(name for name in needed if name not in state),
        unexpected=tuple(name for name in state if name not in needed and name not in naming.dropped),
        shapes={
            name: (state[name].shape, ours[our].shape)
            for name, our in needed.items()
            if name in state and state[name].shape != ours[our].shape
        },
        untied=tuple(
            (second, first)
            for second, first in seconds.items()
            if second in state and first in state and _differ(state[second], state[first])
        ),
    )


def load(module: nn.Module, naming: Naming, state: Mapping[str, Tensor]) -> None:
    """Copy a `state` that fits into `module`, re-ordered where the authors' order is another."""
    loaded = dict(module.state_dict())
    for name in loaded:
        theirs = naming.theirs(name)
        if theirs in state:
            loaded[name] = naming.changed(name, state[theirs])
    module.load_state_dict(loaded, strict=True)


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold different values; those without values do not."""
    return one.shape == other.shape and not (one.is_meta or other.is_meta) and not torch.equal(one, other)


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
