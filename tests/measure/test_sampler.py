from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
from collections import Counter

import pytest

from bench.measure.method import Method, make_method
from bench.measure.sampler import Member, Sampler, Timing, timing_row
from bench.measure.stats import Interval
from modules.options import SpecError

from .fake import FakeClock, constant
from .fake_probe import CALM, FakeProbe, card
from .test_energy import Meter

CAPPED = card(throttle=("power cap",))


def sample(method: Method, *members: Member, seed: int = 1) -> tuple[Sampler, FakeClock]:
    clock = FakeClock()
    sampler = Sampler(clock, method)
    sampler.run(members, seed=seed)
    return sampler, clock


def watched(
    probe: FakeProbe, method: Method, *members: Member, clock: FakeClock | None = None
) -> tuple[Sampler, FakeClock]:
    clock = clock or FakeClock()
    sampler = Sampler(clock, method, probe=probe)
    sampler.run(members, seed=1)
    return sampler, clock


def noisy(name: str, milliseconds: float, spread: float) -> Member:
    draw = random.Random(name)
    return Member(name, lambda: (name, milliseconds * draw.uniform(1, 1 + spread)))


def test_every_round_times_every_member_once_in_a_shuffled_order() -> None:
    members = [Member(name, constant(name, 5.0)) for name in "abcd"]
    _, clock = sample(Method(min_rounds=6, warm_seconds=0.1, prime_ms=0), *members)
    rounds = clock.timed[-24:]
    orders = ["".join(name for name, _ in rounds[i : i + 4]) for i in range(0, 24, 4)]
    assert all(Counter(order) == Counter("abcd") for order in orders)
    assert len(set(orders)) > 1


def test_the_order_depends_on_the_seed_alone() -> None:
    def orders(seed: int) -> list[tuple[str, int]]:
        return sample(Method(), *(Member(n, constant(n, 5.0)) for n in "abc"), seed=seed)[1].timed

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_warm_up_goes_on_while_calls_get_faster() -> None:
    pace = iter([100.0, 80.0, 60.0, 40.0, 30.0, 20.0, 10.0])
    member = Member("falling", lambda: ("falling", next(pace, 10.0)))
    sample(Method(warm_seconds=60.0), member)
    assert set(member.times) == {10.0}


def test_warm_up_ends_at_its_budget_but_not_before_two_calls() -> None:
    slow = Member("slow", constant("slow", 2000.0))
    _, clock = sample(Method(warm_seconds=0.5, seconds=0.1), slow)
    assert len(clock.timed) == 2 + 6


def test_short_calls_are_repeated_until_a_sample_is_long_enough() -> None:
    member = Member("tiny", constant("tiny", 0.01))
    sample(Method(sample_ms=1.0), member)
    assert member.repeats == 100
    assert member.times[0] == pytest.approx(0.01)


def test_a_short_call_is_primed_before_each_sample_and_a_long_one_is_not() -> None:
    short, long = Member("short", constant("short", 2.0)), Member("long", constant("long", 200.0))
    _, clock = sample(Method(prime_ms=100.0, sample_ms=8.0, settle_rounds=6), short, long)
    in_rounds = [(name, repeats) for name, repeats in clock.timed if name == "short"][-12:]
    assert in_rounds == [("short", 1), ("short", 4)] * 6
    assert len(short.samples) == len(long.samples) == 6
    assert [name for name, _ in clock.timed].count("long") == 6 + 4


def test_sampling_stops_at_the_target_interval() -> None:
    member = Member("steady", constant("steady", 5.0))
    sample(Method(), member)
    assert (member.stop_reason, len(member.samples)) == ("interval", 20)


def test_sampling_stops_at_the_budget() -> None:
    member = noisy("noisy", 50.0, 3.0)
    sampler, _ = sample(Method(seconds=1.0, target=0.0), member)
    timing = sampler.timing(member, None, None)
    assert timing.stop_reason == "budget"
    assert 6 <= timing.rounds < 30


def test_sampling_stops_when_the_noise_has_settled() -> None:
    member = noisy("noisy", 5.0, 1.0)
    sample(Method(seconds=1e6, target=0.0, settle_tolerance=0.2, max_rounds=1000), member)
    assert member.stop_reason == "settled"


