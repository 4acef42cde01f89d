"""Session: one invocation of `train`, from what was asked for to records."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.cluster import run_on_cluster
from bench.environment import describe_environment, pick_device
from bench.plugin import load_plugins
from bench.session import Request, run_sweep
from bench.training.afield import open_afield
from bench.training.archive import Archive, open_archive
from bench.training.board import Board
from bench.training.chain import read_chain
from bench.training.crew import Job, News, here, train_all
from bench.training.distributed import from_first, joined, started_ranks
from bench.training.material import SCENES, check_material, labels_of
from bench.training.network import STRIDE, build_network, check_impl
from bench.training.plan import TrainingSuite, in_order, load_training_suite, parse_seeds
from bench.training.recipe import Recipe, load_recipe
from bench.training.record import PRICED, RUNS, packed, read_records
from bench.training.run import Run, repro_command
from modules.options import SpecError, nearest

BASELINE = "identity"
"""What reports compare with where nothing else was asked for, or trained."""
_PRICED = Path(__file__).with_name("priced.py")
_PRICES = (("forward", "1"), ("train", "2"))
"""Modes and batches that costs are measured at: batch norm over a map of one position cannot train on one image."""


@dataclass(frozen=True)
class TrainRequest:
    """What a user asked for; null where the suite's stands.

    Attributes:
        suite: name or path of the suite of runs.
        blocks, seeds, recipe, baseline: in place of the suite's.
        settings: of the recipe, over its own.
        dataset: name.
        root: folder of a data set that lies in one.
        channels, impl: of the blocks.
        device: `auto`, `cpu` or `cuda`.
        out: folder of the runs, or null for one under `results/`.
        jobs: runs at a time; 0 for as many as the device bears.
        loaders: processes that read data, for each run.
        plugins: files that register blocks.
        costs: measure what the blocks cost at the size they were trained at.
        cluster: address of the Ray cluster to train on, or null for this machine.
        allow_skew: train also where nodes have other versions.
    """

    suite: str = "default"
    blocks: str | None = None
    seeds: str | None = None
    recipe: str | None = None
    baseline: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    dataset: str = SCENES
    root: Path | None = None
    channels: int | None = None
    impl: str = "reference"
    device: str = "auto"
    out: Path | None = None
    jobs: int = 0
    loaders: int = 0
    plugins: tuple[str, ...] = ()
    costs: bool = True
    cluster: str | None = None
    allow_skew: bool = False

    def resolve(self) -> TrainingSuite:
        """The suite with what was asked for set in it.

        Raises:
            SpecError: something asked for does not exist.
        """
        load_plugins(self.plugins)
        suite = load_training_suite(self.suite)
        given = {name: getattr(self, name) for name in ("blocks", "seeds", "recipe", "baseline")}
        settings = {**suite.settings, **self.settings}
        whole = dataclasses.replace(suite, **{k: v for k, v in given.items() if v is not None}, settings=settings)
        return dataclasses.replace(whole, baseline=read_chain(whole.baseline).label)

    def runs(self, suite: TrainingSuite, recipe: Recipe, device: str) -> list[Run]:
        """Every run, first seeds first; each network is built once, so that what cannot be is said before any trains.

        Raises:
            SpecError: a block, a seed, the data set or an implementation does not exist, or a network cannot be built.
        """
        classes = labels_of(self.dataset).count
        chains = suite.chains()
        check_impl(chains, self.impl)
        for chain in chains:
            build_network(chain, None, classes, 0, self.channels, self.impl)
        pairs = in_order(chains, parse_seeds(suite.seeds))
        place = (self.dataset, self.root, self.channels, self.impl, device, None if self.blocks else suite.name)
        return [Run(chain, seed, recipe, *place) for chain, seed in pairs]

    def folder(self, suite: TrainingSuite, recipe: Recipe, device: str) -> Path:
        """Where the runs go: named after the suite and the device, and after what was asked for beside them."""
        if self.out is not None:
            return self.out
        asked = [self.blocks, self.recipe, dict(self.settings), self.dataset, self.channels, self.impl]
        changed = asked != [None, None, {}, SCENES, None, "reference"]
        mark = hashlib.sha256(json.dumps([*asked, suite.name, recipe.settings_hash]).encode()).hexdigest()[:6]
        return Path("results") / f"train-{suite.name}-{device}{f'-{mark}' if changed else ''}"


@dataclass(frozen=True)
class TrainOutcome:
    """How training ended.

    Attributes:
        folder: of the runs.
        baseline: label that the others are compared with.
        text: that closes the output.
        trained: runs in the folder that ended well.
        failed: whether a run did not end well.
        interrupted: whether the user stopped it.
        writes: whether this process is the one that prints and writes.
    """

    folder: Path
    baseline: str
    text: str
    trained: int
    failed: bool
    interrupted: bool
    writes: bool = True


def run_training(request: TrainRequest, console: Console) -> TrainOutcome:
    """Train what is missing of the request in its folder, then measure what the blocks cost.

    Raises:
        SpecError: something asked for does not exist, does not fit, or cannot be written.
    """
    if request.allow_skew and request.cluster is None:
        raise SpecError("--allow-skew needs --cluster")
    if request.cluster is not None and started_ranks().world > 1:
        raise SpecError("--cluster begins processes by itself; start it without torchrun")
    if request.cluster is not None and request.jobs:
        raise SpecError("--jobs is for one machine; with --cluster there are as many runs as it has devices")
    suite = request.resolve()
    recipe = load_recipe(suite.recipe, suite.settings)
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        afield = None
        if request.cluster is not None:
            place = (request.cluster, request.device, request.plugins, request.allow_skew, recipe.crop is not None)
            afield = stack.enter_context(open_afield(*place, console))
        device = afield.device if afield is not None else pick_device(request.device)
        runs = request.runs(suite, recipe, device)
        check_material(request.dataset, request.root, recipe)
        folder = request.folder(suite, recipe, device)
        check_baseline(request, suite, runs, folder)
        if started_ranks().world > 1:
            return _together(request, runs, folder, suite, device, console)
        facts = afield.environment() if afield is not None else describe_environment(device)
        archive = stack.enter_context(open_archive(folder, facts))
        count = afield.share.count if afield is not None else request.jobs or _bearable(device, recipe)
        jobs = _jobs(request, suite, runs, archive, count)
        if afield is not None:
            told = afield.train(jobs, request.loaders)
        else:
            threads = max(1, _processors() // count)
            told = train_all(jobs, count, threads, request.plugins, request.loaders)
        statuses, interrupted = _listen(told, archive, Board(console, len(jobs)))
        archive.arrange([run.key for run in runs])
    if request.costs and not interrupted and archive.records:
        interrupted = _measure_costs(request, runs, folder, device, console)
    return _outcome(runs, archive, statuses, interrupted, suite.baseline, time.perf_counter() - start)


def _together(
    request: TrainRequest, runs: list[Run], folder: Path, suite: TrainingSuite, device: str, console: Console
) -> TrainOutcome:
    """Train in the processes that torchrun started, all of them at one run; the first writes."""
    start = time.perf_counter()
    with joined(device) as (ranks, _):
        facts = {**describe_environment(device), "processes": ranks.world}
        with open_archive(folder, facts) if ranks.writes else contextlib.nullcontext(Archive(folder)) as archive:
            done = from_first(list(archive.records))
            jobs = _jobs(request, suite, [run for run in runs if run.key not in done], archive, 1)
            if not ranks.writes:
                for _ in here(jobs, request.loaders, lambda news: None):
                    pass
                return TrainOutcome(folder, suite.baseline, "", 0, False, False, writes=False)
            board = Board(console, len(jobs))
            statuses, interrupted = _listen(here(jobs, request.loaders, board.hear), archive, board)
            archive.arrange([run.key for run in runs])
    return _outcome(runs, archive, statuses, interrupted, suite.baseline, time.perf_counter() - start)


def check_baseline(request: TrainRequest, suite: TrainingSuite, runs: list[Run], folder: Path) -> None:
    """Refuse a baseline that was asked for and that the folder will not hold.

    Raises:
        SpecError: it is such a one.
    """
    held = read_records(folder / RUNS) if (folder / RUNS).exists() else []
    labels = dict.fromkeys([*(run.chain.label for run in runs), *(str(record["label"]) for record in held)])
    if request.baseline is not None and suite.baseline not in labels:
        raise SpecError(f"baseline '{suite.baseline}' is not among the blocks{nearest(suite.baseline, labels)}")


def _jobs(request: TrainRequest, suite: TrainingSuite, runs: list[Run], archive: Archive, count: int) -> list[Job]:
    words = (suite.recipe, suite.settings, request.plugins, count)
    return [
        Job(run, repro_command(run, *words), archive.checkpoint(run.key))
        for run in runs
        if run.key not in archive.records
    ]


def _listen(told: Generator[News], archive: Archive, board: Board) -> tuple[Counter[str], bool]:
    statuses: Counter[str] = Counter()
    with board.shown(), contextlib.closing(told):
        try:
            for news in told:
                if news.record is not None:
                    archive.append(news.record)
                    if news.record["status"] in ("ok", "diverged"):
                        news.job.checkpoint.unlink(missing_ok=True)
                    statuses[news.record["status"]] += 1
                board.hear(news)
        except KeyboardInterrupt:
            return statuses, True
    return statuses, False


def _bearable(device: str, recipe: Recipe) -> int:
    """Runs at a time: one on a card; on a CPU one for each processor, as these networks are too small for more."""
    return 1 if device == "cuda" or recipe.crop is not None else _processors()


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure_costs(request: TrainRequest, runs: list[Run], folder: Path, device: str, console: Console) -> bool:
    """Sweep the blocks at the size of the map that they were trained on, into `cost/`; whether it was interrupted."""
    size, channels = _map(runs[0])
    if size is None:
        return False
    labels = dict.fromkeys(f"{PRICED}:chain={packed(run.chain.label)}" for run in runs)
    axes = {"blocks": ",".join(labels), "sizes": f"{size}x{size}", "channels": str(channels), "dtype": "fp32"}
    axes |= {"impl": request.impl}
    plugins = (*request.plugins, os.path.relpath(_PRICED))
    for mode, batch in _PRICES:
        wanted = {**axes, "mode": mode, "batch": batch}
        sweep = Request("quick", wanted, device, next(iter(labels)), folder / "cost", {}, plugins)
        sweep = dataclasses.replace(sweep, cluster=request.cluster, allow_skew=request.allow_skew)
        try:
            if (run_sweep if request.cluster is None else run_on_cluster)(sweep, console).interrupted:
                return True
        except SpecError as error:
            console.print(f"costs were not measured: {error}", markup=False, highlight=False, soft_wrap=True)
            return False
    return False


def _map(run: Run) -> tuple[int | None, int]:
    if run.dataset != SCENES or run.chain.family == "network":
        return None, 0
    return run.recipe.size // STRIDE, run.width


def _outcome(
    runs: list[Run], archive: Archive, statuses: Counter[str], interrupted: bool, baseline: str, seconds: float
) -> TrainOutcome:
    missing = sum(run.key not in archive.records for run in runs)
    trained = [f"{number} {status}" for status, number in sorted(statuses.items())]
    told = ", ".join([*trained, *([f"{missing} missing"] if missing else [])]) or "nothing missing"
    folder = archive.folder
    lines = [f"{told}; {len(archive.records)} runs in all; {seconds:.0f} s", f"runs    {folder}/runs.jsonl"]
    if archive.records:
        places = (("report", "accuracy.md"), ("page", "report.html"), ("plots", "plots/"))
        lines += [f"{name:7} {folder}/{place}" for name, place in places]
    if interrupted:
        lines.append(f"interrupted; to go on: {shlex.join(['python', 'run_bench.py', *sys.argv[1:]])}")
    failed = any(status != "ok" for status in statuses)
    known = {str(record["label"]) for record in archive.records.values()}
    compared = baseline if baseline in known else BASELINE
    return TrainOutcome(folder, compared, "\n".join(lines), len(archive.records), failed, interrupted)
