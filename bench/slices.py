"""Slices: a few samples of one case at a time, for two processes that take turns."""

from __future__ import annotations

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


class Slicer:
    """Keeps the last case built and warm, so that its next slice costs nothing but its samples."""

    def __init__(self, method: Method, clock: Clock) -> None:
        self._method = method
        self._clock = clock
        self._sampler = Sampler(clock, method)
        self._case: Case | None = None
        self._member: Member | None = None

    def take(self, case: Case, samples: int) -> list[float] | Broken:
        """Milliseconds a call, `samples` of them; or why the block failed."""
        try:
            if case != self._case or self._member is None:
                self._member = None
                work = build(case, seed=self._method.seed)
                check_form(work, bool(self._method.fold), available_bytes(case.device), self._method.seed)
                work = folded(work) if self._method.fold else work
                work.check()
                self._sampler = Sampler(self._clock, self._method, flush=flush_for(self._method, case.device))
                self._member, self._case = Member(case.label, timed_call(work, self._method)), case
                self._sampler.warm_up(self._member)
            return self._slice(self._member, samples)
        except Exception as error:  # whatever a block raises is its result
            self._member = None
            fields = failure(error)
            return Broken(case.label, str(fields["status"]), str(fields["reason"]))

    def _slice(self, member: Member, samples: int) -> list[float]:
        """The samples; only the first needs an untimed call ahead, as all others follow one of the same block."""
        already, primed = len(member.samples), member.primed
        for number in range(already, already + samples):
            self._sampler.sample(number, member)
            member.primed = False
        member.primed = primed
        return member.times[already:]
