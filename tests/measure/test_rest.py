"""Rests of a card that its own power or heat holds: which rounds they stand ahead of, what they clear, how they end."""

from __future__ import annotations

import pytest

from bench.measure.method import Method
from bench.measure.nvml import DISTURBING, HEAT
from bench.measure.rest import Rest
from bench.measure.sampler import Member, Sampler
from bench.measure.telemetry import Reading
from bench.measure.timing import timing_row
from bench.row import FIELDS

from .fake import FakeClock, constant
from .fake_probe import CALM, FakeProbe, card

CAPPED, CROWDED = card(throttle=("power cap",)), card(foreign_processes=1)
RESTED = Method(rest_seconds=1.0, seconds=0.0, prime_ms=0.0)


class Hot:
    """A card and its clock. From `fills` ms of work on it is held; a second of rest takes `drains` ms of them away."""

    def __init__(self, fills: float, drains: float) -> None:
        self.clock, self.fills, self.drains = FakeClock(), fills, drains
        self.work, self.rested = 0.0, 0
        self.reads: list[tuple[int, bool]] = []  # calls timed before a look at the card, and whether it was held

    def member(self, name: str, milliseconds: float) -> Member:
        def call() -> tuple[str, float]:
            self._cool()
            held = self.work >= self.fills
            self.work = min(self.work + milliseconds, 1.5 * self.fills)
            return name, milliseconds * (1.5 if held else 1.0)

        return Member(name, call)

    def read(self) -> Reading:
        assert not self.clock.inside
        self._cool()
        self.reads.append((len(self.clock.timed), self.work >= self.fills))
        return CAPPED if self.work >= self.fills else CALM

    def energy_mj(self) -> tuple[float | None, str | None]:
        return None, None

    def _cool(self) -> None:
        """Take what was rested since the last look into account."""
        new = self.clock.pauses[self.rested :]
        self.rested += len(new)
        self.work = max(0.0, self.work - self.drains * sum(new))


def run(hot: Hot, method: Method, *members: Member) -> Sampler:
    sampler = Sampler(hot.clock, method, probe=hot)
    sampler.run(members, seed=1)
    return sampler


def test_a_capped_group_gives_figures_once_the_card_rests_ahead_of_every_sample() -> None:
    hot = Hot(fills=100.0, drains=200.0)
    members = [hot.member(name, ms) for name, ms in (("nl", 40.0), ("gc", 30.0), ("twin", 40.0))]
    members[2].twin_of = members[0]
    sampler = run(hot, RESTED, *members)
    timing = sampler.timing(members[1], members[0], members[2])
    assert timing.invalid is None
    assert (timing.latency.median, timing.ratio.median if timing.ratio else None) == (30.0, 0.75)
    assert timing.noise_floor == 0.0
    assert len(timing.samples) - len(timing.unused) == 6
    row = timing_row(timing)
    assert row["throttled"] is True
    assert row["rested_seconds"] == pytest.approx(sum(hot.clock.pauses))
    assert set(row) <= {*FIELDS}


def test_without_rests_the_same_group_gives_none_and_the_reason_says_so() -> None:
    hot = Hot(fills=100.0, drains=200.0)
    member = hot.member("nl", 40.0)
    timing = run(hot, Method(seconds=0.0), member).timing(member, None, None)
    assert (hot.clock.pauses, timing.rounds, timing.telemetry["rested_seconds"]) == ([], 21, 0.0)
    assert str(timing.invalid).endswith("power cap (21 rounds); the card was not let rest (rest_seconds is 0)")


def test_all_members_of_a_round_rest_for_as_long_and_rests_double_up_to_the_longest() -> None:
    hot = Hot(fills=100.0, drains=200.0)
    run(hot, RESTED, *(hot.member(name, 40.0) for name in "ab"))
    pairs = [hot.clock.pauses[at : at + 2] for at in range(0, len(hot.clock.pauses), 2)]
    assert all(one == other for one, other in pairs)
    assert list(dict.fromkeys(one for one, _ in pairs)) == [0.1, 0.2, 0.4, 0.8]
    assert pairs[-6:] == [[0.8, 0.8]] * 6