def test_sampling_stops_at_the_round_limit() -> None:
    member = noisy("noisy", 5.0, 3.0)
    sample(Method(seconds=1e6, target=0.0, settle_tolerance=0.0, max_rounds=17), member)
    assert (member.stop_reason, len(member.samples)) == ("rounds", 17)


def test_a_twin_is_sampled_as_its_reference_is() -> None:
    reference, twin = Member("nl", constant("nl", 0.3)), Member("twin", constant("twin", 0.9))
    twin.twin_of = reference
    sample(Method(prime_ms=0.5), reference, twin)
    assert (twin.repeats, twin.primed) == (reference.repeats, reference.primed) == (4, True)


def test_members_are_called_once_more_after_passes_that_emptied_the_allocator() -> None:
    log: list[str] = []
    sampler = Sampler(FakeClock(), Method(max_rounds=6))
    members = [Member(n, lambda n=n: log.append(n) or (n, 200.0)) for n in "ab"]
    sampler.run(members, 1, prepare=lambda member: log.append(f"look at {member.name}"), settle=True)
    assert log[log.index("look at b") + 1 :][:2] == ["a", "b"]


def test_a_failing_member_keeps_its_failure_and_the_others_go_on() -> None:
    calls = iter(range(10))

    def fails_late() -> tuple[str, float]:
        if next(calls) > 6:
            raise RuntimeError("boom")
        return "late", 5.0

    late, steady = Member("late", fails_late), Member("steady", constant("steady", 5.0))
    sample(Method(), late, steady)
    assert str(late.failure) == "boom"
    assert steady.failure is None
    assert len(steady.samples) >= 6


def test_no_sample_is_dropped() -> None:
    member = noisy("noisy", 5.0, 3.0)
    sampler, clock = sample(Method(seconds=0.5, target=0.0, prime_ms=0), member)
    kept = sampler.timing(member, None, None).samples
    assert list(kept) == member.times
    assert len(kept) == clock.timed.count(("noisy", 1)) - (len(clock.timed) - len(kept))


def test_preparation_runs_outside_of_the_timed_region() -> None:
    clock = FakeClock()
    seen: list[bool] = []
    sampler = Sampler(clock, Method())
    sampler.run([Member("a", constant("a", 5.0))], 1, prepare=lambda member: seen.append(clock.inside))
    assert seen == [False]


def test_ratio_and_noise_floor_come_from_paired_rounds() -> None:
    reference, twin, half = (Member(n, constant(n, ms)) for n, ms in (("nl", 10.0), ("twin", 10.2), ("half", 5.0)))
    sampler, _ = sample(Method(), reference, twin, half)
    timing = sampler.timing(half, reference, twin)
    assert timing.ratio == Interval(0.5, 0.5, 0.5)
    assert timing.noise_floor == pytest.approx(0.02)
    assert timing.twin_ratio == pytest.approx(1.02)


def test_busy_seconds_count_warm_up_and_timed_calls_only() -> None:
    sampler, clock = sample(Method(), Member("a", constant("a", 5.0)))
    assert sampler.busy_seconds == pytest.approx(clock.seconds)


def test_timing_row_holds_the_spread() -> None:
    samples = tuple(float(i) for i in range(1, 12))
    row = timing_row(Timing(Interval(6.0, 3.0, 9.0), samples, 1, 11, "budget", None, None, None))
    assert (row["latency_min_ms"], row["latency_p10_ms"], row["latency_p90_ms"]) == (1.0, 2.0, 10.0)
    assert row["latency_samples_ms"] == list(samples)
    assert row["ratio"] is None


def test_a_calm_machine_is_sampled_as_one_at_which_nobody_looks() -> None:
    alone, seen = ([noisy(name, 5.0, 0.5) for name in "ab"] for _ in range(2))
    plain, clock = sample(Method(), *alone)
    looked, looked_clock = watched(FakeProbe(), Method(), *seen)
    assert looked_clock.timed == clock.timed
    one, other = (
        timing_row(sampler.timing(members[0], members[1], None))
        for sampler, members in ((plain, alone), (looked, seen))
    )
    assert {name: other[name] for name in one} == one
    assert (other["throttled"], other["disturbed_rounds"], other["unused_samples"]) == (False, 0, [])


