"""Plan: which runs a suite of training runs, or a command line, asks for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.shelf import Shelf
from bench.training.chain import Chain, parse_chains, read_chain
from modules.options import SpecError, nearest

SHELF = Shelf("bench.training", "suites", "training suite")
_TOP = ("name", "description", "blocks", "seeds", "recipe", "baseline", "set")
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class TrainingSuite:
    """A file that says what to train.

    Attributes:
        name, description: of the suite.
        blocks: a list as the command line spells it.
        seeds: a number of seeds, or a list.
        recipe: its name.
        baseline: label that the others are compared with.
        settings: of the recipe that differ.
    """

    name: str
    description: str
    blocks: str
    seeds: str = "5"
    recipe: str = "default"
    baseline: str = "identity"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def chains(self) -> list[Chain]:
        """What to train, each once.

        Raises:
            SpecError: a block does not exist.
        """
        return list({chain.label: chain for chain in parse_chains(self.blocks)}.values())


def suite_names() -> list[str]:
    """The suites of training runs that come with the package."""
    return SHELF.names()


def load_training_suite(wanted: str) -> TrainingSuite:
    """A suite by name, or from a file of one's own.

    Raises:
        SpecError: it does not exist, is not TOML, or holds an unknown key or value.
    """
    content, place = SHELF.read(wanted), f"training suite '{wanted}'"
    for key in content:
        if key not in _TOP:
            raise SpecError(f"{place}: unknown key '{key}'{nearest(key, _TOP)}")
    if not content.get("blocks"):
        raise SpecError(f"{place} names no blocks")
    settings = content.get("set", {})
    if not isinstance(settings, dict):
        raise SpecError(f"{place}: [set] must be a table")
    words = {name: _text(content[name]) for name in _TOP[1:-1] if name in content}
    words["blocks"] = words["blocks"].rstrip(", \n")
    suite = TrainingSuite(SHELF.name_of(content, wanted), **{"description": "", **words}, settings=settings)
    try:
        parse_seeds(suite.seeds)
        read_chain(suite.baseline)
        suite.chains()
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None
    return suite


def parse_seeds(text: str) -> list[int]:
    """Seeds: a number n stands for 0 to n-1; a list, also one like `3,`, for itself.

    Raises:
        SpecError: it is neither.
    """
    items = [item.strip() for item in text.split(",")]
    if len(items) > 1 and not items[-1]:
        items.pop()
        listed = True
    else:
        listed = len(items) > 1
    try:
        numbers = [int(item) for item in items]
    except ValueError:
        numbers = [-1]
    allowed = "how many (5 is seeds 0 to 4), or a list such as 0,3 or 3,"
    if min(numbers) < 0 or (not listed and not 1 <= numbers[0] <= _MOST_SEEDS):
        raise SpecError(f"seeds '{text}' cannot be; allowed: {allowed}")
    return list(dict.fromkeys(numbers)) if listed else list(range(numbers[0]))


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """`name=value` words as settings of a recipe, unchecked.

    Raises:
        SpecError: a word is no such pair.
    """
    found = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals):
            raise SpecError(f"--set '{pair}' is not a setting; write name=value, such as --set iterations=600")
        found[name] = value
    return found


def in_order(chains: list[Chain], seeds: list[int]) -> list[tuple[Chain, int]]:
    """Every block with every seed; all blocks with the first seed before any with the second, so that a run that is
    stopped leaves blocks that can be compared."""
    return [(chain, seed) for seed, chain in itertools.product(seeds, chains)]


def _text(value: object) -> str:
    """A value as the command line spells it; a list of one seed keeps its comma."""
    return "".join(f"{item}," for item in value) if isinstance(value, list) else str(value)
