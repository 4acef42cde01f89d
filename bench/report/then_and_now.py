"""Then and now: each block as published beside its other implementations, and what becomes of the papers' claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.digits import MISSING, plus_minus, significant, times
from bench.report.formats import Grid
from bench.report.frame import PEAKS, verdict
from bench.report.groups import PART
from bench.report.tables import mark

PUBLISHED = "reference"
READING = """\
Each block operator by operator as published (then) and in another implementation of equal output (now), timed in the
same rounds. **now / then** is the median of the ratios of the rounds with its 95 % interval; `≈` marks a tie, by the
group's noise floor or the interval, `‡` disturbed rounds. **peak** is traced: now over then. A row without a ratio was
not timed beside its reference. Where the published form was compiled too (`torch.compile`), a table of its own holds
what that made of it.
"""
COMPILED = "published form, compiled over not"
_PLACE = (*PART, "dtype", "mode", "batch", "memory_format", "compiled", "height", "width", "channels")
_CLAIMS = (("apnb", "nl"), ("afnb", "fnb"), ("gc", "nl"), ("snl", "nl"), ("cgnl", "nl"), ("ldv2", "nl"))


@dataclass(frozen=True)
class Comparison:
    """The rows of one place, that is everything but block and implementation, with a pair for each block that has one.

    Attributes:
        words: the place.
        pairs: (as published, in another form), rows as records; null where the published one has no row.
    """

    words: tuple[str, ...]
    pairs: tuple[tuple[dict[Any, Any] | None, dict[Any, Any]], ...]

    @property
    def title(self) -> str:
        """The place in one line."""
        return ", ".join(self.words)

    @property
    def ratios(self) -> list[float]:
        """Time now over then of the blocks that have one."""
        return [now["impl_ratio"] for _, now in self.pairs if now["impl_ratio"] == now["impl_ratio"]]

    def grid(self) -> Grid:
        """One line a pair."""
        measured = [name for name in PEAKS if any(now[name] == now[name] for _, now in self.pairs)]
        header = (
            "block",
            "now",
            "ms then",
            "ms now",
            "now / then",
            "interval",
            "peak",
            *(PEAKS[name].removesuffix(" MiB") for name in measured),
        )
        return Grid(
            header, tuple(_line(then, now, measured) for then, now in self.pairs), "ll" + "r" * (len(header) - 2)
        )

    def summary(self) -> str:
        """Geometric mean and extremes of the ratios."""
        if not self.ratios:
            return "No block of this group has a ratio."
        mean = math.exp(sum(map(math.log, self.ratios)) / len(self.ratios))
        worst = max((now for _, now in self.pairs if now["impl_ratio"] == now["impl_ratio"]), key=_ratio)
        floors = [now["noise_floor"] for _, now in self.pairs if now["noise_floor"] == now["noise_floor"]]
        floor = f" Noise floor of the group: {100 * max(floors):.1f} %." if floors else ""
        told = (
            f"Geometric mean {times(mean)} over {len(self.ratios)} blocks; the largest is {times(worst['impl_ratio'])}"
        )
        return f"{told}, {worst['label']}.{floor}"


def comparisons(frame: pd.DataFrame) -> list[Comparison]:
    """Every place of the frame at which a block has more than the published implementation, in order of appearance."""
    found = []
    for place, rows in frame.groupby(list(_PLACE), sort=False, dropna=False):
        records = rows.sort_values("rank", kind="stable").to_dict("records")
        published = {row["label"]: row for row in records if row["impl"] == PUBLISHED}
        others = [row for row in records if row["impl"] != PUBLISHED and row["status"] != "unsupported"]
        if others:
            pairs = tuple((published.get(row["label"]), row) for row in others)
            found.append(Comparison(_words(dict(zip(_PLACE, place, strict=True))), pairs))
    return found


def compiled(frame: pd.DataFrame) -> list[Comparison]:
    """Every place of the frame at which a block's published form has been compiled, in order of appearance."""
    found = []
    place = [name for name in _PLACE if name != "compiled"]
    published = frame[frame["impl"] == PUBLISHED]
    for told, rows in published.groupby(place, sort=False, dropna=False):
        records = rows.sort_values("rank", kind="stable").to_dict("records")
        plain = {row["label"]: row for row in records if not row["compiled"]}
        pairs = tuple((plain[row["label"]], row) for row in records if row["compiled"] and row["label"] in plain)
        if pairs:
            words = _words({**dict(zip(place, told, strict=True)), "compiled": False})
            found.append(Comparison((*words, COMPILED), pairs))
    return found


