from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.row import FIELDS, RunError, make_row
from bench.store import Store, open_store
from modules.options import SpecError

STAMP = {"env": "e", "method": "m"}

ROOT = Path(__file__).resolve().parents[1]


def opened(folder: Path, stamp: dict[str, str] = STAMP) -> Store:
    with open_store(folder, 'name = "x"\n', {"cpu": "a"}, stamp) as store:
        return store


def row(key: str, status: str = "ok", **fields: object) -> dict[str, object]:
    reason = None if status == "ok" else "why"
    return make_row({"key": key, "status": status, "reason": reason, **STAMP, **fields})


def test_a_row_has_every_field_of_the_schema_in_order_and_null_where_nothing_is_known() -> None:
    made = row("a")
    assert tuple(made) == FIELDS
    assert made["schema"] == 1
    assert made["latency_ms"] is None


@pytest.mark.parametrize(
    "part", [{"status": "ok", "colour": 1}, {"status": "fine"}, {"status": "oom"}, {"status": "skipped", "reason": ""}]
)
def test_a_row_that_does_not_fit_the_schema_is_refused(part: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fields|status"):
        make_row({"key": "a"}, part)


def test_rows_come_back(tmp_path: Path) -> None:
    store = opened(tmp_path / "deep" / "run")
    for key in "abc":
        store.append(row(key))
    assert list(opened(store.folder).rows) == ["a", "b", "c"]
    assert (store.folder / "suite.toml").read_text() == 'name = "x"\n'
    assert json.loads((store.folder / "environment.json").read_text()) == {"cpu": "a", **STAMP}


def test_a_row_is_on_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    store = opened(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    store.append(row("a"))
    assert synced == [(tmp_path / "rows.jsonl").stat().st_size]


def test_a_case_has_one_row(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append(row("a"))
    with pytest.raises(ValueError, match="already"):
        store.append(row("a"))


@given(st.integers(min_value=0, max_value=4000))
def test_a_file_cut_anywhere_loses_at_most_the_row_that_was_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    store = opened(tmp_path_factory.mktemp("run"))
    for key in "abc":
        store.append(row(key))
    file = store.folder / "rows.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:cut])
    complete = (whole[:cut] + b"\n").replace(b"}\n", b"#").count(b"#")
    again = opened(store.folder)
    assert list(again.rows) == list("abc")[:complete]
    for key in "abc"[complete:]:
        again.append(row(key))
    assert file.read_bytes() == whole


@pytest.mark.parametrize("status", ["crashed", "timeout", "invalid"])
def test_failed_cases_are_measured_again_and_results_are_not(tmp_path: Path, status: str) -> None:
    store = opened(tmp_path)
    for key, kind in (("a", status), ("b", "oom"), ("c", "skipped"), ("d", "unsupported")):
        store.append(row(key, kind))
    assert list(opened(tmp_path).rows) == ["b", "c", "d"]


@pytest.mark.parametrize("changed", [{"env": "other"}, {"method": "other"}])
def test_rows_of_another_environment_or_method_are_not_mixed_in(tmp_path: Path, changed: dict[str, str]) -> None:
    opened(tmp_path).append(row("a"))
    with pytest.raises(SpecError, match="choose another --out"):
        opened(tmp_path, {**STAMP, **changed})
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 1


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="choose another --out"):
        opened(tmp_path / "file" / "run")


def test_a_broken_line_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{not json}\n")
    with pytest.raises(RunError, match="line 1 is not a row"):
        opened(tmp_path)


@pytest.mark.parametrize("line", ['{"key": "x"}', '{"schema": 1}', "[1]", '{"schema": 2}'])
def test_what_is_not_a_row_of_this_schema_is_bad_input(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match="line 1 is not a row"):
        opened(tmp_path)


def test_a_run_that_is_being_written_to_is_refused_to_another(tmp_path: Path) -> None:
    with open_store(tmp_path, "", {}, STAMP), pytest.raises(SpecError, match="another run is writing"):
        opened(tmp_path)
    assert opened(tmp_path).rows == {}


def test_rows_that_no_longer_hold_are_forgotten(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for key in "abc":
        store.append(row(key))
    store.forget({"b"})
    store.append(row("b"))
    assert list(opened(tmp_path).rows) == ["a", "c", "b"]


def test_a_full_disk_leaves_no_half_written_row(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import resource, signal, sys; from pathlib import Path; from bench.store import Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "store = Store(Path(sys.argv[1])); store.append({'key': 'a'})\n"
        "try:\n    store.append({'key': 'b', 'long': 'x' * 200})\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"SpecError cannot write to '{folder / 'rows.jsonl'}': File too large; its 1 rows")
    assert (folder / "rows.jsonl").read_text() == '{"key": "a"}\n'
