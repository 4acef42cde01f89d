"""Slices: a few samples of one case at a time, for two trees that take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from bench.agreement import check_form
from bench.case import Case
from bench.environment import available_bytes
from bench.fold import folded
from bench.measure.cache import flush_for
from bench.measure.clock import Clock
from bench.measure.method import Method
from bench.measure.sampler import Member, Sampler
from bench.trial import Broken, failure, timed_call
from bench.workload import build

SAMPLES, SLICE_MS = 5, 50.0
"""Samples of a slice, and milliseconds past which a slice has fewer of them, but one at least."""
BUILDS = 2
"""How often a process builds the instances of a case: each tree is the first once."""
QUADS = ((0, 1, 1, 0), (1, 0, 0, 1))
"""Who is called in which order, of the one built first and the other."""


class Seat(Protocol):
    """One tree's place in a process: holds a case of it, built and warm, and samples that.

    Attributes:
        inputs: tensors that the next case held is called with, where they fit it; null to draw its own.
    """

    inputs: tuple[Tensor, ...] | None

    def hold(self, case: Case) -> float | Broken:
        """Build a case anew and warm it up; milliseconds of one sample, or why the block failed."""

    def slice(self, samples: int) -> list[float] | Broken:
        """Milliseconds a call, `samples` of them, of what is held; or why the block failed."""

    def drop(self) -> None:
        """Free what is held."""


@dataclass(frozen=True)
class Turn:
    """What a case gave in one process.

    Attributes:
        times: milliseconds a call, of each seat.
        broken: number of the seat whose block failed, and how; null where none did.
    """

    times: tuple[list[float], ...]
    broken: tuple[int, Broken] | None = None


def take_turns(case: Case, seats: Sequence[Seat], who: Sequence[int], mark: Callable[[int], None]) -> Turn:
    """Sample a case of each seat, in turns, of instances that are built anew again and again.

    All instances have the same inputs. Whose instance is built first, and so lies where the other's lay before,
    alternates, and so does who is called first: ABBA, then BAAB.

    Args:
        case: which.
        seats: of the trees.
        who: numbers of the seats that take part, the one that goes first ahead.
        mark: called with the number of the seat that is taken in hand.
    """
    times: tuple[list[float], ...] = tuple([] for _ in seats)
    inputs: tuple[Tensor, ...] | None = None
    try:
        for build_number in range(BUILDS):
            order = (*who,) if build_number % 2 == 0 else (*reversed(who),)
            for number in order:
                mark(number)
                seats[number].drop()
            longest = 0.0
            for number in order:
                mark(number)
                seats[number].inputs = inputs
                held = seats[number].hold(case)
                if isinstance(held, Broken):
                    return Turn(times, (number, held))
                longest, inputs = max(longest, held), seats[number].inputs
            samples = max(1, min(SAMPLES, int(SLICE_MS / max(longest, 1e-6))))
            for number in (order[place % len(order)] for quad in QUADS for place in quad):
                mark(number)
                taken = seats[number].slice(samples)
                if isinstance(taken, Broken):
                    return Turn(times, (number, taken))
                times[number].extend(taken)
        return Turn(times)
    finally:
        for number in who:
            mark(number)
            seats[number].inputs = None
            seats[number].drop()


class Slicer:
    """The seat of the tree that is imported here."""

    def __init__(self, method: Method, clock: Clock) -> None:
        self.inputs: tuple[Tensor, ...] | None = None
        self._method = method
        self._clock = clock
        self._sampler = Sampler(clock, method)
        self._case: Case | None = None
        self._member: Member | None = None
        self._agreed: set[Case] = set()

    def hold(self, case: Case) -> float | Broken:
        self.drop()
        try:
            work = build(case, seed=self._method.seed)
            if self.inputs is not None and _alike(self.inputs, work.inputs):
                work.inputs = self.inputs
            self.inputs = work.inputs
            if case not in self._agreed:  # once a process: what is built is the same each time
                check_form(work, bool(self._method.fold), available_bytes(case.device), self._method.seed)
            work = folded(work) if self._method.fold else work
            if case not in self._agreed:
                work.check()
            self._agreed.add(case)
            self._sampler = Sampler(self._clock, self._method, flush=flush_for(self._method, case.device))
            member = Member(case.label, timed_call(work, self._method))
            self._sampler.warm_up(member)
            self._sampler.sample(-1, member)
            typical = member.times.pop() * member.repeats
            member.samples.clear()
            self._member, self._case = member, case
            return typical
        except Exception as error:  # whatever a block raises is its result
            return self._failed(case, error)

    def slice(self, samples: int) -> list[float] | Broken:
        """The samples; only the first needs an untimed call ahead, as all others follow one of the same block."""
        assert self._member is not None
        assert self._case is not None
        member, case = self._member, self._case
        try:
            already, primed = len(member.samples), member.primed
            for number in range(already, already + samples):
                self._sampler.sample(number, member)
                member.primed = False
            member.primed = primed
            return member.times[already:]
        except Exception as error:  # likewise
            return self._failed(case, error)

    def drop(self) -> None:
        self._member = self._case = None

    def take(self, case: Case, samples: int) -> list[float] | Broken:
        """A slice of a case, which is held from then on, so that its next slice costs nothing but its samples."""
        if case != self._case or self._member is None:
            self.inputs = None
            held = self.hold(case)
            if isinstance(held, Broken):
                return held
        return self.slice(samples)

    def _failed(self, case: Case, error: Exception) -> Broken:
        self.drop()
        fields = failure(error)
        return Broken(case.label, str(fields["status"]), str(fields["reason"]))


def _alike(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Whether tensors may stand for others as inputs."""
    shown = [[(t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in some] for some in (ours, theirs)]
    return shown[0] == shown[1]
