"""The journal of training runs: nothing lost, nothing doubled, one writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.row import RunError
from bench.store import open_store
from bench.training.archive import open_archive
from bench.training.record import FIELDS, make_record, read_records
from modules.options import SpecError


def record(key: str, status: str = "ok") -> dict[str, object]:
    return make_record({"key": key, "label": "gc", "status": status, "reason": None if status == "ok" else "why"})


def keys(folder: Path) -> list[str]:
    return [found["key"] for found in read_records(folder / "runs.jsonl")]


def test_runs_that_ended_well_are_kept_and_the_others_dropped(tmp_path: Path) -> None:
    with open_archive(tmp_path / "run", {"cpu": "x"}) as archive:
        for key, status in (("a", "ok"), ("b", "crashed"), ("c", "ok")):
            archive.append(record(key, status))
        assert keys(archive.folder) == ["a", "b", "c"]
    with open(tmp_path / "run" / "runs.jsonl", "a") as file:
        file.write('{"schema": 1, "key": "d", "lab')
    with open_archive(tmp_path / "run", {"cpu": "y"}) as archive:
        assert list(archive.records) == ["a", "c"]
    assert keys(tmp_path / "run") == ["a", "c"]
    assert json.loads((tmp_path / "run" / "environment.json").read_text()) == {"cpu": "y"}


def test_records_are_put_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    with open_archive(tmp_path, {}) as archive:
        for key, status in (("c", "ok"), ("x", "diverged"), ("a", "ok"), ("b", "ok")):
            archive.append(record(key, status))
        archive.arrange(["a", "b", "never trained"])
        assert list(archive.records) == ["c", "a", "b"]
    assert keys(tmp_path) == ["c", "a", "b", "x"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        open_archive(tmp_path, {}),
        pytest.raises(SpecError, match="another run is writing"),
        open_archive(tmp_path, {}),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot write results to"), open_archive(tmp_path / "file" / "run", {}):
        pass


@pytest.mark.parametrize("line", ["not json\n", "[]\n", '{"schema": 2, "label": "gc"}\n'])
def test_what_is_no_record_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "runs.jsonl").write_text(line)
    with pytest.raises(RunError, match="line 1"), open_archive(tmp_path, {}):
        pass


def test_records_hold_the_schema_and_nothing_else() -> None:
    assert list(make_record({"label": "gc"})) == list(FIELDS)
    with pytest.raises(KeyError, match="colour"):
        make_record({"colour": "red"})


def test_a_folder_holds_a_sweep_or_training_runs_but_not_both(tmp_path: Path) -> None:
    for name in ("sweep", "training"):
        (tmp_path / name).mkdir()
    (tmp_path / "sweep" / "rows.jsonl").write_text("")
    (tmp_path / "training" / "runs.jsonl").write_text("")
    with pytest.raises(SpecError, match="holds the rows of a sweep"), open_archive(tmp_path / "sweep", {}):
        pass
    with pytest.raises(SpecError, match="holds training runs"):
        open_store(tmp_path / "training", "", {}, {"env": "e", "method": "m"})
    assert not (tmp_path / "sweep" / "environment.json").exists()
