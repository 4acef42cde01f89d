"""Budget: what a call of a block may cost, and what the block must be able to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from modules.options import SpecError

FIGURES: Mapping[str, str] = {"ms": "ms", "mib": "MiB", "params": "parameters", "gmacs": "GMACs", "mj": "mJ"}
"""What can be limited, with its unit."""


@dataclass(frozen=True)
class Budget:
    """Limits that a block is held against.

    Attributes:
        most: limits by the names of `FIGURES`: milliseconds of a call, MiB of its peak above weights and inputs,
            parameters, 1e9 multiply-adds of a forward pass, millijoules of a call.
        carries: kinds of context.

    Raises:
        SpecError: a limit that is no positive number.
    """

    most: Mapping[str, float] = field(default_factory=dict)
    carries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.most.items():
            if not (math.isfinite(value) and value > 0):
                raise SpecError(f"--max-{name} must be a number above 0, not {value:g}")
