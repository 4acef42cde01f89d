"""The self-test: it passes what is true, and notices every instrument that is made to read false."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import bench.selftest as room
from bench.measure.method import Method
from bench.measure.peak import CpuPeak, CudaPeak
from bench.report import FORMATS, show_selftest
from bench.selftest import Line, memory, noise, reads_false, selftest, timer, work
from bench.selftest.memory import EXPECTED
from tests.command.conftest import command  # noqa: F401
from tests.measure.fake import FakeClock, constant
from tests.measure.test_machine import Stopwatch

FAST = Method(seconds=0.01, warm_seconds=0.001, sample_ms=0.001, max_rounds=10)


class World:
    """A host with one true time, and a clock that shows it times a factor."""

    def __init__(self, factor: float = 1.0, interrupted_ms: float = 0.0, launch_only: bool = False) -> None:
        self.ms = 0.0
        self.queued_ms = 0.0
        self.factor, self.interrupted_ms, self.launch_only = factor, interrupted_ms, launch_only

    def sleep(self) -> None:
        self.ms += 50.0

    def launch(self) -> None:
        self.queued_ms += 50.0

    def finish(self) -> None:
        self.ms, self.queued_ms = self.ms + self.queued_ms, 0.0

    def seconds(self) -> float:
        return self.ms / 1e3

    def time(self, call: Callable[[], object], repeats: int = 1) -> float:
        start = self.ms
        call()
        if not self.launch_only:
            self.finish()
        read = (self.ms - start) * self.factor
        self.ms += self.interrupted_ms
        self.interrupted_ms = 0.0
        return read

    def now(self) -> float:
        return self.seconds()


def delay(world: World) -> Line:
    return timer.delay(world, world.sleep, witness=world.seconds)


def device_delay(world: World) -> Line:
    return timer.delay(world, world.launch, world.finish, world.seconds)


@pytest.mark.parametrize("wait", [delay, device_delay])
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.015, "pass"), (2.0, "fail"), (0.5, "fail")])
def test_a_clock_that_runs_at_another_speed_is_false(
    wait: Callable[[World], Line], factor: float, verdict: str
) -> None:
    assert wait(World(factor)).verdict == verdict


@pytest.mark.parametrize("factor", [0.97, 1.03, 0.0])
def test_three_percent_are_noticed_and_so_is_a_clock_that_stands_still(factor: float) -> None:
    assert delay(World(factor)).verdict == "fail"


def test_an_interruption_is_not_the_clock_s_fault() -> None:
    assert delay(World(interrupted_ms=30.0)).verdict == "pass"


def test_a_clock_that_times_the_launch_alone_is_false() -> None:
    assert device_delay(World(launch_only=True)).verdict == "fail"


def test_a_wait_that_both_clocks_see_too_short_is_false() -> None:
    world = World()
    assert timer.delay(world, lambda: setattr(world, "ms", world.ms + 25.0), witness=world.seconds).verdict == "fail"


def test_a_spin_is_made_fifty_milliseconds_long_once_the_device_runs_at_speed() -> None:
    world, mhz = World(), itertools.chain([400.0] * 5, itertools.repeat(2000.0))

    def spin(cycles: int) -> None:
        world.queued_ms += cycles / (1e3 * next(mhz))

    assert timer.spin_cycles(spin, world.finish, world.seconds) == 100_000_000


def test_a_device_that_cannot_spin_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cuda, "_sleep")
    assert timer.known_delay("cuda", Stopwatch(50.0)).verdict == "unverified"


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        ((1e-4, 2e-4), "pass"),
        ((0.05, 0.0501), "warn"),
        ((0.0, 0.0, 1.0), "warn"),
        ((0.0,), "fail"),
        ((-1.0, 1.0), "fail"),
    ],
)
def test_a_clock_s_step_and_cost(readings: tuple[float, ...], verdict: str) -> None:
    turn = list(readings) * 1000
    assert timer.step(Stopwatch(*turn)).verdict == verdict


def test_step_and_cost_are_told_in_fitting_units() -> None:
    turn = [0.0005, 0.0005, 0.0006] * 400
    assert (
        "step 100 ns, an empty call reads 500 ns; the shortest sample lasts 1 ms" in timer.step(Stopwatch(*turn)).figure
    )


def test_both_counters_are_exact_and_either_s_mistake_is_noticed() -> None:
    true = work.M * work.N * work.K
    assert work.counters().verdict == "pass"
    for pair in ((true, 2 * true), (2 * true, true), (true + 1, true + 1)):
        line = work.counters(*(lambda count=count: count for count in pair))
        assert line.verdict == "fail"
        assert f"{pair[0]:,} by dispatch" in line.figure


@pytest.mark.parametrize(("times", "verdict"), [((300.0,), "pass"), ((9.0, 300.0, 400.0, 400.0, 9.0), "warn")])
def test_rates_and_how_steady_they_are(times: tuple[float, ...], verdict: str) -> None:
    line = work.move("cpu", Stopwatch(*times), 2**20, seconds=0.0)
    assert line.verdict == verdict
    assert f"{2**20 / 0.3 / 1e9:.3g} GB/s" in line.figure


def test_a_product_is_told_in_flops_and_macs() -> None:
    line = work.multiply("fp32", "cpu", Stopwatch(300.0), 2**30)
    assert f"{2 * 256**3 / 0.3 / 1e12:.3g} TFLOP/s (256 a side, {256**3 / 1e9:.4g} GMACs" in line.figure


def test_the_traced_peak_is_exact_and_a_byte_more_is_noticed() -> None:
    assert memory.traced().verdict == "pass"
    assert memory.traced(lambda: EXPECTED + 1).verdict == "fail"
    assert memory.traced(lambda: EXPECTED + memory.LARGE).verdict == "fail"


@pytest.mark.parametrize(
    ("allocated", "reserved", "verdict"),
    [
        (EXPECTED, 34 * 2**20, "pass"),
        (EXPECTED + 512, 34 * 2**20, "warn"),
        (EXPECTED, EXPECTED, "warn"),
        (EXPECTED - 1, 34 * 2**20, "fail"),
        (EXPECTED + memory.LARGE, 80 * 2**20, "fail"),
        (EXPECTED, 2**20, "fail"),
    ],
)
def test_the_cuda_peak_of_a_known_allocation(allocated: int, reserved: int, verdict: str) -> None:
    assert memory.on_card("cuda", lambda call: CudaPeak(allocated, reserved)).verdict == verdict


def test_the_cpu_peak_of_a_known_allocation() -> None:
    known = memory.LARGE + memory.SMALL
    assert memory.on_cpu().verdict == "pass"
    assert memory.on_cpu(lambda call: CpuPeak(known + 1)).verdict == "fail"
    assert memory.on_cpu(lambda call: CpuPeak(known + memory.LARGE)).verdict == "fail"
    unread = memory.on_cpu(lambda call: CpuPeak(None, "no profiler"))
    assert (unread.verdict, "no profiler" in unread.figure) == ("unverified", True)


@pytest.mark.parametrize(
    ("said", "faults", "verdict"),
    [
        ("glibc, memory retained", 0, "pass"),
        ("glibc, memory retained", 16_000, "warn"),
        ("system default", 16_000, "warn"),
        ("system default", 0, "unverified"),
    ],
)
def test_host_memory_is_kept_or_not(said: str, faults: int, verdict: str) -> None:
    assert memory.host(lambda: said, lambda: faults).verdict == verdict


@pytest.mark.parametrize(("second", "verdict"), [(1.0, "pass"), (1.2, "warn")])
def test_twins_that_come_apart_are_a_warning(second: float, verdict: str) -> None:
    calls = iter([constant("one", 1.0), constant("twin", second)])
    line = noise.twins("cpu", FakeClock(), FAST, lambda device: next(calls))
    assert line.verdict == verdict
    assert f"floor {second - 1:.2%}, median ratio {second:.4f}" in line.figure


def test_a_block_that_fails_leaves_the_noise_unknown() -> None:
    def broken() -> None:
        raise RuntimeError("no such kernel")

    line = noise.twins("cpu", FakeClock(), FAST, lambda device: broken)
    assert (line.verdict, line.figure) == ("unverified", "could not be verified here: no such kernel")


def test_a_check_that_breaks_is_unverified_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Line:
        raise OSError("gone\nfor good")

    fine = Line("fine", "pass", "1", "it is")
    monkeypatch.setattr(room, "checks", lambda *_: {"broken": broken, "fine": lambda: fine})
    told: list[str] = []
    first, second = selftest("cpu", Path(), Stopwatch(1.0), told.append)
    assert (first.name, first.verdict) == ("broken", "unverified")
    assert first.figure == "could not be verified here: OSError: gone for good"
    assert second == fine
    assert told == ["broken", "fine"]


def test_a_line_has_one_of_the_verdicts() -> None:
    with pytest.raises(ValueError, match="pass, warn, fail, unverified"):
        Line("name", "maybe", "", "")


LINES = [
    Line("timer", "pass", "step 1 ns", "cost"),
    Line("copy", "warn", "3 GB/s", "the slope"),
    Line("CUDA peak", "unverified", "could not be verified here: no card", "peaks"),
]
FALSE = Line("known delay", "fail", "50 ms asked, 100 ms read", "a wait is read as long as it is")


def test_only_a_false_reading_fails() -> None:
    assert not reads_false(LINES)
    assert reads_false([*LINES, FALSE])


@pytest.mark.parametrize("name", FORMATS)
def test_lines_are_printed_in_every_format(name: str) -> None:
    text = show_selftest([dataclasses.asdict(line) for line in [*LINES, FALSE]], name)
    assert "50 ms asked, 100 ms read" in text
    assert "no card" in text
    if name == "json":
        assert json.loads(text)[3] == dataclasses.asdict(FALSE)
    if name == "table":
        assert text.endswith("1 pass, 1 with a warning, 1 FALSE, 1 could not be verified here.")
        assert "known delay: a wait is read as long as it is." in text


@pytest.mark.parametrize(("lines", "code"), [(LINES, 0), ([*LINES, FALSE], 3)])
def test_the_command_exits_by_what_it_found(
    command: Callable[..., tuple[int, str, str]],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lines: list[Line],
    code: int,
) -> None:
    monkeypatch.setattr(room, "selftest", lambda device, folder, told: lines)
    done, out, _ = command("selftest", "--device", "cpu", "--out", tmp_path, "--format", "json")
    assert done == code
    assert [line["verdict"] for line in json.loads(out)] == [line.verdict for line in lines]


def test_a_device_that_is_not_there_is_one_line(command: Callable[..., tuple[int, str, str]]) -> None:  # noqa: F811
    code, _, err = command("selftest", "--device", "tpu")
    assert code == 2
    assert err.count("\n") == 1


def test_every_instrument_is_checked() -> None:
    assert list(room.checks("cpu", Path(), Stopwatch(1.0))) == [
        *("other load", "other load on the GPU", "CPU clock", "timer", "known delay", "multiply-adds", "traced peak"),
        *("CUDA peak", "CPU peak", "matrix product fp32", "copy", "cold caches", "GPU clock", "host memory"),
        *("A/A noise", "disk"),
    ]


@pytest.mark.cuda
def test_the_instruments_read_true_on_a_card(tmp_path: Path) -> None:
    lines = {line.name: line for line in selftest("cuda", tmp_path)}
    assert not reads_false(list(lines.values())), lines
    for name in (
        "timer",
        "known delay",
        "CUDA peak",
        "copy",
        *(f"matrix product {d}" for d in ("fp32", "tf32", "bf16")),
    ):
        assert lines[name].verdict in ("pass", "warn"), lines[name]
