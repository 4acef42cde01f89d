"""How the authors of a repository call what our modules hold, and order it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Naming:
    """The authors' names of a module's parameters and buffers.

    Attributes:
        prefixes: our prefix -> theirs; the longest that fits a name counts, and a name that none fits is theirs too.
        tied: prefix of a second name of theirs -> prefix of the first, for what they hold once under two names.
        dropped: names in their files that nothing of ours stands for.
        changes: pattern of our full names -> what makes ours of their tensor, which keeps its shape.
    """

    prefixes: Mapping[str, str]
    tied: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    changes: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def under(self, ours: str, theirs: str) -> Naming:
        """The same names for a module that is held under the prefix `ours` here and `theirs` there."""
        return Naming(
            {ours: theirs} | {ours + inner: theirs + outer for inner, outer in self.prefixes.items()},
            {theirs + second: theirs + first for second, first in self.tied.items()},
            tuple(theirs + name for name in self.dropped),
            {re.escape(ours) + pattern: change for pattern, change in self.changes.items()},
        )

    def theirs(self, name: str) -> str:
        """The authors' name of what we call `name`."""
        fitting = [prefix for prefix in self.prefixes if name.startswith(prefix)]
        if not fitting:
            return name
        prefix = max(fitting, key=len)
        return self.prefixes[prefix] + name.removeprefix(prefix)

    def seconds(self, name: str) -> list[str]:
        """Their further names of what they call `name`."""
        return [second + name.removeprefix(first) for second, first in self.tied.items() if name.startswith(first)]

    def changed(self, name: str, value: Tensor) -> Tensor:
        """Their tensor as ours of that name."""
        for pattern, change in self.changes.items():
            if re.fullmatch(pattern, name):
                value = change(value)
        return value


def together(*namings: Naming) -> Naming:
    """All of these names at once, for a module of several parts."""
    return Naming(
        {ours: theirs for naming in namings for ours, theirs in naming.prefixes.items()},
        {second: first for naming in namings for second, first in naming.tied.items()},
        tuple(name for naming in namings for name in naming.dropped),
        {pattern: change for naming in namings for pattern, change in naming.changes.items()},
    )


def rotated(weight: Tensor, count: int, dim: int = 1) -> Tensor:
    """`weight` with its first `count` entries along `dim` put last."""
    rest = weight.narrow(dim, count, weight.shape[dim] - count)
    return torch.cat([rest, weight.narrow(dim, 0, count)], dim=dim)


def mirrored(weight: Tensor, parts: int, dim: int) -> Tensor:
    """`weight` with its equal `parts` along `dim` in the opposite order."""
    return torch.cat(weight.chunk(parts, dim=dim)[::-1], dim=dim)
