"""Plan: what a sweep will measure, what it will not and why, decided from static figures before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from bench.axes import parse_blocks
from bench.case import Case
from bench.static import StaticFigures, trace_figures
from bench.suite import Suite
from modules import registry


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
class PlannedGroup:
    """Cases that are timed in the same rounds.

    Attributes:
        members: those to measure and write.
        reference: the case that ratios are taken to, whether or not its row is to be written; null without one.
        note: why there is none although one was asked for.
    """

    members: tuple[Verdict, ...]
    reference: Verdict | None
    note: str = ""


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


def judge(case: Case, suite: Suite, free_bytes: int | None = None) -> Verdict:
    """Trace a case and hold it against the suite's skip rules and, where given, the memory that is free."""
    if case.impl not in registry.describe(case.entry).impls:
        allowed = ", ".join(registry.describe(case.entry).impls)
        return Verdict(case, None, "unsupported", f"'{case.entry}' has no implementation '{case.impl}', only {allowed}")
    try:
        figures = trace_figures(case)
    except ValueError as error:
        return Verdict(case, None, "unsupported", one_line(error))
    except Exception as error:  # a block that fails on meta has failed; the sweep goes on
        return Verdict(case, None, "crashed", f"tracing failed: {one_line(error)}")
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
    on_case: Callable[[int, int], None] = lambda number, total: None,
) -> Plan:
    """Judge every case of the suite that is not done or was skipped, and sort the rest into groups.

    Args:
        suite: what to measure.
        device: `cpu` or `cuda`.
        done: the rows that the run holds, by key.
        free_bytes: memory that a case may take on the device.
        on_case: called with (number, total) as cases are judged.

    Raises:
        SpecError: an axis is wrong.
    """
    cases = suite.cases(device)
    skipped = {key for key, row in done.items() if row["status"] == "skipped"}
    open_cases = [case for case in cases if case.key not in done or case.key in skipped]
    verdicts = {}
    for number, case in enumerate(open_cases):
        on_case(number, len(open_cases))
        verdict = judge(case, suite, free_bytes)
        if case.key not in skipped or verdict.status != "skipped":
            verdicts[case] = verdict
    todo = {case: reference for case, reference in cases.items() if case in verdicts}
    found: dict[tuple[object, ...], list[Verdict]] = {}
    for case, reference in todo.items():
        if verdicts[case].status == "ok":
            found.setdefault((case.group, reference), []).append(verdicts[case])
    groups = tuple(
        group
        for (_, label), members in found.items()
        for group in _fitting(members, _reference(members, label, suite, free_bytes), free_bytes)
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


def _reference(members: list[Verdict], label: object, suite: Suite, free_bytes: int | None) -> Verdict | None:
    """The verdict on the group's reference; null where none was asked for."""
    if not isinstance(label, str):
        return None
    for member in members:
        if member.case.label == label:
            return member
    return judge(_beside(members[0].case, label), suite, free_bytes)


def _fitting(members: list[Verdict], reference: Verdict | None, free_bytes: int | None) -> list[PlannedGroup]:
    """The group, in as many parts as it takes for the weights and inputs of a part to be on the device together.

    Each part has the reference; a case that fits alone but not beside the reference goes without.
    """
    note = ""
    if reference is not None and reference.status != "ok":
        note = f"no ratios: {reference.case.label} is {reference.status}: {reference.reason}"
        reference = None
    parts: list[list[Verdict]] = [[]]
    for member in members:
        if parts[-1] and not _fits([*parts[-1], member], reference, free_bytes):
            parts.append([])
        parts[-1].append(member)
    groups = []
    for part in parts:
        together = _fits(part, reference, free_bytes)
        apart = f"no ratios: {reference.case.label} does not fit beside it" if reference and not together else note
        groups.append(PlannedGroup(tuple(part), reference if together else None, apart))
    return groups


def _fits(members: list[Verdict], reference: Verdict | None, free_bytes: int | None) -> bool:
    """Whether members, reference and its twin are resident together beside the largest peak."""
    if free_bytes is None:
        return True
    paced = [reference, reference] if reference else [members[0]]
    known = [verdict.figures for verdict in (*members, *paced) if verdict.figures is not None]
    return sum(f.resident_bytes for f in known) + max(f.traced_peak_bytes for f in known) <= free_bytes
