"""Session: one invocation of a sweep on a cluster, from what was asked for to rows in a folder of this machine."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import SCHEMA, journal
from bench.cluster.connection import connected
from bench.cluster.lanes import Lane, Remote, SharedWatch, Traced, measure_all
from bench.cluster.placement import PLACEMENTS, mend_placements, overlaps, read_placements
from bench.cluster.survey import Kind, check_skew, difference, find_kinds, nodes_with
from bench.environment import environment_hash
from bench.isolation import Isolated
from bench.plan import check_buildable, make_plan
from bench.progress import Watch
from bench.row import DEVICES, ENVIRONMENT, ROWS
from bench.runner import Runner, count_failed
from bench.session import Outcome, Request, check_method, closing, open_run, program, refusal, run_facts
from bench.store import keep_rates, known_rates
from bench.suite import Suite
from bench.worker import Task
from modules.options import SpecError


def run_on_cluster(request: Request, console: Console) -> Outcome:
    """Measure what is missing of the request on the devices of its cluster, each group with one to itself.

    Raises:
        SpecError: something asked for does not exist, cannot be built or written; there is no cluster, it has no such
            device, several kinds of it, or nodes with other versions.
    """
    if not request.isolated:
        raise SpecError("--in-process measures in this process; it does not go with --cluster")
    suite, watch = request.resolve(), Watch(console)
    start = time.perf_counter()
    with connected(str(request.cluster), console) as cluster:
        device, nodes = nodes_with(cluster, request.device)
        folder = request.out or Path("results") / _default_name(request, suite, device)
        _refuse_other_layout(folder, request.per_device)
        if device == "cpu":
            check_method(suite.method, device)
        cases = suite.cases(device)
        check_buildable(cases)
        weights = request.weights(cases)
        weights = replace(weights, path=weights.path.resolve()) if weights else None
        plugins = tuple(str(Path(path).resolve()) for path in request.plugins)
        files = [*plugins, *([str(weights.path)] if weights else [])]
        software = check_skew(cluster, nodes, files, request.allow_skew, console)
        task = Task(device, suite.method, plugins, weights)
        kinds = find_kinds(cluster, software, replace(task, rates=True), request.timeout, console)
        if len(kinds) > 1 and not request.per_device:
            listed = f"{'; '.join(map(str, kinds))}; they differ in {difference(kinds)}"
            raise SpecError(
                f"the cluster has {len(kinds)} kinds of devices: {listed}; to measure on each: --per-device"
            )
        envs = [environment_hash(run_facts(kind.ready, weights)) for kind in kinds]
        places = run_folders(folder, kinds, envs) if request.per_device else [folder]
        with contextlib.ExitStack() as stack:
            tracer = Traced(Isolated(Task("cpu", suite.method, plugins), request.timeout))
            stack.callback(tracer.isolated.close)
            stack.enter_context(watch.shown())
            shared = SharedWatch(watch)
            lanes = []
            for kind, place in zip(kinds, places, strict=True):
                facts, known = run_facts(kind.ready, weights), known_rates(place)
                rates = known if known.complete else known.merged(kind.ready.machine)
                store, stamp = open_run(request, suite, place, facts, rates, kind.software.git)
                stack.enter_context(store)
                mend_placements(place)
                remote = Remote(cluster, kind, task, request.timeout, place, tracer, shared.note)
                limit = None if request.force else kind.ready.free_bytes
                plan = make_plan(suite, device, store.rows, limit, watch.judged, remote.trace)
                shared.total += plan.to_measure
                lanes.append(Lane(kind, store, Runner(store, stamp, remote, shared, plan), tuple(cases)))
            if request.per_device:
                stack.callback(_tell_devices, folder, lanes)
                _tell_devices(folder, lanes)
            interrupted = measure_all(lanes, cluster)
            for lane in [] if interrupted else lanes:
                probe_again(lane, shared.note)
    return _outcome(folder, lanes, interrupted, time.perf_counter() - start)


def probe_again(lane: Lane, note: Callable[[str], None]) -> None:
    """Measure the machine of a kind once more, behind its last group, and keep the best in its run folder."""
    known = known_rates(lane.store.folder)
    if known.complete or lane.lost is not None:
        return
    known = known.merged(lane.runner.measurer.rates())
    keep_rates(lane.store.folder, known)
    if known.refused:
        note(f"{lane.kind}: {refusal(known)}")


def _default_name(request: Request, suite: Suite, device: str) -> str:
    return f"{request.run_name(suite, device)}-{'devices' if request.per_device else 'cluster'}"


def run_folders(folder: Path, kinds: Sequence[Kind], envs: Sequence[str]) -> list[Path]:
    """A run folder for each kind: the one that holds rows of its environment already, else one of its name.

    Args:
        folder: of all of them.
        kinds: of devices.
        envs: hash of the environment of each.
    """
    held: dict[str, Path] = {}
    for path in sorted(folder.glob(f"*/{ENVIRONMENT}")):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # not a run's, or cut short
            held.setdefault(json.loads(path.read_text(encoding="utf-8")).get("env"), path.parent)
    places: list[Path] = []
    for kind, env in zip(kinds, envs, strict=True):
        names = [kind.slug, f"{kind.slug}-{env[:6]}", f"{kind.slug}-{env[:6]}-{kind.software.code[:6]}"]
        free = [folder / name for name in names if folder / name not in {*places, *held.values()}]
        alone = envs.count(env) == 1
        places.append(held[env] if alone and env in held else free[0] if free else folder / names[-1])
    return places


def _refuse_other_layout(folder: Path, per_device: bool) -> None:
    """A folder holds one run, or one for each kind of device."""
    if per_device and (folder / ROWS).exists():
        raise SpecError(f"'{folder}' holds one run, not one for each kind of device; choose another --out")
    if not per_device and (folder / DEVICES).exists():
        raise SpecError(f"'{folder}' holds a run for each kind of device; add --per-device, or choose another --out")


def _tell_devices(folder: Path, lanes: Sequence[Lane]) -> None:
    """Write which run folder is of which kind of device; kinds of earlier calls that are not there now stay."""
    path = folder / DEVICES
    known = json.loads(path.read_text(encoding="utf-8"))["devices"] if path.exists() else []
    told = {entry["folder"]: entry for entry in known}
    for entry in told.values():
        entry["note"] = "not in the cluster at the last call"
    for lane in lanes:
        names = [str(row["node"]) for row in lane.store.rows.values() if row["node"]]
        name = lane.store.folder.name
        told[name] = {
            "folder": name,
            "device": lane.kind.name,
            "nodes": sorted({*names, *(node.name for node in lane.kind.share.nodes)}),
            "rows": len(lane.store.rows),
            "missing": lane.missing,
            "note": lane.lost,
        }
    try:
        journal.replace(path, json.dumps({"schema": SCHEMA, "devices": list(told.values())}, indent=2) + "\n")
    except OSError as error:
        raise journal.unwritable(folder, error) from None


def _outcome(folder: Path, lanes: Sequence[Lane], interrupted: bool, seconds: float) -> Outcome:
    several = any(lane.store.folder != folder for lane in lanes)
    texts = []
    for lane in lanes:
        git, devices = lane.runner.stamp.git, max(1, lane.kind.share.count)
        text = closing(lane.store, lane.runner.summary, lane.missing, seconds, git, devices)
        placed = read_placements(lane.store.folder)
        twice = overlaps(placed)
        used = len({placement.device for placement in placed})
        text += f"\nplaces  {lane.store.folder}/{PLACEMENTS}: {len(placed)} groups on {used} devices, "
        text += f"{len(twice)} of them at the same time on the same one" if twice else "never two at once on one"
        texts.append(f"{lane.kind}: {text}" if several else text)
    if several:
        texts.append(f"report  {folder}/report.md, a column a device")
    if interrupted:
        texts.append(f"interrupted; to go on: {shlex.join([*program(), *sys.argv[1:]])}")
    failed = any(count_failed(lane.runner.summary.statuses) > 0 or lane.lost is not None for lane in lanes)
    return Outcome(folder, "\n".join(texts), failed, interrupted)
