"""What a terminal shows while cases are measured, and what a row's command repeats."""

from __future__ import annotations

import io

from rich.console import Console

from bench.case import make_case
from bench.isolation import Isolated
from bench.measure.clock import HostClock
from bench.measure.method import Method
from bench.measurer import InProcess
from bench.plan import PlannedGroup, judge
from bench.progress import Watch
from bench.session import Request
from bench.suite import load_suite
from bench.worker import Task


def test_a_terminal_shows_the_case_in_hand() -> None:
    shown = io.StringIO()
    watch = Watch(Console(file=shown, force_terminal=True, width=120))
    with watch.shown():
        watch.group("8x8, 16 channels", "", 0, 2)
        watch.step("gc:ratio=4", -1)
        assert watch._bar is not None
        assert watch._bar.tasks[0].description == "8x8, 16 channels: getting ready, gc:ratio=4"
        watch.step("nl", 4)
        assert watch._bar.tasks[0].description == "8x8, 16 channels: round 5, nl"


def test_every_case_is_told_ahead_of_the_first_round_and_one_a_round_then() -> None:
    cases = [make_case(name, {}, 6, 6, 8) for name in ("snl", "gc")]
    group = PlannedGroup(tuple(judge(case, load_suite("quick")) for case in cases), None)
    told: list[tuple[str, int]] = []
    method = Method(seconds=0.0, warm_seconds=0.0, sample_ms=0.0, energy_seconds=0.0)
    InProcess("cpu", method, HostClock()).measure(group, lambda case, round: told.append((case, round)))
    assert {case for case, round in told if round < 0} == {"snl", "gc"}
    rounds = [round for _, round in told if round >= 0]
    assert rounds == sorted(set(rounds))
    assert len(rounds) >= 6


def test_the_case_in_hand_is_told_of_a_worker_too() -> None:
    group = PlannedGroup(
        tuple(judge(make_case(name, {}, 6, 6, 8), load_suite("quick")) for name in ("snl", "gc")), None
    )
    told: set[str] = set()
    isolated = Isolated(Task("cpu", Method(seconds=1.0, warm_seconds=0.5)), timeout=60.0)
    try:
        isolated.measure(group, lambda case, round: told.add(case))
    finally:
        isolated.close()
    assert told
    assert told <= {"snl", "gc"}


def test_a_command_repeats_what_a_row_needed() -> None:
    words = Request("quick", {}, timeout=900.0, force=True).command()
    assert words[words.index("--timeout") + 1] == "900"
    assert "--force" in words
    plain = Request("quick", {}).command()
    assert "--timeout" not in plain
    assert "--force" not in plain