def overview(frame: pd.DataFrame) -> tuple[str, Grid] | None:
    """The ratios of all places side by side, a block a line, and what the places share in words; null where there are
    none. Places that are alike but for size and batch share a line of their own mode: the size is in the column, and a
    batch that is not the most frequent one is in the block's name.
    """
    found = [*comparisons(frame), *compiled(frame)]
    if not found:
        return None
    batches = [word for one in found for word in one.words if word.startswith("batch ") for _ in one.pairs]
    usual = max(dict.fromkeys(batches), key=batches.count)
    shared = set.intersection(*(set(one.words) for one in found)) | {usual}
    columns: dict[str, dict[str, str]] = {}
    means: dict[str, list[float]] = {}
    for one in found:
        batch = next(word for word in one.words if word.startswith("batch "))
        column = ", ".join(word for word in one.words if word not in shared and word != batch) or "now / then"
        cells = columns.setdefault(column, {})
        for _, now in one.pairs:
            cells[now["label"] if batch == usual else f"{now['label']}, {batch}"] = (
                _shown(now) if now["status"] == "ok" else now["status"]
            )
        means.setdefault(column, []).extend(one.ratios)
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    lines = [(name, *(cells.get(name, "") for cells in columns.values())) for name in names]
    averages = [math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan for ratios in means.values()]
    lines.append(("geometric mean", *(times(average) for average in averages)))
    words = [word for word in found[0].words if word in shared]
    return ", ".join(words), Grid(("block", *columns), tuple(lines), "l" + "r" * len(columns))


def claims(frame: pd.DataFrame) -> Grid | None:
    """What a cheaper block still saves over the one it replaces, in each implementation that both were measured in.

    Memory is the traced peak of the replaced block over its own, time its own over the other's, from the group's
    paired ratios where that is the group's reference, else from the medians.
    """
    lines = []
    names = (*PART, "dtype", "mode", "batch", "memory_format", "channels", "impl", "compiled")
    for place, rows in frame.groupby(list(names), sort=False, dropna=False):
        told = dict(zip(names, place, strict=True))
        for ours, theirs in _CLAIMS:
            line = _claim(rows, ours, theirs)
            if line is not None:
                where = [told["dtype"], told["mode"], f"batch {told['batch']}", f"{told['channels']} channels"]
                where += [told["memory_format"]] if told["memory_format"] not in ("", "channels_first") else []
                form = f"{told['impl']}, compiled" if told["compiled"] else str(told["impl"])
                lines.append((f"{ours} over {theirs}", form, ", ".join(where), *line))
    if not lines or not any(line[1] != PUBLISHED for line in lines):
        return None
    lines.sort(key=lambda line: (line[0], line[2]))
    return Grid(("claim", "implementation", "where", "memory saved", "time", "faster from N"), tuple(lines), "lllrrr")


def markdown(frame: pd.DataFrame) -> list[str]:
    """The section of the report; empty where no block was measured in two forms."""
    found = [*comparisons(frame), *compiled(frame)]
    if not found:
        return []
    blocks = ["## Then and now", READING.rstrip()]
    for comparison in found:
        blocks += [f"#### {comparison.title}", comparison.grid().markdown(), comparison.summary()]
    judged = claims(frame)
    if judged is not None:
        said = (
            "What the cheaper block still saves. A range goes from the smallest to the largest map that was measured."
        )
        blocks += ["### The papers' claims under both", said, judged.markdown()]
    return blocks


