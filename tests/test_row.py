from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.row import ADDED, FIELDS, RunError, make_row, read_rows


def test_a_row_older_than_a_field_reads_as_one_that_lacks_the_figure(tmp_path: Path) -> None:
    whole = make_row({"key": "a", "status": "ok", "steal": 0.25})
    older = {name: value for name, value in whole.items() if name not in ADDED}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (whole, older)))
    read = read_rows(tmp_path / "rows.jsonl")
    assert read == [whole, {**older, **dict.fromkeys(ADDED)}]
    assert [tuple(row) for row in read] == [FIELDS, FIELDS]


def test_a_row_without_an_older_field_is_refused(tmp_path: Path) -> None:
    row = make_row({"key": "a", "status": "ok"})
    del row["latency_ms"]
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(RunError, match="without latency_ms"):
        read_rows(tmp_path / "rows.jsonl")


def test_a_row_names_its_machine_and_an_old_row_names_none(tmp_path: Path) -> None:
    row = make_row({"key": "a", "status": "ok", "node": "a", "device_name": "NVIDIA H200"})
    old = {name: value for name, value in row.items() if name not in ("node", "device_name")}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(made) + "\n" for made in (row, old)))
    assert [(made["node"], made["device_name"]) for made in read_rows(tmp_path / "rows.jsonl")] == [
        ("a", "NVIDIA H200"),
        (None, None),
    ]
