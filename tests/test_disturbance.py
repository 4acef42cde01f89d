"""When a row counts as disturbed, and what is said of such rows."""

from __future__ import annotations

from typing import Any

import pytest

from bench.disturbance import ADVICE, banner, is_disturbed, rounds_used, words

CROWD, POWER = "other processes on the CPUs", "power cap"


def measured(rounds: int = 20, disturbed: int | None = 0, unused: int = 0, **fields: Any) -> dict[str, Any]:
    by = [f"{CROWD} ({disturbed} rounds)"] if disturbed else []
    made = {"status": "ok", "rounds": rounds, "disturbed_rounds": disturbed, "disturbed_by": by}
    return made | {"unused_samples": list(range(unused))} | fields


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        *((measured(disturbed=0), False), (measured(disturbed=4), False), (measured(disturbed=5), True)),
        *((measured(disturbed=20), True), (measured(disturbed=None), None), (measured(status="invalid"), None)),
        *((measured(rounds=26, disturbed=10, unused=6), False), (measured(rounds=26, disturbed=11, unused=6), True)),
        *((measured(rounds=9, disturbed=9, unused=9), None), ({"status": "ok"}, None)),
        (measured(rounds=float("nan")), None),
    ],
)
def test_more_than_a_fifth_of_the_rounds_that_count_make_a_row_disturbed(row: Any, verdict: bool | None) -> None:
    assert is_disturbed(row) is verdict


def test_refused_rounds_are_in_neither_count() -> None:
    assert rounds_used(measured(rounds=26, disturbed=11, unused=6)) == (5, 20)


def test_a_row_says_how_many_rounds_and_by_what() -> None:
    by = [f"{CROWD} (9 rounds)", "CPU time stolen by the hypervisor (2 rounds)"]
    said = "11 of 20 rounds were disturbed: other processes on the CPUs, CPU time stolen by the hypervisor"
    assert words(measured(disturbed=11, disturbed_by=by)) == said
    assert words(measured(disturbed=3)) == ""


def test_the_banner_counts_rows_names_causes_once_and_says_what_to_do() -> None:
    failed = {"status": "oom", "rounds": None}
    rows = [measured(disturbed=20), measured(disturbed=9), measured(disturbed=1), measured(), failed]
    told = banner([*rows, measured(disturbed=20, disturbed_by=[f"{POWER} (20 rounds)"])])
    assert told.startswith(f"3 of 5 measured rows were disturbed by {CROWD}, {POWER}. ")
    assert ADVICE in told
    assert banner([measured(), measured(disturbed=2), measured(disturbed=None)]) == ""
