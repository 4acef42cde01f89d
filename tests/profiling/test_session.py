"""Profiling from request to files: every case a record, whatever becomes of it, and nothing begun on bad input."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.profiling import ProfileRequest, run_profile
from bench.profiling import session as room
from bench.profiling.record import CLASSES, PROFILE, read_profiles
from modules.options import SpecError

AXES = {"blocks": "identity,snl", "sizes": "8x8", "channels": "16"}
DYING = """
from torch import nn
from modules.registry import register

@register("dying", family="context")
class Dying(nn.Module):
    def __init__(self, channels): super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            raise {error}
        return x + 1
"""


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.profiling.times.SAMPLES", 3)
    monkeypatch.setattr(room, "retain_host_memory", lambda: "left alone")


def test_every_case_is_a_record_with_what_it_took(tmp_path: Path) -> None:
    request = ProfileRequest(
        {**AXES, "mode": "forward,train"}, "cpu", tmp_path / "run", (), tmp_path / "t.json", tmp_path / "run" / "m.html"
    )
    outcome = run_profile(request, quiet())
    records = read_profiles(tmp_path / "run" / PROFILE)
    assert [(one["label"], one["mode"], one["status"]) for one in records] == [
        *(("identity", "forward", "ok"), ("snl", "forward", "ok")),
        *(("identity", "train", "ok"), ("snl", "train", "ok")),
    ]
    for one in records:
        assert sum(one["class_ms"].values()) + one["remainder_ms"] == pytest.approx(one["total_ms"])
        assert one["threads"] >= 1
        assert one["env"]
    assert set(records[1]["class_macs"]) == set(CLASSES)
    assert records[1]["repro"].startswith("python run_bench.py profile snl --sizes 8x8 --channels 16 --batch 1")
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["host_allocator"] == "left alone"
    assert not outcome.failed
    assert "4 ok" in outcome.text
    assert str(tmp_path / "t.json") in outcome.text
    trace = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {event["args"]["name"] for event in trace if event["name"] == "process_name"} == {
        *("identity 8x8x16 b1 fp32 forward", "snl 8x8x16 b1 fp32 forward"),
        *("identity 8x8x16 b1 fp32 train", "snl 8x8x16 b1 fp32 train"),
    }
    assert "aten::convolution_backward" in {event["name"] for event in trace}
    assert sum(event["name"] == "call" for event in trace) == sum(one["calls"] for one in records)
    assert (tmp_path / "run" / "m.html").read_text().count("<h2>") == 4


def test_a_case_that_cannot_be_is_a_record_and_the_others_go_on(tmp_path: Path) -> None:
    request = ProfileRequest({**AXES, "blocks": "ldv1,snl", "sizes": "4x4"}, "cpu", tmp_path / "run")
    outcome = run_profile(request, quiet())
    ldv1, snl = read_profiles(outcome.folder / PROFILE)
    assert (ldv1["status"], ldv1["total_ms"], ldv1["macs"]) == ("unsupported", None, None)
    assert "15" in ldv1["reason"]
    assert snl["status"] == "ok"
    assert not outcome.failed


@pytest.mark.parametrize(
    ("error", "status", "fails"),
    [
        ("RuntimeError('it broke')", "crashed", True),
        ("MemoryError('no room')", "oom", False),
        ("NotImplementedError('not here')", "unsupported", False),
    ],
)
def test_a_block_that_raises_is_a_record_with_its_reason(
    tmp_path: Path, registered: object, error: str, status: str, fails: bool
) -> None:
    (tmp_path / "dying.py").write_text(DYING.replace("{error}", error))
    request = ProfileRequest({**AXES, "blocks": "dying"}, "cpu", tmp_path / "run", (str(tmp_path / "dying.py"),))
    outcome = run_profile(request, quiet())
    (record,) = read_profiles(outcome.folder / PROFILE)
    assert record["status"] == status
    assert error.partition("'")[2].partition("'")[0] in record["reason"]
    assert record["traced_peak_bytes"] == 4096
    assert outcome.failed is fails
    assert f"--plugin {tmp_path / 'dying.py'}" in record["repro"]


def test_what_does_not_fit_is_skipped_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available_bytes", lambda device: 5000)
    outcome = run_profile(ProfileRequest({**AXES, "blocks": "nl"}, "cpu", tmp_path / "run"), quiet())
    (record,) = read_profiles(outcome.folder / PROFILE)
    assert record["status"] == "skipped"
    assert "MiB (traced), 0.004768 MiB are free on cpu" in record["reason"]
    assert record["class_peak_bytes"]["matmul"] > 0


def test_the_same_command_measures_again(tmp_path: Path) -> None:
    request = ProfileRequest({**AXES, "blocks": "snl"}, "cpu", tmp_path / "run")
    run_profile(request, quiet())
    first = (tmp_path / "run" / PROFILE).read_text()
    run_profile(request, quiet())
    assert (tmp_path / "run" / PROFILE).read_text() != first
    assert len(read_profiles(tmp_path / "run" / PROFILE)) == 1


def test_the_folder_is_named_after_what_was_asked_for() -> None:
    names = {ProfileRequest({**AXES, "sizes": size}).folder("cpu").name for size in ("8x8", "9x9")}
    assert len(names) == 2
    assert all(name.startswith("profile-cpu-") for name in names)


def test_memory_formats_are_told_apart() -> None:
    axes = {**AXES, "blocks": "snl", "memory_format": "channels_first,channels_last"}
    assert len({room.title(case) for case in ProfileRequest(axes).cases("cpu")}) == 2


@pytest.mark.parametrize(
    ("axes", "more", "expected"),
    [
        ({"blocks": "nll"}, {}, "unknown block 'nll'; did you mean 'nl'?"),
        ({"sizes": "8by8"}, {}, "size '8by8' is not of the form"),
        ({"blocks": "cgnl", "channels": "100"}, {}, "cannot build 'cgnl'"),
        ({}, {"device": "tpu"}, "unknown device 'tpu'"),
        ({}, {"trace": Path("nowhere/t.json")}, "--trace 'nowhere/t.json': there is no folder 'nowhere'"),
        ({}, {"trace": Path("t.html")}, "--trace 't.html' is not a file name that ends in .json"),
        ({}, {"memory": Path("nowhere/m.html")}, "--memory 'nowhere/m.html': there is no folder 'nowhere'"),
        ({}, {"memory": Path("m.json")}, "--memory 'm.json' is not a file name that ends in .html"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes: dict[str, str], more: dict[str, object], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    request = ProfileRequest({**AXES, **axes}, out=tmp_path / "run", **{"device": "cpu", **more})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=expected.replace("?", r"\?")):
        run_profile(request, quiet())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_sweep_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(SpecError, match="holds the rows of another command"):
        run_profile(ProfileRequest(AXES, "cpu", tmp_path), quiet())
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