def test_the_machine_is_looked_at_between_rounds_and_never_inside_of_what_is_timed() -> None:
    clock = FakeClock()
    timed: list[tuple[bool, int]] = []
    probe = FakeProbe(watch=lambda: timed.append((clock.inside, len(clock.timed))))
    watched(probe, Method(prime_ms=0), *(Member(n, constant(n, 5.0)) for n in "abc"), clock=clock)
    assert not any(inside for inside, _ in timed)
    counts = [count for _, count in timed][:7]
    assert [after - before for before, after in itertools.pairwise(counts)] == [3] * 6


def test_throttled_rounds_are_kept_but_repeated_and_not_used() -> None:
    probe = FakeProbe([*[CALM] * 3, *[CAPPED] * 4, CALM])
    members = [
        Member(name, lambda name=name, ms=ms, slow=slow: (name, slow if 3 <= probe.reads <= 7 else ms))
        for name, ms, slow in (("nl", 10.0, 90.0), ("gc", 5.0, 10.0))
    ]
    sampler, _ = watched(probe, Method(settle_rounds=6), *members)
    timing = sampler.timing(members[1], members[0], None)
    assert timing.samples == (5.0, 5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 5.0, 5.0, 5.0, 5.0)
    assert timing.unused == (2, 3, 4, 5, 6)
    assert timing.latency == Interval(5.0, 5.0, 5.0)
    assert timing.ratio == Interval(0.5, 0.5, 0.5)
    row = timing_row(timing)
    assert "status" not in row
    assert (row["latency_p90_ms"], row["rounds"], row["stop_reason"]) == (5.0, 11, "interval")
    assert (row["throttled"], row["disturbed_rounds"]) == (True, 5)


@pytest.mark.parametrize("bad", [CAPPED, card(foreign_processes=1)])
def test_a_card_that_is_never_undisturbed_gives_no_figure(bad: object) -> None:
    member = Member("nl", constant("nl", 5.0))
    sampler, _ = watched(FakeProbe([bad]), Method(retry_rounds=8, seconds=0.0), member)
    row = timing_row(sampler.timing(member, member, None))
    assert row["status"] == "invalid"
    assert str(row["reason"]).startswith("0 of 9 rounds were undisturbed, 6 are needed: ")
    assert row["latency_samples_ms"] == [5.0] * 9
    assert (row["stop_reason"], row["disturbed_rounds"]) == ("disturbed", 9)
    assert not {"latency_ms", "latency_ci_low_ms", "latency_min_ms", "ratio", "noise_floor"} & set(row)


def test_short_rounds_are_repeated_until_the_budget_is_spent() -> None:
    member = Member("nl", constant("nl", 5.0))
    sampler, _ = watched(FakeProbe([CAPPED]), Method(retry_rounds=8, seconds=1.0, prime_ms=0), member)
    assert sampler.timing(member, None, None).rounds == pytest.approx(200, abs=1)


def test_repeats_that_come_out_clean_in_time_give_a_figure() -> None:
    member = Member("nl", constant("nl", 5.0))
    sampler, _ = watched(FakeProbe([*[CAPPED] * 9, CALM]), Method(retry_rounds=9, seconds=0.0), member)
    timing = sampler.timing(member, None, None)
    assert (timing.invalid, timing.rounds, len(timing.unused)) == (None, 15, 9)


def test_an_instrument_that_fails_in_mid_run_leaves_nulls_and_the_times_stand() -> None:
    lost = card(sm_clock_mhz=None, throttle=None, missing={"sm_clock_mhz": "GPU is lost", "throttle": "GPU is lost"})
    member = Member("nl", constant("nl", 5.0))
    probe = FakeProbe([CALM, CALM, CALM, lost], energy=lambda: (None, "Not Supported"))
    sampler, _ = watched(probe, Method(), member)
    row = timing_row(sampler.timing(member, None, None))
    assert row["latency_ms"] == 5.0
    assert [row[name] for name in ("sm_clock_mhz", "throttled", "energy_mj")] == [None] * 3
    assert row["telemetry_missing"] == [
        *("energy_mj: Not Supported", "sm_clock_mhz: GPU is lost", "throttled: GPU is lost"),
    ]


