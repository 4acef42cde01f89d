"""Trial: a planned group made runnable, and what its sampling says of each member."""

from __future__ import annotations

import gc

import torch

from bench.case import Case
from bench.measure.method import Method
from bench.measure.peak import CudaPeak, cuda_peak
from bench.measure.sampler import Member, Sampler, timing_row
from bench.plan import PlannedGroup, Verdict, one_line
from bench.static import StaticFigures, with_fvcore
from bench.weights import Weights
from bench.workload import Workload, build

TWIN = "A/A twin"


class Trial:
    """The workloads of a group's members, of its reference and of the reference's A/A twin.

    Attributes:
        everyone: what is to be sampled, the twin last.
        figures: static figures by label; fvcore's count joins them when a member is inspected.
        seed: the same for the same group in every run.
        on_cuda: whether memory peaks are read.
    """

    def __init__(self, group: PlannedGroup, method: Method, weights: Weights | None = None) -> None:
        self._weights = weights
        cases = [verdict.case for verdict in group.members]
        if group.reference and group.reference.case not in cases:
            cases.append(group.reference.case)
        pacing = group.reference.case if group.reference else cases[0]
        self.figures: dict[str, StaticFigures | None] = {v.case.label: v.figures for v in group.members}
        self.seed = int(pacing.key[:8], 16)
        self.on_cuda = pacing.device == "cuda"
        self._reference = group.reference.case.label if group.reference else None
        self._works: dict[str, Workload] = {}
        self._peaks: dict[str, CudaPeak] = {}
        self._members = {case.label: self._member(case, case.label, method.seed) for case in cases}
        self._pace = self._members[pacing.label]
        self._twin = self._member(pacing, TWIN, method.seed)
        self._twin.twin_of = self._pace
        self.everyone = [*self._members.values(), self._twin]

    def inspect(self, member: Member) -> None:
        """Count a call by fvcore and, on CUDA, read its memory peak; untimed."""
        work, figures = self._works.get(member.name), self.figures.get(member.name)
        if work is not None and figures is not None:
            self.figures[member.name] = with_fvcore(figures, work)
        if self.on_cuda:
            self._peaks[member.name] = cuda_peak(member.call)

    def outcome(self, verdict: Verdict, sampler: Sampler) -> dict[str, object]:
        """Status and measured figures of one member, as fields of its row."""
        member = self._members[verdict.case.label]
        if member.failure is not None:
            return _failure(member.failure)
        whole = self._pace.failure is None and self._twin.failure is None
        timing = sampler.timing(member, self._pace if whole else None, self._twin if whole else None)
        fields = {"status": "ok", **timing_row(timing)}
        peak = self._peaks.get(member.name)
        if peak is not None:
            fields |= {"cuda_peak_bytes": peak.allocated, "cuda_reserved_bytes": peak.reserved}
        if self._reference and whole:
            return fields | {"reference": self._reference}
        return fields | {"ratio": None, "ratio_ci_low": None, "ratio_ci_high": None}

    def release(self) -> None:
        """Free every workload, and on CUDA the memory that its allocator holds on to."""
        self._works.clear()
        self._members.clear()
        self.everyone.clear()
        del self._pace, self._twin
        gc.collect()
        if self.on_cuda:
            torch.cuda.empty_cache()

    def _member(self, case: Case, name: str, seed: int) -> Member:
        try:
            work = build(case, seed=seed)
            if self._weights is not None:
                self._weights.load(case, work.module)
        except Exception as error:  # a block that cannot be made here has failed; its group goes on
            return Member(name, lambda: None, failure=error.with_traceback(None))
        if name != TWIN:
            self._works[name] = work
        return Member(name, work.call)


def _failure(error: Exception) -> dict[str, object]:
    """The status that an exception stands for, with its reason."""
    text = one_line(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(sign in text for sign in _OUT_OF_MEMORY):
        status = "oom"
    elif isinstance(error, NotImplementedError) or "not implemented for" in text:
        status = "unsupported"
    else:
        status = "crashed"
    return {"status": status, "reason": f"{type(error).__name__}: {text}"}


_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
