"""Folders of results: each kind is known by its file, read as a frame, and refused in one line where it is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import load, show_folder, write_folder
from bench.row import RunError
from bench.training.record import make_record


def test_a_sweep_is_read_with_what_is_derived_from_its_rows(run: Path) -> None:
    frame = load(run)
    assert {"label", "peak_mib", "verdict", "ratio"} <= set(frame.columns)
    assert load(str(run)).equals(frame)


def test_training_runs_have_a_column_for_each_nested_figure(tmp_path: Path) -> None:
    record = make_record({"label": "nl", "seed": 1, "status": "ok", "resolving": {"scene": 100.0}, "folds": {"a": [1]}})
    (tmp_path / "runs.jsonl").write_text(json.dumps(record) + "\n")
    (row,) = load(tmp_path).to_dict("records")
    assert (row["label"], row["seed"], row["resolving.scene"]) == ("nl", 1, 100.0)
    assert not any(name.startswith("folds") for name in row)


def test_the_ledger_is_read_and_says_who_writes_it(tmp_path: Path) -> None:
    (tmp_path / "papers.csv").write_text("paper,published\nann,28\n")
    assert load(tmp_path).to_dict("records") == [{"paper": "ann", "published": 28}]
    for ask in (write_folder, lambda folder: show_folder(folder, "table")):
        with pytest.raises(RunError, match=r"holds a ledger, which 'papers --output .*' writes and prints"):
            ask(tmp_path)


def test_a_folder_without_results_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"holds no results; looked for devices.json, rows.jsonl, runs.jsonl, profile.jsonl"
    ):
        load(tmp_path)
    with pytest.raises(RunError, match="is no folder"):
        load(tmp_path / "nowhere")
