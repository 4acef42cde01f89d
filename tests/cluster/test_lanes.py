"""Kinds of devices at work side by side: groups to rows, nodes that are lost, one lane that ends."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from rich.console import Console

from bench.case import Case
from bench.cluster import Kind, NodesLost, Share
from bench.cluster.connection import OutOfMemory
from bench.cluster.lanes import Lane, Remote, SharedWatch, Traced, measure_all
from bench.cluster.placement import (
    PLACEMENTS,
    Placement,
    mend_placements,
    overlaps,
    read_placements,
    write_placement,
)
from bench.cluster.session import probe_again
from bench.cluster.tasks import Measured
from bench.measure.method import make_method
from bench.measure.rates import Rates
from bench.plan import make_plan, trace_case
from bench.progress import Watch
from bench.runner import Runner, Stamp
from bench.store import keep_rates, known_rates, open_store
from bench.suite import Suite, load_suite
from bench.trial import Broken, GroupResult
from bench.worker import Task
from modules.options import SpecError
from tests.cluster.fake import FACTS, HERE, FakeCluster, node, ready

AGAIN = Rates({"copy_1_mib_gb_s": 5.0, "mm_fp32_tflops": 2.0}, {}, 1)
SUITE = """
name = "tiny"
reference = "identity"
[[grid]]
blocks = "identity,gc"
sizes = "8x8,8x12"
channels = "16"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return load_suite(str(path))


class Tracer:
    """Traces here, and counts."""

    def __init__(self) -> None:
        self.traced: list[Case] = []

    def trace(self, cases: Any, on_case: Any) -> dict[Case, Any]:
        self.traced += cases
        return {case: trace_case(case) for case in cases}


def measured(group: Any, start: float = 0.0, card: str = "") -> Measured:
    fields = {verdict.case.name: {"status": "ok", "latency_ms": 1.0} for verdict in group.members}
    figures = {verdict.case.name: verdict.figures for verdict in group.members}
    return Measured(GroupResult(fields, figures, 0.1), card, start, start + 1.0)


MakeLane: TypeAlias = "Callable[[str, Suite, Callable[..., Any], str], tuple[Lane, FakeCluster]]"


@pytest.fixture
def tracer() -> Tracer:
    return Tracer()


@pytest.fixture
def told() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def lane(tmp_path: Path, tracer: Tracer, told: Console) -> Iterator[MakeLane]:
    """Makes a lane in a folder, of nodes named by letters, whose calls a function answers."""
    traced = Traced(tracer)  # type: ignore[arg-type]
    with contextlib.ExitStack() as stack:

        def make(name: str, suite: Suite, answer: Callable[..., Any], names: str) -> tuple[Lane, FakeCluster]:
            nodes = tuple(node(letter) for letter in names)
            cluster: Any = FakeCluster(list(nodes), answer)
            kind = Kind(Share(nodes, 4), ready({**FACTS, "cpu": f"device of {names}"}), HERE)
            watch = SharedWatch(Watch(told))
            folder = tmp_path / name
            remote = Remote(cluster, kind, Task("cpu", make_method({})), 1.0, folder, traced, watch.note)
            store = stack.enter_context(open_store(folder, "", {}, {"env": "e", "method": "m"}))
            plan = make_plan(suite, "cpu", store.rows, None, trace=remote.trace)
            stamp = Stamp("tiny", "e", "m", ("python",), kind.name, "abc")
            return Lane(kind, store, Runner(store, stamp, remote, watch, plan), tuple(suite.cases("cpu"))), cluster

        yield make


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_rows_say_where_they_were_measured_and_cases_are_traced_once(
    tmp_path: Path, suite: Suite, lane: MakeLane, tracer: Tracer
) -> None:
    def answer(place: Any, function: Any, arguments: Any) -> Measured:
        return measured(arguments[3])

    first, cluster = lane("x", suite, answer, "ab")
    second, _ = lane("y", suite, answer, "c")
    assert measure_all([first, second], cluster) is False  # type: ignore[arg-type]
    assert len(tracer.traced) == 4
    for folder, names in (("x", "ab"), ("y", "c")):
        found = rows(tmp_path / folder)
        assert len(found) == 4
        assert {row["status"] for row in found} == {"ok"}
        assert {row["node"] for row in found} <= set(names)
        assert {row["device_name"] for row in found} == {f"device of {names}"}
        assert len(read_placements(tmp_path / folder)) == 2
    assert (first.missing, second.missing) == (0, 0)
    assert not cluster.stopped


