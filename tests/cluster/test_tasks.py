"""What runs on a node: a worker that is killed from outside is no result, and another environment is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.cluster.connection import NodeFailed
from bench.cluster.tasks import Measured, measure_there
from bench.measure.method import make_method
from bench.measurer import Ready
from bench.plan import PlannedGroup
from bench.trial import Broken, GroupResult
from bench.worker import Task
from modules.options import SpecError
from tests.cluster.fake import FACTS, ready

Measure = Callable[[GroupResult], Any]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measure on a node whose worker finds FACTS and returns a given result."""

    def with_result(result: GroupResult, expected: dict[str, object] = FACTS) -> Any:
        class Worker:
            def __init__(self, task: Task, timeout: float) -> None:
                pass

            def prepare(self) -> Ready:
                if result.broken is not None and result.broken.label == "worker":
                    raise SpecError(result.broken.reason)
                return ready(FACTS)

            def measure(self, group: PlannedGroup, on_step: object) -> GroupResult:
                return result

            def close(self) -> None:
                pass

        monkeypatch.setattr("bench.cluster.tasks.Isolated", Worker)
        return measure_there(Task("cpu", make_method({})), 1.0, 4, PlannedGroup((), None), expected)

    return with_result


def test_a_result_comes_with_the_card_and_the_time(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    found = measure(GroupResult({}, {}, 0.5))
    assert found.card == "3"
    assert found.started <= found.ended
    assert found.result.busy_seconds == 0.5


def test_a_worker_killed_from_outside_is_no_result(measure: Measure) -> None:
    with pytest.raises(NodeFailed, match="killed by SIGKILL") as caught:
        measure(GroupResult({}, {}, 0.0, Broken("gc", "crashed", "worker killed by SIGKILL", killed=True)))
    assert isinstance(caught.value.outcome, Measured)  # for the case that every node fails so


def test_a_worker_that_a_block_brought_down_is_one(measure: Measure) -> None:
    broken = Broken("gc", "crashed", "worker killed by SIGABRT")
    assert measure(GroupResult({}, {}, 0.0, broken)).result.broken == broken


def test_another_environment_than_the_surveyed_one_is_refused(measure: Any) -> None:
    with pytest.raises(NodeFailed, match="not the one that was surveyed: threads 4, not 8"):
        measure(GroupResult({}, {}, 0.0), {**FACTS, "threads": 8})


def test_a_worker_that_cannot_start_is_the_node_s_failure(measure: Measure) -> None:
    with pytest.raises(NodeFailed, match="no worker could be started"):
        measure(GroupResult({}, {}, 0.0, Broken("worker", "crashed", "no worker could be started")))
