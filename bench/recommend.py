"""Recommending: measured rows and a budget, to the block that fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import disturbance
from bench.budget import FIGURES, Budget
from bench.offer import MIB, VERDICTS, Offer, memory_note, memory_source
from bench.row import ROWS, by_processes, read_rows, refuse_folder_of_runs
from bench.training.record import PRICED, unpacked
from modules import registry
from modules.options import SpecError, nearest

CHOSEN, NONE_FITS = 0, 4
_EMPTY = "identity"
_PLACE = ("size", "channels", "batch", "dtype", "mode", "memory_format", "device")
_CHOICES = ("impl", "compile")
_FLAGS = {name: f"--{name.replace('_', '-')}" for name in (*_PLACE, *_CHOICES)} | {"size": "--sizes"}

Row = Mapping[str, Any]
Carried = Mapping[str, Mapping[str, bool | None]]
"""Of each trained block, named as a row's is, whether it carries each kind of context; null where undecided."""


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
        if self.exit_code == NONE_FITS:
            doubtful = next((offer for offer in self.offers if offer.verdict == "doubtful"), None)
            also = f"; {doubtful.name} may: {doubtful.reason}" if doubtful else ""
            return f"{self.place}: none of {len(self.offers)} surely fits{also}"
        first = self.offers[0]
        fitting = sum(offer.verdict in ("chosen", "close", "fits") for offer in self.offers)
        close = [offer.name for offer in self.offers if offer.verdict == "close"]
        told = f"; close, by intervals that meet: {', '.join(close)}" if close else ""
        return f"{self.place}: {first.name} is the fastest of {fitting} that fit{told}"

    def rows(self) -> list[dict[str, Any]]:
        """The offers as flat records."""
        return [offer.row() for offer in self.offers]


def recommend(
    run: Path,
    place: Mapping[str, str | None],
    budget: Budget,
    family: str = "context",
    carried: Carried | None = None,
) -> Recommendation:
    """The block of a run that has the least median time of those that fit a budget, and which are close to it.

    Args:
        run: folder of a sweep.
        place: what the rows must be of: `size`, `channels`, `batch`, `dtype`, `mode`, `memory_format`, `device`, each
            null where the run has one value alone; `impl` and `compile` (off, on), of which all compete where null.
        budget: the limits.
        family: of the blocks.
        carried: what training showed; null where nothing was trained.

    Raises:
        RunError: the folder has no rows, some that cannot be read, or a run for each kind of device.
        SpecError: the run has no row of such a place, or several places; or kinds of context are asked for that were
            not judged.
    """
    kinds = list(dict.fromkeys(kind for known in (carried or {}).values() for kind in known))
    for kind in budget.carries:
        if carried is None:
            raise SpecError("--carries needs --trained, a folder of training runs that tell what a block carries")
        if kind not in kinds:
            raise SpecError(f"--trained judges no kind '{kind}'{nearest(kind, kinds)}")
    refuse_folder_of_runs(run)
    if not (run / ROWS).exists():
        below = ", ".join(str(path.parent) for path in sorted(run.glob(f"*/{ROWS}")))
        raise SpecError(f"'{run}' is no folder of a sweep{f'; sweeps in it: {below}' if below else ''}")
    found, words = _at([_spelled_out(by_processes(row)) for row in read_rows(run / ROWS)], place, family, run)
    offers = [_offer(row, carried) for row in found if row["label"] != _EMPTY]
    judged = _choose([_judge(offer, budget) for offer in offers])
    notes = [memory_note(offers)]
    doubt = disturbance.banner(found)
    notes += [doubt] if doubt else []
    if carried is None:
        notes.append("fast says nothing of use: --trained and --carries ask for the kinds of context that are wanted")
    else:
        notes.append("carries: as the training runs showed of the block with these very options, on their own map")
    return Recommendation(tuple(judged), words, tuple(notes))


def _spelled_out(row: Row) -> Row:
    """The row with what it is asked by: its label (of a block that was priced as it was trained, that of its runs), how
    it is spelled, its size, and whether it was compiled."""
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in (row["options"] or {}).items()}
    spelled = registry.spell(row["entry"], options)
    label = unpacked(str(options.get("chain", _EMPTY))) if row["entry"] == PRICED else spelled
    size = f"{row['height']}x{row['width']}"
    return {**row, "label": label, "spelled": spelled, "size": size, "compile": "on" if row["compiled"] else "off"}


def _at(rows: Sequence[Row], place: Mapping[str, str | None], family: str, run: Path) -> tuple[list[Row], str]:
    """The rows of one place, and the place in words."""
    if not rows:
        raise SpecError(f"'{run}' holds no rows yet; measure something into it first")
    rows = _where(rows, "family", family, "--family")
    for name in (*_PLACE, *_CHOICES):
        given = place.get(name)
        if given is not None:
            rows = _where(rows, name, given, _FLAGS[name])
    several = {name: values for name in _PLACE if len(values := _values(rows, name)) > 1}
    if several:
        told = ", ".join(f"{_FLAGS[name]} {' or '.join(values)}" for name, values in several.items())
        raise SpecError(f"the run holds several places; choose one: {told}")
    first = rows[0]
    words = f"{first['size']}, {first['channels']} channels, {first['device']}, {first['dtype']}, {first['mode']}"
    return list(rows), f"{words}, batch {first['batch']}"


