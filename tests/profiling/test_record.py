"""Records of profiled cases: whole, or refused; readable without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.profiling.record import FIELDS, PROFILE, make_record, read_profiles
from bench.row import RunError
from tests.profiling.invented import record, write


def test_a_record_has_every_field() -> None:
    assert list(make_record({"status": "ok"})) == list(FIELDS)


@pytest.mark.parametrize("fields", [{"status": "good"}, {"status": "oom"}, {}])
def test_a_status_that_does_not_exist_or_has_no_reason_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="status"):
        make_record(fields)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(KeyError, match="seconds"):
        make_record({"status": "ok", "seconds": 1})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    one = record("nl", 20, 60, 10)
    assert read_profiles(write(tmp_path / "run", one) / PROFILE) == [one]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nonsense\n", "line 1 is not JSON"),
        ('{"schema": 1}\n', "line 1 is not a profiled case"),
        ('{"schema": 9, "label": "nl"}\n', "of schema 1"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / PROFILE).write_text(text)
    with pytest.raises(RunError, match=expected):
        read_profiles(tmp_path / PROFILE)


def test_a_folder_without_records_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*No such file"):
        read_profiles(tmp_path / PROFILE)


def test_records_need_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from bench.profiling.record import CLASSES; print(len(CLASSES))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
