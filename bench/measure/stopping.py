"""Stopping criteria: each a small object that looks at what was sampled and says whether it is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.measure.stats import median_interval, relative_spread


class Criterion(Protocol):
    """One reason to stop sampling a case."""

    @property
    def reason(self) -> str:
        """The word that the row carries."""

    def met(self, samples: Sequence[float]) -> bool:
        """Whether `samples` (ms, in time order) are enough. Called once after every round."""


@dataclass(frozen=True)
class IntervalWithin:
    """The 95 % interval of the median is within `target` of it, to either side on average.

    It is not looked at before there are `least` samples: fewer cannot show how much neighbours resemble each other, and
    a look at each of them would stop where they happen to lie close together.
    """

    target: float
    least: int
    reason: str = field(default="interval", init=False)

    def met(self, samples: Sequence[float]) -> bool:
        return len(samples) >= self.least and median_interval(samples).relative_half_width <= self.target


@dataclass
class NoiseSettled:
    """The spread has changed by at most `tolerance` over the last `rounds` rounds: more will not narrow it."""

    rounds: int
    tolerance: float
    reason: str = field(default="settled", init=False)
    _spreads: list[float] = field(default_factory=list, init=False, repr=False)

    def met(self, samples: Sequence[float]) -> bool:
        self._spreads.append(relative_spread(samples))
        window = self._spreads[-self.rounds :]
        if len(window) < self.rounds:
            return False
        return max(window) - min(window) <= self.tolerance * max(window)


@dataclass(frozen=True)
class RoundLimit:
    """There are `rounds` samples."""

    rounds: int
    reason: str = field(default="rounds", init=False)

    def met(self, samples: Sequence[float]) -> bool:
        return len(samples) >= self.rounds


def first_met(criteria: Sequence[Criterion], samples: Sequence[float]) -> str | None:
    """The reason of the first criterion that is met; all of them are asked."""
    met = [criterion.reason for criterion in criteria if criterion.met(samples)]
    return met[0] if met else None
