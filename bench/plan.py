"""Plan: what a sweep will measure, what it will not and why, decided from static figures before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from bench.axes import parse_blocks
from bench.case import Case
from bench.static import StaticFigures, trace_figures
from bench.suite import Suite
from modules import registry

OnCase: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Verdict:
    """What is to become of a case.

    Attributes:
        case: the case.
        figures: its static figures; null where it cannot be traced.
        status: `ok` if it shall be measured, else the status of its row.
        reason: for any status but `ok`.
    """

    case: Case
    figures: StaticFigures | None
    status: str = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class Tracing:
    """What tracing a case gave: its figures, or a status and a reason."""

    figures: StaticFigures | None
    status: str = "ok"
    reason: str | None = None


def trace_case(case: Case, fold: bool = False) -> Tracing:
    """Trace a case on meta, on request with its batch norms folded; a block that fails there has a status."""
    try:
        impls = registry.describe(case.entry).impls
        if case.impl not in impls:
            told = f"'{case.entry}' has no implementation '{case.impl}', only {', '.join(impls)}"
            return Tracing(None, "unsupported", told)
        return Tracing(trace_figures(case, fold))
    except ValueError as error:
        return Tracing(None, "unsupported", one_line(error))
    except (Exception, SystemExit) as error:  # a block that fails on meta has failed; the sweep goes on
        return Tracing(None, "crashed", f"tracing failed: {one_line(error)}")


def trace_all(
    cases: Sequence[Case], on_case: OnCase = lambda number, total: None, fold: bool = False
) -> Mapping[Case, Tracing]:
    """Trace the cases in this process, one after the other."""
    found = {}
    for number, case in enumerate(cases):
        on_case(number, len(cases))
        found[case] = trace_case(case, fold)
    return found


@dataclass(frozen=True)
class PlannedGroup:
    """Cases that are timed in the same rounds.

    Attributes:
        members: those to measure and write.
        reference: the case that ratios are taken to, whether or not its row is to be written; null without one.
        note: why there is none although one was asked for; empty otherwise.
        forms: the reference in the other implementations of members, compiled or not as they are: the ratio of each is
            taken to that of its own form.
    """

    members: tuple[Verdict, ...]
    reference: Verdict | None
    note: str = ""
    forms: tuple[Verdict, ...] = ()

    @property
    def cases(self) -> list[Case]:
        """The members' cases, and the reference's, in every form, that are not among them."""
        references = [self.reference, *self.forms] if self.reference is not None else []
        return list(dict.fromkeys(verdict.case for verdict in (*self.members, *references)))

    @property
    def pacing(self) -> Case:
        """The case whose copy is the A/A twin: the reference, or the first member where there is none."""
        return self.reference.case if self.reference is not None else self.members[0].case

    @property
    def steps(self) -> list[str]:
        """Names of what is built and called in turn: the cases, and the twin, which stands for the pacing case."""
        return [*(case.name for case in self.cases), self.pacing.name]


Tracer: TypeAlias = "Callable[[Sequence[Case], OnCase], Mapping[Case, Tracing]]"


@dataclass(frozen=True)
class Plan:
    """All that a sweep has to do.

    Attributes:
        groups: to measure, in order.
        unmeasured: cases whose row can be written at once.
        outdated: keys of rows that skipped a case which would not be skipped now.
    """

    groups: tuple[PlannedGroup, ...]
    unmeasured: tuple[Verdict, ...]
    outdated: frozenset[str]

    @property
    def to_measure(self) -> int:
        return sum(len(group.members) for group in self.groups)


def judge(case: Case, suite: Suite, free_bytes: int | None = None, tracing: Tracing | None = None) -> Verdict:
    """Hold what tracing a case gave against the suite's skip rules and, where given, the memory that is free."""
    traced = tracing or trace_case(case)
    figures = traced.figures
    if figures is None:
        return Verdict(case, None, traced.status, traced.reason)
    for rule in suite.skips:
        reason = rule.explain(case, figures)
        if reason:
            return Verdict(case, figures, "skipped", reason)
    needed = figures.resident_bytes + figures.traced_peak_bytes
    if free_bytes is not None and needed > free_bytes:
        fact = f"needs {needed / 2**20:.4g} MiB (traced), {free_bytes / 2**20:.4g} MiB are free on {case.device}"
        return Verdict(case, figures, "skipped", fact)
    return Verdict(case, figures)


