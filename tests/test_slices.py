"""Slices: samples of one case at a time, warm; two seats in turns; and a failing block that says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.case import make_case
from bench.measure.method import make_method
from bench.slices import BUILDS, QUADS, SAMPLES, SLICE_MS, Slicer, take_turns
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


class Seat:
    """Notes what it is asked for in a list that two share; its samples take a given time."""

    def __init__(self, name: str, seen: list[str], ms: float = 1.0, fails_at: str = "") -> None:
        self.name, self.seen, self.ms, self.fails_at = name, seen, ms, fails_at
        self.inputs: tuple[torch.Tensor, ...] | None = None
        self.given: list[object] = []

    def hold(self, case: object) -> float | Broken:
        self.seen.append(f"hold {self.name}")
        self.given.append(self.inputs)
        self.inputs = self.inputs or (torch.empty(1),)
        return Broken("snl", "oom", "no memory") if self.fails_at == "hold" else self.ms

    def slice(self, samples: int) -> list[float] | Broken:
        self.seen.append(f"slice {self.name}")
        return Broken("snl", "crashed", "no luck") if self.fails_at == "slice" else [self.ms] * samples

    def drop(self) -> None:
        self.seen.append(f"drop {self.name}")


SNL = make_case("snl", {}, 4, 4, 8)


def test_instances_are_rebuilt_and_whoever_goes_first_alternates() -> None:
    seen: list[str] = []
    turn = take_turns(SNL, [Seat("a", seen), Seat("b", seen)], (0, 1), lambda number: None)
    assert [word[-1] for word in seen if word.startswith("hold")] == [*"abba"] * (BUILDS // 2)
    called = "".join(word[-1] for word in seen if word.startswith("slice"))
    assert called == ("abbabaab" + "baababba") * (BUILDS // 2)
    assert [len(times) for times in turn.times] == [BUILDS * len(QUADS) * 2 * SAMPLES] * 2
    assert seen[-2:] == ["drop a", "drop b"]


def test_both_trees_are_called_with_the_same_inputs() -> None:
    seats = [Seat("a", []), Seat("b", [])]
    take_turns(SNL, seats, (0, 1), lambda number: None)
    first, *rest = [*seats[0].given[:1], *seats[1].given, *seats[0].given[1:]]
    assert first is None
    assert len({id(one) for one in rest}) == 1
    assert [seat.inputs for seat in seats] == [None, None]


@pytest.mark.parametrize(("ms", "samples"), [(0.1, SAMPLES), (SLICE_MS / 2, 2), (1e6, 1)])
def test_slow_calls_are_sampled_less_but_both_trees_alike(ms: float, samples: int) -> None:
    turn = take_turns(SNL, [Seat("a", [], 0.1), Seat("b", [], ms)], (0, 1), lambda number: None)
    assert [len(times) for times in turn.times] == [BUILDS * len(QUADS) * 2 * samples] * 2


@pytest.mark.parametrize("step", ["hold", "slice"])
def test_the_seat_that_fails_is_the_one_in_hand(step: str) -> None:
    marked: list[int] = []
    turn = take_turns(SNL, [Seat("a", []), Seat("b", [], fails_at=step)], (0, 1), marked.append)
    assert turn.broken is not None
    assert (turn.broken[0], turn.broken[1].status) == (1, "oom" if step == "hold" else "crashed")
    assert marked[-3] == 1  # then both are dropped


def test_one_seat_may_be_sampled_alone() -> None:
    seen: list[str] = []
    turn = take_turns(SNL, [Seat("a", seen), Seat("b", seen)], (1,), lambda number: None)
    assert {word[-1] for word in seen} == {"b"}
    assert [bool(times) for times in turn.times] == [False, True]


def test_a_block_is_held_with_inputs_that_fit_it_and_draws_its_own_where_they_do_not() -> None:
    slicer = Slicer(METHOD, Invented())
    slicer.hold(SNL)
    assert slicer.inputs is not None
    lent = slicer.inputs
    slicer.hold(SNL)
    assert slicer.inputs is lent
    slicer.hold(make_case("snl", {}, 4, 5, 8))
    assert slicer.inputs[0].shape[2:] == (4, 5)
