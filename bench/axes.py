"""The axes of a sweep, read from text the same way on the command line and in suite files."""

from __future__ import annotations

from collections.abc import Iterable

from bench.case import DTYPES, MEMORY_FORMATS, MODES
from modules import registry
from modules.options import SpecError, nearest

LARGEST = 2**20
BlockSpec = tuple[str, dict[str, str]]


def parse_blocks(text: str) -> list[BlockSpec]:
    """Block list to (entry, options as text): `nl,gald:ga=nl,ld=v2,gc` is three blocks.

    An item with `=` and no `:` continues the options of the block before it.

    Raises:
        SpecError: an item is malformed, or names an unknown entry, option or value.
    """
    found: list[BlockSpec] = []
    for item in _items(text, "block"):
        name, colon, option = item.partition(":")
        if not colon and "=" in item:
            if not found:
                raise SpecError(f"'{item}' in the block list '{text}' continues no block; write name:option=value")
            option = item
        else:
            found.append((name.strip(), {}))
        if option or colon:
            key, equals, value = (part.strip() for part in option.partition("="))
            if not (key and equals and value):
                raise SpecError(f"'{item}' is not a block; write name or name:option=value,option=value")
            if key in found[-1][1]:
                raise SpecError(f"option '{key}' stands twice in '{text}'")
            found[-1][1][key] = value
    for name, options in found:
        registry.describe(name).resolve(options)
    return found


def parse_sizes(text: str) -> list[tuple[int, int]]:
    """Feature-map sizes: `96x96,128x256` to (height, width) pairs; `96` alone is 96x96.

    Raises:
        SpecError: an item is not of that form or not positive.
    """
    sizes = []
    for item in _items(text, "size"):
        parts = item.lower().split("x")
        if not all(part.isdecimal() and 1 <= int(part) <= LARGEST for part in parts) or len(parts) > 2:
            raise SpecError(
                f"size '{item}' is not of the form HEIGHTxWIDTH with integers from 1 to {LARGEST}, such as 96x96"
            )
        sizes.append((int(parts[0]), int(parts[-1])))
    return sizes


def parse_counts(text: str, axis: str) -> list[int]:
    """Positive integers: `512,2048`.

    Raises:
        SpecError: an item is not one.
    """
    counts = []
    for item in _items(text, axis):
        if not item.isdecimal() or not 1 <= int(item) <= LARGEST:
            raise SpecError(f"{axis} '{item}' is not a positive integer up to {LARGEST}")
        counts.append(int(item))
    return counts


def parse_words(text: str, axis: str, allowed: Iterable[str]) -> list[str]:
    """Words out of a fixed list: `fp32,bf16`.

    Raises:
        SpecError: an item is not in the list.
    """
    known = list(allowed)
    items = _items(text, axis)
    for item in items:
        if item not in known:
            raise SpecError(f"unknown {axis} '{item}'{nearest(item, known)}")
    return items


def implementations() -> list[str]:
    """Every implementation that some entry offers, `reference` first."""
    found = {impl: None for name in registry.names() for impl in registry.describe(name).impls}
    return ["reference", *(impl for impl in found if impl != "reference")]


def allowed_words(axis: str) -> list[str]:
    """What may stand on an axis of words: dtype, mode, memory_format, compile or impl."""
    fixed = {
        "compile": ["off", "on"],
        "dtype": list(DTYPES),
        "mode": list(MODES),
        "memory_format": list(MEMORY_FORMATS),
    }
    return implementations() if axis == "impl" else fixed[axis]


def _items(text: str, axis: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise SpecError(f"empty {axis} in '{text}'; separate them by single commas")
    return items
