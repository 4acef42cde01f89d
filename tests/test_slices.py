"""Slices: samples of one case at a time, warm, and a failing block that says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.case import make_case
from bench.measure.method import make_method
from bench.slices import Slicer
from bench.trial import Broken
from tests.test_agreement import leaning  # noqa: F401  a fixture

METHOD = make_method({"sample_ms": 1.0})


class Invented:
    """Says that every call took a millisecond, and counts what it is asked to time."""

    def __init__(self) -> None:
        self.asked = 0

    def time(self, call: Callable[[], object], repeats: int = 1) -> float:
        call()
        self.asked += 1
        return 1.0

    def now(self) -> float:
        return self.asked / 1e3


def test_an_untimed_call_stands_ahead_of_a_slice_and_of_nothing_else() -> None:
    clock, case = Invented(), make_case("gc", {}, 4, 4, 16)
    slicer = Slicer(METHOD, clock)
    assert slicer.take(case, 5) == [1.0] * 5
    warm = clock.asked
    assert slicer.take(case, 5) == [1.0] * 5
    assert clock.asked - warm == 1 + 5


def test_another_case_is_built_and_one_that_fails_says_why() -> None:
    clock = Invented()
    slicer = Slicer(METHOD, clock)
    assert slicer.take(make_case("snl", {}, 4, 4, 8), 2) == [1.0, 1.0]
    failed = slicer.take(make_case("ldv1", {}, 4, 4, 8), 2)
    assert isinstance(failed, Broken)
    assert "at least 15x15, not 4x4" in failed.reason
    assert slicer.take(make_case("snl", {}, 4, 4, 8), 2) == [1.0, 1.0]


@pytest.mark.usefixtures("leaning")
def test_a_false_implementation_is_not_timed() -> None:
    slicer = Slicer(METHOD, Invented())
    false = slicer.take(make_case("leaning", {"off": 0.01}, 4, 4, 8, impl="fused"), 2)
    assert isinstance(false, Broken)
    assert (false.status, "differs from the reference's" in false.reason) == ("invalid", True)
    assert slicer.take(make_case("leaning", {}, 4, 4, 8, impl="fused"), 2) == [1.0, 1.0]


@pytest.mark.parametrize("samples", [1, 3])
def test_a_slice_has_as_many_samples_as_were_asked_for(samples: int) -> None:
    assert len(Slicer(METHOD, Invented()).take(make_case("snl", {}, 4, 4, 8), samples)) == samples
