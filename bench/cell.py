"""Cell: one case in two runs, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.measure.stats import Interval
from modules import registry

STATIC = ("params", "macs", "traced_peak_bytes", "launches", "traffic_bytes")
WORSE_IF_LARGER = ("params", "macs", "traced_peak_bytes", "launches")
VERDICTS = ("broken", "slower", "undecided", "missing", "faster", "mended", "unjudged", "same", "untimed", "new")
OPEN = ("undecided", "missing")
_FAILED = ("oom", "unsupported", "timeout", "crashed")


@dataclass(frozen=True)
class Change:
    """A static figure that is another one now; null where it was not found."""

    figure: str
    old: int | None
    new: int | None

    @property
    def worse(self) -> bool:
        """Whether this alone is a regression: more parameters, multiply-adds, traced peak or launches."""
        both = self.old is not None and self.new is not None
        return both and self.figure in WORSE_IF_LARGER and self.new > self.old  # type: ignore[operator]

    def __str__(self) -> str:
        text = f"{self.figure} {_exact(self.old)} -> {_exact(self.new)}"
        if not self.old or self.new is None:
            return text
        return f"{text} ({100 * (self.new - self.old) / self.old:+.3g} %)"


@dataclass(frozen=True)
class Cell:
    """A case, old against new.

    Attributes:
        case: which, in words.
        entry: its name in the registry.
        old_status, new_status: of the rows; null where there is none.
        old_ms, new_ms: medians; null where not measured.
        ratio: new over old time with its interval, not yet widened; null where there are not two times.
        floor: by how much more the interval is widened, relative.
        threshold: relative slow-down from which it is a regression.
        verdict: one of `VERDICTS`.
        reason: why, where the verdict does not say it.
        changes: static figures that differ.
        processes: how many gave a ratio; null between two runs.
    """

    case: str
    entry: str
    old_status: str | None
    new_status: str | None
    old_ms: float | None
    new_ms: float | None
    ratio: Interval | None
    floor: float | None
    threshold: float
    verdict: str
    reason: str
    changes: tuple[Change, ...]
    processes: int | None = None

    @property
    def too_slow(self) -> bool:
        """Whether it is slower, and by the threshold or more."""
        return self.verdict == "slower" and self.ratio is not None and self.ratio.median >= 1 + self.threshold

    @property
    def open(self) -> bool:
        """Whether it may have regressed: nothing is decided, or it is slower and may be so by the threshold."""
        most = self.ratio.high if self.verdict == "slower" and self.ratio is not None else None
        maybe = most is not None and not self.too_slow and most * (1 + (self.floor or 0.0)) > 1 + self.threshold
        return self.verdict in OPEN or maybe

    @property
    def regressed(self) -> bool:
        """Whether it no longer runs, is too slow, or a static figure got worse."""
        return self.verdict == "broken" or self.too_slow or any(change.worse for change in self.changes)

    def row(self) -> dict[str, Any]:
        """All of it as a flat record; times in ms."""
        ratio = self.ratio
        return {
            "case": self.case,
            "entry": self.entry,
            "old_status": self.old_status,
            "new_status": self.new_status,
            "old_ms": self.old_ms,
            "new_ms": self.new_ms,
            "ratio": ratio.median if ratio else None,
            "ratio_low": ratio.low if ratio else None,
            "ratio_high": ratio.high if ratio else None,
            "floor": self.floor,
            "threshold": self.threshold,
            "verdict": self.verdict,
            "regressed": self.regressed,
            "static": [str(change) for change in self.changes],
            "reason": self.reason or None,
            "processes": self.processes,
        }


def judge(ratio: Interval | None, floor: float | None, threshold: float) -> tuple[str, str]:
    """The verdict on a time, and the reason where it is `undecided`.

    The interval is widened by the floor. `slower`, `faster`: it lies on one side of 1. `same`: it holds 1 and no
    difference as large as the threshold. `undecided`: it holds 1, and such a difference too.

    Args:
        ratio: new over old time.
        floor: how far from 1 the ratio of a thing to itself may lie here, relative; null where that is not known.
        threshold: the relative difference that matters.
    """
    if ratio is None or ratio.low is None or ratio.high is None:
        return "undecided", "too few samples to bound the ratio"
    if floor is None:
        return "undecided", "no noise floor is known: a run has no A/A twin there"
    low, high = ratio.low / (1 + floor), ratio.high * (1 + floor)
    if low > 1:
        return "slower", ""
    if high < 1:
        return "faster", ""
    if 1 / (1 + threshold) <= low and high <= 1 + threshold:
        return "same", ""
    if floor >= threshold:
        return "undecided", f"noise alone may do {1 + floor:.3g}x, the threshold is {1 + threshold:.3g}x"
    return "undecided", f"could be anything from {low:.2f}x to {high:.2f}x"


def pair(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    ratio: Interval | None,
    floor: float | None,
    threshold: float,
    doubt: str = "",
    unjudged: bool = False,
) -> Cell:
    """The cell of two rows of one case.

    Args:
        old, new: result rows.
        ratio: new over old time, however it was found; looked at only where both rows are `ok`.
        floor, threshold: see `judge`.
        doubt: why the times cannot be judged at all, if so; it leaves the cell undecided.
        unjudged: whether the ratio of two times is to be shown and not judged.
    """
    statuses = old["status"], new["status"]
    timed = statuses == ("ok", "ok")
    verdict, reason = judge(ratio, floor, threshold) if timed else _untimed(old, new)
    if timed and doubt:
        verdict, reason = "undecided", doubt
    if timed and unjudged:
        verdict, reason = "unjudged", ""
    return Cell(
        case=_both_names(old, new),
        entry=str(new["entry"]),
        old_status=old["status"],
        new_status=new["status"],
        old_ms=old["latency_ms"],
        new_ms=new["latency_ms"],
        ratio=ratio if timed else None,
        floor=floor if timed else None,
        threshold=threshold,
        verdict=verdict,
        reason=reason,
        changes=_changes(old, new),
    )


def alone(row: Mapping[str, Any], verdict: str, threshold: float) -> Cell:
    """The cell of a row that the other run does not have: `missing` or `new`."""
    was = (row["status"], row["latency_ms"])
    (old_status, old_ms), (new_status, new_ms) = (was, (None, None)) if verdict == "missing" else ((None, None), was)
    reason = f"only the {'old' if verdict == 'missing' else 'new'} run has it"
    times = (old_status, new_status, old_ms, new_ms)
    return Cell(name_of(row), str(row["entry"]), *times, None, None, threshold, verdict, reason, ())


def name_of(row: Mapping[str, Any]) -> str:
    """A row's case in words: `gc:ratio=4 96x96x512 b1 fp32 forward`, and what else is out of the ordinary."""
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in (row["options"] or {}).items()}
    size = f"{row['height']}x{row['width']}x{row['channels']}"
    words = [registry.spell(row["entry"], options), size, f"b{row['batch']}", row["dtype"], row["mode"]]
    words += [
        row[name] for name, usual in (("impl", "reference"), ("memory_format", "channels_first")) if row[name] != usual
    ]
    return " ".join([*map(str, words), *(["compiled"] if row["compiled"] else [])])


def _both_names(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    apart = old["device"] != new["device"]
    return f"{name_of(new)} {old['device']} -> {new['device']}" if apart else name_of(new)


def _untimed(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str]:
    """What two rows say of which at least one has no time."""
    was, now = old["status"], new["status"]
    told = [f"{when}: {row['status']}: {row['reason']}" for when, row in (("old", old), ("new", new)) if row["reason"]]
    reason = "; ".join(told)
    if was == "ok" and now in _FAILED:
        return "broken", reason
    if now == "ok" and was in _FAILED:
        return "mended", reason
    if "invalid" in (was, now) or "ok" in (was, now):
        return "undecided", reason
    return "untimed", reason


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Static figures that differ. Rows written before `launches` existed lack it, which is no change."""
    known = [name for name in STATIC if name != "launches" or None not in (old[name], new[name])]
    return tuple(Change(name, old[name], new[name]) for name in known if old[name] != new[name])


def _exact(value: int | None) -> str:
    return "none" if value is None else str(value)