def test_rests_are_outside_of_what_is_timed_and_each_ends_in_an_untimed_call() -> None:
    hot = Hot(fills=100.0, drains=200.0)
    sampler = run(hot, RESTED, short := hot.member("short", 20.0))
    assert short.times[-6:] == [20.0] * 6
    warm_up = hot.reads[0][0]
    assert len(hot.clock.timed) - warm_up == len(short.samples) + len(hot.clock.pauses)
    assert sampler.busy_seconds == pytest.approx(hot.clock.seconds - sum(hot.clock.pauses))


def test_a_call_too_long_to_show_a_rest_is_not_called_twice() -> None:
    hot = Hot(fills=200.0, drains=1000.0)
    run(hot, RESTED, long := hot.member("long", 150.0))
    assert hot.clock.pauses
    assert len(hot.clock.timed) - hot.reads[0][0] == len(long.samples)


def test_the_machine_is_looked_at_on_both_sides_of_a_sample_that_follows_a_rest() -> None:
    hot = Hot(fills=50.0, drains=100.0)
    heavy, light = hot.member("heavy", 60.0), hot.member("light", 1.0)
    timing = run(hot, RESTED, heavy, light).timing(light, heavy, None)
    assert any(not held for _, held in hot.reads)  # seen after a rest, and yet no round was clean
    assert timing.invalid is not None


def test_a_card_that_no_rest_clears_is_given_up_within_the_bound() -> None:
    clock, member = FakeClock(), Member("nl", constant("nl", 5.0))
    sampler = Sampler(clock, RESTED, probe=FakeProbe([CAPPED]))
    sampler.run([member], seed=1)
    timing = sampler.timing(member, member, None)
    assert clock.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, *[1.0] * 6])
    assert (timing.rounds, timing.stop_reason) == (21, "disturbed")
    assert timing_row(timing)["status"] == "invalid"
    assert str(timing.invalid) == (
        "0 of 21 rounds were undisturbed, 6 are needed: power cap (21 rounds); the card rested 7.5 s between samples"
    )


@pytest.mark.parametrize(
    "reading", [CROWDED, card(throttle=("power cap",), foreign_processes=1), card(throttle=("sync boost",))]
)
def test_what_no_rest_can_end_is_repeated_at_once(reading: Reading) -> None:
    clock, member = FakeClock(), Member("nl", constant("nl", 5.0))
    sampler = Sampler(clock, RESTED, probe=FakeProbe([reading]))
    sampler.run([member], seed=1)
    timing = sampler.timing(member, None, None)
    assert (clock.pauses, timing.rounds) == ([], 21)
    assert "rest" not in str(timing.invalid)


def test_a_method_that_uses_disturbed_rounds_never_rests() -> None:
    clock, member = FakeClock(), Member("nl", constant("nl", 5.0))
    Sampler(clock, Method(rest_seconds=1.0, use_disturbed=1), probe=FakeProbe([CAPPED])).run([member], seed=1)
    assert clock.pauses == []


def test_a_calm_card_is_sampled_as_by_a_method_without_rests() -> None:
    plain, resting = FakeClock(), FakeClock()
    for clock, method in ((plain, Method()), (resting, Method(rest_seconds=1.0))):
        Sampler(clock, method, probe=FakeProbe()).run([Member("nl", constant("nl", 5.0))], seed=1)
    assert (resting.timed, resting.pauses) == (plain.timed, [])


def test_a_clean_round_keeps_the_pause_and_begins_the_patience_anew() -> None:
    rest = Rest(longest=0.2, patience=2)
    seen = []
    for counted, heated in ((0, 1), (0, 1), (0, 1), (1, 0), (0, 1), (0, 0), (1, 0), (0, 1), (0, 1), (0, 1)):
        rest.learn(bool(counted), bool(heated))
        seen.append(rest.pause)
    assert seen == [0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0]


def test_a_longest_pause_below_the_first_is_kept_to() -> None:
    rest = Rest(longest=0.05, patience=9)
    for _ in range(3):
        rest.learn(False, True)
    assert rest.pause == 0.05


def test_heat_is_among_what_disturbs() -> None:
    assert {*DISTURBING.values()} > HEAT
    assert all(word == "power cap" or word.endswith("slowdown") for word in HEAT)
