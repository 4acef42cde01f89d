"""Catalogue: the registry as tables for people."""

from __future__ import annotations

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
        }
        for entry in (registry.describe(name) for name in registry.names())
    ]


def describe_entry(name: str) -> tuple[str, list[dict[str, object]]]:
    """One block: a paragraph of facts, and its options with defaults and what they may be.

    Raises:
        SpecError: there is no such block.
    """
    entry = registry.describe(name)
    lines = [
        f"{entry.name}: {entry.summary}",
        f"family    {entry.family}: {registry.FAMILIES[entry.family]}",
        f"paper     {entry.paper or '-'}",
        f"equation  {entry.equation or '-'}",
        f"impl      {', '.join(entry.impls)}",
        f"options   {entry.name}:option=value,option=value",
        "",
    ]
    options: list[dict[str, object]] = [
        {"option": option.name, "default": text_of(option.default), "allowed": option.allowed}
        for option in entry.options.values()
    ]
    return "\n".join(lines), options
