"""The machine's rates, by a clock that invents how long work takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.measure import machine
from bench.measure.host import HostReading
from bench.measure.machine import FOOTPRINTS_MIB, KINDS, copy, measure_machine, product
from bench.measure.method import Method
from bench.measure.nvml import CardReading
from bench.measure.telemetry import Reading
from tests.measure.fake_probe import CALM, FakeProbe, card


class Stopwatch:
    """Says one time after another for the calls it is given, the last one for ever; runs none of them."""

    def __init__(self, *milliseconds: float) -> None:
        self.left = list(milliseconds)
        self.seconds = 0.0
        self.timed = 0

    def time(self, call: Callable[[], object], repeats: int = 1) -> float:
        told = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        self.timed += 1
        self.seconds += told * repeats / 1e3
        return told

    def now(self) -> float:
        return self.seconds


METHOD = Method(seconds=0.5)
BUSY = Reading(None, HostReading(foreign_cpus=1.0))
IDLE = Reading(None, HostReading(foreign_cpus=0.0, steal=0.0))


def test_a_rate_is_work_over_the_time_of_the_fastest_call() -> None:
    pace = copy("cpu", Stopwatch(99.0, 40.0, 20.0, 30.0), seconds=0.0, mib=16)
    assert (pace.size, pace.work, pace.calls) == (16 * 2**20, 16 * 2**20, 3)
    assert (pace.fastest_ms, pace.median_ms) == (20.0, 30.0)
    assert pace.rate == pytest.approx(16 * 2**20 / 0.02)


def test_short_calls_are_repeated_within_a_sample() -> None:
    clock = Stopwatch(0.01)
    copy("cpu", clock, seconds=0.0, mib=1)
    assert clock.seconds == pytest.approx(1e-5 * (1 + 3 * 100))


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_counts_two_flops_a_multiply_add(kind: str) -> None:
    pace = product("fp32", "cpu", Stopwatch(300.0), seconds=0.5, kind=kind)
    assert (pace.size, pace.work) == (256, 2 * 256**3)
    assert pace.rate == pytest.approx(2 * 256**3 / 0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_as_many_multiply_adds_as_its_rate_counts(kind: str) -> None:
    from bench.static.flops import DispatchCount
    from bench.static.trace import Trace

    for side in (256, 512):
        count = DispatchCount()
        call = machine._multiply(kind, side, torch.float32, "cpu")
        with Trace(count):
            call()
        assert count.macs == side**3


def test_products_grow_until_they_last_long_enough_and_the_fastest_size_counts() -> None:
    assert product("fp32", "cpu", Stopwatch(*[1.0] * 4, 400.0), seconds=0.5).size == 256
    grown = product("fp32", "cpu", Stopwatch(*[1.0] * 4, *[2.0] * 4, 40.0), seconds=0.5)
    assert (grown.size, grown.fastest_ms, grown.median_ms) == (512, 2.0, 40.0)
    small = product("fp32", "cpu", Stopwatch(*[1.0] * 4, *[2.0] * 4, 10.0), seconds=0.5, free_bytes=60 * 2**20)
    assert small.size == 1024


def test_the_fastest_size_is_measured_for_as_long_as_was_asked() -> None:
    clock = Stopwatch(10.0)
    assert product("fp32", "cpu", clock, seconds=2.0, free_bytes=2**20).calls == 200


def test_products_and_copies_stay_within_a_quarter_of_the_memory() -> None:
    free = 4 * 3 * 512 * 512 * 4
    assert product("fp32", "cpu", Stopwatch(*[8.0] * 4, 1.0), seconds=0.1, free_bytes=free).size == 512
    rates = measure_machine("cpu", Stopwatch(300.0), METHOD, free_bytes=64 * 2**20)
    assert [name for name in rates.best if name.startswith("copy")] == [f"copy_{mib}_mib_gb_s" for mib in (1, 4, 16)]


def test_the_rates_of_a_cpu_and_their_units() -> None:
    rates = measure_machine("cpu", Stopwatch(300.0), METHOD)
    products = {f"{kind}_fp32_tflops": 2 * 256**3 / 0.3 / 1e12 for kind in KINDS}
    copies = {f"copy_{mib}_mib_gb_s": mib * 2**20 / 0.3 / 1e9 for mib in FOOTPRINTS_MIB}
    assert rates.best == pytest.approx(products | copies)
    assert (rates.refused, rates.passes) == ({}, 1)


def test_no_probe_takes_longer_than_a_group_may() -> None:
    clock = Stopwatch(10.0)
    measure_machine("cpu", clock, Method(seconds=0.02), free_bytes=2**20)
    assert clock.seconds < 0.5


def test_a_probe_during_which_others_were_on_the_cpus_is_refused() -> None:
    """Of the readings ahead of each probe and behind it, only those behind the second and the third are busy."""
    probe = FakeProbe([IDLE, IDLE, IDLE, BUSY, IDLE, BUSY, IDLE])
    rates = measure_machine("cpu", Stopwatch(300.0), METHOD, probe=probe)
    assert rates.refused == dict.fromkeys(("bmm_fp32_tflops", "conv1x1_fp32_tflops"), "other processes on the CPUs")
    assert "mm_fp32_tflops" in rates.best
    assert not set(rates.refused) & set(rates.best)


def test_stolen_time_and_another_process_on_the_card_refuse_a_probe_but_its_own_heat_does_not() -> None:
    stolen = Reading(None, HostReading(steal=0.2))
    for reading, causes in (
        (stolen, {"CPU time stolen by the hypervisor"}),
        (card(foreign_processes=1), {"another process on the card"}),
        (card(throttle=("power cap",)), set()),
        (card(throttle=("sync boost",)), {"sync boost"}),
        (CALM, set()),
    ):
        rates = measure_machine("cpu", Stopwatch(300.0), METHOD, probe=FakeProbe([reading]))
        assert set(rates.refused.values()) == causes
        assert bool(rates.best) != bool(causes)


def test_what_is_disturbed_ahead_of_a_probe_counts_for_the_card_alone() -> None:
    """A card's state is that of a moment; the host's counters behind a probe cover the probe."""
    other = Reading(CardReading(foreign_processes=1), None)
    assert machine.disturbance(other, IDLE, METHOD) == ["another process on the card"]
    assert machine.disturbance(BUSY, IDLE, METHOD) == []


def test_what_cannot_be_computed_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(machine, "_noise", full)
    monkeypatch.setattr(torch, "ones", full)
    assert measure_machine("cpu", Stopwatch(300.0), METHOD).best == {}


def test_a_memory_that_is_full_ends_the_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    given = machine._noise

    def small(count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        if count > 512**2:
            raise RuntimeError("out of memory")
        return given(count, dtype, device)

    monkeypatch.setattr(machine, "_noise", small)
    assert product("fp32", "cpu", Stopwatch(*[8.0] * 4, 1.0), seconds=0.5).size == 512


def test_nobody_else_s_random_numbers_change() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    measure_machine("cpu", Stopwatch(300.0), METHOD)
    assert torch.equal(torch.rand(3), expected)


def test_tf32_is_allowed_for_its_own_probes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[tuple[bool, bool]] = []
    monkeypatch.setattr(machine, "set_tf32", lambda convolutions, products: now.append((convolutions, products)))
    monkeypatch.setattr(machine, "ieee_fp32", lambda: now.append((False, False)))
    for name, allowed in (("tf32", True), ("fp32", False), ("bf16", False)):
        with machine._precision(name, "cuda"):
            assert now.pop() == (allowed, allowed)
        assert now.pop() == (False, False)
    with machine._precision("fp32", "cpu"):
        pass
    assert not now


@pytest.mark.cuda
def test_the_rates_of_a_card() -> None:
    from bench.measure.clock import clock_for

    rates = measure_machine("cuda", clock_for("cuda"), Method(seconds=0.1)).best
    products = {f"{kind}_{name}_tflops" for kind in KINDS for name in ("fp32", "tf32", "bf16", "fp16")}
    assert set(rates) == products | {f"copy_{mib}_mib_gb_s" for mib in FOOTPRINTS_MIB}
    assert rates["mm_bf16_tflops"] > 1
    assert rates["copy_256_mib_gb_s"] > 50
