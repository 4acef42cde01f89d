"""The machine's rates, by a clock that invents how long work takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.measure import machine
from bench.measure.machine import copy, measure_machine, product


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


def test_a_rate_is_work_over_the_time_of_the_fastest_call() -> None:
    pace = copy("cpu", Stopwatch(99.0, 40.0, 20.0, 30.0), seconds=0.0, free_bytes=2**20)
    assert (pace.size, pace.work, pace.calls) == (16 * 2**20, 32 * 2**20, 3)
    assert (pace.fastest_ms, pace.median_ms) == (20.0, 30.0)
    assert pace.rate == pytest.approx(32 * 2**20 / 0.02)


def test_a_product_counts_two_flops_a_multiply_add() -> None:
    pace = product("fp32", "cpu", Stopwatch(300.0), seconds=0.5)
    assert (pace.size, pace.work) == (256, 2 * 256**3)
    assert pace.rate == pytest.approx(2 * 256**3 / 0.3)


def test_products_grow_until_they_last_long_enough_to_measure() -> None:
    assert product("fp32", "cpu", Stopwatch(*[1.0] * 4, 400.0), seconds=0.5).size == 256
    grown = product("fp32", "cpu", Stopwatch(*[1.0] * 4, *[2.0] * 4, 40.0), seconds=0.5)
    assert (grown.size, grown.calls) == (512, 3)
    assert (
        product("fp32", "cpu", Stopwatch(*[1.0] * 4, *[2.0] * 4, 10.0), seconds=0.5, free_bytes=60 * 2**20).size == 1024
    )


def test_products_and_copies_stay_within_a_quarter_of_the_memory() -> None:
    free = 4 * 3 * 512 * 512 * 4
    assert product("fp32", "cpu", Stopwatch(*[8.0] * 4, 1.0), seconds=0.1, free_bytes=free).size == 512
    assert copy("cpu", Stopwatch(1.0), 0.0, free_bytes=8 * 64 * 2**20).size == 64 * 2**20


def test_the_rates_of_a_cpu_and_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_COPIES", (16 * 2**20,))
    rates = measure_machine("cpu", Stopwatch(300.0), seconds=0.5)
    assert rates == pytest.approx({"gemm_fp32_tflops": 2 * 256**3 / 0.3 / 1e12, "copy_gb_s": 32 * 2**20 / 0.3 / 1e9})


def test_what_cannot_be_computed_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(machine, "_noise", full)
    assert measure_machine("cpu", Stopwatch(300.0)) == {}


def test_a_memory_that_is_full_ends_the_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    given = machine._noise

    def small(count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        if count > 512**2:
            raise RuntimeError("out of memory")
        return given(count, dtype, device)

    monkeypatch.setattr(machine, "_noise", small)
    assert product("fp32", "cpu", Stopwatch(*[8.0] * 4, 1.0), seconds=0.5).size == 512


def test_nobody_else_s_random_numbers_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_COPIES", (16 * 2**20,))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    measure_machine("cpu", Stopwatch(300.0))
    assert torch.equal(torch.rand(3), expected)


def test_tf32_is_allowed_for_its_own_product_alone_and_then_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ["medium"]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: now[0])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda word: now.__setitem__(0, word))
    for name, word in (("tf32", "high"), ("fp32", "highest"), ("bf16", "highest")):
        with machine._precision(name, "cuda"):
            assert now == [word]
        assert now == ["medium"]
    with machine._precision("fp32", "cpu"):
        assert now == ["medium"]


@pytest.mark.cuda
def test_the_rates_of_a_card() -> None:
    from bench.measure.clock import clock_for

    rates = measure_machine("cuda", clock_for("cuda"), seconds=0.1)
    assert set(rates) == {"gemm_fp32_tflops", "gemm_tf32_tflops", "gemm_bf16_tflops", "gemm_fp16_tflops", "copy_gb_s"}
    assert rates["gemm_bf16_tflops"] > 1
    assert rates["copy_gb_s"] > 50
