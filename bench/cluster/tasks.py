"""Tasks: what runs on a node. Everything that measures does so in a worker process, as without a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.cluster.connection import NodeFailed
from bench.isolation import Isolated
from bench.measurer import Ready
from bench.plan import PlannedGroup
from bench.trial import GroupResult
from bench.worker import Task
from modules.options import SpecError


@dataclass(frozen=True)
class Measured:
    """A group's result and what it was measured on.

    Attributes:
        result: of the group.
        card: that it had to itself, by its number on the node; empty on a CPU.
        started, ended: seconds of the node's clock since 1970.
    """

    result: GroupResult
    card: str
    started: float
    ended: float


def look_around(task: Task, timeout: float, threads: int) -> Ready:
    """Start a worker on this node, with as many threads as one that measures, and have it say what it found.

    Raises:
        SpecError: no worker can be started here.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    isolated = Isolated(task, timeout)
    try:
        return isolated.prepare()
    finally:
        isolated.close()


def measure_there(
    task: Task, timeout: float, threads: int, group: PlannedGroup, expected: Mapping[str, object]
) -> Measured:
    """Measure a group in a worker of its own.

    Args:
        task: what the worker loads.
        timeout: seconds that a step may take.
        threads: of the worker.
        group: what.
        expected: facts of the environment that the rows will be filed under.

    Raises:
        NodeFailed: no worker can be started, the environment here is another one, or the worker was killed by another
            process, which a node that goes down does to all of its own.
    """
    started = time.time()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    isolated = Isolated(task, timeout)
    try:
        found = isolated.prepare().facts
        pairs = {name: (found.get(name), value) for name, value in expected.items()}
        other = [f"{name} {here}, not {there}" for name, (here, there) in pairs.items() if here != there]
        if other:
            raise NodeFailed(f"the device is not the one that was surveyed: {'; '.join(other)}")
        result = isolated.measure(group, lambda case, round: None)
    except SpecError as error:
        raise NodeFailed(str(error)) from None
    finally:
        isolated.close()
    measured = Measured(result, os.environ.get("CUDA_VISIBLE_DEVICES", ""), started, time.time())
    if result.broken is not None and result.broken.killed:
        raise NodeFailed(result.broken.reason, measured)
    return measured
