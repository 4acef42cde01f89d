"""Which kinds of context a block carries: carries, does not, or undecided, by one stated rule."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.distributions import student_above
from bench.report.accuracy_runs import Block, Part, parts
from bench.report.differences import Difference, differences
from bench.report.few_seeds import ERROR, holm, share_interval
from bench.report.frame import label
from bench.row import RunError
from bench.training.record import PRICED, RUNS, packed, read_records

CARRIES, DOES_NOT, UNDECIDED = "carries", "does not", "undecided"
SCENE_LEAST = 90.0
PAIRWISE_ABOVE = 80.0
GAIN_ABOVE = 1.0
RULE = (
    "Carries, by rule from the resolving accuracies (chance is 50). A kind arrives in a seed: scene at 90 and more; "
    "pairwise above 80, as a read-out that does not combine an image's vector with the position's own hue stops at "
    "75, the majority of three fair bits; any other kind, regional among them, at more than 1 point above the baseline "
    "of that seed, since reach without context already resolves a part of it. Scene and pairwise are carried where the "
    "share of seeds in which they arrive is surely above one half, and are not where it is surely below (exact 90 % "
    "interval, each end wrong in at most 5 %; four seeds and fewer decide nothing). Other kinds are carried where the "
    "mean gain is surely above 1 point (Student's t, corrected by Holm for all blocks of the table: any wrong one "
    "in at most 5 %), and are not where it is surely below (5 % a block). Else undecided, with the seeds in which the "
    "kind arrived. True of this task and budget; no order of mIoU elsewhere follows."
)

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Arrival:
    """How often a kind of context arrives in the runs of a block, and what that allows to be said.

    Attributes:
        arrived: seeds in which it does.
        seeds: seeds that were judged.
        low: lower end of the 90 % interval of the share of seeds, 0 to 1; null where no seed was judged.
        high: upper end.
        gain: median difference to the baseline, points, where the kind is judged by it; else null.
        verdict: `carries`, `does not` or `undecided`.
    """

    arrived: int
    seeds: int
    low: float | None
    high: float | None
    gain: float | None
    verdict: str


def carries(block: Block, part: Part, baseline: str) -> str:
    """What a block carries, in words: `scene, regional (+10.6); undecided: pairwise 3/5`, or `none`.

    Args:
        baseline: label of the baseline.
    """
    if not block.runs:
        return ""
    found = arrivals(part, baseline)[block.label]
    sure = [kind + _gain(one) for kind, one in found.items() if one.verdict == CARRIES]
    open_ones = [_count(kind, one) for kind, one in found.items() if one.verdict == UNDECIDED]
    told = [*([", ".join(sure)] if sure else []), *([f"undecided: {', '.join(open_ones)}"] if open_ones else [])]
    words = "; ".join(told) or "none"
    return f"{words} (baseline)" if block.label == baseline else words


@functools.lru_cache(maxsize=16)
def arrivals(part: Part, baseline: str) -> Mapping[str, Mapping[str, Arrival]]:
    """Of each block of a part that has runs, by label, the arrival of each kind of context, by `RULE`."""
    compared = {(one.label, one.figure): one for one in differences(part, baseline)}
    gains = {
        (block.label, kind): found
        for block in part.blocks
        for kind in part.kinds()
        if not _by_share(kind) and (found := compared.get((block.label, f"resolving.{kind}"))) is not None
    }
    verdicts = gain_verdicts({name: gain.apart for name, gain in gains.items()})
    return {
        block.label: {
            kind: _share(block, kind) if _by_share(kind) else _gained(block, kind, gains, verdicts, baseline)
            for kind in part.kinds()
        }
        for block in part.blocks
        if block.runs
    }


def share_verdict(arrived: int, seeds: int) -> str:
    """The verdict from the seeds in which a kind arrives: its share of all seeds against one half."""
    low, high = share_interval(arrived, seeds)
    return CARRIES if low > 0.5 else DOES_NOT if high < 0.5 else UNDECIDED


def gain_verdicts(gains: Mapping[Name, Sequence[float]]) -> dict[Name, str]:
    """The verdicts from the paired gains of all blocks of a table: the mean of each against `GAIN_ABOVE`.

    Args:
        gains: of each name the gain over the baseline, points, seed by seed.
    """
    sure = holm({name: _chance(gain, 1) for name, gain in gains.items()})
    below = {name for name, gain in gains.items() if _chance(gain, -1) <= ERROR}
    return {name: CARRIES if name in sure else DOES_NOT if name in below else UNDECIDED for name in gains}


def carried_by(folder: Path, baseline: str = "identity") -> dict[str, dict[str, bool | None]]:
    """Of each block of a folder of training runs, whether it carries each kind of context; null where undecided.

    Blocks are named as rows name them: by entry and the options that were trained, such as `gc:ratio=4` where training
    sets that ratio, and once more as the entry that prices what was trained. The verdicts are those of `arrivals`.

    Raises:
        RunError: the folder has no training runs that tell kinds of context, runs that do not compare, or none of the
            baseline.
    """
    if not (folder / RUNS).exists():
        raise RunError(f"'{folder}' holds no training runs (--trained): it has no {RUNS}")
    found = [part for part in parts(read_records(folder / RUNS)) if part.kinds()]
    if len(found) != 1:
        told = "; ".join(part.words() for part in found) or "none that tells kinds of context"
        raise RunError(f"'{folder}' must hold training runs that compare with each other; it holds: {told}")
    (part,) = found
    if part.block(baseline) is None:
        labels = ", ".join(block.label for block in part.blocks)
        raise RunError(f"'{folder}' has no run of a baseline '{baseline}' (--baseline); trained: {labels}")
    judged = arrivals(part, baseline)
    known: dict[str, dict[str, bool | None]] = {}
    for block in part.blocks:
        if block.runs:
            verdicts = {kind: one.verdict for kind, one in judged[block.label].items()}
            kinds = {kind: None if told == UNDECIDED else told == CARRIES for kind, told in verdicts.items()}
            known[label(str(block.any("entry")), block.any("options") or {})] = kinds
            known[f"{PRICED}:chain={packed(block.label)}"] = kinds
    return known


def _by_share(kind: str) -> bool:
    """Whether a kind is judged by the share of seeds, as nothing of it is resolved without context."""
    return kind in ("scene", "pairwise")


def _share(block: Block, kind: str) -> Arrival:
    seen = block.values(f"resolving.{kind}").values()
    if not seen:
        return Arrival(0, 0, None, None, None, UNDECIDED)
    arrived = sum(value >= SCENE_LEAST if kind == "scene" else value > PAIRWISE_ABOVE for value in seen)
    return Arrival(arrived, len(seen), *share_interval(arrived, len(seen)), None, share_verdict(arrived, len(seen)))


def _gained(
    block: Block,
    kind: str,
    gains: Mapping[tuple[str, str], Difference],
    verdicts: Mapping[tuple[str, str], str],
    baseline: str,
) -> Arrival:
    """The baseline gains nothing over itself; a block without a shared seed is undecided."""
    gain = gains.get((block.label, kind))
    if gain is None:
        return Arrival(0, 0, None, None, None, DOES_NOT if block.label == baseline else UNDECIDED)
    arrived = sum(one > GAIN_ABOVE for one in gain.apart)
    low, high = share_interval(arrived, gain.seeds)
    return Arrival(arrived, gain.seeds, low, high, gain.median, verdicts[block.label, kind])


def _chance(gains: Sequence[float], side: int) -> float:
    """Probability of a mean gain so far above (side 1) or below (-1) the threshold where the true one lies at it.

    1 for one seed, of which no noise is known.
    """
    if len(gains) < 2:
        return 1.0
    mean = statistics.fmean(gains)
    distance = side * (mean - GAIN_ABOVE)
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in gains) / (len(gains) - 1) / len(gains))
    if error == 0:
        return float(distance <= 0)
    return student_above(distance / error, len(gains) - 1)


def _gain(one: Arrival) -> str:
    return "" if one.gain is None else f" ({one.gain:+.1f})"


def _count(kind: str, one: Arrival) -> str:
    return f"{kind} {one.arrived}/{one.seeds}" if one.seeds else kind
