"""Board: training runs for the person at the terminal, a live bar for each worker there, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.training.crew import News

_SILENCE_SECONDS = 30.0


class Board:
    """Shows which runs are in hand, with loss, mIoU so far and time left.

    Attributes:
        console: where; a terminal gets live bars, anything else a line for each run that has ended.
        total: runs to train.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self._done = 0
        self._shares: dict[int, float] = {}
        self._told = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[int, TaskID] = {}
        self._seen: dict[int, str] = {}
        self._mious: dict[int, float] = {}
        self._start = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator[Board]:
        """Show progress inside the block."""
        self._start = time.monotonic()
        if not self.console.is_terminal or not self.total:
            yield self
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console, transient=True) as bars:
            self._bars = bars
            self._whole = bars.add_task(f"runs 0/{self.total}", total=self.total, note="")
            yield self
            self._bars = None

    def hear(self, news: News) -> None:
        """Take up what a worker tells."""
        if news.what == "ended":
            self._ended(news)
            return
        self._shares[news.worker] = news.iteration / max(news.iterations, 1)
        if news.miou is not None:
            self._mious[news.worker] = news.miou
        if self._bars is not None:
            self._step(news, self._bars)
        elif time.monotonic() - self._told >= _SILENCE_SECONDS:
            self._told = time.monotonic()
            place = f"iteration {news.iteration} of {news.iterations}"
            self._print(f"[{self._done}/{self.total}] {news.job.run}: {place}, {self._figures(news)}; {self._left()}")

    def _step(self, news: News, bars: Progress) -> None:
        task = self._tasks.get(news.worker)
        if task is None:
            task = self._tasks[news.worker] = bars.add_task("", total=news.iterations, note="")
        if self._seen.get(news.worker) != str(news.job.run):
            self._seen[news.worker] = str(news.job.run)
            bars.reset(task, total=news.iterations)
        note = self._figures(news)
        bars.update(task, description=f"  {news.job.run}", completed=news.iteration, total=news.iterations, note=note)
        bars.update(self._whole, note=self._left())

    def _figures(self, news: News) -> str:
        miou = self._mious.get(news.worker)
        return f"loss {news.loss:.3f}" + (f", mIoU so far {miou:.1f}" if miou is not None else "")

    def _ended(self, news: News) -> None:
        assert news.record is not None
        self._done += 1
        self._shares.pop(news.worker, None)
        self._mious.pop(news.worker, None)
        self._told = time.monotonic()
        left = self._left()
        line = f"[{self._done}/{self.total}] {news.job.run}: {outcome(news.record)}"
        if self._bars is not None:
            self._bars.update(self._whole, description=f"runs {self._done}/{self.total}", advance=1, note=left)
        self._print(line + ("" if self._bars is not None or not left else f"; {left}"))

    def _left(self) -> str:
        done = self._done + sum(self._shares.values())
        if not done or self._done == self.total:
            return ""
        minutes, seconds = divmod(round((time.monotonic() - self._start) / done * (self.total - done)), 60)
        return f"about {minutes} min {seconds} s left"

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def outcome(record: Mapping[str, Any]) -> str:
    """A run's result in a few words."""
    if record["status"] != "ok":
        return f"{record['status']}: {record['reason']}"
    words = [f"mIoU {record['miou']:.1f}"] if record["miou"] is not None else []
    kinds = record["resolving"] or {}
    words += [f"{kind} {kinds[kind]:.1f}" for kind in kinds if kinds[kind] is not None and not kind.endswith("_mixed")]
    return f"{', '.join(words)}; {record['seconds']:.0f} s"