def test_a_group_whose_node_is_lost_again_and_again_is_crashed(tmp_path: Path, suite: Suite, lane: MakeLane) -> None:
    def answer(place: Any, function: Any, arguments: Any) -> Measured:
        if arguments[3].members[0].case.width == 12:
            raise NodesLost(False, "lost 3 times: NodeDiedError")
        return measured(arguments[3])

    one, cluster = lane("x", suite, answer, "ab")
    measure_all([one], cluster)  # type: ignore[arg-type]
    statuses = {row["width"]: (row["status"], row["reason"]) for row in rows(tmp_path / "x")}
    assert statuses == {8: ("ok", None), 12: ("crashed", "lost 3 times: NodeDiedError")}


@pytest.mark.parametrize(("times", "status"), [(1, "ok"), (2, "crashed")])
def test_a_worker_lost_with_no_block_in_hand_is_no_blocks_fault(
    tmp_path: Path, suite: Suite, lane: MakeLane, told: Console, times: int, status: str
) -> None:
    lost = [Broken(None, "crashed", "worker killed by SIGSEGV")] * times

    def answer(place: Any, function: Any, arguments: Any) -> Measured:
        group = arguments[3]
        if group.members[0].case.width == 12 and lost:
            return Measured(GroupResult({}, {}, 0.0, lost.pop()), "", 0.0, 1.0)
        return measured(group)

    one, cluster = lane("x", suite, answer, "a")
    measure_all([one], cluster)  # type: ignore[arg-type]
    assert {row["width"]: row["status"] for row in rows(tmp_path / "x")} == {8: "ok", 12: status}
    assert isinstance(told.file, io.StringIO)
    noted = told.file.getvalue()
    assert noted.count("no block in hand, measured again: worker killed by SIGSEGV") == 1
    assert len(read_placements(tmp_path / "x")) == len({row["width"] for row in rows(tmp_path / "x")}) + 1


def test_a_lane_without_nodes_ends_and_the_others_go_on(suite: Suite, lane: MakeLane, told: Console) -> None:
    def gone(place: Any, function: Any, arguments: Any) -> Measured:
        raise NodesLost(True, "no node is left of a")

    lost, cluster = lane("x", suite, gone, "a")
    well, _ = lane("y", suite, lambda p, f, arguments: measured(arguments[3]), "b")
    assert measure_all([lost, well], cluster) is False  # type: ignore[arg-type]
    assert (lost.missing, lost.lost) == (4, "no node is left of a")
    assert (well.missing, well.lost) == (0, None)
    assert isinstance(told.file, io.StringIO)
    assert told.file.getvalue().count("device of a: no node is left of a; what is missing") == 1


def test_what_else_ends_a_group_ends_the_sweep(suite: Suite, lane: MakeLane) -> None:
    def answer(place: Any, function: Any, arguments: Any) -> Measured:
        raise SpecError("no worker could be started")

    one, cluster = lane("x", suite, answer, "a")
    with pytest.raises(SpecError, match="no worker"):
        measure_all([one], cluster)  # type: ignore[arg-type]