def _claim(rows: pd.DataFrame, ours: str, theirs: str) -> tuple[str, str, str] | None:
    """Memory factors, time ratios, and the positions from which ours is faster at every larger map."""
    mine = {row["positions"]: row for row in _traced(rows, ours)}
    other = {row["positions"]: row for row in _traced(rows, theirs)}
    sizes = sorted(mine.keys() & other.keys())
    if not sizes:
        return None
    memory = [other[n]["peak_mib"] / mine[n]["peak_mib"] for n in sizes if mine[n]["peak_mib"]]
    ratios: dict[int, tuple[float, bool]] = {}
    for n in sizes:
        row, against = mine[n], other[n]
        if row["status"] != "ok" or against["status"] != "ok":
            continue
        paired = row["reference"] == theirs and row["ratio"] == row["ratio"]
        ratio = row["ratio"] if paired else row["latency_ms"] / against["latency_ms"]
        ratios[n] = ratio, row["verdict"] == "faster" if paired else _surely_faster(row, against)
    since = None
    for n in sorted(ratios, reverse=True):
        if not ratios[n][1]:
            break
        since = n
    faster = MISSING if not ratios else "at none measured" if since is None else f"{since}"
    return _range(memory), _range([ratio for ratio, _ in ratios.values()]), faster


def _surely_faster(row: dict[Any, Any], against: dict[Any, Any]) -> bool:
    """Whether the intervals of two medians that no ratio pairs lie apart by more than the noise floor."""
    floor = max(row["noise_floor"], against["noise_floor"])
    return bool(row["latency_ci_high_ms"] * (1 + floor) < against["latency_ci_low_ms"])


def _traced(rows: pd.DataFrame, label: str) -> Iterator[dict[Any, Any]]:
    yield from rows[(rows["label"] == label) & rows["peak_mib"].notna()].to_dict("records")


def _range(values: list[float]) -> str:
    if not values:
        return MISSING
    ends = [times(values[0]), times(values[-1])]
    return " to ".join(dict.fromkeys(ends))


def _words(place: dict[str, Any]) -> tuple[str, ...]:
    words = [f"{place['height']}x{place['width']}", f"{place['channels']} channels", place["device"], place["dtype"]]
    words += [place["mode"], f"batch {place['batch']}"]
    words += [place["memory_format"]] if place["memory_format"] not in ("", "channels_first") else []
    return (*words, *(["both compiled"] if place["compiled"] else []))


def _line(then: dict[Any, Any] | None, now: dict[Any, Any], measured: Sequence[str]) -> tuple[str, ...]:
    interval = MISSING
    if now["impl_ratio"] == now["impl_ratio"]:
        interval = f"{significant(now['impl_ratio_ci_low'])} to {significant(now['impl_ratio_ci_high'])}"
    peaks = [_quotient(then, now, name) for name in ("peak_mib", *measured)]
    form = "compiled" if now["impl"] == PUBLISHED else now["impl"]
    return (now["label"], form, _milliseconds(then), _milliseconds(now), _shown(now), interval, *peaks)


def _shown(now: dict[Any, Any]) -> str:
    """The ratio, marked where it is a tie and where its rounds were disturbed."""
    if now["impl_ratio"] != now["impl_ratio"]:
        return MISSING
    low, high, floor = (now[name] for name in ("impl_ratio_ci_low", "impl_ratio_ci_high", "noise_floor"))
    judged = verdict("now", "", now["impl_ratio"], low, high, floor)
    return mark(f"≈ {times(now['impl_ratio'])}" if judged == "tie" else times(now["impl_ratio"]), now)


def _milliseconds(row: dict[Any, Any] | None) -> str:
    if row is None:
        return MISSING
    return plus_minus(row["latency_ms"], row["half_ms"]) if row["status"] == "ok" else str(row["status"])


def _quotient(then: dict[Any, Any] | None, now: dict[Any, Any], column: str) -> str:
    if then is None or math.isnan(then[column]) or math.isnan(now[column]) or not then[column]:
        return MISSING
    return times(now[column] / then[column])


def _ratio(row: dict[Any, Any]) -> float:
    return float(row["impl_ratio"])
