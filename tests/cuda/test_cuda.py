"""What only a CUDA device can show: event time, peak memory, and a sweep from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.case import make_case
from bench.environment import available_bytes, describe_environment
from bench.measure.cache import Flush, cache_bytes
from bench.measure.clock import CudaClock, clock_for
from bench.measure.graph import NotCapturable, captured
from bench.measure.peak import cuda_peak
from bench.static import trace_figures
from bench.workload import build
from tests.command.conftest import command, mini  # noqa: F401

pytestmark = pytest.mark.cuda


def test_event_time_follows_the_length_of_a_device_delay() -> None:
    clock = clock_for("cuda")
    assert isinstance(clock, CudaClock)
    clock.time(lambda: torch.cuda._sleep(1))  # the first call loads the kernel
    short, long = (clock.time(lambda n=cycles: torch.cuda._sleep(n)) for cycles in (10**6, 10**7))
    assert long > 5 * short > 0


def test_event_time_is_the_device_s_and_not_the_launch_s() -> None:
    clock = clock_for("cuda")
    one, ten = (clock.time(lambda: torch.cuda._sleep(10**7), repeats=n) for n in (1, 10))
    assert one == pytest.approx(ten, rel=0.2)


def test_peak_sees_a_known_allocation_above_the_baseline() -> None:
    resident = torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
    peak = cuda_peak(lambda: torch.empty(32 * 2**20, dtype=torch.uint8, device="cuda"))
    assert peak.allocated == 32 * 2**20
    assert peak.reserved >= peak.allocated
    del resident


OUT_OF_PLACE = pytest.mark.xfail(
    strict=True, reason="autograd adds the gradients of a map that is used twice in place, its trace out of place"
)


@pytest.mark.parametrize(
    ("block", "mode"),
    [
        *((block, "forward") for block in ("nl", "snl", "gc", "cgnl", "apnb")),
        *((block, "train") for block in ("nl", "cgnl", "apnb")),
        *(pytest.param(block, "train", marks=OUT_OF_PLACE) for block in ("snl", "gc")),
    ],
)
def test_cuda_peak_is_at_least_the_traced_peak(block: str, mode: str) -> None:
    """Kernels may take workspace on top of what the trace counts, never less than it (but for a few cached scalars)."""
    case = make_case(block, {}, 64, 64, 256, batch=2, mode=mode, device="cuda")
    work = build(case)
    for _ in range(2):
        work.call()
    traced = trace_figures(case).traced_peak_bytes
    assert 0.99 * traced <= cuda_peak(work.call).allocated <= 2 * traced + 64 * 2**20


def test_the_environment_names_the_card() -> None:
    facts = describe_environment("cuda")
    assert facts["gpu"] == torch.cuda.get_device_name(0)
    assert facts["driver"]
    assert 0 < available_bytes("cuda") <= facts["gpu_memory_bytes"]


def test_a_sweep_on_cuda_measures_time_and_memory(command: Callable[..., tuple[int, str, str]], mini: Path) -> None:  # noqa: F811
    run = mini.parent / "run"
    assert command("sweep", "--suite", mini, "--device", "cuda", "--out", run)[0] == 0
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    measured = [row for row in rows if row["status"] == "ok"]
    assert len(measured) == 11
    for row in measured:
        assert row["device"] == "cuda"
        assert row["latency_ms"] > 0
        assert row["cuda_peak_bytes"] >= 0
        assert row["cpu_peak_bytes"] is None


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("block", ["nl", "gc", "apnb"])
def test_a_replayed_graph_computes_what_the_call_computes(block: str, mode: str) -> None:
    work = build(make_case(block, {}, 32, 32, 64, mode=mode, device="cuda"))
    kept: list[torch.Tensor] = []

    def call() -> None:
        outputs = work.forward()
        if not kept:
            kept.extend(torch.zeros_like(output) for output in outputs)
        for target, output in zip(kept, outputs, strict=True):
            target.copy_(output.detach())

    with torch.no_grad() if mode == "forward" else torch.enable_grad():
        replay = captured(call)
        call()
        expected = [tensor.clone() for tensor in kept]
        for tensor in kept:
            tensor.zero_()
        replay()
    torch.cuda.synchronize()
    for ours, theirs in zip(kept, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_block_that_waits_for_the_device_cannot_be_captured_and_harms_nothing() -> None:
    flag = torch.ones(1, device="cuda")
    with pytest.raises(NotCapturable):
        captured(lambda: flag.item())
    assert (flag + 1).item() == 2
    assert torch.randn(4, device="cuda").isfinite().all()


def test_the_card_says_how_much_it_caches_and_the_flush_is_larger() -> None:
    held = cache_bytes("cuda")
    assert held
    assert held >= 2**20
    assert Flush("cuda", held).bytes >= 2 * held - 4


@pytest.mark.parametrize("choice", [("--cache", "cold"), ("--cuda-graph",)])
def test_a_sweep_with_cold_caches_or_graphs_gives_rows_of_a_method_of_their_own(
    command: Callable[..., tuple[int, str, str]],  # noqa: F811
    mini: Path,  # noqa: F811
    tmp_path: Path,
    choice: tuple[str, ...],
) -> None:
    methods = set()
    for number, words in enumerate(((), choice)):
        out = tmp_path / str(number)
        code, _, err = command("sweep", "--suite", mini, "--device", "cuda", "--out", out, *words)
        assert code == 0, err
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
        empty = {"identity"} if "--cuda-graph" in words else set()  # it launches nothing, so there is no graph of it
        assert {row["entry"] for row in rows if row["status"] == "unsupported"} == empty
        assert all(row["status"] in ("ok", "skipped", "unsupported") for row in rows)
        methods.add(rows[0]["method"])
    assert len(methods) == 2
