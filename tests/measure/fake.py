"""A clock that tells invented times, so that sampling is tested without waiting and without a device."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """Each call says itself how long it took; host time passes by just that much."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timed: list[tuple[str, int]] = []
        self.inside = False
        self.pauses: list[float] = []

    def time(self, call: Callable[[], object], repeats: int = 1) -> float:
        self.inside = True
        total = 0.0
        for _ in range(repeats):
            name, milliseconds = call()  # type: ignore[misc]
            total += milliseconds
        self.inside = False
        self.timed.append((name, repeats))
        self.seconds += total / 1e3
        return total / repeats

    def now(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        assert not self.inside
        self.pauses.append(seconds)
        self.seconds += seconds


def constant(name: str, milliseconds: float) -> Callable[[], tuple[str, float]]:
    """A call that always takes the same time."""
    return lambda: (name, milliseconds)
