from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run_bench
from bench.measure.clock import clock_for
from bench.measure.method import Method
from bench.measurer import InProcess
from bench.session import Request
from bench.weights import Weights

MINI = """
name = "mini"
description = "small enough for tests"

[method]
seconds = 0.02
warm_seconds = 0.01
sample_ms = 0.1

[[grid]]
blocks = "identity,nl,snl"
sizes = "8x8,8x12"
channels = "16,32"

[[skip]]
reason = "a rule for tests"
blocks = "nl"
positions_above = 90
channels_above = 16
"""


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A suite of twelve cases, one of them skipped by a rule."""
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, and measure in it too; exit code, standard output, standard error."""

    def here(request: Request, device: str, method: Method, weights: Weights | None, rates: bool) -> InProcess:
        return InProcess(device, method, clock_for(device), weights)

    monkeypatch.setattr(Request, "measurer", here)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["run_bench.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            run_bench.main()
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return run
