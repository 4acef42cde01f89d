"""What a self-test looks like on a terminal, or in another format on standard output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.report.formats import Grid, render

_ORDER = ("pass", "warn", "fail", "unverified")
_WORDS = {"warn": "with a warning", "fail": "FALSE", "unverified": "could not be verified here"}


def show_selftest(lines: Sequence[Mapping[str, str]], format: str) -> str:
    """The checks, a row each; on a terminal the meaning of those that did not pass, and how many passed, below.

    Args:
        lines: checks with `name`, `verdict`, `figure` and `meaning`.
        format: one of `FORMATS`.
    """
    records = [dict(line) for line in lines]
    if format != "table":
        return render(records, format)
    rows = tuple((line["verdict"], line["name"], line["figure"]) for line in records)
    blocks = [Grid(("verdict", "check", "figure"), rows, "lll").plain()]
    notable = [line for line in records if line["verdict"] in ("warn", "fail")]
    if notable:
        blocks.append("\n".join(f"{line['name']}: {line['meaning']}." for line in notable))
    counts = Counter(line["verdict"] for line in records)
    blocks.append(", ".join(f"{counts[name]} {_WORDS.get(name, name)}" for name in _ORDER if counts[name]) + ".")
    return "\n\n".join(blocks)