def test_a_block_that_breaks_its_group_is_left_out_and_the_rest_measured(
    tmp_path: Path, suite: Suite, lane: MakeLane
) -> None:
    def answer(place: Any, function: Any, arguments: Any) -> Measured:
        group = arguments[3]
        bad = [verdict.case.name for verdict in group.members if verdict.case.entry == "gc"]
        if bad:
            return Measured(GroupResult({}, {}, 0.0, Broken(bad[0], "timeout", "too long")), "", 0.0, 1.0)
        return measured(group)

    one, cluster = lane("x", suite, answer, "a")
    measure_all([one], cluster)  # type: ignore[arg-type]
    assert {row["entry"]: row["status"] for row in rows(tmp_path / "x")} == {"identity": "ok", "gc": "timeout"}


def test_a_group_that_ray_ends_for_memory_is_tried_member_by_member(
    tmp_path: Path, suite: Suite, lane: MakeLane
) -> None:
    def answer(place: Any, function: Any, arguments: Any) -> Measured:
        group = arguments[3]
        if any(verdict.case.entry == "gc" for verdict in group.members):
            raise OutOfMemory("killed by the memory monitor")
        return measured(group)

    one, cluster = lane("x", suite, answer, "a")
    measure_all([one], cluster)  # type: ignore[arg-type]
    assert {row["entry"]: row["status"] for row in rows(tmp_path / "x")} == {"identity": "ok", "gc": "oom"}


def test_rows_end_in_the_suite_s_order(tmp_path: Path, suite: Suite, lane: MakeLane) -> None:
    one, cluster = lane("x", suite, lambda p, f, arguments: measured(arguments[3]), "ab")
    one.runner.plan = replace(one.runner.plan, groups=one.runner.plan.groups[::-1])
    measure_all([one], cluster)  # type: ignore[arg-type]
    assert [row["key"] for row in rows(tmp_path / "x")] == [case.key for case in one.cases]


def test_a_line_that_a_kill_cut_short_is_dropped_before_others_follow(tmp_path: Path) -> None:
    whole = Placement("a", "n", 0.0, 1.0, ("k",))
    write_placement(tmp_path, whole)
    with open(tmp_path / PLACEMENTS, "a") as file:
        file.write('{"device": "a", "no')
    mend_placements(tmp_path)
    write_placement(tmp_path, whole)
    assert read_placements(tmp_path) == [whole, whole]


def test_two_at_once_on_a_device_are_found() -> None:
    def at(device: str, started: float, ended: float) -> Placement:
        return Placement(device, "n", started, ended, ())

    apart = [at("a", 0, 1), at("a", 1, 2), at("b", 0, 2)]
    assert overlaps(apart) == []
    long, within, later = at("a", 0, 10), at("a", 2, 3), at("a", 4, 5)
    assert overlaps([later, long, within]) == [(long, within), (long, later)]


def test_a_kind_is_probed_again_behind_its_last_group(tmp_path: Path, suite: Suite, lane: MakeLane) -> None:
    one, cluster = lane("x", suite, lambda p, f, arguments: replace(ready(FACTS), machine=AGAIN), "a")
    keep_rates(tmp_path / "x", Rates({"copy_1_mib_gb_s": 10.0}, {"mm_fp32_tflops": "busy"}, 1))
    probe_again(one, lambda text: None)
    assert cluster.calls[-1][1] == "look_around"
    assert known_rates(tmp_path / "x") == Rates({"copy_1_mib_gb_s": 10.0, "mm_fp32_tflops": 2.0}, {}, 2)
    probe_again(one, lambda text: None)
    assert len(cluster.calls) == 1


def test_a_kind_whose_nodes_are_gone_keeps_its_rates(tmp_path: Path, suite: Suite, lane: MakeLane) -> None:
    def gone(place: Any, function: Any, arguments: Any) -> Measured:
        raise NodesLost(True, "no node is left of a")

    one, _ = lane("x", suite, gone, "a")
    before = Rates({"copy_1_mib_gb_s": 10.0}, {}, 1)
    keep_rates(tmp_path / "x", before)
    probe_again(one, lambda text: None)
    assert known_rates(tmp_path / "x") == before
