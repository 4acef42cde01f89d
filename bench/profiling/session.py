"""Session: one invocation of `profile`, from what was asked for to records, a trace and a timeline."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench import journal
from bench.case import Case
from bench.environment import available_bytes, describe_environment, environment_hash, git_revision, pick_device
from bench.measure.allocator import retain_host_memory
from bench.measure.clock import clock_for
from bench.measure.precision import ieee_fp32
from bench.plan import check_buildable, trace_case
from bench.plugin import load_plugins
from bench.profiling.anatomy import Anatomy, dissect
from bench.profiling.perfetto import merge
from bench.profiling.record import PROFILE, make_record
from bench.profiling.timeline import page
from bench.profiling.times import NoKernels, Times, profile_calls
from bench.row import ENVIRONMENT, ROWS, RUNS
from bench.runner import count_failed
from bench.suite import AXES, Grid
from bench.trial import failure
from bench.workload import build
from modules.options import SpecError


@dataclass(frozen=True)
class ProfileRequest:
    """What a user asked for.

    Attributes:
        axes: axis and its text as in `bench.suite.AXES`, null where the default stands; `blocks` must be there.
        device: `auto`, `cpu` or `cuda`.
        out: folder of the records, or null for one under `results/`.
        plugins: files that register blocks.
        trace: file for the profiled calls, or null for none.
        memory: file for the timeline of live memory, or null for none.
    """

    axes: Mapping[str, str | None]
    device: str = "auto"
    out: Path | None = None
    plugins: tuple[str, ...] = ()
    trace: Path | None = None
    memory: Path | None = None

    def cases(self, device: str) -> list[Case]:
        """Every case once, groups whole.

        Raises:
            SpecError: something asked for does not exist or cannot be built.
        """
        asked = {axis: text for axis, text in self.axes.items() if text is not None}
        cases = dict.fromkeys(Grid({**AXES, **asked}).cases(device))
        check_buildable(cases)
        return list(cases)

    def folder(self, device: str) -> Path:
        """Where the records go: named after the device and what was asked for."""
        if self.out is not None:
            return self.out
        asked = json.dumps({axis: text for axis, text in sorted(self.axes.items()) if text is not None})
        return Path("results") / f"profile-{device}-{hashlib.sha256(asked.encode()).hexdigest()[:6]}"

    def repro(self, case: Case) -> str:
        """The command that profiles one case of this request alone."""
        flag, label, *words = case.arguments()
        assert flag == "--blocks"
        words += [word for path in self.plugins for word in ("--plugin", path)]
        words += ["--out", f"results/repro-{case.key}"]
        return f"python run_bench.py profile {shlex.join([label, *words])}"


@dataclass(frozen=True)
class ProfileOutcome:
    """How profiling ended: the folder of the records, a closing text, and whether it failed for some case."""

    folder: Path
    text: str
    failed: bool


@dataclass
class Findings:
    """What has been found so far: records by key of the case, anatomies by title, traces by title."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    anatomies: dict[str, Anatomy] = field(default_factory=dict)
    traces: dict[str, Path] = field(default_factory=dict)


def run_profile(request: ProfileRequest, console: Console) -> ProfileOutcome:
    """Profile every case of the request; the records of an earlier call in the same folder are replaced.

    Raises:
        SpecError: something asked for does not exist, cannot be built, or cannot be written.
    """
    load_plugins(request.plugins)
    device = pick_device(request.device)
    cases = request.cases(device)
    folder = request.folder(device)
    for path, suffix, flag in ((request.trace, ".json", "--trace"), (request.memory, ".html", "--memory")):
        if path is not None:
            check_output(path, suffix, flag, folder)
    if any((folder / name).exists() for name in (ROWS, RUNS)):
        raise SpecError(f"'{folder}' holds the rows of another command; choose another --out")
    start = time.perf_counter()
    ieee_fp32()
    facts = {**describe_environment(device), "host_allocator": retain_host_memory()}
    found = Findings()
    with contextlib.ExitStack() as stack:
        stack.enter_context(journal.claim(folder))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _write(folder / ENVIRONMENT, json.dumps(facts, indent=2) + "\n")
        for number, case in enumerate(cases):
            console.print(f"[{number + 1}/{len(cases)}] {case}", markup=False, highlight=False, soft_wrap=True)
            begun = {"repro": request.repro(case), "env": environment_hash(facts)}
            trace = scratch / f"{number}.json" if request.trace is not None else None
            record = make_record(begun, profile_case(case, found, trace))
            found.records[case.key] = record
            if record["reason"]:
                told = f"{case}: {record['status']}: {record['reason']}"
                console.print(told, markup=False, highlight=False, soft_wrap=True)
            _write(folder / PROFILE, journal.lines(found.records))
        if request.trace is not None:
            _write(request.trace, merge(found.traces.items()))
        if request.memory is not None:
            _write(request.memory, page(found.anatomies.items()))
    return _outcome(request, folder, found, time.perf_counter() - start)


