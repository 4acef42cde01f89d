"""Recommending: measured rows and a budget, to the block that fits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.row import ROWS, read_rows
from modules import registry
from modules.options import SpecError, nearest

CHOSEN, NONE_FITS = 0, 4
VERDICTS = ("chosen", "as fast", "fits", "doubtful", "over", "unknown", "lacks")
FIGURES: Mapping[str, str] = {"ms": "ms", "mib": "MiB", "params": "parameters", "gmacs": "GMACs", "mj": "mJ"}
"""What can be limited, with its unit."""
_MIB = 2**20
_EMPTY = "identity"
_PLACE = ("size", "channels", "batch", "dtype", "mode", "memory_format", "device")
_FLAGS = {name: f"--{name.replace('_', '-')}" for name in _PLACE} | {"size": "--sizes"}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """What a call of the block may cost, and what the block must be able to do.

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


@dataclass(frozen=True)
class Offer:
    """A block as it was measured at one place, and what that means for a budget.

    Attributes:
        block: label.
        form: implementation, and whether compiled.
        figures: those of `FIGURES`; null where not measured.
        low_ms, high_ms: the 95 % interval of the median time.
        floor: relative noise floor of its group.
        carries: kinds of context; null where nothing is known of that.
        verdict: one of `VERDICTS`.
        reason: of the verdict, where it needs one.
    """

    block: str
    form: str
    figures: Mapping[str, float | None]
    low_ms: float | None
    high_ms: float | None
    floor: float
    carries: tuple[str, ...] | None
    verdict: str = ""
    reason: str = ""

    def row(self) -> dict[str, Any]:
        """All of it as a flat record."""
        own = {"block": self.block, "form": self.form, **self.figures, "low_ms": self.low_ms, "high_ms": self.high_ms}
        carries = None if self.carries is None else list(self.carries)
        return {**own, "carries": carries, "verdict": self.verdict, "reason": self.reason or None}


