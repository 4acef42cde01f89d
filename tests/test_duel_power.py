"""Simulated comparisons: unchanged code is not called slower, in any world, and what is slower by enough is found."""

from __future__ import annotations

import pytest

from experiments.duel_power import WORLDS, World, repeated

RUNS = 100
MOST = 0.05
"""The error that is allowed for."""


@pytest.mark.parametrize("seed", range(len(WORLDS)), ids=list(WORLDS))
def test_unchanged_code_is_not_called_slower_or_faster(seed: int) -> None:
    ends = repeated(RUNS, seed, list(WORLDS.values())[seed], [1.0, 1.0])
    assert sum(any(end.regressed) for end in ends) == 0
    assert sum(bool({"slower", "faster"} & set(end.verdicts)) for end in ends) <= MOST * RUNS


def test_the_true_ratio_is_inside_at_all_looks() -> None:
    """In all worlds together, each with seeds of its own: a few dozen comparisons in one alone show little."""
    ends = [
        end for n, world in enumerate(WORLDS.values()) for end in repeated(20, 10 + n, world, [1.15, 1.0], 30, True)
    ]
    assert 0 < sum(end.missed for end in ends) <= MOST * len(ends)


@pytest.mark.parametrize("percent", [15, 30])
@pytest.mark.parametrize("name", ["independent noise, sd 3 %", "AR(0.8) noise, sd 3 %", "the first 3 % slower"])
def test_a_slow_down_above_the_threshold_is_confirmed(name: str, percent: int) -> None:
    ends = repeated(RUNS // 2, 2, WORLDS[name], [1 + percent / 100, 1.0])
    assert sum(end.regressed[0] for end in ends) >= 0.95 * len(ends)
    assert sum(end.regressed[1] for end in ends) == 0


def test_without_the_coin_a_slower_first_place_would_be_called_a_slower_tree() -> None:
    """What the simulation would show if the rule were wrong."""
    ends = repeated(RUNS // 4, 3, World(first=0.03, new_first=True), [1.0, 1.0])
    assert sum("slower" in end.verdicts for end in ends) > 0.5 * len(ends)
