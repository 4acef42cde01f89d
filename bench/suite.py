"""Suite: a TOML file that says which cases to measure, which to skip and why, and how."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.axes import allowed_words, parse_blocks, parse_counts, parse_sizes, parse_words
from bench.case import Case, make_case
from bench.measure.method import Method, make_method
from bench.shelf import Shelf
from bench.skip import LIMITS, SkipRule
from modules import registry
from modules.options import SpecError, nearest

SHELF = Shelf("bench", "suites", "suite")
AXES: Mapping[str, str] = {
    "blocks": "",
    "sizes": "96x96",
    "channels": "512",
    "batch": "1",
    "dtype": "fp32",
    "mode": "forward",
    "memory_format": "channels_first",
    "impl": "reference",
}
COMPILE = "compile"
"""An axis that is in a grid only where it was set: `off`, `on` or both; `off` where it was not."""
_RULE_AXES = ("blocks", "dtype", "mode", "impl", "device")
_TOP = ("name", "description", "reference", "method", "grid", "skip")


@dataclass(frozen=True)
class Grid:
    """Axes whose product is a set of cases; `axes` holds each axis as text, as the command line spells it."""

    axes: Mapping[str, str]
    reference: str | None = None

    def cases(self, device: str) -> Iterator[Case]:
        """Every combination, blocks innermost, so that groups come out whole.

        Raises:
            SpecError: an axis holds something that does not exist.
        """
        blocks = parse_blocks(self.axes["blocks"])
        dtypes, modes, formats, impls = (parse_words(self.axes[a], a, allowed_words(a)) for a in _WORDS)
        sizes = parse_sizes(self.axes["sizes"])
        channels = parse_counts(self.axes["channels"], "channels")
        batches = parse_counts(self.axes["batch"], "batch")
        compiles = parse_words(self.axes.get(COMPILE, "off"), COMPILE, allowed_words(COMPILE))
        words = itertools.product(dtypes, modes, formats, impls, compiles)
        for (dtype, mode, memory_format, impl, compiled), b, c, (h, w) in itertools.product(
            words, batches, channels, sizes
        ):
            for name, options in blocks:
                yield make_case(
                    name,
                    options,
                    height=h,
                    width=w,
                    channels=c,
                    batch=b,
                    dtype=dtype,
                    mode=mode,
                    memory_format=memory_format,
                    impl=impl,
                    compiled=compiled == "on",
                    device=device,
                )


_WORDS = ("dtype", "mode", "memory_format", "impl")


@dataclass(frozen=True)
class Suite:
    """What a suite file says.

    Attributes:
        name: of the suite.
        description: one line.
        grids: sets of cases; a case that stands in two is measured once.
        skips: rules, the first that holds gives the reason.
        settings: the `[method]` table, over the defaults of `Method`.
        reference: entry that ratios are taken to, where a grid names no other; null for none.
    """

    name: str
    description: str
    grids: tuple[Grid, ...]
    skips: tuple[SkipRule, ...]
    settings: Mapping[str, float | int | str]
    reference: str | None

    @property
    def method(self) -> Method:
        return make_method(self.settings)

    def cases(self, device: str) -> dict[Case, str | None]:
        """Every case once, in order, with the label of the reference of its grid.

        Raises:
            SpecError: an axis holds something that does not exist.
        """
        found: dict[Case, str | None] = {}
        for grid in self.grids:
            for case in grid.cases(device):
                found.setdefault(case, grid.reference or self.reference)
        return found

    def override(self, axes: Mapping[str, str | None], reference: str | None) -> Suite:
        """The suite with the given axes set in all of its grids, and another reference (`none` for no reference).

        Other blocks than the suite's make one grid of its first: the other grids are there for blocks of their own.
        Where all of them take images and the suite's reference does not, the first of them is the reference.

        Raises:
            SpecError: the reference is not an entry.
        """
        changed = {axis: text for axis, text in axes.items() if text is not None}
        own = reference is None and "blocks" not in changed
        kept = self.grids[:1] if "blocks" in changed else self.grids
        grids = tuple(Grid({**grid.axes, **changed}, grid.reference if own else None) for grid in kept)
        chosen = _reference(reference) if reference is not None else self._beside(changed.get("blocks"))
        return Suite(self.name, self.description, grids, self.skips, self.settings, chosen)

    def _beside(self, blocks: str | None) -> str | None:
        if blocks is None or self.reference is None:
            return self.reference
        asked = parse_blocks(blocks)
        if _takes_images(parse_blocks(self.reference)[0][0]) or not all(_takes_images(name) for name, _ in asked):
            return self.reference
        return _reference(registry.spell(*asked[0]))

    def toml(self) -> str:
        """The suite as a file that `load_suite` reads back."""
        lines = [f"name = {_quote(self.name)}", f"description = {_quote(self.description)}"]
        lines.append(f"reference = {_quote(self.reference or 'none')}")
        lines += ["", "[method]", *(f"{name} = {_value(value)}" for name, value in self.settings.items())]
        for grid in self.grids:
            lines += ["", "[[grid]]", *(f"{axis} = {_quote(text)}" for axis, text in grid.axes.items())]
            lines += [f"reference = {_quote(grid.reference)}"] if grid.reference else []
        for rule in self.skips:
            lines += ["", "[[skip]]", f"reason = {_quote(rule.reason)}"]
            lines += [f"{limit} = {value}" for limit, value in rule.limits.items()]
            lines += [f"{axis} = {_quote(','.join(values))}" for axis, values in rule.axes.items()]
        return "\n".join(lines) + "\n"


def suite_names() -> list[str]:
    """The suites that come with the package."""
    return SHELF.names()


def load_suite(wanted: str) -> Suite:
    """A suite by name, or from a file of one's own.

    Raises:
        SpecError: it does not exist, is not TOML, or holds an unknown table, key, axis or value.
    """
    return read_suite(SHELF.read(wanted), wanted)


def read_suite(content: Mapping[str, Any], origin: str) -> Suite:
    """A suite out of the content of its file; `origin` names the file in errors.

    Raises:
        SpecError: the content does not fit.
    """
    place = f"suite '{origin}'"
    _only(content, _TOP, place)
    grids = [_grid(table, f"{place}, grid {i + 1}") for i, table in enumerate(_tables(content, "grid", place))]
    if not grids:
        raise SpecError(f"{place} has no [[grid]]")
    skips = [_rule(table, f"{place}, skip {i + 1}") for i, table in enumerate(_tables(content, "skip", place))]
    settings = content.get("method", {})
    if not isinstance(settings, dict):
        raise SpecError(f"{place}: [method] must be a table")
    make_method(settings)
    name = SHELF.name_of(content, origin)
    reference = _reference(str(content.get("reference", "nl")))
    return Suite(name, str(content.get("description", "")), tuple(grids), tuple(skips), settings, reference)


def _grid(table: Mapping[str, Any], place: str) -> Grid:
    _only(table, (*AXES, COMPILE, "reference"), place)
    if "blocks" not in table:
        raise SpecError(f"{place} names no blocks")
    reference = _reference(str(table["reference"])) if "reference" in table else None
    axes = {axis: _text(table[axis], f"{place}, {axis}") if axis in table else text for axis, text in AXES.items()}
    axes |= {COMPILE: _text(table[COMPILE], f"{place}, {COMPILE}")} if COMPILE in table else {}
    grid = Grid(axes, reference)
    try:
        next(grid.cases("cpu"))
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None
    return grid


def _rule(table: Mapping[str, Any], place: str) -> SkipRule:
    _only(table, ("reason", *LIMITS, *_RULE_AXES), place)
    if not table.get("reason"):
        raise SpecError(f"{place} gives no reason")
    limits = {limit: table[limit] for limit in LIMITS if limit in table}
    for limit, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SpecError(f"{place}: {limit} must be a number, not {value!r}")
    axes = {axis: _rule_axis(axis, _text(table[axis], place), place) for axis in _RULE_AXES if axis in table}
    if not limits and not axes:
        raise SpecError(f"{place} would skip everything; give one of {', '.join((*LIMITS, *_RULE_AXES))}")
    return SkipRule(str(table["reason"]), limits, axes)


def _rule_axis(axis: str, text: str, place: str) -> tuple[str, ...]:
    allowed = {"blocks": registry.names(), "device": ["cpu", "cuda"]}.get(axis) or allowed_words(axis)
    try:
        return tuple(parse_words(text, axis, allowed))
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def _tables(content: Mapping[str, Any], name: str, place: str) -> list[Mapping[str, Any]]:
    tables = content.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SpecError(f"{place}: write {name} as [[{name}]]")
    return tables


def _only(table: Mapping[str, Any], allowed: tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in allowed:
            raise SpecError(f"{place}: unknown key '{key}'{nearest(key, allowed)}")


def _text(value: object, place: str) -> str:
    """An axis as the command line spells it; files may write lists."""
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise SpecError(f"{place} must be text or a list, not {value!r}")


def _reference(text: str) -> str | None:
    if text == "none":
        return None
    blocks = parse_blocks(text)
    if len(blocks) != 1:
        raise SpecError(f"the reference must be one block, not '{text}'")
    name, options = blocks[0]
    entry = registry.describe(name)
    return registry.spell(name, entry.changed(entry.resolve(options)))


def _takes_images(name: str) -> bool:
    return registry.describe(name).family in ("backbone", "network")


def _value(value: float | int | str) -> str:
    return _quote(value) if isinstance(value, str) else str(value)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