def test_every_member_has_the_energy_of_its_own_calls_and_the_twin_has_no_pass() -> None:
    meter = Meter()
    members = [Member(name, meter.call(ms, watts)) for name, ms, watts in (("nl", 2.0, 400.0), ("gc", 8.0, 100.0))]
    twin = Member("twin", constant("twin", 2.0), twin_of=members[0])
    probe = FakeProbe(energy=meter.counter)
    sampler, clock = watched(probe, Method(), *members, twin, clock=meter.clock)
    found = [sampler.timing(member, None, None).telemetry["energy_mj"] for member in (*members, twin)]
    assert found == [pytest.approx(800.0), pytest.approx(800.0), None]
    last_round = max(place for place, (name, _) in enumerate(clock.timed) if name == "twin")
    assert {name for name, _ in clock.timed[last_round + 1 :]} == {"call"}


def test_a_member_that_fails_in_a_disturbed_round_leaves_the_others_to_be_repeated() -> None:
    calls = iter(range(20))

    def fails_late() -> tuple[str, float]:
        if next(calls) > 6:
            raise RuntimeError("boom")
        return "late", 5.0

    late, steady = Member("late", fails_late), Member("steady", constant("steady", 5.0))
    sampler, _ = watched(FakeProbe([CALM, CAPPED, CAPPED, CALM]), Method(settle_rounds=6), late, steady)
    timing = sampler.timing(steady, None, None)
    assert str(late.failure) == "boom"
    assert (timing.invalid, timing.rounds, timing.unused) == (None, 9, (0, 1, 2))


@pytest.mark.parametrize(
    "settings",
    [
        *({"secnds": 1}, {"seconds": "long"}, {"min_rounds": 3}, {"target": -1}, {"seconds": float("nan")}),
        *({"min_rounds": float("inf")}, {"seed": 1.7}, {"repeats": 0}, {"max_rounds": True}),
        *({"rest_seconds": 11}, {"rest_seconds": -0.1}),
    ],
)
def test_bad_method_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        make_method(settings)


def test_the_method_hash_follows_its_settings() -> None:
    assert make_method({"seconds": 2.0}).hash != Method().hash
    assert make_method({"seconds": 1.5}).hash == Method().hash


def test_cold_caches_are_flushed_ahead_of_every_sample_and_never_inside_one() -> None:
    clock = FakeClock()
    seen: list[str] = []

    def call() -> tuple[str, float]:
        assert clock.inside
        seen.append("call")
        return "nl", 0.01

    def flush() -> None:
        assert not clock.inside
        seen.append("flush")

    member = Member("nl", call)
    probe = FakeProbe(energy=lambda: (1.0, None))
    Sampler(clock, Method(sample_ms=1.0, prime_ms=100.0), flush=flush, probe=probe).run([member], seed=1)
    assert seen == ["flush", "call"] * (len(seen) // 2)
    assert (member.repeats, member.primed) == (1, False)
    assert member.energy.mj is None
    assert "flushes" in str(member.energy.reason)


def test_later_settings_are_in_the_hash_and_leave_that_of_the_default_alone() -> None:
    settings = dataclasses.asdict(Method())
    before = {
        name: value
        for name, value in settings.items()
        if name not in ("cache", "cuda_graph", "fold", "rest_seconds", "repeats")
    }
    text = json.dumps(before, sort_keys=True)
    assert Method().hash == hashlib.sha256(text.encode()).hexdigest()[:12]
    given = ({"cache": "cold"}, {"cuda_graph": 1}, {"cache": "cold", "cuda_graph": 1}, {"rest_seconds": 1}, {"fold": 1})
    assert len({Method().hash, *(make_method(settings).hash for settings in given)}) == 6
    assert make_method({"cache": "warm", "cuda_graph": 0, "fold": 0, "rest_seconds": 0}).hash == Method().hash


@pytest.mark.parametrize("value", ["hot", 1, None])
def test_caches_are_warm_or_cold(value: object) -> None:
    with pytest.raises(SpecError, match=r"'cache' must be one of warm, cold, not"):
        make_method({"cache": value})


def test_a_first_call_that_compiles_does_not_decide_how_often_a_sample_calls() -> None:
    pace = iter([600.0])
    member = Member("compiled", lambda: ("compiled", next(pace, 0.02)))
    sample(Method(sample_ms=1.0, prime_ms=1.0), member)
    assert (member.repeats, member.primed, member.brief) == (50, True, True)