@dataclass(frozen=True)
class Recommendation:
    """Every block of a place, the chosen one first.

    Attributes:
        offers: in the order of `VERDICTS`, the fastest of each first.
        place: what was asked about, in words.
        notes: what has to be known of all of them.
    """

    offers: tuple[Offer, ...]
    place: str
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 where a block was chosen; 4 where none surely fits."""
        return CHOSEN if self.offers and self.offers[0].verdict == "chosen" else NONE_FITS

    @property
    def summary(self) -> str:
        """The choice in one line."""
        fitting = [offer for offer in self.offers if VERDICTS.index(offer.verdict) <= VERDICTS.index("fits")]
        doubtful = [offer for offer in self.offers if offer.verdict == "doubtful"]
        if not fitting:
            also = f"; {doubtful[0].block} ({doubtful[0].form}) may: {doubtful[0].reason}" if doubtful else ""
            return f"{self.place}: none of {len(self.offers)} surely fits{also}"
        first = fitting[0]
        equal = [f"{offer.block} ({offer.form})" for offer in fitting if offer.verdict == "as fast"]
        told = f"; as fast, with more memory: {', '.join(equal)}" if equal else ""
        return f"{self.place}: {first.block} ({first.form}) is the fastest of {len(fitting)} that fit{told}"

    def rows(self) -> list[dict[str, Any]]:
        """The offers as flat records."""
        return [offer.row() for offer in self.offers]


def recommend(
    run: Path,
    place: Mapping[str, str | None],
    budget: Budget,
    family: str = "context",
    carried: Mapping[str, Sequence[str]] | None = None,
) -> Recommendation:
    """The fastest block of a run that fits a budget; where several cannot be told apart by time, the smallest of them.

    Args:
        run: folder of a sweep.
        place: what the rows must be of: `size`, `channels`, `batch`, `dtype`, `mode`, `memory_format`, `device`, each
            null where the run has one value alone; `impl` too, of which all compete where it is null.
        budget: the limits.
        family: of the blocks.
        carried: kinds of context by label of a trained block; null where none was trained.

    Raises:
        RunError: the folder has no rows, or some that cannot be read.
        SpecError: the run has no row of such a place, or several places; or kinds of context are asked for that no
            block was trained for.
    """
    kinds = sorted({kind for some in (carried or {}).values() for kind in some})
    for kind in budget.carries:
        if carried is None:
            raise SpecError("--carries needs --trained, a folder of training runs that tell what a block carries")
        if kind not in kinds:
            raise SpecError(f"no block of --trained carries '{kind}'{nearest(kind, kinds)}")
    rows = [{**row, "size": f"{row['height']}x{row['width']}"} for row in read_rows(run / ROWS)]
    found, words = _at(rows, place, family, run)
    on_device = any(row["cuda_peak_bytes"] is not None for row in found)
    known = None if carried is None else {_spelled(label): tuple(some) for label, some in carried.items()}
    offers = [_offer(row, on_device, known) for row in found if row["entry"] != _EMPTY]
    judged = _choose([_judge(offer, budget) for offer in offers])
    notes = [f"MiB: {'of the device, measured' if on_device else 'traced'}, above weights and inputs"]
    if carried is None:
        notes.append("fast says nothing of use: --trained and --carries ask for the kinds of context that are wanted")
    else:
        notes.append("carries: in every seed of the training runs, at their map and with their options")
    return Recommendation(tuple(judged), words, tuple(notes))


def _at(rows: Sequence[Row], place: Mapping[str, str | None], family: str, run: Path) -> tuple[list[Row], str]:
    """The rows of one place, and the place in words."""
    if not rows:
        raise SpecError(f"'{run}' holds no rows yet; measure something into it first")
    rows = _where(rows, "family", family, "--family")
    for name in (*_PLACE, "impl"):
        given = place.get(name)
        if given is not None:
            rows = _where(rows, name, given, _FLAGS.get(name, "--impl"))
    several = {name: values for name in _PLACE if len(values := _values(rows, name)) > 1}
    if several:
        told = ", ".join(f"{_FLAGS[name]} {' or '.join(values)}" for name, values in several.items())
        raise SpecError(f"the run holds several places; choose one: {told}")
    first = rows[0]
    words = f"{first['size']}, {first['channels']} channels, {first['device']}, {first['dtype']}, {first['mode']}"
    return list(rows), f"{words}, batch {first['batch']}"


def _where(rows: Sequence[Row], name: str, given: str, flag: str) -> list[Row]:
    found = [row for row in rows if str(row[name]) == given]
    if not found:
        raise SpecError(f"no row of {flag} {given} in the run{nearest(given, _values(rows, name))}")
    return found


def _values(rows: Iterable[Row], name: str) -> list[str]:
    return list(dict.fromkeys(str(row[name]) for row in rows))


def _offer(row: Row, on_device: bool, carried: Mapping[object, tuple[str, ...]] | None) -> Offer:
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in (row["options"] or {}).items()}
    label = registry.spell(row["entry"], options)
    measured = row["status"] == "ok"
    peak = row["cuda_peak_bytes"] if on_device else row["traced_peak_bytes"]
    figures = {
        "ms": row["latency_ms"] if measured else None,
        "mib": None if peak is None else peak / _MIB,
        "params": row["params"],
        "gmacs": None if row["macs"] is None else row["macs"] / 1e9,
        "mj": row["energy_mj"],
    }
    return Offer(
        block=label,
        form=", ".join([row["impl"], *(["compiled"] if row["compiled"] else [])]),
        figures=figures,
        low_ms=row["latency_ci_low_ms"] if measured else None,
        high_ms=row["latency_ci_high_ms"] if measured else None,
        floor=row["noise_floor"] or 0.0,
        carries=None if carried is None else carried.get(_spelled(label)),
        reason="" if measured else f"{row['status']}: {row['reason']}",
    )


def _spelled(label: str) -> object:
    """Entry and options of a label, whatever the order of the options."""
    name, _, options = label.partition(":")
    return name, frozenset(options.split(","))


def _judge(offer: Offer, budget: Budget) -> Offer:
    """The offer with its verdict: the worst that a limit gives it."""
    found = [_held_against(offer, name, most) for name, most in budget.most.items()]
    if offer.figures["ms"] is None:
        found.append(("unknown", offer.reason))
    if budget.carries and offer.carries is None:
        found.append(("unknown", "was not trained"))
    carries = budget.carries if offer.carries is None else offer.carries
    lacking = [kind for kind in budget.carries if kind not in carries]
    found += [("lacks", f"does not carry {' and '.join(lacking)}")] if lacking else []
    verdict = max((verdict for verdict, _ in found), key=VERDICTS.index, default="fits")
    reasons = dict.fromkeys(reason for own, reason in found if own == verdict and reason)
    return _with(offer, verdict, "; ".join(reasons))


def _held_against(offer: Offer, name: str, most: float) -> tuple[str, str]:
    """Verdict and reason of one limit; a time fits if its whole interval does."""
    value, unit = offer.figures[name], FIGURES[name]
    if value is None:
        return "unknown", offer.reason or f"{unit} not measured"
    low, high = (offer.low_ms, offer.high_ms) if name == "ms" else (value, value)
    low, high = (value if low is None else low), (value if high is None else high)
    if high <= most:
        return "fits", ""
    if low > most:
        return "over", f"{value:.3g} of {most:g} {unit}"
    return "doubtful", f"{low:.3g} to {high:.3g} of {most:g} {unit}"


def _choose(offers: Sequence[Offer]) -> list[Offer]:
    """In order, with the fastest that fits chosen, or of those as fast the one that needs least memory."""
    order = sorted(offers, key=lambda offer: (VERDICTS.index(offer.verdict), _time(offer)))
    fitting = [offer for offer in order if offer.verdict == "fits"]
    if not fitting:
        return order
    best = fitting[0]
    upper = (best.high_ms or _time(best)) * (1 + max(best.floor, 0.0))
    equal = [offer for offer in fitting if offer is best or (offer.low_ms or _time(offer)) <= upper]
    chosen = min(equal, key=lambda offer: (math.inf if (mib := offer.figures["mib"]) is None else mib, _time(offer)))
    rest = [_with(offer, "as fast", "") for offer in equal if offer is not chosen]
    others = [offer for offer in order if not any(offer is one for one in equal)]
    return [_with(chosen, "chosen", ""), *rest, *others]


def _time(offer: Offer) -> float:
    return math.inf if offer.figures["ms"] is None else offer.figures["ms"]


def _with(offer: Offer, verdict: str, reason: str) -> Offer:
    return dataclasses.replace(offer, verdict=verdict, reason=reason)
