"""Trial: a planned group made runnable, and what its sampling says of each member."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from bench.agreement import check_form
from bench.case import Case
from bench.environment import available_bytes
from bench.fold import folded
from bench.measure.cache import flush_for
from bench.measure.clock import Call, Clock
from bench.measure.graph import captured
from bench.measure.method import Method
from bench.measure.peak import CpuPeak, CudaPeak, cpu_peak, cuda_peak
from bench.measure.precision import class_precisions
from bench.measure.sampler import Member, Sampler, timing_row
from bench.measure.telemetry import Probe
from bench.measure.timing import ratio_row
from bench.plan import PlannedGroup, Verdict, one_line
from bench.static import StaticFigures, with_fvcore
from bench.weights import Weights
from bench.workload import FalseOutput, Workload, build
from modules import registry

TWIN = "A/A twin"
_ROOM = "cuda_reserved_bytes: the call found room in what the allocator held for others"
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Broken:
    """What ended a group before it was measured.

    Attributes:
        label: name of the case that was in hand; null where it cannot be told.
        status, reason: of its row.
        killed: whether its process was killed from outside, which may be the end of the whole machine.
    """

    label: str | None
    status: str
    reason: str
    killed: bool = False


@dataclass(frozen=True)
class GroupResult:
    """What measuring a group gave.

    Attributes:
        fields: fields of the row of each member, by name of its case.
        figures: its static figures, with fvcore's count.
        busy_seconds: in warm-up or timed calls.
        broken: why there is nothing else, if so.
        node: of the cluster, that measured it.
    """

    fields: Mapping[str, Mapping[str, object]]
    figures: Mapping[str, StaticFigures | None]
    busy_seconds: float
    broken: Broken | None = None
    node: str | None = None


def measure_group(
    group: PlannedGroup,
    method: Method,
    clock: Clock,
    weights: Weights | None = None,
    probe: Probe | None = None,
    on_step: OnStep = lambda step, round: None,
) -> GroupResult:
    """Build, warm, inspect and sample a group in this process.

    Args:
        group: what to measure.
        method, clock: how.
        weights: for one of the blocks.
        probe: looks at the machine between rounds.
        on_step: told (number in `group.steps`, round) of what is taken in hand; round is -1 before sampling. After it
            the number is one beyond them: whatever happens then is not a block's doing.
    """
    trial = Trial(group, method, weights, on_step)
    sampler = Sampler(clock, method, on_member=trial.step, probe=probe, flush=flush_for(method, group.pacing.device))
    sampler.run(trial.everyone, trial.seed, prepare=trial.inspect, settle=trial.on_cuda)
    poison = trial.poison()
    if poison is not None:
        return GroupResult({}, {}, sampler.busy_seconds, poison)
    on_step(len(group.steps), -1)
    fields = {verdict.case.name: trial.outcome(verdict, sampler) for verdict in group.members}
    result = GroupResult(fields, dict(trial.figures), sampler.busy_seconds)
    trial.release()
    return result


class Trial:
    """The workloads of a group's members, of its reference and of the reference's A/A twin.

    Attributes:
        everyone: what is to be sampled, the twin last.
        figures: static figures by name of the case; fvcore's count joins them when a member is inspected.
        seed: the same for the same group in every run.
        on_cuda: whether memory peaks are those of a card.
    """

    def __init__(
        self, group: PlannedGroup, method: Method, weights: Weights | None = None, on_step: OnStep = lambda s, r: None
    ) -> None:
        pacing = group.pacing
        self.figures: dict[str, StaticFigures | None] = {v.case.name: v.figures for v in group.members}
        self.seed = int(pacing.key[:8], 16)
        self.on_cuda = pacing.device == "cuda"
        self._weights, self._on_step, self._method = weights, on_step, method
        self._reference, self._note = group.reference.case if group.reference else None, group.note
        self._works: dict[str, Workload] = {}
        self._peaks: dict[str, CudaPeak | CpuPeak] = {}
        self._checked: dict[str, str] = {}
        self._members = {}
        for number, case in enumerate(group.cases):
            on_step(number, -1)
            self._members[case.name] = self._member(case, case.name, method.seed)
        on_step(len(self._members), -1)
        self._pace = self._members[pacing.name]
        self._twin = self._member(pacing, TWIN, method.seed)
        self._twin.twin_of = self._pace
        self.everyone = [*self._members.values(), self._twin]
        self._numbers = {id(member): number for number, member in enumerate(self.everyone)}

    def step(self, member: Member, round: int) -> None:
        """Tell which member is taken in hand."""
        self._on_step(self._numbers[id(member)], round)

    def inspect(self, member: Member) -> None:
        """Check what a call returns and that it is what the reference returns, count one by fvcore and read its memory
        peak; untimed."""
        work, figures = self._works.get(member.name), self.figures.get(member.name)
        if work is not None:
            work.check()
            self._compare(work, member.name)
        if work is not None and figures is not None:
            self.figures[member.name] = with_fvcore(figures, work)
        if work is not None:
            self._peaks[member.name] = (cuda_peak if self.on_cuda else cpu_peak)(work.call)

    def _compare(self, work: Workload, name: str) -> None:
        plain = self._build(work.case, self._method.seed) if self._method.fold else work
        size = check_form(plain, bool(self._method.fold), available_bytes(work.case.device), self._method.seed)
        if size is not None:
            self._checked[name] = size

    def outcome(self, verdict: Verdict, sampler: Sampler) -> dict[str, object]:
        """Status and measured figures of one member, as fields of its row."""
        case = verdict.case
        member = self._members[case.name]
        if member.failure is not None:
            return failure(member.failure)
        whole = self._pace.failure is None and self._twin.failure is None
        against = self._against(case) if whole else None
        timing = sampler.timing(member, against, self._twin if whole else None)
        fields = {"status": "ok", **timing_row(timing), "checked_at": self._checked.get(member.name)}
        fields["class_precisions"] = class_precisions(case.dtype, case.device)
        other = {"impl": "reference"} if case.impl != "reference" else {"compiled": False}
        plain = self._members.get(dataclasses.replace(case, **other).name)
        if plain is not None and plain is not member and plain.failure is None and timing.invalid is None:
            fields |= ratio_row("impl_ratio", sampler.ratio(member, plain))
        read, missing = _peak_fields(self._peaks.get(member.name))
        fields |= read
        if missing:
            known = timing.telemetry.get("telemetry_missing")
            fields["telemetry_missing"] = [*(known if isinstance(known, list) else []), missing]
        if self._reference is not None and against is not None:
            return fields | {"reference": self._reference.label}
        why = self._unpaired(case)
        return fields | {"ratio": None, "ratio_ci_low": None, "ratio_ci_high": None, "ratio_missing": why}

    def _unpaired(self, case: Case) -> str | None:
        """Why a member has no ratio although one was asked for; null where none was."""
        if self._reference is None:
            return self._note or None
        form = self._form(case)
        there = self._members.get(form.name)
        error = self._pace.failure or self._twin.failure or (there.failure if there is not None else None)
        if error is None:
            return f"{form.name} was not measured beside it"
        told = failure(error)
        return f"{self._reference.label} {told['status']}: {told['reason']}"

    def _against(self, case: Case) -> Member | None:
        """The member that a case's ratio is taken to; null where that is not here, or failed."""
        if self._reference is None:
            return self._pace
        member = self._members.get(self._form(case).name)
        return member if member is not None and member.failure is None else None

    def _form(self, case: Case) -> Case:
        """The reference in a case's form: compiled or not as that is, in its implementation if it has that."""
        assert self._reference is not None
        known = registry.describe(self._reference.entry).impls
        impl = case.impl if case.impl in known else "reference"
        return dataclasses.replace(self._reference, impl=impl, compiled=case.compiled)

    def poison(self) -> Broken | None:
        """The failure that left the CUDA context unusable, if one did: nothing after it in this process is true."""
        failed = [member for member in self.everyone if member.failure is not None]
        if not self.on_cuda or not failed:
            return None
        try:
            torch.cuda.synchronize()
        except Exception:  # every call to a poisoned context fails, each with the first error
            first = failed[0]
            fields = failure(first.failure or RuntimeError("unknown"))
            label = self._pace.name if first is self._twin else first.name
            return Broken(label, str(fields["status"]), str(fields["reason"]))
        return None

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
            work = self._build(case, seed)
            work = folded(work) if self._method.fold else work
            call = timed_call(work, self._method)
        except Exception as error:  # a block that cannot be made here has failed; its group goes on
            return Member(name, lambda: None, failure=error.with_traceback(None))
        if name != TWIN:
            self._works[name] = work
        return Member(name, call)

    def _build(self, case: Case, seed: int) -> Workload:
        work = build(case, seed=seed)
        if self._weights is not None:
            self._weights.load(case, work.module)
        return work


