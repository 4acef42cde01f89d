"""Time credited to operators: on this processor, on a card whose events are made up, and under a made-up profiler."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.case import make_case
from bench.measure.clock import Call, HostClock
from bench.profiling import times
from bench.profiling.record import CLASSES
from bench.profiling.times import NoKernels, profile_calls, time_by_operator
from bench.workload import build


def event(name: str, parent: Any = None, host: float = 0.0, kernels: tuple[float, ...] = (), **more: Any) -> Any:
    launched = [SimpleNamespace(duration=duration) for duration in kernels]
    usual = {"device_type": SimpleNamespace(name="CPU"), "is_async": False}
    return SimpleNamespace(name=name, cpu_parent=parent, self_cpu_time_total=host, kernels=launched, **(usual | more))


def on_a_card() -> list[Any]:
    """A forward on one thread, a backward on another, and what lies on the card itself."""
    call = event("call", host=900.0, kernels=(400.0,))
    conv = event("aten::conv2d", call, host=5.0)
    inner = event(
        "aten::cudnn_convolution", event("aten::convolution", conv, host=7.0), host=11.0, kernels=(100.0, 20.0)
    )
    bias = event("aten::add_", event("aten::convolution", conv), kernels=(3.0,))
    scores = event("aten::bmm", event("aten::matmul", call), host=9.0, kernels=(50.0,))
    node = event("autograd::engine::evaluate_function: BmmBackward0", host=30.0)
    back = event("aten::bmm", event("BmmBackward0", node), kernels=(60.0,))
    kernel = event("gemm", kernels=(60.0,), device_type=SimpleNamespace(name="CUDA"))
    return [call, conv, inner, bias, scores, node, back, kernel, event("aten::mul", kernels=(9.0,), is_async=True)]


def test_on_a_card_kernels_count_for_the_operator_that_launched_them() -> None:
    assert time_by_operator(on_a_card(), "cuda") == {("convolution", "convolution"): 123.0, ("bmm", "matmul"): 110.0}


def test_on_a_cpu_self_time_counts_and_what_is_no_operator_does_not() -> None:
    found = time_by_operator(on_a_card(), "cpu")
    assert found == {("conv2d", "convolution"): 5.0, ("convolution", "convolution"): 11.0, ("bmm", "matmul"): 9.0}


@pytest.mark.parametrize("mode", ["forward", "train"])
def test_classes_and_remainder_add_up_to_the_profiled_calls(mode: str) -> None:
    work = build(make_case("apnb", {"sizes": "1+2"}, 8, 8, 16, mode=mode))
    found = profile_calls(work.call, HostClock(), "cpu")
    fields = found.fields()
    kinds = fields["class_ms"]
    assert isinstance(kinds, dict)
    assert tuple(kinds) == CLASSES
    assert sum(kinds.values()) + fields["remainder_ms"] == pytest.approx(fields["total_ms"])
    assert all(kinds[kind] > 0 for kind in ("convolution", "matmul", "softmax", "pooling", "copy", "other"))
    assert kinds["normalisation"] == 0
    assert fields["remainder_ms"] > 0
    names = {name for name, _ in found.by_operator}
    assert {"convolution", "bmm", "softmax", "adaptive_avg_pool2d", "cat"} <= names
    assert ("convolution_backward" in names) == (mode == "train")
    assert len(found.profiled) == len(found.unprofiled) == times.SAMPLES
    assert found.calls % times.SAMPLES == 0


class FakeClock:
    """Every call takes `ms`, and the log says in which order things happened."""

    def __init__(self, ms: float, log: list[str]) -> None:
        self.ms, self.log, self.seconds = ms, log, 0.0

    def time(self, call: Call, repeats: int = 1) -> float:
        for _ in range(repeats):
            call()
        self.seconds += self.ms * repeats / 1e3
        return self.ms

    def now(self) -> float:
        return self.seconds


def with_a_fake_profiler(monkeypatch: pytest.MonkeyPatch, log: list[str], events: list[Any]) -> None:
    class Profile:
        def __init__(self, activities: list[Any]) -> None:
            self.activities = [activity.name for activity in activities]

        def __enter__(self) -> Profile:
            log.append("on")
            return self

        def __exit__(self, *error: object) -> None:
            log.append("off")

        def events(self) -> list[Any]:
            assert self.activities == ["CPU", "CUDA"]
            return events

        def export_chrome_trace(self, path: str) -> None:
            log.append(f"export {path}")

    monkeypatch.setattr(times, "profile", Profile)


def test_profiled_and_unprofiled_calls_are_as_many_and_slow_calls_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    with_a_fake_profiler(monkeypatch, log, on_a_card())
    clock = FakeClock(4000.0, log)
    found = profile_calls(lambda: log.append("."), clock, "cuda", Path("calls.json"))
    assert (found.calls, len(found.profiled), len(found.unprofiled)) == (3, 3, 3)
    assert "".join(log).endswith("on.off.on...off..export calls.json")
    fields = found.fields()
    assert (fields["total_ms"], fields["unprofiled_ms"]) == (4000.0, 4000.0)
    assert fields["operators"] == [["convolution", "convolution", 0.123 / 3], ["bmm", "matmul", 0.110 / 3]]


def test_a_card_that_the_profiler_cannot_see_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_fake_profiler(monkeypatch, [], [event("aten::bmm", host=3.0)])
    with pytest.raises(NoKernels, match="no kernel on the card"):
        profile_calls(lambda: None, FakeClock(50.0, []), "cuda")
