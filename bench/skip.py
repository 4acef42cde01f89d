"""Skip rule: a stated reason not to measure some cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.case import Case
from bench.static.figures import StaticFigures

LIMITS = ("gmacs_above", "traced_gib_above", "positions_above", "channels_above")


@dataclass(frozen=True)
class SkipRule:
    """A stated reason not to measure some cases: where all limits are passed on all named axes.

    Attributes:
        reason: what the row says.
        limits: figure and the value above which the rule holds: `gmacs_above`, `traced_gib_above` (weights, inputs
            and peak together), `positions_above`, `channels_above`.
        axes: axis and the values for which the rule holds; blocks are entry names.
    """

    reason: str
    limits: Mapping[str, float]
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def explain(self, case: Case, figures: StaticFigures) -> str | None:
        """The reason with the case's figures, if the rule holds."""
        on = {"blocks": case.entry, "dtype": case.dtype, "mode": case.mode, "impl": case.impl, "device": case.device}
        if any(on[axis] not in values for axis, values in self.axes.items()):
            return None
        found = {
            "gmacs_above": figures.macs / 1e9,
            "traced_gib_above": (figures.resident_bytes + figures.traced_peak_bytes) / 2**30,
            "positions_above": case.positions,
            "channels_above": case.channels,
        }
        if any(found[limit] <= value for limit, value in self.limits.items()):
            return None
        facts = (f"{limit.removesuffix('_above')} {found[limit]:.4g} > {v:g}" for limit, v in self.limits.items())
        found_out = ", ".join(facts)
        return f"{self.reason} ({found_out})" if found_out else self.reason
