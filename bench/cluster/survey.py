"""Survey: what the nodes of a cluster are, and which of them are of one kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from bench.cluster.connection import Cluster, NodesLost
from bench.cluster.node import Node, Share, a_device_of
from bench.cluster.software import Software, software_here
from bench.cluster.tasks import look_around
from bench.environment import device_name, environment_hash
from bench.measurer import Ready
from bench.worker import Task
from modules.options import SpecError

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Kind:
    """Devices whose rows may stand side by side: their machines are alike in all that decides how fast things run.

    Attributes:
        share: of a node that one device is, and the nodes.
        ready: what the worker of one of the nodes said, with the least free memory of them.
        software: what they measure with.
    """

    share: Share
    ready: Ready
    software: Software

    @property
    def name(self) -> str:
        """Model of the card or the processor."""
        return device_name(self.ready.facts)

    @property
    def slug(self) -> str:
        """The name as that of a folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def __str__(self) -> str:
        return f"{self.name} ({self.share.count} on {', '.join(node.name for node in self.share.nodes)})"


def difference(kinds: Sequence[Kind]) -> str:
    """What kinds differ in, in words."""
    facts = [{**kind.ready.facts, "processors": kind.share.cpus, "code": kind.software.code} for kind in kinds]
    names = dict.fromkeys(name for found in facts for name in found)
    return ", ".join(name for name in names if len({str(found.get(name)) for found in facts}) > 1)


def nodes_with(cluster: Cluster, wanted: str) -> tuple[str, list[Node]]:
    """The device to measure on, and the nodes that have it; `auto` is CUDA where any node has a card.

    Raises:
        SpecError: no node has it.
    """
    nodes = cluster.nodes()
    if wanted not in ("auto", "cpu", "cuda"):
        raise SpecError(f"unknown device '{wanted}'; allowed: auto, cpu, cuda")
    device = ("cuda" if any(node.gpus for node in nodes) else "cpu") if wanted == "auto" else wanted
    able = [node for node in nodes if (node.gpus if device == "cuda" else node.cpus)]
    if not able:
        raise SpecError(f"no node of the cluster has a device '{device}'; nodes: {_listed(nodes) or 'none'}")
    return device, able


def check_skew(
    cluster: Cluster, nodes: Sequence[Node], files: Sequence[str], allowed: bool, console: Console
) -> dict[Node, Software]:
    """What every node would measure with. A node that is lost meanwhile is left out, and that is said.

    Raises:
        SpecError: a node has no contextbench, lacks a file of the request, or has other versions than are here and
            that is not `allowed`.
    """
    ours = software_here(files)
    told = _everywhere(
        cluster, {node: Share((node,), 0) for node in nodes}, _telling(), lambda node: [list(files)], console
    )
    found: dict[Node, Software] = {}
    wrong: dict[Node, str] = {}
    for node, answer in told.items():
        if isinstance(answer, NodesLost):
            _tell(console, f"node {node.name} is left out: {answer}")
            continue
        if not isinstance(answer, Software):
            wrong[node] = f"cannot measure: {answer}"
            continue
        found[node] = answer
        differences = ours.differences(answer)
        lacking = [path for path, digest in answer.files.items() if digest is None and ours.files[path] is not None]
        if lacking or (differences and not allowed):
            wrong[node] = f"has {'; '.join(differences)}"
    if wrong:
        listed = ", ".join(f"node {node.name} {what}" for node, what in wrong.items())
        hint = "install the same everywhere" if allowed else "install the same everywhere, or add --allow-skew"
        raise SpecError(f"{listed} ({hint})")
    return found


def find_kinds(
    cluster: Cluster, software: Mapping[Node, Software], task: Task, timeout: float, console: Console
) -> list[Kind]:
    """Have a worker on every node say what it found, with the node to itself, and sort the nodes into kinds.

    A node that is lost meanwhile is left out, and that is said; so is a node that puts measurements behind all else.

    Raises:
        SpecError: no node answers, no worker can be started on one, or one has cards of several models.
    """
    cuda = task.device == "cuda"
    whole = {node: Share((node,), node.cpus, node.gpus if cuda else 0) for node in software}
    _tell(console, f"looking at {_listed(list(software))}")
    alone = {node: a_device_of((node,), task.device) for node in software}
    answers = _everywhere(cluster, whole, look_around, lambda node: [task, timeout, alone[node].threads], console)
    found: dict[tuple[object, ...], list[tuple[Node, Ready]]] = {}
    for node, ready in answers.items():
        if isinstance(ready, NodesLost):
            _tell(console, f"node {node.name} is left out: {ready}")
            continue
        if ready.niceness > 0:
            hint = "a Ray node that is started with RAY_worker_niceness=0 does not do so"
            _tell(console, f"node {node.name} measures at niceness {ready.niceness}, behind all else there; {hint}")
        if len(set(ready.cards)) > 1:
            hint = "start a Ray node for each, by CUDA_VISIBLE_DEVICES"
            raise SpecError(f"node {node.name} has cards of several models ({', '.join(ready.cards)}); {hint}")
        facts = {**ready.facts, "host_allocator": ready.host_allocator}
        mark = (environment_hash(facts), alone[node].cpus, *_versions(software[node]))
        found.setdefault(mark, []).append((node, ready))
    if not found:
        raise SpecError("no node of the cluster answered; see 'ray status'")
    hosts = [node.host for node in answers if node.host]
    if not cuda and len(set(hosts)) < len(hosts):
        _tell(console, "several nodes are on one machine and measure beside each other: start one node a machine")
    return [_kind(members, software, task.device) for members in found.values()]


def _kind(members: list[tuple[Node, Ready]], software: Mapping[Node, Software], device: str) -> Kind:
    first, ready = members[0]
    least = replace(ready, free_bytes=min(answer.free_bytes for _, answer in members))
    return Kind(a_device_of(tuple(node for node, _ in members), device), least, software[first])


def _everywhere(
    cluster: Cluster,
    shares: Mapping[Node, Share],
    function: Callable[..., Any],
    arguments: Callable[[Node], Sequence[object]],
    console: Console,
) -> dict[Node, Any]:
    """What the function returns on each node, all at once; a node that is lost has `NodesLost`."""
    with ThreadPoolExecutor(max_workers=max(1, len(shares))) as pool:
        calls = {node: pool.submit(cluster.call, function, arguments(node), share) for node, share in shares.items()}
        try:
            _, late = wait(calls.values(), timeout=_PATIENCE_SECONDS)
            if late:
                names = ", ".join(node.name for node, call in calls.items() if call in late)
                _tell(console, f"waiting until {names} is free for this; 'ray status' shows what else runs there")
            found = {node: call.exception() or call.result()[1] for node, call in calls.items()}
        except BaseException:
            cluster.stop()
            raise
    for answer in found.values():
        if isinstance(answer, BaseException) and not isinstance(answer, NodesLost):
            raise answer
    return found


def _telling() -> Callable[[list[str]], Software | str]:
    """A function that needs nothing of this project to arrive on a node, and says what is wrong there."""

    def tell(files: list[str]) -> Software | str:
        try:
            from bench.cluster.software import software_here

            return software_here(files)
        except Exception as error:  # whatever it is, it is what is wrong there
            return f"{type(error).__name__}: {error}"

    return tell


def _versions(software: Software) -> tuple[object, ...]:
    return software.torch, software.contextbench, software.git, software.code, *sorted(software.files.items())


def _tell(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _listed(nodes: Sequence[Node]) -> str:
    return ", ".join(f"{node.name} ({node.gpus} cards, {node.cpus} processors)" for node in nodes)
