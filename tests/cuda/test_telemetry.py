"""What only a card can show of telemetry: NVML finds the card that PyTorch computes on, and its counter counts."""

from __future__ import annotations

import pytest
import torch

from bench.measure.clock import clock_for
from bench.measure.energy import energy_per_call
from bench.measure.method import Method
from bench.measure.sampler import Member, Sampler, timing_row
from bench.measure.telemetry import probe_for

pytestmark = pytest.mark.cuda


def test_the_card_is_found_and_every_null_has_its_reason() -> None:
    torch.zeros(1, device="cuda")
    reading = probe_for("cuda").read()
    assert reading.card is not None
    for name in ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "throttle", "foreign_processes"):
        assert (getattr(reading.card, name) is None) == (name in reading.card.missing), name


def test_more_work_takes_more_energy() -> None:
    probe = probe_for("cuda")
    if probe.energy_mj()[0] is None:
        pytest.skip(f"no energy counter: {probe.energy_mj()[1]}")
    a = torch.randn(4096, 4096, device="cuda")
    clock = clock_for("cuda")

    def products(count: int) -> None:
        for _ in range(count):
            torch.mm(a, a)

    products(3)
    one, four = (
        energy_per_call(lambda n=n: products(n), clock.time(lambda n=n: products(n)), clock, probe.energy_mj, 0.3).mj
        for n in (1, 4)
    )
    assert one is not None
    assert four is not None
    assert four > 2 * one > 0


def test_a_watched_group_has_a_row_of_the_card_or_reasons() -> None:
    a = torch.randn(1024, 1024, device="cuda")
    member = Member("product", lambda: torch.mm(a, a))
    sampler = Sampler(clock_for("cuda"), Method(seconds=0.2), probe=probe_for("cuda"))
    sampler.run([member], 1)
    row = timing_row(sampler.timing(member, None, None))
    told = {str(line).partition(":")[0] for line in row["telemetry_missing"]}
    for name in ("sm_clock_mhz", "temperature_c", "throttled", "foreign_processes", "energy_mj"):
        assert (row[name] is None) == (name in told), name
    if row.get("status") != "invalid":
        assert row["latency_ms"] > 0
