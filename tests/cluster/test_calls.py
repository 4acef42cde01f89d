"""Calls on a cluster whose Ray is made up: what is begun again, what comes back, and what ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cluster import Cluster, NodesLost, Share
from bench.cluster.connection import ATTEMPTS, NodeFailed, OutOfMemory, Stopped
from modules.options import SpecError
from tests.cluster.fake import node

A, B = node("a"), node("b")


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: object) -> None:
        self.cause = cause


class OutOfMemoryError(RayError):
    pass


class FakeRay:
    """Answers each call by the next of its answers: a value, or an exception to raise."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, OutOfMemoryError=OutOfMemoryError)

    def __init__(self, *answers: Any, alive: str = "ab", ends: bool = True) -> None:
        self.answers, self.alive, self.ends = list(answers), alive, ends
        self.options: list[dict[str, Any]] = []
        self.cancelled: list[object] = []
        self.pending: list[bool] = []

    def remote(self, **settings: Any) -> Callable[[Any], Any]:
        assert settings == {"max_retries": 0, "max_calls": 1}
        return lambda function: SimpleNamespace(options=self._options)

    def _options(self, **options: Any) -> Any:
        self.options.append(options)
        return SimpleNamespace(remote=lambda *arguments: object())

    def nodes(self) -> list[dict[str, Any]]:
        facts = {"Alive": True, "Resources": {"CPU": 4.0}, "NodeManagerHostname": "h", "NodeManagerAddress": "1"}
        return [{**facts, "NodeID": f"id-{name}", "NodeName": name} for name in self.alive]

    def wait(self, references: list[object], timeout: float) -> tuple[list[object], list[object]]:
        if self.pending and self.pending.pop(0):
            return [], references
        return (references, []) if self.ends else ([], references)

    def get(self, reference: object) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self, reference: object, force: bool) -> None:
        self.cancelled.append(reference)
        raise RayError("it may be gone already")


def call(ray: FakeRay, told: list[str] | None = None) -> Any:
    return Cluster(ray).call(len, [()], Share((A, B), 4), (told if told is not None else []).append)


def test_a_value_comes_with_its_node() -> None:
    ray = FakeRay(("id-b", True, 7))
    assert call(ray) == (B, 7)
    assert ray.options == [
        {"num_cpus": 4, "num_gpus": 0, "label_selector": {"ray.io/node-id": "in(id-a,id-b)"}},
    ]


def test_a_lost_node_is_begun_again_a_bounded_number_of_times() -> None:
    told: list[str] = []
    assert call(FakeRay(RayError("node died"), ("id-a", True, 7)), told) == (A, 7)
    assert told == ["RayError: node died"]
    told.clear()
    with pytest.raises(NodesLost, match=f"lost {ATTEMPTS} times: RayError: node died") as caught:
        call(FakeRay(*[RayError("node died")] * ATTEMPTS), told)
    assert not caught.value.gone
    assert len(told) == ATTEMPTS - 1


def test_a_node_that_fails_is_left_out_where_there_is_another() -> None:
    ray = FakeRay(("id-a", False, NodeFailed("no card")), ("id-b", True, 7))
    assert call(ray) == (B, 7)
    assert [options["label_selector"]["ray.io/node-id"] for options in ray.options] == ["in(id-a,id-b)", "in(id-b)"]


def test_where_every_node_fails_the_last_outcome_stands() -> None:
    fails = [(place, False, NodeFailed("killed", "broken")) for place in ("id-a", "id-b", "id-a")]
    assert call(FakeRay(*fails)) == (A, "broken")


def test_a_node_that_failed_once_is_asked_again_when_the_others_are_gone() -> None:
    ray = FakeRay(("id-a", False, NodeFailed("no card")), ("id-a", True, 7), alive="a")
    ray.pending = [False, True]
    assert call(ray) == (A, 7)


def test_what_a_function_raises_comes_back_with_its_node() -> None:
    with pytest.raises(SpecError, match="node b: no such folder"):
        call(FakeRay(("id-b", False, SpecError("no such folder"))))
    with pytest.raises(KeyError):
        call(FakeRay(("id-b", False, KeyError("x"))))
    with pytest.raises(ValueError, match="unpicklable"):
        call(FakeRay(RayTaskError(ValueError("unpicklable"))))


def test_memory_is_no_loss() -> None:
    with pytest.raises(OutOfMemory, match="OutOfMemoryError: killed by the monitor"):
        call(FakeRay(OutOfMemoryError("killed by the monitor")))


def test_without_a_node_left_a_call_ends() -> None:
    ray = FakeRay(alive="c", ends=False)
    with pytest.raises(NodesLost, match="no node is left of a, b") as caught:
        call(ray)
    assert caught.value.gone
    assert len(ray.cancelled) == 1


def test_a_cluster_that_was_let_go_calls_no_more() -> None:
    cluster = Cluster(FakeRay(RayError("cancelled")))
    cluster.stop()
    with pytest.raises(Stopped):
        cluster.call(len, [()], Share((A,), 4))
