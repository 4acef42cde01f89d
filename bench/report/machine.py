"""The machine of a run, as `environment.json` describes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.digits import MISSING
from bench.row import ENVIRONMENT, RunError


@dataclass(frozen=True)
class Machine:
    """Facts of the machine, its versions and the method, by dotted name; empty where none were recorded."""

    facts: Mapping[str, Any]

    def name(self) -> str:
        """The card, or the processor, without the clutter of trademarks."""
        found = next((self.facts[key] for key in ("gpu", "cpu", "machine") if self.facts.get(key)), "")
        return plain_name(str(found))

    def line(self) -> str:
        """One line for a caption: name, threads, torch and Python versions, system; what is not known is left out."""
        known = [self.name()] if self.name() else []
        on_card = bool(self.facts.get("gpu"))
        for key, words in (
            ("threads", "{} threads"),
            ("torch", "torch {}"),
            ("cuda", "CUDA {}"),
            ("python", "Python {}"),
        ):
            if self.facts.get(key) and not (key == "threads" and on_card):
                value = self.facts[key]
                known.append("1 thread" if key == "threads" and value == 1 else words.format(value))
        return ", ".join([*known, *([str(self.facts["system"])] if self.facts.get("system") else [])])

    def shown(self, name: str) -> str:
        """A fact as text, a dash where it was not recorded."""
        value = self.facts.get(name)
        return MISSING if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

    def choices(self) -> list[str]:
        """What was chosen of the method and changes what a time means, a sentence each."""
        cold = self.facts.get("method_settings.cache") == "cold"
        graph = self.facts.get("method_settings.cuda_graph") == 1
        fold = self.facts.get("method_settings.fold") == 1
        return [
            *["Caches were flushed ahead of every sample."] * cold,
            *["Calls were replayed as CUDA graphs."] * graph,
            *["Batch norms were folded into the convolutions ahead of them, in static figures too."] * fold,
        ]


def plain_name(text: str) -> str:
    """The name of a card or a processor without the clutter of trademarks."""
    return " ".join(text.replace("(R)", "").replace("(TM)", "").split())


def node_words(nodes: Iterable[str]) -> str:
    """`a (18 rows), b (17 rows)`: the nodes of rows where they are several, else "".

    Args:
        nodes: a host name a row, empty where a row does not tell.
    """
    counts = Counter(nodes)
    if len(set(counts) - {""}) < 2:
        return ""
    return ", ".join(f"{name or 'not told'} ({many} {'row' if many == 1 else 'rows'})" for name, many in counts.items())


def read_machine(run: Path) -> Machine:
    """The facts in `environment.json` of a run folder; none if there is no such file.

    Raises:
        RunError: the file is not a JSON object.
    """
    path = run / ENVIRONMENT
    if not path.exists():
        return Machine({})
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise RunError(f"{path} is not a JSON object")
    return Machine(_flatten(facts))


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
