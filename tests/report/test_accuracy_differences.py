"""Paired differences, their intervals, and what a block is said to carry."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report import accuracy_tables as tables
from bench.report.accuracy_runs import Block, parts
from bench.report.carries import CARRIES, DOES_NOT, UNDECIDED, arrivals, carries, gain_verdicts, share_verdict
from bench.report.differences import Difference, difference, differences, mean_iou
from bench.report.few_seeds import median_coverage
from experiments.seed_intervals import DRAWS, coverage, suites
from tests.report.trained import failed, study, trained
from tests.report.trained import mean_iou as recount


def block(label: str, runs: Sequence[dict[str, Any]]) -> Block:
    return Block(label, {run["seed"]: run for run in runs}, ())


def boundary(label: str, values: Sequence[float]) -> Block:
    """A block with these boundary F-scores by seed."""
    return block(label, [trained(label, seed, boundary_f1=value) for seed, value in enumerate(values)])


def between(mine: Sequence[float], theirs: Sequence[float]) -> Difference:
    found = difference(boundary("gc", mine), boundary("identity", theirs), "boundary_f1")
    assert found is not None
    return found


def said(records: list[dict[str, Any]], label: str, baseline: str = "identity") -> str:
    """What the only part of these records says that a block carries."""
    (part,) = parts(records)
    found = part.block(label)
    assert found is not None
    return carries(found, part, baseline)


def resolved(label: str, **kinds: Sequence[float]) -> list[dict[str, Any]]:
    """Runs of a block with these resolving accuracies by seed."""
    seeds = range(len(next(iter(kinds.values()))))
    return [trained(label, seed, resolving={kind: found[seed] for kind, found in kinds.items()}) for seed in seeds]


def test_pairs_are_of_one_seed_and_unshared_seeds_are_left_out() -> None:
    found = between([3.0, 7.0, 9.0], [1.0, 8.0])
    assert (found.median, found.better, found.seeds, found.folded) == (0.5, 1, 2, False)


def test_blocks_without_a_shared_seed_are_not_compared() -> None:
    mine = block("gc", [trained("gc", 5)])
    assert difference(mine, boundary("identity", [1.0]), "boundary_f1") is None


def test_one_seed_gives_an_interval_over_test_images_alone() -> None:
    mine, theirs = block("gc", [trained("gc")]), block("identity", [trained("identity")])
    assert between([1.0], [0.0]).low is None
    found = difference(mine, theirs, "miou")
    assert found is not None
    assert found.folded
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.median < found.high
    assert found.coverage is None


def test_an_equal_difference_in_every_seed_leaves_no_doubt() -> None:
    found = between([11.0, 12.0, 13.0], [1.0, 2.0, 3.0])
    assert (found.low, found.median, found.high) == pytest.approx((10.0, 10.0, 10.0))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.floats(-20, 20))
def test_the_range_holds_the_median_and_moves_with_it(apart: list[float], shift: float) -> None:
    still, moved = between(apart, [0.0] * len(apart)), between([one + shift for one in apart], [0.0] * len(apart))
    assert still.low is not None
    assert still.high is not None
    assert still.low - 1e-9 <= still.median <= still.high + 1e-9
    assert (moved.low, moved.high) == pytest.approx((still.low + shift, still.high + shift), abs=1e-6)


@pytest.mark.parametrize(("seeds", "low", "high", "promised"), [(2, 0, 1, 0.5), (3, 0, 2, 0.75), (9, 1, 7, 0.9609375)])
def test_the_range_goes_from_rank_to_rank_and_says_its_coverage(
    seeds: int, low: int, high: int, promised: float
) -> None:
    values = [1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 49.0, 64.0, 81.0][:seeds]
    found = between(values[::-1], [0.0] * seeds)
    assert (found.low, found.high, found.coverage) == (values[low], values[high], pytest.approx(promised))


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
def test_the_range_covers_the_median_as_promised_whatever_the_seeds_are_drawn_from(draw: str, seeds: int) -> None:
    held, _ = coverage(DRAWS[draw], seeds, 4_000)
    assert held == pytest.approx(median_coverage(seeds), abs=0.035)


@pytest.mark.parametrize(("seeds", "most"), [(3, 0.8), (5, 0.75)])
def test_an_interval_of_the_mean_would_collapse_with_a_late_learner(seeds: int, most: float) -> None:
    late = "one seed in five 10 points lower"
    assert coverage(DRAWS[late], seeds, 4_000)[1] < most


def test_mean_iou_leaves_out_classes_that_are_nowhere() -> None:
    found = mean_iou(np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]]), np.array([[2.0, 0.0, 4.0], [0.0, 0.0, 0.0]]))
    assert found[0] == pytest.approx(62.5)
    assert np.isnan(found[1])


def test_the_interval_over_folds_is_that_of_a_plain_bootstrap() -> None:
    mine, theirs = trained("gc"), trained("identity")
    found = difference(block("gc", [mine]), block("identity", [theirs]), "miou")
    assert found is not None
    draw, plain = random.Random(5), []
    for _ in range(1500):
        drawn = draw.choices(range(20), k=20)
        sides = [
            recount({name: [run["folds"][name][fold] for fold in drawn] for name in run["folds"]})
            for run in (mine, theirs)
        ]
        plain.append(sides[0] - sides[1])
    low, high = np.quantile(plain, (0.025, 0.975))
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))
    assert found.mean == pytest.approx(mine["miou"] - theirs["miou"])


def test_other_test_images_are_not_paired() -> None:
    other = trained("identity")
    other["folds"]["target"][0][0] += 1
    found = difference(block("gc", [trained("gc")]), block("identity", [other]), "miou")
    assert found is not None
    assert not found.folded
    assert found.low is None


def test_runs_without_folds_are_compared_over_seeds() -> None:
    mine = block("gc", [trained("gc", seed, folds=None) for seed in range(3)])
    found = difference(mine, block("identity", [trained("identity", seed) for seed in range(3)]), "miou")
    assert found is not None
    assert (found.folded, found.seeds, found.better) == (False, 3, 3)


def test_equal_records_give_equal_differences() -> None:
    first, again = (differences(parts(study(2))[0], "identity") for _ in range(2))
    assert first == again


def test_cells_say_mean_interval_and_seeds() -> None:
    records = [trained("identity", seed, boundary_f1=70.0, miou=None) for seed in range(2)]
    records += [trained("gc", seed, boundary_f1=72.04, miou=None) for seed in range(2)]
    records += [trained("se", seed, boundary_f1=69.99, miou=None) for seed in range(2)]
    (part,) = parts(records)
    (first, *_) = tables.difference_tables(part, "identity")
    assert first.grid.rows == (("gc", "+2.0 [2.0, 2.0] 2/2"), ("se", "+0.0 [0.0, 0.0] 0/2"))


def test_the_reference_blocks_carry_what_they_were_made_to() -> None:
    records = study(5)
    expected = {"identity": "none (baseline)", "mlp": "none", "snl": "scene", "cgnl": "scene", "nl": "scene, pairwise"}
    assert {label: said(records, label) for label in expected} == expected
    assert said(records, "ldv1").startswith("regional (+10.")
    assert said(records, "gc+ldv1").startswith("scene, regional (+1")


def test_thresholds_of_a_seed() -> None:
    records = resolved("a", scene=[90.0] * 5, pairwise=[80.0] * 5) + resolved(
        "b", scene=[89.9] * 5, pairwise=[80.1] * 5
    )
    assert said(records, "a") == "scene"
    assert said(records, "b") == "pairwise"


@pytest.mark.parametrize(
    ("seeds", "verdicts"),
    [
        (3, [UNDECIDED] * 4),
        (4, [UNDECIDED] * 5),
        (5, [DOES_NOT, *[UNDECIDED] * 4, CARRIES]),
        (8, [DOES_NOT] * 2 + [UNDECIDED] * 5 + [CARRIES] * 2),
    ],
)
def test_the_share_of_seeds_decides_where_its_interval_leaves_one_half(seeds: int, verdicts: list[str]) -> None:
    assert [share_verdict(arrived, seeds) for arrived in range(seeds + 1)] == verdicts


def test_a_share_has_its_exact_interval() -> None:
    (part,) = parts(resolved("cam", scene=[100.0] * 5, pairwise=[73.8, 95.2, 98.9, 84.0, 98.6]))
    found = arrivals(part, "identity")["cam"]
    assert (found["pairwise"].arrived, found["pairwise"].seeds) == (4, 5)
    assert (found["pairwise"].low, found["pairwise"].high) == pytest.approx((0.342592, 0.989794), abs=1e-6)
    assert (found["scene"].low, found["scene"].high) == (pytest.approx(0.05 ** (1 / 5)), 1.0)
    assert carries(part.blocks[0], part, "identity") == "scene; undecided: pairwise 4/5"
    table = tables.share_table(part, "identity")
    assert table is not None
    assert table.grid.rows == (("cam", "5/5 [55, 100] carries", "4/5 [34, 99] undecided"),)


def test_three_seeds_leave_a_share_open() -> None:
    told = said(resolved("a", scene=[100.0] * 3, pairwise=[99.0, 75.0, 99.0]), "a")
    assert told == "undecided: scene 3/3, pairwise 2/3"


def test_regional_is_judged_by_the_gain_against_one_point() -> None:
    base = resolved("identity", regional=[73.0, 73.2, 73.4])
    assert said(base + resolved("a", regional=[75.0, 75.4, 75.5]), "a") == "regional (+2.1)"
    assert said(base + resolved("a", regional=[73.1, 73.1, 73.5]), "a") == "none"
    assert said(base + resolved("a", regional=[74.0, 80.0, 95.0]), "a") == "undecided: regional 2/3"


def test_the_more_blocks_a_table_has_the_surer_a_gain_must_be() -> None:
    gain, nothing = (3.0, 3.6, 4.2), (0.0, 1.2, 1.9)  # p = 0.0086 of the first
    assert gain_verdicts({"a": gain})["a"] == CARRIES
    assert gain_verdicts({"a": gain, **{f"b{n}": nothing for n in range(4)}})["a"] == CARRIES
    assert gain_verdicts({"a": gain, **{f"b{n}": nothing for n in range(5)}})["a"] == UNDECIDED


def test_a_suite_of_blocks_at_the_threshold_seldom_has_one_that_carries() -> None:
    assert suites(1.0, 1.0, 3, trials=150)[2] <= 0.1
    first, lacking, _ = suites(5.0, 0.0, 5, trials=150)
    assert first > 0.65
    assert lacking == 0


def test_without_interval_or_baseline_regional_is_undecided() -> None:
    told = said(resolved("identity", regional=[73.0]) + resolved("a", regional=[90.0]), "a")
    assert told == "undecided: regional 1/1"
    assert said(resolved("a", regional=[90.0, 91.0]), "a") == "undecided: regional"


def test_a_block_without_a_good_run_is_not_judged() -> None:
    assert said([*resolved("identity", scene=[50.0]), failed("a", 0)], "a") == ""
