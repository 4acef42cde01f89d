"""Session: one invocation of `attention`, from what was asked for to records."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench import journal
from bench.attention.job import Job, job_of_file, job_to_train
from bench.attention.notice import Notice
from bench.attention.pictures import Pictures, Point, SceneImages, parse_queries
from bench.attention.record import ATTENTION, RESULTS, make_record, read_attention
from bench.attention.weights import load_network
from bench.environment import available_bytes, describe_environment, environment_hash, git_revision, pick_device
from bench.plugin import load_plugins
from bench.row import ENVIRONMENT, ROWS, RUNS
from bench.training.chain import parse_chains
from bench.training.material import SCENES, check_material
from bench.training.network import CHANNELS, NETWORK_CHANNELS
from bench.training.recipe import Recipe, load_recipe
from modules.options import SpecError

WEIGHTS = "weights"


@dataclass(frozen=True)
class AttentionRequest:
    """What a user asked for.

    Attributes:
        blocks: blocks, compositions or one network, as `train` takes them.
        recipe: by which blocks without weights are trained.
        seed: of that training.
        checkpoint: weights of the one block or network, in place of training.
        channels: C of the map; null for the default.
        images: pictures to look at; the scenes' where there are none.
        count: how many scenes.
        queries: positions that ask, `4x4,8x12`; null for some that each picture has itself.
        device: `auto`, `cpu` or `cuda`.
        out: folder of the records, or null for one under `results/`.
        plugins: files that register blocks.
    """

    blocks: str
    recipe: str = "default"
    seed: int = 0
    checkpoint: Path | None = None
    channels: int | None = None
    images: tuple[Path, ...] = ()
    count: int = 64
    queries: str | None = None
    device: str = "auto"
    out: Path | None = None
    plugins: tuple[str, ...] = ()

    def jobs(self, recipe: Recipe, device: str) -> list[Job]:
        """The networks, each built once, so that what cannot be is said before any is trained.

        Raises:
            SpecError: a block does not exist or cannot be built, or the checkpoint does not fit.
        """
        if self.checkpoint is not None:
            loaded = load_network(self.blocks, self.checkpoint, self.channels, self.seed)
            width = self.channels or (CHANNELS if loaded.probed else NETWORK_CHANNELS)
            return [job_of_file(loaded, width, device)]
        chains = {chain.label: chain for chain in parse_chains(self.blocks)}
        return [job_to_train(chain, recipe, self.seed, self.channels, device) for chain in chains.values()]

    def folder(self, device: str) -> Path:
        """Where the records go: named after the device and what was asked for."""
        if self.out is not None:
            return self.out
        asked = [self.blocks, self.recipe, self.seed, str(self.checkpoint), self.channels, *map(str, self.images)]
        mark = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:6]
        return Path("results") / f"attention-{device}-{mark}"

    def repro(self, label: str, device: str) -> str:
        """The command that measures one of the networks alone."""
        words = [label, "--recipe", self.recipe, "--seed", str(self.seed), "--count", str(self.count)]
        words += ["--checkpoint", str(self.checkpoint)] if self.checkpoint is not None else []
        words += ["--channels", str(self.channels)] if self.channels is not None else []
        words += ["--queries", self.queries] if self.queries is not None else []
        words += [word for path in self.images for word in ("--images", str(path))]
        words += [word for path in self.plugins for word in ("--plugin", path)]
        return f"python run_bench.py attention {shlex.join([*words, '--device', device])} --out results/repro"


@dataclass(frozen=True)
class AttentionOutcome:
    """How a look at attention ended.

    Attributes:
        folder: of the records.
        text: that closes the output.
        measured: records in the folder.
        failed: whether a network did not end well.
        interrupted: whether the user stopped it.
    """

    folder: Path
    text: str
    measured: int
    failed: bool
    interrupted: bool


@dataclass(frozen=True)
class _Look:
    """A job with what it is shown."""

    job: Job
    pictures: Pictures
    points: Sequence[Point] | None
    peak_bytes: int | None


def run_attention(request: AttentionRequest, console: Console) -> AttentionOutcome:
    """Train what has no weights yet, show it the pictures, and write a record for each of its context blocks.

    Weights are kept in the folder: the same command again trains nothing.

    Raises:
        SpecError: something asked for does not exist, does not fit, or cannot be written.
        RunError: the folder's records cannot be read.
    """
    load_plugins(request.plugins)
    device, recipe = pick_device(request.device), load_recipe(request.recipe)
    check_material(SCENES, None, recipe)
    if request.count < 1:
        raise SpecError(f"{request.count} images cannot be looked at; allowed: 1 or more")
    looks = _looks(request, recipe, request.jobs(recipe, device))
    folder, start = request.folder(device), time.perf_counter()
    environment = describe_environment(device)
    statuses: Counter[str] = Counter()
    with journal.claim(folder):
        kept = _opened(folder, environment)
        interrupted = False
        try:
            with Notice(console, len(looks)) as notice:
                for look in looks:
                    begun = {"git": git_revision(), "env": environment_hash(environment)}
                    begun |= {"repro": request.repro(look.job.label, device)}
                    for record in _measured(look, folder, device, begun, notice):
                        journal.append(folder / ATTENTION, record, f"its {len(kept)} records")
                        kept[str(record["key"])] = record
                        statuses[str(record["status"])] += 1
        except KeyboardInterrupt:
            interrupted = True
        _replace(folder / ATTENTION, journal.lines(kept), folder)
    failed = any(status not in RESULTS for status in statuses)
    text = _text(folder, statuses, len(kept), interrupted, time.perf_counter() - start)
    return AttentionOutcome(folder, text, len(kept), failed, interrupted)


def _looks(request: AttentionRequest, recipe: Recipe, jobs: Sequence[Job]) -> list[_Look]:
    queries = None if request.queries is None else parse_queries(request.queries)
    scenes = None if request.images else SceneImages(request.count, recipe.size)
    looks = []
    for job in jobs:
        pictures = job.photos(request.images) if scenes is None else scenes
        found = job.surveyed(pictures)
        looks.append(_Look(job, pictures, job.points(queries, found), found.peak_bytes))
    return looks


def _measured(look: _Look, folder: Path, device: str, begun: dict[str, Any], notice: Notice) -> list[dict[str, Any]]:
    """The records of one network; what goes wrong with it is their status and reason."""
    begun = begun | {"started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    label = look.job.label
    subject = look.job.subject(look.pictures, look.points, "cpu")
    free = available_bytes(device)
    if look.peak_bytes is not None and look.peak_bytes > free:
        reason = f"a picture takes {look.peak_bytes / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        records = [subject.failed("skipped", reason)]
    else:
        try:
            notice.begin(label)
            trained = look.job.train(folder / WEIGHTS, device, notice.step)
            if trained is not None and trained.status != "ok":
                records = [subject.failed(trained.status, trained.reason or "")]
            else:
                told = {} if trained is None else {"iterations": trained.iterations}
                subject = look.job.subject(look.pictures, look.points, device)
                records = [make_record(record, told) for record in subject.records(folder, device)]
        except SpecError:
            raise
        except Exception as error:  # whatever a block raises is its result
            memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            records = [subject.failed("oom" if memory else "crashed", reason)]
    notice.end(label, records)
    return [make_record(record, begun) for record in records]


def _opened(folder: Path, environment: dict[str, object]) -> dict[str, dict[str, Any]]:
    """The records that a folder holds of networks that ended well; its files are put in order."""
    for name, what in ((ROWS, "the rows of a sweep"), (RUNS, "training runs")):
        if (folder / name).exists():
            raise SpecError(f"'{folder}' holds {what}; choose another --out")
    path = folder / ATTENTION
    found = read_attention(path) if path.exists() else []
    kept = {str(record["key"]): record for record in found if record["status"] in RESULTS}
    _replace(path, journal.lines(kept), folder)
    _replace(folder / ENVIRONMENT, json.dumps(environment, indent=2) + "\n", folder)
    return kept


def _replace(path: Path, text: str, folder: Path) -> None:
    try:
        journal.replace(path, text)
    except OSError as error:
        raise journal.unwritable(folder, error) from None


def _text(folder: Path, statuses: Counter[str], count: int, interrupted: bool, seconds: float) -> str:
    told = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items())) or "nothing measured"
    lines = [f"{told}; {count} records in all; {seconds:.0f} s", f"records {folder}/{ATTENTION}"]
    if count:
        lines += [f"report  {folder}/attention.md", f"plots   {folder}/plots/"]
    if interrupted:
        lines.append(f"interrupted; to go on: {shlex.join(['python', 'run_bench.py', *sys.argv[1:]])}")
    return "\n".join(lines)
