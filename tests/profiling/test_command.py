"""The command `profile`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import run_bench


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.profiling.times.SAMPLES", 3)
    monkeypatch.setattr("bench.profiling.session.retain_host_memory", lambda: "left alone")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["run_bench.py", "profile", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run_bench.main()
    return int(ended.value.code or 0)


def test_tables_on_standard_output_and_the_rest_beside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = ("snl,identity", "--size", "8x8", "--channels", "16", "--device", "cpu", "--out", run)
    assert call(monkeypatch, *asked, "--format", "csv") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("schema,key,")
    assert len(out.splitlines()) == 3
    assert f"report  {run}/breakdown.md" in err
    assert {path.name for path in run.iterdir()} >= {"profile.jsonl", "breakdown.md", "tables", "plots"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nll"], "unknown block 'nll'; did you mean 'nl'?"),
        (["nl", "--size", "8x"], "size '8x' is not of the form HEIGHTxWIDTH"),
        (["nl", "--trace", "nowhere/t.json"], "there is no folder 'nowhere'"),
        (["nl", "--memory", "m.txt"], "is not a file name that ends in .html"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert expected in err
    assert list(tmp_path.iterdir()) == []
