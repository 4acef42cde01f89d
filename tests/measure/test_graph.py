"""The capture of a call in a CUDA graph, on a fake device that writes down what is asked of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from bench.case import make_case
from bench.measure.graph import NotCapturable, captured
from bench.measure.method import Method
from bench.trial import failure, timed_call
from bench.workload import build

Command = Callable[..., tuple[int, str, str]]


class FakeStreams:
    """Replaces the parts of `torch.cuda` that a capture calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        log = self.log

        class Stream:
            def wait_stream(self, other: object) -> None:
                log.append("wait")

        class Graph:
            def replay(self) -> None:
                log.append("replay")

        @contextmanager
        def stream(which: object) -> Iterator[None]:
            log.append("side")
            yield
            log.append("back")

        @contextmanager
        def graph(which: Graph, stream: object) -> Iterator[None]:
            log.append("capture")
            yield
            log.append("captured")

        class Generator:
            def __init__(self, device: str = "cuda") -> None:
                pass

            def manual_seed(self, seed: int) -> None:
                log.append(f"seed {seed}")

            def graphsafe_get_state(self) -> str:
                return "fresh"

            def graphsafe_set_state(self, state: str) -> None:
                log.append(state)

        main = Stream()
        monkeypatch.setattr(torch, "Generator", Generator)
        for name, value in {
            **{"Stream": Stream, "CUDAGraph": Graph, "stream": stream, "graph": graph},
            **{"current_stream": lambda: main, "synchronize": lambda: log.append("synchronize")},
            **{"initial_seed": lambda: 7, "current_device": lambda: 0, "default_generators": [Generator()]},
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)


def test_a_call_that_launches_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeStreams(monkeypatch)

    @contextmanager
    def graph(which: object, stream: object) -> Iterator[None]:
        yield
        warnings.warn("The CUDA Graph is empty. This usually means the wrong device.", UserWarning, stacklevel=1)

    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(NotCapturable, match="launches nothing on the device"):
        captured(lambda: fake.log.append("call"))


def test_a_call_is_warmed_on_the_stream_it_is_captured_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeStreams(monkeypatch)
    replay = captured(lambda: fake.log.append("call"))
    warm = ["wait", "side", "call", "call", "call", "back", "wait", "synchronize"]
    assert fake.log == [*warm, "capture", "call", "captured"]
    fake.log.clear()
    replay()
    assert fake.log == ["replay"]


def fails_when(fake: FakeStreams, error: Exception) -> Callable[[], object]:
    def call() -> None:
        if fake.log[-1] == "capture":
            raise error

    return call


def test_what_no_graph_can_hold_is_unsupported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeStreams(monkeypatch)
    with pytest.raises(NotCapturable) as caught:
        captured(fails_when(fake, RuntimeError("operation not permitted when stream is capturing")))
    found = failure(caught.value)
    assert found["status"] == "unsupported"
    assert "cannot be captured in a CUDA graph: operation not permitted" in str(found["reason"])
    assert fake.log[-2:] == ["seed 7", "fresh"]


def test_a_lack_of_memory_is_not_taken_for_a_lack_of_support(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeStreams(monkeypatch)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        captured(fails_when(fake, torch.OutOfMemoryError("CUDA out of memory")))
    assert failure(caught.value)["status"] == "oom"


def test_a_workload_is_timed_as_it_is_unless_a_graph_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    work = build(make_case("gc", {}, 8, 8, 16))
    assert timed_call(work, Method()) == work.call
    fake = FakeStreams(monkeypatch)
    timed_call(work, Method(cuda_graph=1))()
    assert fake.log[-1] == "replay"