def _where(rows: Sequence[Row], name: str, given: str, flag: str) -> list[Row]:
    if "," in given:
        raise SpecError(f"{flag} takes one value, not '{given}'; in the run: {', '.join(_values(rows, name))}")
    found = [row for row in rows if str(row[name]) == given]
    if not found:
        raise SpecError(f"no row of {flag} {given} in the run{nearest(given, _values(rows, name))}")
    return found


def _values(rows: Iterable[Row], name: str) -> list[str]:
    return list(dict.fromkeys(str(row[name]) for row in rows))


def _offer(row: Row, carried: Carried | None) -> Offer:
    measured = row["status"] == "ok"
    source = memory_source(row)
    figures = {
        "ms": row["latency_ms"] if measured else None,
        "mib": None if row[source] is None else row[source] / MIB,
        "params": row["params"],
        "gmacs": None if row["macs"] is None else row["macs"] / 1e9,
        "mj": row["energy_mj"],
    }
    untimed = "" if measured else f"{row['status']}: {row['reason']}"
    trained = {_canonical(name): kinds for name, kinds in (carried or {}).items()}.get(_canonical(row["spelled"]))
    return Offer(
        block=row["label"],
        form=", ".join([row["impl"], *(["compiled"] if row["compiled"] else [])]),
        figures=figures,
        low_ms=row["latency_ci_low_ms"] if measured else None,
        high_ms=row["latency_ci_high_ms"] if measured else None,
        floor=row["noise_floor"] or 0.0,
        carries=None if trained is None else tuple(kind for kind, whole in trained.items() if whole),
        untold=tuple(kind for kind, whole in (trained or {}).items() if whole is None),
        status=row["status"],
        mib_source=source,
        disturbed=disturbance.words(row),
        reason=untimed or ("" if trained is not None else _trained_as(row["spelled"], carried)),
    )


def _trained_as(spelled: str, carried: Carried | None) -> str:
    """With which options a block was trained that was not trained with its own."""
    entry = _canonical(spelled)[0]
    others = [name for name in carried or {} if _canonical(name)[0] == entry]
    return f"was trained as {' and '.join(others)}" if others else "was not trained"


def _canonical(spelled: str) -> tuple[str, frozenset[str]]:
    """Entry and options, whatever the order of the options."""
    name, _, options = spelled.partition(":")
    return name, frozenset(options.split(","))


def _judge(offer: Offer, budget: Budget) -> Offer:
    """The offer with its verdict: the worst that a limit gives it."""
    found = [_held_against(offer, name, most) for name, most in budget.most.items()]
    if offer.figures["ms"] is None or (budget.carries and offer.carries is None):
        found.append(("unsupported" if offer.status == "unsupported" else "unknown", offer.reason))
    found += [("doubtful", offer.disturbed)] if offer.disturbed else []
    untold = [kind for kind in budget.carries if kind in offer.untold]
    found += [("unknown", f"undecided by its training runs: {' and '.join(untold)}")] if untold else []
    carries = budget.carries if offer.carries is None else offer.carries
    lacking = [kind for kind in budget.carries if kind not in (*carries, *untold)]
    found += [("lacks", f"does not carry {' and '.join(lacking)}")] if lacking else []
    verdict = max((verdict for verdict, _ in found), key=VERDICTS.index, default="fits")
    reasons = dict.fromkeys(reason for own, reason in found if own == verdict and reason)
    return dataclasses.replace(offer, verdict=verdict, reason="; ".join(reasons))


def _held_against(offer: Offer, name: str, most: float) -> tuple[str, str]:
    """Verdict and reason of one limit; a time fits if its whole interval does."""
    value, unit = offer.figures[name], FIGURES[name]
    if value is None:
        return "unknown", offer.reason if offer.figures["ms"] is None else f"{unit} not measured"
    low, high = (offer.low_ms, offer.high_ms) if name == "ms" else (value, value)
    low, high = (value if low is None else low), (value if high is None else high)
    if high <= most:
        return "fits", ""
    if low > most:
        return "over", f"{value:.3g} of {most:g} {unit}"
    return "doubtful", f"{low:.3g} to {high:.3g} of {most:g} {unit}"


def _choose(offers: Sequence[Offer]) -> list[Offer]:
    """In order, with the fastest that fits chosen and those close to it next."""
    order = sorted(offers, key=lambda offer: (VERDICTS.index(offer.verdict), offer.ms))
    fitting = [offer for offer in order if offer.verdict == "fits"]
    if not fitting:
        return order
    first = fitting[0]
    verdicts = {id(offer): "close" for offer in fitting if _close(offer, first)} | {id(first): "chosen"}
    judged = [dataclasses.replace(offer, verdict=verdicts.get(id(offer), offer.verdict)) for offer in order]
    return sorted(judged, key=lambda offer: (VERDICTS.index(offer.verdict), offer.ms))


def _close(offer: Offer, best: Offer) -> bool:
    """Whether the interval of a time meets that of the best, or the noise floor of either group spans the gap."""
    low = offer.ms if offer.low_ms is None else offer.low_ms
    high = best.ms if best.high_ms is None else best.high_ms
    return low <= high * (1 + max(offer.floor, best.floor))
