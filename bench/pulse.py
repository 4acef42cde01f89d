"""Pulse: what a worker is at, in a page of memory that its driver can look at without waking it."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass

_LAYOUT = struct.Struct("<qqd")
IDLE = -1


@dataclass(frozen=True)
class Beat:
    """One look at a pulse.

    Attributes:
        step: number of what is in hand, or `IDLE`.
        round: of sampling; -1 before it.
        since: seconds of the machine's monotonic clock at which it was taken in hand.
    """

    step: int
    round: int
    since: float

    @property
    def seconds(self) -> float:
        """How long it has been in hand."""
        return time.monotonic() - self.since


class Pulse:
    """A shared page: the worker writes what it takes in hand, the driver reads.

    Attributes:
        descriptor: of the page, to be inherited by the worker.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                file.truncate(mmap.PAGESIZE)
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)

    def mark(self, step: int, round: int = -1) -> None:
        """Say what is taken in hand now."""
        _LAYOUT.pack_into(self._page, 0, step, round, time.monotonic())

    def read(self) -> Beat:
        """What is in hand."""
        return Beat(*_LAYOUT.unpack_from(self._page, 0))

    def close(self) -> None:
        """Give the page back."""
        self._page.close()
        os.close(self.descriptor)