def profile_case(case: Case, found: Findings, trace: Path | None = None) -> dict[str, Any]:
    """Trace a case on meta and profile its calls on its device; what goes wrong is the record's status and reason.

    Args:
        case: which.
        found: gets its anatomy, and its trace if it is written.
        trace: file for the profiled calls.
    """
    fields: dict[str, Any] = {
        **case.row(),
        **{"label": case.label, "git": git_revision(), "threads": torch.get_num_threads()},
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    tracing = trace_case(case)
    if tracing.figures is None:
        return fields | {"status": tracing.status, "reason": tracing.reason}
    anatomy = dissect(case)
    found.anatomies[title(case)] = anatomy
    fields |= anatomy.fields()
    needed, free = tracing.figures.resident_bytes + tracing.figures.traced_peak_bytes, available_bytes(case.device)
    if needed > free:
        told = f"needs {needed / 2**20:.4g} MiB (traced), {free / 2**20:.4g} MiB are free on {case.device}"
        return fields | {"status": "skipped", "reason": told}
    try:
        times = _times(case, trace)
    except NoKernels as error:
        return fields | {"status": "unsupported", "reason": str(error)}
    except Exception as error:  # whatever a block raises is its result
        return fields | failure(error)
    finally:
        gc.collect()
        if case.device == "cuda":
            torch.cuda.empty_cache()
    if trace is not None:
        found.traces[title(case)] = trace
    return fields | {"status": "ok", **times.fields()}


def title(case: Case) -> str:
    """What a case is called in traces and timelines: no two cases of a request alike."""
    return str(case) if case.memory_format == "channels_first" else f"{case} {case.memory_format}"


def _times(case: Case, trace: Path | None) -> Times:
    work = build(case)
    work.check()
    return profile_calls(work.call, clock_for(case.device), case.device, trace)


def check_output(path: Path, suffix: str, flag: str, folder: Path) -> None:
    """Refuse a file that could not be written when all has been measured; `folder` is made if it is not there.

    Raises:
        SpecError: its name does not end in `suffix`, or its folder does not exist or cannot be written.
    """
    if path.suffix != suffix or path.is_dir():
        raise SpecError(f"{flag} '{path}' is not a file name that ends in {suffix}")
    if path.parent.resolve() == folder.resolve():
        return
    if not path.parent.is_dir():
        raise SpecError(f"cannot write {flag} '{path}': there is no folder '{path.parent}'")
    if not os.access(path.parent, os.W_OK):
        raise SpecError(f"cannot write {flag} '{path}': the folder cannot be written to")


def _write(path: Path, text: str) -> None:
    """Put a file in its place in one step.

    Raises:
        SpecError: it cannot be written.
    """
    try:
        journal.replace(path, text)
    except OSError as error:
        raise SpecError(f"cannot write '{path}': {error.strerror}; choose another folder") from None


def _outcome(request: ProfileRequest, folder: Path, found: Findings, seconds: float) -> ProfileOutcome:
    statuses = Counter(str(record["status"]) for record in found.records.values())
    told = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    lines = [f"{told}; {seconds:.0f} s", f"records {folder}/{PROFILE}", f"report  {folder}/breakdown.md"]
    lines.append(f"plots   {folder}/plots/")
    if request.trace is not None:
        lines.append(f"trace   {request.trace} (open it at https://ui.perfetto.dev)")
    if request.memory is not None:
        lines.append(f"memory  {request.memory}")
    return ProfileOutcome(folder, "\n".join(lines), count_failed(statuses) > 0)
