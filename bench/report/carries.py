"""Which kinds of context a block carries, in words, by a stated rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.report.accuracy_runs import Block, Part, parts
from bench.report.differences import Difference, differences
from bench.report.frame import label
from bench.row import RunError
from bench.training.record import PRICED, RUNS, packed, read_records

SCENE_LEAST = 90.0
PAIRWISE_ABOVE = 80.0
REGIONAL_ABOVE = 1.0
RULE = (
    "Carries, by rule from the resolving accuracies (chance is 50): scene where a seed resolves at least 90; pairwise "
    "where a seed resolves more than 80, as one vector for the whole image cannot pass 75, the majority of three fair "
    "bits; any other kind, regional among them, where the 95 % interval of the paired difference to the baseline lies "
    "above 1 point, since reach without context already resolves a part of it. 'in k of n seeds': not in all. "
    "'?': nothing to judge by, as one seed gives no interval or the baseline is missing. True of this task and budget; "
    "no order of mIoU elsewhere follows."
)


def carries(block: Block, part: Part, compared: Mapping[tuple[str, str], Difference], baseline: str) -> str:
    """The kinds of context that a block carries: `scene, pairwise in 3 of 5 seeds, regional (+10.6)`, or `none`.

    The rule (`RULE`): the two kinds with a bound of theory are judged by it, seed by seed; scene is carried at an
    accuracy of 90 % and more, pairwise above 80 %, beyond the 75 % that a single vector can reach. Others have no such
    bound, as a convolution's own reach resolves some of it; they are judged by the paired difference to the baseline,
    whose 95 % interval must lie above one point.

    Args:
        compared: differences of the part to the baseline, by (label, figure).
        baseline: label of the baseline, which is not compared with itself.
    """
    if not block.runs:
        return ""
    words = ", ".join(told for _, told, _ in _judged(block, part, compared, baseline)) or "none"
    return f"{words} (baseline)" if block.label == baseline else words


def carried_by(folder: Path, baseline: str = "identity") -> dict[str, dict[str, bool | None]]:
    """Of each block of a folder of training runs, whether it carries each kind of context; null where one seed or a
    missing baseline does not tell.

    Blocks are named as rows name them: by entry and the options that were trained, such as `gc:ratio=4` where training
    sets that ratio, and once more as the entry that prices what was trained. Of the runs that ended well every one must
    carry scene or pairwise; other kinds are judged over all of them, see `carries`.

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
    compared = {(one.label, one.figure): one for one in differences(part, baseline)}
    known: dict[str, dict[str, bool | None]] = {}
    for block in part.blocks:
        if block.runs:
            judged = {kind: wholly for kind, _, wholly in _judged(block, part, compared, baseline)}
            kinds = {kind: judged.get(kind, False) for kind in part.kinds()}
            known[label(str(block.any("entry")), block.any("options") or {})] = kinds
            known[f"{PRICED}:chain={packed(block.label)}"] = kinds
    return known


def _judged(
    block: Block, part: Part, compared: Mapping[tuple[str, str], Difference], baseline: str
) -> Iterator[tuple[str, str, bool | None]]:
    """Each kind of which the block carries something, in words, and whether it does in every seed, null for unknown."""
    for kind in part.kinds():
        figure = f"resolving.{kind}"
        seen = block.values(figure)
        if kind in ("scene", "pairwise"):
            passed = sum(value >= SCENE_LEAST if kind == "scene" else value > PAIRWISE_ABOVE for value in seen.values())
            if passed:
                wholly = passed == len(seen)
                yield kind, kind if wholly else f"{kind} in {passed} of {len(seen)} seeds", wholly
        elif seen and block.label != baseline:
            difference = compared.get((block.label, figure))
            if difference is None or difference.low is None:
                yield kind, f"{kind} ?", None
            elif difference.low > REGIONAL_ABOVE:
                yield kind, f"{kind} ({difference.mean:+.1f})", True
