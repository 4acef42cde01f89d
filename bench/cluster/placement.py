"""Placement: which group was measured on which device, from when to when; one line each in `placements.jsonl`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import journal

PLACEMENTS = "placements.jsonl"


@dataclass(frozen=True)
class Placement:
    """A call that had a device to itself.

    Attributes:
        device: what it had: Ray's id of the node and, of a card, its number there.
        node: name of the node.
        started, ended: seconds of the node's clock since 1970.
        keys: of the cases that were measured.
    """

    device: str
    node: str
    started: float
    ended: float
    keys: tuple[str, ...]


def write_placement(folder: Path, placement: Placement) -> None:
    """Append one to a run folder, synced.

    Raises:
        SpecError: it cannot be written.
    """
    journal.append(folder / PLACEMENTS, asdict(placement), "its rows")


def read_placements(folder: Path) -> list[Placement]:
    """Those of a run folder; a last line that a kill cut short is left out."""
    path = folder / PLACEMENTS
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [Placement(**{**facts, "keys": tuple(facts["keys"])}) for facts in map(json.loads, lines)]


def mend_placements(folder: Path) -> None:
    """Drop a last line that a kill cut short, before others are written behind it."""
    path = folder / PLACEMENTS
    if path.exists():
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        journal.replace(path, whole + "\n" if whole else "")


def overlaps(placements: Sequence[Placement]) -> list[tuple[Placement, Placement]]:
    """Pairs that had the same device at the same time: there should be none."""
    ordered = sorted(placements, key=lambda placement: (placement.device, placement.started))
    return [
        (first, second)
        for device, together in itertools.groupby(ordered, key=lambda placement: placement.device)
        for first, second in itertools.combinations(list(together), 2)
        if second.started < first.ended
    ]
