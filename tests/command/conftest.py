from __future__ import annotations

import shutil
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


def run_here(monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...]) -> int:
    """Run the command line in this process, and measure in it too; the exit code."""

    def here(request: Request, device: str, method: Method, weights: Weights | None, rates: bool) -> InProcess:
        return InProcess(device, method, clock_for(device), weights)

    monkeypatch.setattr(Request, "measurer", here)
    monkeypatch.setattr(sys, "argv", ["run_bench.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        run_bench.main()
    return int(exit_.value.code or 0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, and measure in it too; exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = run_here(monkeypatch, arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def swept_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the suite `mini`, to be read only."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "mini.toml").write_text(MINI)
    with pytest.MonkeyPatch.context() as monkeypatch:
        words = ("sweep", "--suite", folder / "mini.toml", "--device", "cpu", "--out", folder / "run")
        assert run_here(monkeypatch, words) == 0
    return folder / "run"


@pytest.fixture
def swept(swept_once: Path, mini: Path) -> Path:
    """A run of the suite `mini` of the test's own, beside the suite."""
    return Path(shutil.copytree(swept_once, mini.parent / "run"))
