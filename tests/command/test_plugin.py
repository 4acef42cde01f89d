from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.case import make_case
from bench.plugin import load_plugins
from bench.static import trace_figures

Command = Callable[..., tuple[int, str, str]]
DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = DOCS / "strip_pooling.py"


@pytest.mark.usefixtures("registered")
def test_the_example_is_listed_with_its_options(command: Command) -> None:
    code, out, _ = command("list", "strip", "--plugin", EXAMPLE)
    assert code == 0
    assert "Strip Pooling" in out
    assert [line.split()[:2] for line in out.splitlines()[-3:]] == [
        ["ratio", "4"],
        ["rows", "true"],
        ["columns", "true"],
    ]


@pytest.mark.usefixtures("registered")
def test_the_example_is_swept_like_any_other(command: Command, mini: Path) -> None:
    run = mini.parent / "run"
    words = ("--plugin", EXAMPLE, "--blocks", "strip:ratio=2,snl", "--sizes", "8x8", "--channels", "16")
    assert command("sweep", "--suite", mini, "--out", run, "--device", "cpu", *words)[0] == 0
    row = json.loads((run / "rows.jsonl").read_text().splitlines()[0])
    assert (row["entry"], row["options"], row["status"]) == ("strip", {"ratio": 2}, "ok")
    assert row["macs"] == row["macs_fvcore"] == 2 * 64 * 16 * 8
    assert f"--plugin {EXAMPLE}" in row["repro"]


@pytest.mark.usefixtures("registered")
def test_the_example_obeys_its_closed_form() -> None:
    assert load_plugins([str(EXAMPLE)]) == ["strip"]
    assert trace_figures(make_case("strip", {}, 9, 14, 64)).macs == 2 * 9 * 14 * 64 * 16


def test_the_guide_shows_the_example_as_it_is() -> None:
    assert EXAMPLE.read_text() in (DOCS / "your_own_block.md").read_text()


@pytest.mark.usefixtures("registered")
def test_an_entry_point_registers_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "strip"

        def load(self) -> None:
            load_file(EXAMPLE)

    from bench.plugin import _load_file as load_file

    monkeypatch.setattr("bench.plugin.metadata.entry_points", lambda group: [Point()])
    assert load_plugins([]) == ["strip"]
