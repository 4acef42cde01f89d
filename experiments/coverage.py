"""How often the printed intervals hold the truth when neighbouring samples resemble each other, by simulation.

    python experiments/coverage.py --series 4000

Times are 1 with noise of 3 % (logarithmic, first-order autoregressive of the correlation in the column's head). Prints
the Markdown table of docs/measurement.md: shares of series in percent.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.measure.method import Method
from bench.measure.stats import Interval, median_interval, noise_floor, paired_ratio
from bench.measure.stopping import IntervalWithin, NoiseSettled, RoundLimit, first_met
from bench.report.frame import verdict

Series = npt.NDArray[np.float64]
CORRELATIONS = (0.0, 0.5, 0.8, 0.95)
SD = 0.03


def drawn(r: float, series: int, n: int, seed: int) -> Series:
    """Series of times, one a row."""
    noise = np.random.default_rng(seed).standard_normal((series, n))
    for place in range(1, n):
        noise[:, place] = r * noise[:, place - 1] + math.sqrt(1 - r * r) * noise[:, place]
    return np.exp(SD * noise)


def holds(found: Interval) -> bool:
    """Whether the interval holds the true value, 1."""
    return found.low is not None and found.high is not None and found.low <= 1 <= found.high


def stopped(series: Series) -> Interval:
    """The interval where the default method would have ended sampling, its time budget aside."""
    method = Method()
    criteria = (
        IntervalWithin(method.target, method.settle_rounds),
        NoiseSettled(method.settle_rounds, method.settle_tolerance),
        RoundLimit(method.max_rounds),
    )
    ends = (n for n in range(1, len(series) + 1) if first_met(criteria, series[:n].tolist()))
    return median_interval(series[: next(ends)])


def called_different(ours: Series, reference: Series, twin: Series) -> bool:
    """Whether a table would call two identical members different."""
    ratio, floor = paired_ratio(ours, reference), noise_floor(paired_ratio(twin, reference))
    return verdict("copy", "nl", ratio.median, ratio.low, ratio.high, floor) in ("faster", "slower")


def share(judge: Callable[..., bool], r: float, series: int, n: int, members: int) -> str:
    """In percent, how often `judge` says yes to so many members' series."""
    sides = [drawn(r, series, n, seed) for seed in range(members)]
    return f"{100 * sum(judge(*rows) for rows in zip(*sides, strict=True)) / series:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=4000)
    series = parser.parse_args().series
    lines: list[tuple[str, Callable[..., bool], int, int]] = []
    for n in (6, 12, 20, 100):
        lines.append((f"median interval, n = {n}", lambda x: holds(median_interval(x)), n, 1))
    lines.append(("median interval where sampling stops", lambda x: holds(stopped(x)), Method().max_rounds, 1))
    for n in (20, 100):
        lines.append((f"paired ratio, n = {n}", lambda x, y: holds(paired_ratio(x, y)), n, 2))
    for n in (20, 100):
        lines.append((f"identical members called different, n = {n}", called_different, n, 3))
    print(f"| quantity (%) | {' | '.join(f'AR {r:g}' if r else 'independent' for r in CORRELATIONS)} |")
    print(f"| --- {'| ---: ' * len(CORRELATIONS)}|")
    for name, judge, n, members in lines:
        print(f"| {name} | {' | '.join(share(judge, r, series, n, members) for r in CORRELATIONS)} |", flush=True)


if __name__ == "__main__":
    main()
