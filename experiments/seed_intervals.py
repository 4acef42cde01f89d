"""How often the intervals and verdicts of a few seeds are right, by simulation: `python experiments/seed_intervals.py`.

Prints the three tables of docs/accuracy.md. Everything is drawn with fixed seeds; it takes about a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from bench.distributions import student
from bench.report.carries import CARRIES, DOES_NOT, gain_verdicts, share_verdict
from bench.report.few_seeds import median_coverage, median_rank

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

SEEDS = (2, 3, 5, 8)
BLOCKS, NOISE = 26, 1.2
LATE_SHARE, LATE_POINTS = 0.2, 10.0
TRIALS, SUITES = 40_000, 2_000


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Mean 0, deviation 1."""
    return random.standard_normal(shape)


def lognormal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The exponential of a normal variable, less its mean."""
    return np.exp(random.standard_normal(shape)) - np.exp(0.5)


def late(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Normal, but one seed in five is 10 points lower; less the mean."""
    lower = random.random(shape) < LATE_SHARE
    shifted: Array = random.standard_normal(shape) - LATE_POINTS * lower + LATE_POINTS * LATE_SHARE
    return shifted


DRAWS: Mapping[str, Draw] = {"normal": normal, "lognormal": lognormal, "one seed in five 10 points lower": late}


def median(draw: Draw) -> float:
    """Of the distribution, to about 0.001."""
    return float(np.median(draw(np.random.default_rng(0), (2_000_001,))))


def coverage(draw: Draw, seeds: int, trials: int = TRIALS) -> tuple[float, float]:
    """Shares of trials in which the range of `median_rank` holds the median, and Student's interval the mean."""
    random = np.random.default_rng(seeds)
    middle = median(draw)
    drawn = np.sort(draw(random, (trials, seeds)), axis=1)
    rank = median_rank(seeds)
    held = (drawn[:, rank - 1] <= middle) & (middle <= drawn[:, -rank])
    half = student(seeds - 1, 0.05) * drawn.std(axis=1, ddof=1) / np.sqrt(seeds)
    return float(held.mean()), float((np.abs(drawn.mean(axis=1)) <= half).mean())


def verdict_shares(share: float, seeds: int, trials: int = TRIALS) -> tuple[float, float]:
    """Shares of trials that end with `carries` and with `does not` where a kind arrives in a share of seeds."""
    arrived = np.random.default_rng(seeds).binomial(seeds, share, trials)
    verdicts = np.array([share_verdict(k, seeds) for k in range(seeds + 1)])[arrived]
    return float((verdicts == CARRIES).mean()), float((verdicts == DOES_NOT).mean())


def suites(
    gain: float, others: float, seeds: int, draw: Draw = normal, blocks: int = BLOCKS, trials: int = SUITES
) -> tuple[float, float, float]:
    """Shares of suites that say `carries` of the first block, `does not` of it, and `carries` of any block.

    Args:
        gain: true mean gain of the first block over the baseline.
        others: that of all others.
        seeds: of each block.
        draw: of the noise, whose deviation for `normal` is made `NOISE`.
        blocks: in a suite.
        trials: suites.
    """
    random = np.random.default_rng(seeds)
    scale = NOISE if draw is normal else 1.0
    means = np.array([gain, *[others] * (blocks - 1)])[:, None]
    ends = []
    for _ in range(trials):
        gains = means + scale * draw(random, (blocks, seeds))
        found = gain_verdicts({block: tuple(one) for block, one in enumerate(gains.tolist())})
        ends.append((found[0] == CARRIES, found[0] == DOES_NOT, CARRIES in found.values()))
    first, lacking, anywhere = (float(np.mean(column)) for column in zip(*ends, strict=True))
    return first, lacking, anywhere


def _percent(*shares: float) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def _print(header: list[str], rows: list[list[str]]) -> None:
    for line in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(line)} |")
    print()


def main() -> None:
    """Print the tables."""
    rows = [["promised for the median", *(f"{100 * median_coverage(seeds):.1f} /" for seeds in SEEDS)]]
    rows += [[name, *(_percent(*coverage(draw, seeds)) for seeds in SEEDS)] for name, draw in DRAWS.items()]
    _print(["range holds the median / Student's interval holds the mean, %", *map(str, SEEDS)], rows)
    counts = (3, 5, 8, 12)
    rows = [[f"{share:g}", *(_percent(*verdict_shares(share, n)) for n in counts)] for share in (0.1, 0.5, 0.8, 0.9, 1)]
    _print(["true share of seeds: says carries / does not, %", *map(str, counts)], rows)
    counts = (3, 5, 8)
    rows = [[f"+{gain:g}", *(_percent(*suites(gain, 0, n)[:2]) for n in counts)] for gain in (0, 1, 2, 3, 5, 10)]
    _print(["true gain of one block of 26: says carries / does not, %", *map(str, counts)], rows)
    rows = [
        [f"{name}, {which} at +1", *(_percent(suites(gain, gain, n, draw)[2]) for n in counts)]
        for name, draw in DRAWS.items()
        for which, gain in {"mean": 1.0, "median": 1.0 - median(draw)}.items()
    ]
    _print(["all 26 at exactly +1: any carries, %", *map(str, counts)], rows)


if __name__ == "__main__":
    main()
