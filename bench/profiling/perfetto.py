"""Perfetto: the traces of several cases in one file, each a process of its own, all of them beginning at zero."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FLOWS = ("s", "t", "f")
_FLOW_IDS = 2**32
_CARDS = 5_000_000
"""Sort indices of the profiler from here on are those of cards, those below of processes on the host."""


@dataclass
class Numbers:
    """Numbers for the processes and threads of all cases, none of which may be another's."""

    known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def of(self, *what: object) -> int:
        return self.known.setdefault(what, len(self.known) + 1)


def merge(sections: Iterable[tuple[str, Path]]) -> str:
    """One trace, as text, of those that `torch.profiler` wrote.

    Args:
        sections: title of each case, and the file of its calls. The processes of a case carry its title in Perfetto,
            and its first call begins at 0, so that cases lie one below the other.

    Raises:
        ValueError: a file is not such a trace.
    """
    numbers = Numbers()
    events: list[Mapping[str, Any]] = []
    for number, (title, path) in enumerate(sections):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("traceEvents"), list):
            raise ValueError(f"'{path}' is not a trace")
        events += _section(number, title, content["traceEvents"], numbers)
    return json.dumps({"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": events}, separators=(",", ":"))


def _section(number: int, title: str, events: list[Mapping[str, Any]], numbers: Numbers) -> Iterator[Mapping[str, Any]]:
    kept = [event for event in events if isinstance(event.get("pid"), int)]  # the others speak of the profiler itself
    start = min((event["ts"] for event in kept if event.get("ph") == "X"), default=0)
    busy = {(event["pid"], event.get("tid")) for event in kept if event.get("ph") not in ("M", *_FLOWS)}
    processes = {pid for pid, _ in busy}
    for event in kept:
        pid, tid = event["pid"], event.get("tid")
        about_thread = str(event.get("name")).startswith("thread_")
        if event.get("ph") == "M" and (pid not in processes or (about_thread and (pid, tid) not in busy)):
            continue
        moved = {**event, "pid": numbers.of(number, pid), "tid": numbers.of(number, pid, tid)}
        if event.get("ph") == "M":
            moved["ts"] = 0
            moved["args"] = _named(event, number, title)
        else:
            moved["ts"] = round(event["ts"] - start, 3)
        if event.get("ph") in _FLOWS and isinstance(event.get("id"), int):
            moved["id"] = number * _FLOW_IDS + event["id"]
        yield moved


def _named(event: Mapping[str, Any], number: int, title: str) -> Mapping[str, Any]:
    """What the metadata of a process says, with the case's title in its name, and the cases in order."""
    args = dict(event.get("args", {}))
    if event["name"] == "process_name":
        args["name"] = title
    if event["name"] == "process_sort_index":
        on_card = int(args.get("sort_index", 0)) >= _CARDS
        args["sort_index"] = 2 * number + int(on_card)
    return args
