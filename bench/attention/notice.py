"""Notice: which network is being trained or looked at, for the person at the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.status import Status

_SILENCE_SECONDS = 30.0


class Notice:
    """A live line on a terminal, plain lines elsewhere: one for each network that has ended, and one now and then.

    Attributes:
        console: where.
        total: networks.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self._done = 0
        self._label = ""
        self._status: Status | None = None
        self._stack = ExitStack()
        self._told = time.monotonic()

    def __enter__(self) -> Notice:
        if self.console.is_terminal:
            self._status = self._stack.enter_context(self.console.status(""))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self, label: str) -> None:
        """A network is taken up."""
        self._label = label
        self._tell(f"{self._place(1)} {label}")

    def step(self, iteration: int, total: int, loss: float) -> None:
        """An iteration of its training is done."""
        words = f"{self._place(1)} {self._label}: iteration {iteration} of {total}, loss {loss:.3f}"
        self._tell(words if iteration < total else f"{self._place(1)} {self._label}: looking at it")

    def end(self, label: str, records: Sequence[dict[str, Any]]) -> None:
        """A network has been measured, or could not be."""
        self._done += 1
        self._told = time.monotonic()
        words = f"{self._place(0)} {label}: {', '.join(outcome(record) for record in records)}"
        self.console.print(words, markup=False, highlight=False, soft_wrap=True)

    def _place(self, next_one: int) -> str:
        return f"[{self._done + next_one}/{self.total}]"

    def _tell(self, words: str) -> None:
        if self._status is not None:
            self._status.update(words.replace("[", "\\["))
        elif time.monotonic() - self._told >= _SILENCE_SECONDS:
            self._told = time.monotonic()
            self.console.print(words, markup=False, highlight=False, soft_wrap=True)


def outcome(record: dict[str, Any]) -> str:
    """A record in a few words."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['reason']}"
    distance = (record["distances"] or {}).get("attention")
    return f"{record['place']} " + ("shows no attention" if distance is None else f"attention {distance:.3f}")
