"""One trace of several cases: each a process of its own, from zero on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.profiling.perfetto import merge

HOST, CARD = 77, 0


def written(path: Path, start: float) -> Path:
    """A trace as the profiler writes it: host and card, metadata, a flow, and lines about the profiler itself."""
    meta = {"ph": "M", "ts": start - 5.0, "tid": 0}
    named = [
        {**meta, "name": "process_name", "pid": HOST, "args": {"name": "python"}},
        {**meta, "name": "process_sort_index", "pid": HOST, "args": {"sort_index": HOST}},
        {**meta, "name": "process_name", "pid": CARD, "args": {"name": "python"}},
        {**meta, "name": "process_sort_index", "pid": CARD, "args": {"sort_index": 5_000_000}},
        {**meta, "name": "process_name", "pid": 1, "args": {"name": "a card that nothing ran on"}},
        {**meta, "name": "thread_name", "pid": HOST, "tid": 9, "args": {"name": "thread 9"}},
        {**meta, "name": "thread_name", "pid": HOST, "tid": 8, "args": {"name": "a thread that did nothing"}},
    ]
    events = [
        *({"ph": "X", "name": "call", "pid": HOST, "tid": 9, "ts": start, "dur": 9.0},),
        *({"ph": "X", "name": "aten::bmm", "pid": HOST, "tid": 9, "ts": start + 1, "dur": 2.0},),
        *({"ph": "X", "name": "gemm", "pid": CARD, "tid": 7, "ts": start + 2, "dur": 3.0},),
        *({"ph": "s", "name": "launch", "pid": HOST, "tid": 9, "ts": start + 1, "id": 4},),
        *({"ph": "X", "name": "span", "pid": "Spans", "tid": "all", "ts": start - 9, "dur": 99.0},),
    ]
    path.write_text(json.dumps({"traceName": str(path), "host_name": "here", "traceEvents": [*named, *events]}))
    return path


def test_each_case_is_processes_of_its_own_named_after_it(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{start}.json", start) for start in (1000.0, 8000.0)]
    content = json.loads(merge(zip(("nl", "apnb"), files, strict=True)))
    events = content["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert list(names.values()) == ["nl", "nl", "apnb", "apnb"]
    order = [event["args"]["sort_index"] for event in events if event["name"] == "process_sort_index"]
    assert order == [0, 1, 2, 3]
    calls = [event for event in events if event["name"] == "call"]
    assert [event["ts"] for event in calls] == [0, 0]
    assert [names[event["pid"]] for event in calls] == ["nl", "apnb"]
    assert len({(event["pid"], event["tid"]) for event in events if event["ph"] == "X"}) == 4
    assert len({event["tid"] for event in events if event["ph"] == "X"}) == 4
    assert len({event["id"] for event in events if event["ph"] == "s"}) == 2
    assert [event["args"]["name"] for event in events if event["name"] == "thread_name"] == ["thread 9"] * 2


def test_nothing_of_the_machine_or_the_profiler_is_left(tmp_path: Path) -> None:
    text = merge([("nl", written(tmp_path / "one.json", 5.0))])
    assert "here" not in text
    assert str(tmp_path) not in text
    assert "Spans" not in text


def test_no_case_is_an_empty_trace() -> None:
    assert json.loads(merge([]))["traceEvents"] == []


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a trace"):
        merge([("nl", tmp_path / "one.json")])
