"""Progress of a sweep for the person at the terminal: a live bar there, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Watch:
    """Shows what is in flight, what is done and how long the rest will take; a `bench.runner.Watcher`.

    Attributes:
        console: where it shows; a terminal gets a live bar, anything else a line for each group.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._start = time.monotonic()
        self._title = ""

    @contextmanager
    def shown(self) -> Iterator[Watch]:
        """Show progress inside the block."""
        self._start = time.monotonic()
        if not self.console.is_terminal:
            yield self
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[left]}"), console=self.console, transient=True) as bar:
            self._bar, self._task = bar, bar.add_task("planning", total=None, left="")
            yield self
            self._bar = None

    def judged(self, number: int, total: int) -> None:
        """A case is being traced, before anything is measured."""
        self._update(f"tracing case {number + 1}", number, total, "")

    def group(self, title: str, note: str, done: int, total: int) -> None:
        left = self._left(done, total)
        self._title = title
        if note:
            self.note(f"{title}: {note}")
        if self._bar is None:
            self.console.print(f"[{done}/{total}] {title}{', ' + left if left else ''}", markup=False, highlight=False)
        self._update(title, done, total, left)

    def step(self, case: str, round: int) -> None:
        if self._bar is not None and self._task is not None:
            when = f"round {round + 1}" if round >= 0 else "getting ready"
            self._bar.update(self._task, description=f"{self._title}: {when}, {case}")

    def row(self, row: Mapping[str, object]) -> None:
        if row["status"] in ("crashed", "oom", "timeout", "invalid"):
            place = f"{row['height']}x{row['width']}x{row['channels']}"
            self.note(f"{row['entry']} {place}: {row['status']}: {row['reason']}")

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _left(self, done: int, total: int) -> str:
        spent = time.monotonic() - self._start
        return f"about {_duration(spent / done * (total - done))} left" if done else ""

    def _update(self, text: str, done: int, total: int, left: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=total, left=left)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
