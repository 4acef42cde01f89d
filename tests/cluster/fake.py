"""A cluster without Ray: nodes as a list, calls answered by a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.cluster import Node, Share, Software
from bench.measure.rates import Rates
from bench.measurer import Ready

HERE = Software("2.13.0", "0.1.0", "abc", "c0de", {})
FACTS = {"cpu": "Some Processor", "threads": 4}
CARD = {**FACTS, "gpu": "NVIDIA H200"}


@dataclass
class FakeCluster:
    """Answers calls on the first node of their share.

    Attributes:
        alive: its nodes.
        answer: given (node, function, arguments).
        calls: what was called, in order.
    """

    alive: list[Node]
    answer: Callable[[Node, Callable[..., Any], Sequence[Any]], Any]
    calls: list[tuple[Node, str]] = field(default_factory=list)
    stopped: bool = False

    def nodes(self) -> list[Node]:
        return self.alive

    def call(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        share: Share,
        on_lost: Callable[[str], None] = lambda told: None,
    ) -> tuple[Node, Any]:
        node = share.nodes[len(self.calls) % len(share.nodes)]
        self.calls.append((node, function.__name__))
        return node, self.answer(node, function, arguments)

    def stop(self) -> None:
        self.stopped = True


def node(name: str, cpus: int = 4, gpus: int = 0) -> Node:
    return Node(f"id-{name}", name, cpus, gpus)


def ready(facts: dict[str, object], free: int = 2**30, cards: int = 0) -> Ready:
    models = (str(facts.get("gpu")),) * cards
    return Ready("kept", Rates({"copy_gb_s": 10.0}, passes=1), facts, free, models)


def other(**changed: Any) -> Software:
    return replace(HERE, **changed)
