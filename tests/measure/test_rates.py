"""Rates of several passes: the best of each, what a busy machine spoilt, and what a run folder holds of them."""

from __future__ import annotations

import json

import pytest

from bench.measure.rates import Rates

WHY = "other processes on the CPUs"


def test_the_best_of_both_passes_counts() -> None:
    both = Rates({"a": 1.0, "b": 5.0}, passes=1).merged(Rates({"a": 2.0, "b": 4.0, "c": 3.0}, passes=1))
    assert both == Rates({"a": 2.0, "b": 5.0, "c": 3.0}, {}, 2)
    assert both.complete


def test_what_one_pass_was_refused_the_other_gives() -> None:
    spoilt, calm = Rates({"b": 1.0}, {"a": WHY}, 1), Rates({"a": 2.0, "b": 1.0}, {}, 1)
    for both in (spoilt.merged(calm), calm.merged(spoilt)):
        assert both == Rates({"a": 2.0, "b": 1.0}, {}, 2)


def test_what_both_passes_were_refused_is_null_with_the_reason() -> None:
    both = Rates({"b": 1.0}, {"a": WHY}, 1).merged(Rates({"b": 1.0}, {"a": WHY}, 1))
    assert both.facts() == {"b": 1.0, "a": None, "passes": 2, "refused": {"a": WHY}}
    assert not both.complete


def test_one_pass_alone_is_not_all() -> None:
    assert not Rates({"a": 1.0}, passes=1).complete


@pytest.mark.parametrize("rates", [Rates(), Rates({"a": 1.5}, {}, 2), Rates({"b": 1.0}, {"a": WHY}, 1)])
def test_what_is_written_is_read_again(rates: Rates) -> None:
    assert Rates.read(json.loads(json.dumps(rates.facts()))) == rates


@pytest.mark.parametrize("facts", [None, [], "fast", {}])
def test_a_folder_without_rates_has_none(facts: object) -> None:
    assert Rates.read(facts) == Rates()


def test_rates_of_an_older_run_are_kept_and_probed_again() -> None:
    older = Rates.read({"gemm_fp32_tflops": 0.2, "copy_gb_s": 40.0})
    assert (older.best, older.complete) == ({"gemm_fp32_tflops": 0.2, "copy_gb_s": 40.0}, False)
