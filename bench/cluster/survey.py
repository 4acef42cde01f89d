"""Survey: what the nodes of a cluster are, and which of them are of one kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from bench.cluster.connection import Cluster, Node, NodesLost, Share
from bench.cluster.software import Software, software_here
from bench.cluster.tasks import look_around
from bench.environment import device_name, environment_hash
from bench.measurer import Ready
from bench.worker import Task
from modules.options import SpecError


@dataclass(frozen=True)
class Kind:
    """Devices whose rows may stand side by side: their machines are alike in all that decides how fast things run.

    Attributes:
        name: model of the card or the processor.
        folder: name of its run folder where each kind has one.
        facts: of the environment.
        nodes: that have such devices.
        devices: how many there are.
        share: of a node that one device is.
        ready: what the worker of one of the nodes said.
        software: what they measure with.
    """

    name: str
    folder: str
    facts: Mapping[str, object]
    nodes: tuple[Node, ...]
    devices: int
    share: Share
    ready: Ready
    software: Software

    @property
    def env(self) -> str:
        """Hash of the environment."""
        return environment_hash(dict(self.facts))

    def __str__(self) -> str:
        return f"{self.name} ({self.devices} on {', '.join(node.name for node in self.nodes)})"


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


def check_skew(cluster: Cluster, nodes: Sequence[Node], files: Sequence[str], allowed: bool) -> dict[Node, Software]:
    """What every node would measure with.

    Raises:
        SpecError: a node has no contextbench, lacks a file of the request, or has other versions than are here and
            that is not `allowed`.
    """
    ours = software_here(files)
    told = _everywhere(cluster, {node: Share((node,), 0) for node in nodes}, _telling(), [list(files)])
    found: dict[Node, Software] = {}
    wrong: dict[Node, str] = {}
    for node, answer in told.items():
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
    answers = _everywhere(cluster, whole, look_around, [task, timeout])
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
        alone = Share((node,), max(1, node.cpus // node.gpus), 1) if cuda else whole[node]
        mark = (environment_hash(facts), alone.cpus, *_versions(software[node]))
        found.setdefault(mark, []).append((node, ready))
    if not found:
        raise SpecError("no node of the cluster answered; see 'ray status'")
    kinds = {mark: _kind(members, software, cuda) for mark, members in found.items()}
    names = [kind.folder for kind in kinds.values()]
    for mark, kind in kinds.items():
        if names.count(kind.folder) > 1:
            apart = hashlib.sha256(repr(mark).encode()).hexdigest()[:6]
            kinds[mark] = replace(kind, folder=f"{kind.folder}-{apart}")
    return list(kinds.values())


def _kind(members: list[tuple[Node, Ready]], software: Mapping[Node, Software], cuda: bool) -> Kind:
    nodes = tuple(node for node, _ in members)
    first, ready = members[0]
    facts = {**ready.facts, "host_allocator": ready.host_allocator}
    share = Share(nodes, max(1, first.cpus // first.gpus), 1) if cuda else Share(nodes, first.cpus)
    least = replace(ready, free_bytes=min(answer.free_bytes for _, answer in members))
    count = sum(node.gpus for node in nodes) if cuda else len(nodes)
    name = device_name(facts)
    return Kind(
        name, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), facts, nodes, count, share, least, software[first]
    )


def _everywhere(
    cluster: Cluster, shares: Mapping[Node, Share], function: Callable[..., Any], arguments: Sequence[object]
) -> dict[Node, Any]:
    """What the function returns on each node, all at once; a node that is lost has `NodesLost`."""
    with ThreadPoolExecutor(max_workers=max(1, len(shares))) as pool:
        calls = {node: pool.submit(cluster.call, function, arguments, share) for node, share in shares.items()}
        try:
            return {
                node: call.exception() if isinstance(call.exception(), NodesLost) else call.result()[1]
                for node, call in calls.items()
            }
        except BaseException:
            cluster.stop()
            raise


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
