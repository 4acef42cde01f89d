"""Intervals of earlier rows, computed anew from their samples."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.measure.stats import median_interval, paired_ratio
from tests.report.synthetic import row

ROOT = Path(__file__).resolve().parents[1]
OURS, THEIRS = [1.0, 3.0, 1.1, 2.9, 1.2, 3.1, 9.0], [2.0, 2.2, 2.1, 2.3, 2.4, 2.5, 2.0]


@pytest.fixture
def rejudge(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    import rejudge

    yield rejudge
    sys.modules.pop("rejudge")


def made(name: str, samples: list[float], **fields: Any) -> dict[str, Any]:
    figures = {"latency_samples_ms": samples, "latency_ms": median_interval(samples[:6]).median, "unused_samples": [6]}
    return {**row(name), **figures, "latency_ci_low_ms": 0.0, "latency_ci_high_ms": 9.0, "rounds": 7, **fields}


def test_intervals_are_those_of_the_samples_that_count(rejudge: Any, tmp_path: Path) -> None:
    wanted = paired_ratio(OURS[:6], THEIRS[:6])
    ends = {"reference": "nl", "ratio_ci_low": 0.1, "ratio_ci_high": 9.0}
    rows = [
        made("nl", THEIRS, ratio=1.0, **{**ends, "ratio_ci_low": 1.0, "ratio_ci_high": 1.0}),
        made("gc", OURS, ratio=wanted.median, **ends),
        made("snl", OURS, ratio=7.0, **ends),
        made("se", OURS, ratio=None, latency_ms=5.0),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    told = rejudge.fill(tmp_path)
    assert told == {
        "intervals of a time": 3,
        "intervals of ratio": 1,
        "ratio: what it was taken to is not in the file": 1,
        "the median is not that of the samples": 1,
    }
    found = [json.loads(line) for line in path.read_text().splitlines()]
    time = median_interval(OURS[:6])
    assert (found[1]["latency_ci_low_ms"], found[1]["latency_ci_high_ms"]) == (time.low, time.high)
    assert (found[1]["ratio_ci_low"], found[1]["ratio_ci_high"]) == (wanted.low, wanted.high)
    changed = ("latency_ci_low_ms", "latency_ci_high_ms", "ratio_ci_low", "ratio_ci_high")
    for before, after in zip(rows, found, strict=True):
        assert {k: v for k, v in before.items() if k not in changed} == {
            k: v for k, v in after.items() if k not in changed
        }
    assert (found[0]["ratio_ci_low"], found[2]["ratio_ci_low"], found[3]["latency_ci_low_ms"]) == (1.0, 0.1, 0.0)


def test_a_file_that_a_sweep_did_not_write_is_left_alone(rejudge: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"status":"ok"}\n')
    with pytest.raises(ValueError, match="not written as a sweep writes it"):
        rejudge.fill(tmp_path)
