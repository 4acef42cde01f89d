"""Catalogue: the registry as tables for people."""

from __future__ import annotations

import inspect

from modules import registry
from modules.options import text_of


def list_all() -> list[dict[str, object]]:
    """One row a block: name, family, what it computes, options with defaults, paper."""
    return [
        {
            "block": entry.name,
            "family": entry.family,
            "what": entry.summary,
            "options": ", ".join(f"{option.name}={text_of(option.default)}" for option in entry.options.values()),
            "paper": entry.paper,
            "equation": entry.equation,
        }
        for entry in (registry.describe(name) for name in registry.names())
    ]


def describe_entry(name: str) -> tuple[dict[str, str], list[dict[str, object]]]:
    """One block: its facts, and its options with defaults and what they may be.

    Raises:
        SpecError: there is no such block.
    """
    entry = registry.describe(name)
    facts = {
        "block": entry.name,
        "what": entry.summary,
        "family": f"{entry.family}: {registry.FAMILIES[entry.family]}",
        "paper": entry.paper or "-",
        "equation": entry.equation or "-",
        "impl": ", ".join(entry.impls),
    }
    said = _meanings(inspect.getdoc(entry.build) or "")
    options: list[dict[str, object]] = [
        {
            "option": option.name,
            "default": text_of(option.default),
            "allowed": option.allowed,
            "what": said.get(option.name, ""),
        }
        for option in entry.options.values()
    ]
    return facts, options


def _meanings(docstring: str) -> dict[str, str]:
    """What the `Args:` of a docstring say of each argument, on one line; `a, b: text` is said of both."""
    _, _, arguments = docstring.partition("Args:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in arguments.splitlines():
        if not line.startswith("    "):
            break
        head, colon, text = line.strip().partition(": ")
        if colon and not line.startswith("     ") and all(part.isidentifier() for part in head.split(", ")):
            names = head.split(", ")
            found |= dict.fromkeys(names, text)
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
