"""Node: a machine of a cluster, and the share of it that one device is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: Ray's.
        name: as it was started with, else its host name.
        cpus, gpus: that Ray gives out there.
        host: address of the machine, which may have several nodes.
    """

    id: str
    name: str
    cpus: int
    gpus: int
    host: str = ""


@dataclass(frozen=True)
class Share:
    """Where a call may run, and what it has to itself there.

    Attributes:
        nodes: any of these.
        cpus, gpus: of the node, for as long as it runs.
    """

    nodes: tuple[Node, ...]
    cpus: int
    gpus: int = 0

    @property
    def threads(self) -> int:
        """That it may compute with; a node may give out cards and no processors."""
        return max(1, self.cpus)

    @property
    def count(self) -> int:
        """How many there are of it at a time."""
        return sum(node.gpus // self.gpus if self.gpus else node.cpus // self.threads for node in self.nodes)


def a_device_of(nodes: tuple[Node, ...], device: str) -> Share:
    """One device of any of the nodes: a card with its part of the processors, or a node with all of them."""
    if device == "cuda":
        return Share(nodes, min(node.cpus // node.gpus for node in nodes), 1)
    return Share(nodes, min(node.cpus for node in nodes))


def node_of(facts: Mapping[str, Any]) -> Node:
    """A node as Ray describes it."""
    named = facts["NodeName"] not in ("", facts["NodeManagerAddress"])
    resources = facts["Resources"]
    name = facts["NodeName"] if named else facts["NodeManagerHostname"]
    return Node(
        facts["NodeID"], name, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), facts["NodeManagerAddress"]
    )
