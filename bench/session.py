"""Session: one invocation of a sweep or an estimate, from what was asked for to rows."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.arguments import TIMEOUT
from bench.case import Case
from bench.environment import DEVICE_KINDS, available_bytes, device_name, environment_hash, git_revision, pick_device
from bench.isolation import Isolated
from bench.measure.cache import cache_bytes
from bench.measure.clock import clock_for
from bench.measure.method import Method, make_method
from bench.measure.precision import ieee_fp32
from bench.measure.rates import Rates
from bench.measurer import InProcess, Measurer, Ready
from bench.plan import check_buildable, make_plan
from bench.plugin import load_plugins
from bench.progress import Watch
from bench.runner import Runner, Stamp, Summary, count_failed
from bench.static.estimate import estimate
from bench.store import Store, keep_rates, known_rates, open_store
from bench.suite import Suite, load_suite
from bench.weights import Weights, weights_for
from bench.worker import Task
from modules.options import SpecError, nearest

SWITCHES = ("cuda_graph", "fold")
"""Method settings that the command line turns on by a word of their own."""


@dataclass(frozen=True)
class Request:
    """What a user asked for.

    Attributes:
        suite: name or path of the suite to start from.
        axes: axis and its text, null where the suite's stands.
        device: `auto`, `cpu` or `cuda`.
        reference: block that ratios are taken to, `none`, or null where the suite's stands.
        out: run folder, or null for one under `results/`, see `run_name`.
        settings: method settings that differ from the suite's; null values stand for the suite's.
        plugins: files that register blocks.
        checkpoint: file with the weights of the one network asked for, or null for random weights.
        timeout: seconds that one step of a case may take before its worker is ended.
        isolated: measure in a worker process that may die; else in this one.
        force: measure also what the static trace says cannot fit.
        cluster: address of the Ray cluster to measure on, or null for this machine.
        per_device: measure once on each kind of device of the cluster.
        allow_skew: measure also where nodes have other versions; each of them is a kind of its own.
    """

    suite: str
    axes: Mapping[str, str | None]
    device: str = "auto"
    reference: str | None = None
    out: Path | None = None
    settings: Mapping[str, float | int | str | None] = dataclasses.field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    checkpoint: Path | None = None
    timeout: float = TIMEOUT
    isolated: bool = True
    force: bool = False
    cluster: str | None = None
    per_device: bool = False
    allow_skew: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise SpecError(f"--timeout must be a number of seconds above 0, not {self.timeout:g}")

    def resolve(self) -> Suite:
        """The suite with everything that was asked for set in it.

        Raises:
            SpecError: something asked for does not exist.
        """
        load_plugins(self.plugins)
        suite = load_suite(self.suite).override(self.axes, self.reference)
        changed = {name: value for name, value in self.settings.items() if value is not None}
        make_method(changed)
        return dataclasses.replace(suite, settings={**suite.settings, **changed})

    def weights(self, cases: Iterable[Case]) -> Weights | None:
        """The weights asked for, checked against the network that they are for.

        Raises:
            SpecError: they do not fit, or there is not one network among the cases.
        """
        return None if self.checkpoint is None else weights_for(cases, self.checkpoint)

    def measurer(self, device: str, method: Method, weights: Weights | None, rates: bool) -> Measurer:
        """What is to measure: a worker process, or this one; `rates` has it measure the machine first."""
        if not self.isolated:
            if method.repeats > 1:
                raise SpecError(f"--repeats {method.repeats} needs worker processes; leave --in-process out")
            return InProcess(device, method, clock_for(device), weights, rates)
        return Isolated(Task(device, method, self.plugins, weights, rates), self.timeout)

    def run_name(self, suite: Suite, device: str) -> str:
        """The run folder's name: of the suite and the device, and of what was asked for beside them if anything was."""
        asked = {**self.axes, "reference": self.reference, **self.settings, "checkpoint": _digest(self.checkpoint)}
        changed = {name: value for name, value in asked.items() if value is not None}
        mark = hashlib.sha256(f"{suite.toml()}{changed.get('checkpoint', '')}".encode()).hexdigest()[:6]
        return f"{suite.name}-{device}-{mark}" if changed else f"{suite.name}-{device}"

    def revision(self, git: str | None) -> str | None:
        """The revision that rows carry: of this code and, behind a `~`, a digest of the plugins if there are any."""
        if not self.plugins:
            return git
        found = hashlib.sha256("".join(str(_digest(Path(path))) for path in self.plugins).encode())
        return f"{git or ''}~{found.hexdigest()[:6]}"

    def command(self) -> tuple[str, ...]:
        """The words that repeat this request, but for its axes."""
        words = [*program(), "sweep", "--suite", self.suite]
        words += [word for path in self.plugins for word in ("--plugin", path)]
        for name, value in self.settings.items():
            flag = [f"--{name.replace('_', '-')}"]
            words += [] if value is None else flag if name in SWITCHES else [*flag, str(value)]
        words += ["--checkpoint", str(self.checkpoint)] if self.checkpoint is not None else []
        words += ["--timeout", f"{self.timeout:g}"] if self.timeout != TIMEOUT else []
        words += ["--force"] if self.force else []
        words += ["--cluster", self.cluster] if self.cluster is not None else []
        words += ["--per-device"] if self.per_device else []
        words += ["--allow-skew"] if self.allow_skew else []
        return tuple(words)


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: the run folder, a closing text, and whether it failed for some case or was interrupted."""

    folder: Path
    text: str
    failed: bool
    interrupted: bool


def run_sweep(request: Request, console: Console) -> Outcome:
    """Measure what is missing of the request in its run folder.

    Raises:
        SpecError: something asked for does not exist, cannot be built, or cannot be written.
    """
    if request.per_device or request.allow_skew:
        raise SpecError(f"{'--per-device' if request.per_device else '--allow-skew'} needs --cluster")
    suite = request.resolve()
    device = pick_device(request.device)
    check_method(suite.method, device)
    folder = request.out or Path("results") / request.run_name(suite, device)
    cases = suite.cases(device)
    check_buildable(cases)
    weights = request.weights(cases)
    known = known_rates(folder)
    measurer = request.measurer(device, suite.method, weights, rates=not known.complete)
    watch = Watch(console)
    start = time.perf_counter()
    interrupted = False
    with contextlib.ExitStack() as stack:
        stack.callback(measurer.close)
        ready = measurer.prepare()
        facts = run_facts(ready, weights)
        store, stamp = open_run(request, suite, folder, facts, known.merged(ready.machine), git_revision())
        stack.enter_context(store)
        stack.enter_context(watch.shown())
        summary = Summary()
        try:
            free = None if request.force else available_bytes(device)
            plan = make_plan(suite, device, store.rows, free, watch.judged, measurer.trace)
            Runner(store, stamp, measurer, watch, plan, summary).run()
            if ready.machine.passes:
                known = known.merged(ready.machine).merged(measurer.rates())
                keep_rates(folder, known)
        except KeyboardInterrupt:
            interrupted = True
    missing = sum(case.key not in store.rows for case in cases)
    text = closing(store, summary, missing, time.perf_counter() - start, stamp.git)
    if weights is not None:
        text += f"\nweights of {weights.label} from '{weights.path}' (names of {weights.names})"
    if known.refused:
        text += f"\nnote: {refusal(known)}"
    if interrupted:
        text += f"\ninterrupted; to go on: {shlex.join([*program(), *sys.argv[1:]])}"
    return Outcome(folder, text, count_failed(summary.statuses) > 0, interrupted)


def refusal(rates: Rates) -> str:
    """What the person at the terminal is told of rates that a busy machine spoilt."""
    null, every = len(rates.refused), len(rates.refused) + len(rates.best)
    causes = ", ".join(dict.fromkeys(rates.refused.values()))
    return f"null: {null} of the machine's {every} rates, disturbed ahead of the sweep and after it by {causes}"


def run_facts(ready: Ready, weights: Weights | None) -> dict[str, object]:
    """What rows of a run have in common and are compared by: the environment, and the weights if they were given."""
    facts = {**ready.facts, "host_allocator": ready.host_allocator}
    return facts | ({"checkpoint": weights.facts} if weights is not None else {})


def open_run(
    request: Request,
    suite: Suite,
    folder: Path,
    facts: dict[str, object],
    machine: Rates,
    revision: str | None,
) -> tuple[Store, Stamp]:
    """The run folder of a request, open, and what its rows will carry.

    Args:
        request, suite: what was asked for.
        folder: of the run.
        facts: see `run_facts`.
        machine: its rates.
        revision: of the code that measures.

    Raises:
        SpecError, RunError: as `open_store`.
    """
    env, method = environment_hash(facts), suite.method
    whole = {**facts, "method_settings": dataclasses.asdict(method), "machine": machine.facts()}
    store = open_store(folder, suite.toml(), whole, {"env": env, "method": method.hash})
    return store, Stamp(suite.name, env, method.hash, request.command(), device_name(facts), request.revision(revision))


def check_method(method: Method, device: str) -> None:
    """Refuse a method that this device cannot be measured by.

    Raises:
        SpecError: it asks for CUDA graphs or cold caches, and here is neither.
    """
    if method.cuda_graph and device != "cuda":
        raise SpecError(f"CUDA graphs need a CUDA device, not '{device}'; allowed here: calls without a graph")
    if method.cache == "cold" and cache_bytes(device) is None:
        raise SpecError(f"the size of the caches of this {device} cannot be read to flush them; allowed here: warm")


def run_estimate(request: Request) -> Iterator[dict[str, object]]:
    """Static figures of every case of the request, one row each, for a device that need not be here.

    Raises:
        SpecError: something asked for does not exist or cannot be built.
    """
    if request.device not in DEVICE_KINDS:
        raise SpecError(f"unknown device '{request.device}'{nearest(request.device, DEVICE_KINDS)}")
    cases = request.resolve().cases(request.device)
    check_buildable(dict.fromkeys(cases))
    request.weights(cases)
    ieee_fp32()  # as where the cases are measured: it decides what a fused implementation is made of
    return estimate(cases)


def closing(store: Store, summary: Summary, missing: int, seconds: float, git: str | None, devices: int = 1) -> str:
    """What the person at the terminal is told at the end: how many rows of which kind, and where they are; and
    whether some are of another revision of the code than `git`, as those of an earlier call may be."""
    measured = [f"{count} {status}" for status, count in sorted(summary.statuses.items())]
    counts = ", ".join([*measured, *([f"{missing} missing"] if missing else [])]) or "nothing missing"
    share = (
        f", {summary.busy_seconds / seconds / devices:.0%} of it in warm-up or timed calls"
        if summary.busy_seconds
        else ""
    )
    lines = [f"{counts}; {len(store.rows)} rows in all; {seconds:.0f} s{share}", f"rows    {store.folder}/rows.jsonl"]
    places = (("report", "report.md"), ("page", "report.html"), ("tables", "tables/"), ("plots", "plots/"))
    lines += [f"{name:7} {store.folder}/{place}" for name, place in places]
    older = {row["git"] for row in store.rows.values()} - {git}
    if older:
        revisions = ", ".join(sorted(map(str, older)))
        lines.append(f"note: rows of an earlier call were measured at revision {revisions} of the code")
    return "\n".join(lines)


def _digest(path: Path | None) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else None


def program() -> tuple[str, ...]:
    """The words that start this program."""
    return ("contextbench",) if Path(sys.argv[0]).name == "contextbench" else ("python", "run_bench.py")
