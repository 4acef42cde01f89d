"""Afield: training runs on the nodes of a Ray cluster, one on a processor or a card; the records come back here."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cluster import Cluster, NodesLost, Share, a_device_of, check_skew, connected, nodes_with
from bench.environment import describe_environment
from bench.training.crew import Job, News
from bench.training.record import make_record
from modules.options import SpecError

_GLANCE_SECONDS = 0.5


@dataclass(frozen=True)
class Afield:
    """Nodes to train on.

    Attributes:
        cluster: theirs.
        device: `cpu` or `cuda`.
        share: of them, for each run: a card with its part of the processors, one processor, or a node.
        plugins: files that register blocks, the same on all nodes.
    """

    cluster: Cluster
    device: str
    share: Share
    plugins: tuple[str, ...]

    def environment(self) -> dict[str, object]:
        """The environment of the node that answers first, with the names of all.

        Raises:
            SpecError: none answers.
        """
        try:
            _, facts = self.cluster.call(describe_environment, (self.device,), self.share)
        except NodesLost as lost:
            raise SpecError(f"no node of the cluster answered: {lost}") from None
        return {**facts, "nodes": sorted(node.name for node in self.share.nodes)}

    def train(self, jobs: Sequence[Job], workers: int) -> Generator[News]:
        """Train the jobs, as many at a time as the nodes bear, and tell what has ended.

        A run whose node is lost is begun again elsewhere; from its last state, where the folder of the runs is on a
        file system that both nodes share. What is still running when the iteration is left is cancelled.

        Args:
            jobs: in the order in which they are begun.
            workers: processes that read data, of each run.

        Raises:
            SpecError: a run's data or recipe cannot be.
        """
        with ThreadPoolExecutor(max_workers=max(1, self.share.count)) as pool:
            waiting: dict[Future[dict[str, Any]], tuple[int, Job]] = {}
            for number, job in enumerate(jobs):
                waiting[pool.submit(self._record, job, workers)] = (number, job)
            try:
                while waiting:
                    ended, _ = wait(waiting, timeout=_GLANCE_SECONDS, return_when=FIRST_COMPLETED)
                    told = sorted(ended, key=lambda future: future.exception() is not None)  # records first
                    for future in told:
                        number, job = waiting.pop(future)
                        yield News(job, "ended", number, record=future.result())
            finally:
                if waiting:
                    self.cluster.stop()
                pool.shutdown(cancel_futures=True)

    def _record(self, job: Job, workers: int) -> dict[str, Any]:
        root = job.run.root.resolve() if job.run.root else None
        there = replace(job, run=replace(job.run, root=root), checkpoint=job.checkpoint.resolve())
        threads = None if self.share.gpus else self.share.threads
        try:
            node, record = self.cluster.call(_train_there, (there, threads, self.plugins, workers), self.share)
        except NodesLost as lost:
            return make_record(job.run.facts(job.repro), {"status": "crashed", "reason": str(lost)})
        return {**record, "node": node.name}


@contextlib.contextmanager
def open_afield(
    address: str, device: str, plugins: tuple[str, ...], allow_skew: bool, large: bool, console: Console
) -> Iterator[Afield]:
    """The nodes of a cluster that have a device, connected inside the block; a `large` network has one to itself.

    Raises:
        SpecError: there is no cluster, none of its nodes has the device, or they have other versions or files.
    """
    with connected(address, console) as cluster:
        device, nodes = nodes_with(cluster, device)
        paths = tuple(str(Path(path).resolve()) for path in plugins)
        able = tuple(check_skew(cluster, nodes, paths, allow_skew, console))
        share = a_device_of(able, device) if device == "cuda" or large else Share(able, 1)
        yield Afield(cluster, device, share, paths)


def _train_there(job: Job, threads: int | None, plugins: tuple[str, ...], workers: int) -> dict[str, Any]:
    """On a node: train a run; its state lies in the folder of the runs where that is here too, else nowhere."""
    import torch

    from bench.plugin import load_plugins
    from bench.training.run import perform

    if threads is not None:
        torch.set_num_threads(threads)
    load_plugins(plugins)
    if job.checkpoint.parent.parent.is_dir():
        return perform(job.run, job.repro, job.checkpoint, workers)
    with tempfile.TemporaryDirectory() as folder:
        return perform(job.run, job.repro, Path(folder) / job.checkpoint.name, workers)
