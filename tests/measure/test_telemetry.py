"""Readings of the rounds of a group: which rounds count, and what a row says of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure.energy import Energy
from bench.measure.host import HostProbe, HostReading
from bench.measure.method import Method
from bench.measure.nvml import Card, CardReading, Nvml
from bench.measure.telemetry import MachineProbe, Reading, RoundLog, probe_for
from bench.row import FIELDS

from .fake_probe import CALM, FakeProbe, card

CAPPED = card(throttle=("power cap",))
CROWDED = card(foreign_processes=2)
ALONE = HostReading(2600.0, 0.5, 0.0, 0.1)
UNTOLD = Energy(None)


def host(**changes: float | None) -> Reading:
    calm = {"cpu_mhz": 2600.0, "load_average": 0.5, "steal": 0.0, "foreign_cpus": 0.1}
    return Reading(None, HostReading(**{**calm, **changes}))


def log(*readings: Reading, method: Method | None = None, before: Reading = CALM) -> RoundLog:
    """A log of as many rounds as there are readings."""
    made = RoundLog(FakeProbe([before, *readings]), method or Method())
    made.begin()
    for number in range(len(readings)):
        made.end(number)
    return made


def test_a_calm_machine_is_told_by_its_medians() -> None:
    clocks = (1400.0, 1500.0, 1300.0)
    fields = log(*(card(sm_clock_mhz=mhz, power_w=mhz / 5) for mhz in clocks)).fields(range(3), Energy(12.5))
    assert fields == {
        **{"sm_clock_mhz": 1400.0, "memory_clock_mhz": 2600.0, "temperature_c": 50.0, "power_w": 280.0},
        **dict.fromkeys(("cpu_mhz", "load_average", "steal", "foreign_cpus")),
        **{"energy_mj": 12.5, "throttled": False, "foreign_processes": 0},
        **{"disturbed_rounds": 0, "disturbed_by": [], "unused_samples": [], "telemetry_missing": []},
    }
    assert set(fields) <= set(FIELDS)


def test_cpus_are_told_by_medians_and_shares_of_time_by_means() -> None:
    readings = [host(cpu_mhz=mhz, foreign_cpus=cpus) for mhz, cpus in ((2000.0, 0.0), (3000.0, 0.0), (3100.0, 0.3))]
    fields = log(*readings).fields(range(3), UNTOLD)
    assert (fields["cpu_mhz"], fields["foreign_cpus"]) == (3000.0, pytest.approx(0.1))
    assert all(fields[name] is None for name in ("sm_clock_mhz", "throttled", "foreign_processes", "energy_mj"))
    assert fields["telemetry_missing"] == []


@pytest.mark.parametrize("bad", [CAPPED, CROWDED])
def test_a_round_is_refused_when_either_of_its_ends_is_disturbed(bad: Reading) -> None:
    seen = log(CALM, bad, CALM, CALM)
    assert [seen.counts(number) for number in range(4)] == [True, False, False, True]
    assert not log(CALM, before=bad).counts(0)


def test_what_is_refused_is_told_and_not_in_the_medians() -> None:
    slow = {"sm_clock_mhz": 700.0}
    seen = log(CALM, card(throttle=("power cap",), **slow), card(foreign_processes=2, **slow), card(**slow), CALM)
    fields = seen.fields(range(5), UNTOLD)
    assert fields["sm_clock_mhz"] == 1500.0
    assert (fields["throttled"], fields["foreign_processes"]) == (True, 2)
    assert (fields["disturbed_rounds"], fields["unused_samples"]) == (3, [1, 2, 3])
    assert fields["disturbed_by"] == ["power cap (2 rounds)", "another process on the card (2 rounds)"]


def test_places_of_unused_samples_are_those_of_the_member_s_own_rounds() -> None:
    seen = log(CALM, CAPPED, CALM, CALM)
    assert seen.fields([2, 3], UNTOLD)["unused_samples"] == [0]


def test_with_no_round_left_the_medians_are_those_of_all() -> None:
    fields = log(CAPPED, CAPPED).fields([0, 1], UNTOLD)
    assert (fields["sm_clock_mhz"], fields["unused_samples"]) == (1500.0, [0, 1])


@pytest.mark.parametrize(
    ("reading", "cause"),
    [
        (host(foreign_cpus=0.6), ["other processes on the CPUs (2 rounds)"]),
        (host(steal=0.2), ["CPU time stolen by the hypervisor (2 rounds)"]),
        (host(foreign_cpus=0.4, steal=0.01), []),
        (host(foreign_cpus=None, steal=None), []),
    ],
)
def test_crowded_cpus_are_told_and_their_rounds_count(reading: Reading, cause: list[str]) -> None:
    seen = log(host(), reading, reading, host(), before=host())
    fields = seen.fields(range(4), UNTOLD)
    assert all(seen.counts(number) for number in range(4))
    assert (fields["disturbed_by"], fields["disturbed_rounds"]) == (cause, 2 * len(cause))
    assert (fields["unused_samples"], seen.refusal(range(4))) == ([], None)


def test_the_bounds_are_the_method_s() -> None:
    seen = log(host(foreign_cpus=0.6, steal=0.2), method=Method(foreign_cpus=0.7, steal=0.3))
    assert seen.fields([0], UNTOLD)["disturbed_rounds"] == 0


def test_a_method_may_use_disturbed_rounds_and_tells_them_all_the_same() -> None:
    seen = log(*[CAPPED] * 7, method=Method(use_disturbed=1))
    fields = seen.fields(range(7), UNTOLD)
    assert seen.refusal(range(7)) is None
    assert (fields["throttled"], fields["disturbed_rounds"], fields["unused_samples"]) == (True, 7, [])


def test_too_few_good_rounds_are_refused_with_figures_and_causes() -> None:
    seen = log(CALM, CALM, *[CAPPED] * 7)
    assert seen.refusal(range(9)) == "2 of 9 rounds were undisturbed, 6 are needed: power cap (7 rounds)"
    assert log(*[CALM] * 6, *[CAPPED] * 7).refusal(range(13)) is None


def test_a_quantity_lost_in_mid_run_is_null_with_its_reason_and_the_others_stay() -> None:
    lost = Reading(CardReading(1500.0, 2600.0, 50.0, missing={"power_w": "GPU is lost", "throttle": "Timeout"}))
    seen = log(CALM, CALM, lost, lost)
    fields = seen.fields(range(4), Energy(None, "Not Supported"))
    assert fields["telemetry_missing"] == ["energy_mj: Not Supported", "power_w: GPU is lost", "throttled: Timeout"]
    assert [fields[name] for name in ("power_w", "throttled", "energy_mj")] == [None] * 3
    assert (fields["sm_clock_mhz"], fields["disturbed_rounds"]) == (1500.0, 0)


def test_rounds_too_short_for_a_reading_say_so() -> None:
    fields = log(host(steal=None, foreign_cpus=None)).fields([0], UNTOLD)
    assert (fields["steal"], fields["foreign_cpus"]) == (None, None)
    told = "sampling was shorter than one reading takes"
    assert fields["telemetry_missing"] == [f"foreign_cpus: {told}", f"steal: {told}"]


def test_where_nobody_looks_every_round_counts_and_a_row_says_nothing() -> None:
    silent = RoundLog(None, Method())
    silent.begin()
    assert silent.end(0)
    assert (silent.fields([0], UNTOLD), silent.refusal([0])) == ({}, None)


@pytest.mark.parametrize(
    ("readings", "use", "expected"),
    [
        ([CALM, CALM], 0, Energy(9.0)),
        ([CALM, CAPPED], 0, Energy(None, "measured under power cap")),
        ([CROWDED, CALM], 0, Energy(None, "measured under another process on the card")),
        ([CAPPED, CAPPED], 1, Energy(9.0)),
    ],
)
def test_energy_of_a_disturbed_card_is_null(readings: list[Reading], use: int, expected: Energy) -> None:
    made = RoundLog(FakeProbe(readings), Method(use_disturbed=use))
    assert made.energy(lambda: Energy(9.0)) == expected


def test_the_machine_s_probe_reads_what_it_has(tmp_path: Path) -> None:
    probe = MachineProbe(HostProbe(tmp_path), Nvml(None, Card(None, None)))
    reading = probe.read()
    assert reading.card is not None
    assert reading.host is not None
    assert probe.energy_mj() == (None, "the Python module pynvml is not installed")
    assert MachineProbe(HostProbe(tmp_path)).energy_mj() == (None, None)


def test_on_a_cpu_no_card_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.telemetry.open_nvml", lambda ours: Nvml(None, Card(None, None), ours))
    assert probe_for("cpu").card is None
    assert probe_for("cuda").card is not None