def make_plan(
    suite: Suite,
    device: str,
    done: Mapping[str, Mapping[str, object]],
    free_bytes: int | None,
    on_case: OnCase = lambda number, total: None,
    trace: Tracer = trace_all,
) -> Plan:
    """Judge every case of the suite that is not done or was skipped, and sort the rest into groups.

    Args:
        suite: what to measure.
        device: `cpu` or `cuda`.
        done: the rows that the run holds, by key.
        free_bytes: memory that a case may take on the device.
        on_case: called with (number, total) as cases are traced.
        trace: gives the static figures of cases.

    Raises:
        SpecError: an axis is wrong.
    """
    cases = suite.cases(device)
    skipped = {key for key, row in done.items() if row["status"] == "skipped"}
    open_cases = [case for case in cases if case.key not in done or case.key in skipped]
    asked = {case: _beside(case, label) for case in open_cases if (label := cases[case]) is not None}
    beside = [case for case in dict.fromkeys(asked.values()) if case not in set(open_cases)]
    traced = trace([*open_cases, *beside], on_case)
    verdicts = {}
    for case in open_cases:
        verdict = judge(case, suite, free_bytes, traced[case])
        if case.key not in skipped or verdict.status != "skipped":
            verdicts[case] = verdict
    todo = {case: reference for case, reference in cases.items() if case in verdicts}
    found: dict[tuple[object, str | None], list[Verdict]] = {}
    for case, reference in todo.items():
        if verdicts[case].status == "ok":
            found.setdefault((case.rounds, reference), []).append(verdicts[case])
    groups = tuple(
        group
        for (_, label), members in found.items()
        for group in _fitting(_paired(members), label, References(suite, free_bytes, traced))
    )
    unmeasured = tuple(verdict for verdict in verdicts.values() if verdict.status != "ok")
    return Plan(groups, unmeasured, frozenset(case.key for case in todo if case.key in skipped))


def check_buildable(cases: Mapping[Case, str | None]) -> None:
    """Build every block and every reference once for every channel count, on meta.

    Raises:
        SpecError: one of them cannot be built; the message says what it needs.
    """
    wanted = [*cases, *(_beside(case, reference) for case, reference in cases.items() if reference)]
    seen = {(c.entry, c.options, c.channels, c.impl): c for c in wanted}
    for case in seen.values():
        if case.impl in registry.describe(case.entry).impls:
            with torch.device("meta"):
                registry.create(case.entry, case.channels, case.impl, **dict(case.options))


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def _beside(case: Case, label: str) -> Case:
    """The case of the same group whose entry is the reference, in the same implementation if it has it."""
    ((name, options),) = parse_blocks(label)
    beside = case.with_entry(name, options)
    return beside if case.impl in registry.describe(name).impls else replace(beside, impl="reference")


@dataclass(frozen=True)
class References:
    """Verdicts on what ratios are taken to.

    Attributes:
        suite, free_bytes: what they are judged by.
        traced: static figures.
    """

    suite: Suite
    free_bytes: int | None
    traced: Mapping[Case, Tracing]

    def first(self, members: Sequence[Verdict], label: str) -> Verdict:
        """The one that sets the pace: the member of that label, as published if it is there, or one beside them."""
        same = [member for member in members if member.case.label == label]
        if same:
            return min(same, key=lambda member: (member.case.impl != "reference", member.case.compiled))
        return self._judge(_beside(members[0].case, label))

    def others(self, members: Sequence[Verdict], label: str, first: Verdict) -> tuple[Verdict, ...]:
        """Those in the members' other forms, as far as they can be measured."""
        cases = dict.fromkeys(_beside(member.case, label) for member in members)
        taken = {first.case, *(member.case for member in members)}
        found = (self._judge(case) for case in cases if case not in taken)
        return tuple(verdict for verdict in found if verdict.status == "ok")

    def _judge(self, case: Case) -> Verdict:
        return judge(case, self.suite, self.free_bytes, self.traced.get(case))


def _paired(members: list[Verdict]) -> list[Verdict]:
    """Implementations of a block one after the other, so that they share the rounds of a part."""
    order = {label: number for number, label in enumerate(dict.fromkeys(v.case.label for v in members))}
    return sorted(members, key=lambda verdict: order[verdict.case.label])


def _fitting(members: list[Verdict], label: str | None, references: References) -> list[PlannedGroup]:
    """The group, in as many parts as it takes for the weights and inputs of a part to be on the device together.

    Each part has the reference, in every form that its members have; a case that fits alone but not beside the
    reference goes without.
    """
    first = references.first(members, label) if label is not None else None
    note = ""
    if first is not None and first.status != "ok":
        note = f"{first.case.label} is {first.status}: {first.reason}"
        first = None

    def beside(part: Sequence[Verdict]) -> list[Verdict]:
        return [first, *references.others(part, str(label), first)] if first is not None else []

    free_bytes = references.free_bytes
    parts: list[list[Verdict]] = [[]]
    for member in members:
        part = [*parts[-1], member]
        if parts[-1] and not _fits(part, beside(part), free_bytes):
            parts.append([])
        parts[-1].append(member)
    groups = []
    for part in parts:
        forms = beside(part)
        kept = forms if _fits(part, forms, free_bytes) else forms[:1]
        if first is not None and _fits(part, kept, free_bytes):
            groups.append(PlannedGroup(tuple(part), first, "", tuple(kept[1:])))
        else:
            apart = f"{first.case.label} does not fit beside it" if first is not None else note
            groups.append(PlannedGroup(tuple(part), None, apart))
    return groups


def _fits(members: Sequence[Verdict], references: Sequence[Verdict], free_bytes: int | None) -> bool:
    """Whether members, references and the twin of the first are resident together beside the largest peak."""
    if free_bytes is None:
        return True
    twin = references[0] if references else members[0]
    apart = [verdict for verdict in references if verdict not in members]
    known = [verdict.figures for verdict in (*members, *apart, twin) if verdict.figures is not None]
    return sum(f.resident_bytes for f in known) + max(f.traced_peak_bytes for f in known) <= free_bytes
