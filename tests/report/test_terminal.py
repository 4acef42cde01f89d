"""What the command line prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import FORMATS, render, show_estimate, show_list, show_run
from bench.row import RunError
from tests.report.synthetic import row, skipped, write_run

STATIC = {"size": "32x32", "channels": 512, "batch": 1, "dtype": "fp32", "mode": "forward"}
ESTIMATES = [
    {"block": "nl", **STATIC, "params": 2_098_176, "macs": 55_200_000_000, "traced_peak_bytes": 609 * 2**20}
    | {"traffic_bytes": 2**30, "compulsory_bytes": 2**29, "macs_uncounted": ["aten::softmax"], "reason": None},
    {"block": "cgnl", **STATIC, "reason": "channels 511 are not divisible by 8"},
]


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_is_printed_in_every_format(name: str, tmp_path: Path) -> None:
    text = show_run(write_run(tmp_path / "run", [row("gc:ratio=4"), skipped("nl", 64, 64, 512)]), name)
    assert "gc:ratio=4" in text
    assert "skipped" in text
    assert "too many multiply-adds" in text
    if name == "json":
        assert json.loads(text)[1]["latency_ms"] is None


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="give the folder of a run") as caught:
        show_run(tmp_path / "nowhere", "table")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_an_estimate_is_printed_in_every_format(name: str) -> None:
    text = show_estimate(iter(ESTIMATES), name)
    assert "aten::softmax" in text
    assert "not divisible" in text
    if name in ("json", "csv"):
        assert "55200000000" in text
    else:
        assert "2.10M" in text
        assert "55.2" in text
        assert "609" in text


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_is_printed_in_every_format(name: str) -> None:
    assert "Wang" in show_list([{"block": "nl", "paper": "Wang"}], name)


def test_rows_as_dictionaries_are_rendered_untouched() -> None:
    assert json.loads(render(ESTIMATES, "json"))[0]["params"] == 2_098_176
    assert "params" in render(ESTIMATES, "csv").splitlines()[0]
    assert isinstance(render([], "table"), str)
