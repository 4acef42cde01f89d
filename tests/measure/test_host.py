"""A machine in a folder: what its /proc says comes out in the right units, and what it lacks is null with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure.host import WINDOW_SECONDS, HostProbe, HostReading

TICK = 0.01


class Machine:
    """CPUs whose counters are set by hand."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.proc, self.cpus = folder / "proc", folder / "cpu"
        self.proc.mkdir(parents=True)
        self.seconds, self.own = 0.0, 0.0
        self.busy, self.idle, self.stolen = [0.0] * cpus, [0.0] * cpus, [0.0] * cpus
        (self.proc / "loadavg").write_text("1.25 0.80 0.40 2/300 4242\n")
        cores = (f"processor\t: {n}\ncpu MHz\t\t: {2000 + 100 * n}.5\n\n" for n in range(cpus))
        (self.proc / "cpuinfo").write_text("".join(cores))
        self.write()

    def write(self) -> None:
        rows = zip(self.busy, self.idle, self.stolen, strict=True)
        # user nice system idle iowait irq softirq steal guest guest_nice; half of what is busy is in the kernel
        lines = [
            f"cpu{n} {busy / 2 / TICK:.0f} 0 {busy / 2 / TICK:.0f} {idle / TICK:.0f} 0 0 0 {stolen / TICK:.0f} 77 0"
            for n, (busy, idle, stolen) in enumerate(rows)
        ]
        (self.proc / "stat").write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 5 0", ""]))

    def spend(self, seconds: float, busy: list[float], own: float, stolen: float = 0.0) -> None:
        """Time passes: seconds for which each CPU was busy, that this process used of them, and that each CPU lost."""
        self.seconds += seconds
        self.own += own
        for n, share in enumerate(busy):
            self.busy[n] += share
            self.stolen[n] += stolen
            self.idle[n] += seconds - share - stolen
        self.write()

    def probe(self, *allowed: int) -> HostProbe:
        return HostProbe(self.proc, self.cpus, allowed, lambda: self.seconds, lambda: self.own, TICK)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, 4)


def test_frequency_and_load_are_read(machine: Machine) -> None:
    reading = machine.probe(0, 1, 2, 3).read()
    assert reading.cpu_mhz == pytest.approx(2150.5)
    assert reading.load_average == 1.25


def test_a_pinned_process_counts_its_own_cpus_alone(machine: Machine) -> None:
    probe = machine.probe(2, 3)
    machine.spend(1.0, [1.0, 1.0, 0.6, 0.2], own=0.5)
    reading = probe.read()
    assert reading.cpu_mhz == pytest.approx(2250.5)
    assert reading.foreign_cpus == pytest.approx(0.3)


def test_others_have_what_was_busy_less_what_was_ours(machine: Machine) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.spend(2.0, [2.0, 2.0, 1.0, 0.0], own=3.0)
    assert probe.read().foreign_cpus == pytest.approx(1.0)
    machine.spend(1.0, [1.0, 1.0, 0.0, 0.0], own=2.0)
    assert probe.read().foreign_cpus == pytest.approx(0.0)


def test_counters_that_lag_behind_our_own_time_are_no_negative_load(machine: Machine) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.spend(0.5, [0.5, 0.46, 0.0, 0.0], own=1.0)
    assert probe.read().foreign_cpus == 0.0


def test_steal_is_a_share_of_all_cpu_time(machine: Machine) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.spend(1.0, [0.5, 0.5, 0.5, 0.5], own=2.0, stolen=0.25)
    reading = probe.read()
    assert reading.steal == pytest.approx(0.25)
    assert reading.foreign_cpus == pytest.approx(0.0)


def test_until_there_has_been_a_window_shares_are_unknown_but_not_missing(machine: Machine) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.spend(WINDOW_SECONDS / 2, [0.1] * 4, own=0.0)
    early = probe.read()
    assert (early.steal, early.foreign_cpus, early.missing) == (None, None, {})
    machine.spend(WINDOW_SECONDS / 2, [0.1] * 4, own=0.0)
    assert probe.read().foreign_cpus == pytest.approx(0.8 / WINDOW_SECONDS)


def test_short_rounds_are_judged_by_the_last_window_and_long_ones_by_themselves(machine: Machine) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.spend(10.0, [10.0] * 4, own=0.0)
    assert probe.read().foreign_cpus == pytest.approx(4.0)
    for _ in range(3):
        machine.spend(0.1, [0.1, 0.0, 0.0, 0.0], own=0.0)
        last = probe.read()
    assert last.foreign_cpus == pytest.approx(1.0)
    machine.spend(5.0, [0.0] * 4, own=0.0)
    assert probe.read().foreign_cpus == 0.0


def test_counters_that_stand_still_tell_nothing(machine: Machine) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.seconds += 1.0
    reading = probe.read()
    assert (reading.steal, reading.foreign_cpus) == (None, None)
    assert "stands still" in reading.missing["steal"]
    assert "stands still" in reading.missing["foreign_cpus"]


def test_frequency_comes_from_the_governor_where_cpuinfo_lacks_it(machine: Machine) -> None:
    (machine.proc / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp\n")
    for number, khz in enumerate([1_000_000, 3_000_000]):
        file = machine.cpus / f"cpu{number}/cpufreq/scaling_cur_freq"
        file.parent.mkdir(parents=True)
        file.write_text(f"{khz}\n")
    assert machine.probe(0, 1, 2, 3).read().cpu_mhz == pytest.approx(2000.0)


def test_frequency_is_read_once_a_window(machine: Machine) -> None:
    probe = machine.probe(0)
    (machine.proc / "cpuinfo").write_text("processor\t: 0\ncpu MHz\t: 900\n")
    machine.seconds += WINDOW_SECONDS / 2
    assert probe.read().cpu_mhz == 2000.5
    machine.seconds += WINDOW_SECONDS
    assert probe.read().cpu_mhz == 900.0


def test_a_machine_without_proc_is_all_nulls_with_reasons(tmp_path: Path) -> None:
    reading = HostProbe(tmp_path / "none", tmp_path / "none").read()
    assert reading == HostReading(missing=reading.missing)
    assert set(reading.missing) == {"cpu_mhz", "load_average", "steal", "foreign_cpus"}
    assert reading.missing.pop("cpu_mhz").startswith("neither")
    assert all(reason.endswith("No such file or directory") for reason in reading.missing.values())


@pytest.mark.parametrize(("file", "lost"), [("loadavg", ["load_average"]), ("stat", ["foreign_cpus", "steal"])])
@pytest.mark.parametrize("text", ["", "cpu0 what\n", "cpu0 1 2 3\n"])
def test_a_file_of_another_shape_costs_its_figures_alone(
    machine: Machine, file: str, lost: list[str], text: str
) -> None:
    probe = machine.probe(0, 1, 2, 3)
    machine.spend(1.0, [0.5] * 4, own=0.0)
    (machine.proc / file).write_text(text)
    assert sorted(probe.read().missing) == lost


def test_this_machine_is_read_without_an_error() -> None:
    reading = HostProbe().read()
    for name in ("cpu_mhz", "load_average", "steal", "foreign_cpus"):
        value = getattr(reading, name)
        assert value is None or value >= 0
        assert name not in reading.missing or value is None
