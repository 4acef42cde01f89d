"""Rates: what a machine achieves on work of known size, and which probes a busy machine spoilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_PASSES, _REFUSED = "passes", "refused"
ENOUGH = 2
"""Passes of a run: one ahead of its first group and one behind its last."""


@dataclass(frozen=True)
class Rates:
    """The best of every probe.

    Attributes:
        best: rate by name: `<probe>_<precision>_tflops` (TFLOP/s, two FLOPs a multiply-add) and `copy_<MiB>_mib_gb_s`
            (GB/s, for so many MiB read and written).
        refused: why there is no rate of a name: what disturbed every probe of it.
        passes: how often the machine was probed.
    """

    best: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    passes: int = 0

    @property
    def complete(self) -> bool:
        """Whether another call need not probe the machine again."""
        return self.passes >= ENOUGH and not self.refused

    def merged(self, other: Rates) -> Rates:
        """The best of both; refused is what neither has."""
        best = dict(self.best)
        for name, rate in other.best.items():
            best[name] = max(rate, best.get(name, rate))
        refused = {name: why for name, why in {**self.refused, **other.refused}.items() if name not in best}
        return Rates(best, refused, self.passes + other.passes)

    def facts(self) -> dict[str, object]:
        """`machine` of an `environment.json`; a rate that was refused is null."""
        if not self.passes and not self.best:
            return {}
        return {
            **self.best,
            **dict.fromkeys(self.refused),
            _PASSES: self.passes,
            **({_REFUSED: dict(self.refused)} if self.refused else {}),
        }

    @classmethod
    def read(cls, facts: object) -> Rates:
        """The rates that `facts` of any edition hold; none where they are not an object."""
        known = facts if isinstance(facts, dict) else {}
        refused, passes = known.get(_REFUSED), known.get(_PASSES)
        rates = {name: value for name, value in known.items() if name != _PASSES and isinstance(value, (int, float))}
        return cls(
            rates,
            dict(refused) if isinstance(refused, dict) else {},
            passes if isinstance(passes, int) else 0,
        )