def timed_call(work: Workload, method: Method) -> Call:
    """The call of a workload that a method times: itself, or its CUDA graph.

    Raises:
        NotCapturable: it does what no graph can hold.
    """
    return captured(work.call) if method.cuda_graph else work.call


def _peak_fields(peak: CudaPeak | CpuPeak | None) -> tuple[dict[str, object], str | None]:
    """The fields of a row for a memory peak, and why one of them is null, if so."""
    if peak is None:
        return {}, None
    if isinstance(peak, CpuPeak):
        return {"cpu_peak_bytes": peak.allocated}, peak.reason and f"cpu_peak_bytes: {peak.reason}"
    whole = peak.reserved >= peak.allocated
    reserved = peak.reserved if whole else None
    return {"cuda_peak_bytes": peak.allocated, "cuda_reserved_bytes": reserved}, None if whole else _ROOM


def failure(error: Exception) -> dict[str, object]:
    """The status that an exception stands for, with its reason."""
    text = one_line(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(sign in text for sign in _OUT_OF_MEMORY):
        status = "oom"
    elif isinstance(error, FalseOutput):
        return {"status": "invalid", "reason": text}
    elif isinstance(error, NotImplementedError) or "not implemented for" in text:
        status = "unsupported"
    else:
        status = "crashed"
    return {"status": status, "reason": f"{type(error).__name__}: {text}"}


_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
