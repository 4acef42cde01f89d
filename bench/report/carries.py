"""Which kinds of context a block carries, in words, by a stated rule."""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.accuracy_runs import Block, Part
from bench.report.differences import Difference

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


def carries(block: Block, part: Part, differences: Mapping[tuple[str, str], Difference], baseline: str) -> str:
    """The kinds of context that a block carries: `scene, pairwise in 3 of 5 seeds, regional (+10.6)`, or `none`.

    The rule (`RULE`): the two kinds with a bound of theory are judged by it, seed by seed; scene is carried at an
    accuracy of 90 % and more, pairwise above 80 %, beyond the 75 % that a single vector can reach. Others have no such
    bound, as a convolution's own reach resolves some of it; they are judged by the paired difference to the baseline,
    whose 95 % interval must lie above one point.

    Args:
        differences: of the part, by (label, figure).
        baseline: label of the baseline, which is not compared with itself.
    """
    if not block.runs:
        return ""
    found = []
    for kind in part.kinds():
        figure = f"resolving.{kind}"
        seen = block.values(figure)
        if kind in ("scene", "pairwise"):
            passed = sum(value >= SCENE_LEAST if kind == "scene" else value > PAIRWISE_ABOVE for value in seen.values())
            if passed:
                found.append(kind if passed == len(seen) else f"{kind} in {passed} of {len(seen)} seeds")
        elif seen and block.label != baseline:
            found += _compared(kind, differences.get((block.label, figure)))
    words = ", ".join(found) or "none"
    return f"{words} (baseline)" if block.label == baseline else words


def _compared(kind: str, difference: Difference | None) -> list[str]:
    if difference is None or difference.low is None:
        return [f"{kind} ?"]
    return [f"{kind} ({difference.mean:+.1f})"] if difference.low > REGIONAL_ABOVE else []
