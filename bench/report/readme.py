"""Tables of a README that are rebuilt from a run, between two markers that name the run folder."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.report import tables, then_and_now
from bench.report.accuracy import accuracy_section
from bench.report.digits import percent
from bench.report.frame import load
from bench.report.groups import Group, all_groups
from bench.report.machine import read_machine
from bench.row import RunError

MARKED = re.compile(
    r"(<!-- contextbench(?P<kind> training| then and now)?: (?P<run>[^\n]+?) -->\n)"
    r"(?P<body>.*?)(<!-- /contextbench -->)",
    re.DOTALL,
)
RULE = (
    "Chosen by rule from all groups of the run, forward before train and blocks before backbones: at 512 channels the "
    "group with the most measured blocks, the larger map of equals; at 256 channels the largest map."
)


def rebuild(readme: Path) -> bool:
    """Rewrite the marked parts of a README from the runs they name; whether the file changed.

    A part lies between `<!-- contextbench: path/of/run -->` and `<!-- /contextbench -->`; the path is relative to the
    README. After `<!-- contextbench training: path/of/run -->` stand the accuracies of training runs instead, after
    `<!-- contextbench then and now: path/of/run -->` the ratios of implementations.

    Raises:
        RunError: the file has no such markers, or a run that it names has no rows.
    """
    old, new = _texts(readme)
    if old == new:
        return False
    readme.write_text(new, encoding="utf-8", newline="\n")
    return True


def stale(readme: Path) -> bool:
    """Whether `rebuild` would change the README. Raises what `rebuild` raises."""
    old, new = _texts(readme)
    return old != new


def section(run: Path, shown: str) -> str:
    """The Markdown that stands between the markers for a run folder.

    Args:
        shown: how the text calls the folder.

    Raises:
        RunError: the run has no rows.
    """
    frame = load(run)
    chosen = choose(all_groups(frame))
    if not chosen:
        raise RunError(f"{run} has no rows to show")
    blocks = []
    for group in chosen:
        table = tables.efficiency(group)
        blocks += [f"**{table.title[0].upper()}{table.title[1:]}**", table.markdown()]
    machine = "" if frame["env"].nunique() > 1 else read_machine(run).line()
    floors = sorted(floor for group in all_groups(frame) for _, floor, _ in group.floors())
    words = [f"Measured on {machine}." if machine else "", _floors(floors), tables.plus_minus_words(frame)]
    blocks.append(" ".join(word for word in words if word))
    blocks.append(f"{RULE} All {len(frame)} rows: `{shown}/report.md`.")
    return "\n\n".join(blocks)


def ratios_section(run: Path, shown: str) -> str:
    """The Markdown that stands between the markers for a run of several implementations: now over then.

    Raises:
        RunError: the run has none.
    """
    frame = load(run)
    found = then_and_now.overview(frame)
    if found is None:
        raise RunError(f"{run} has no block in two forms")
    words, grid = found
    machine = "" if frame["env"].nunique() > 1 else f" on {read_machine(run).line()}"
    floors = sorted(floor for group in all_groups(frame) for _, floor, _ in group.floors())
    told = f"Time now over then, or as a column says: {words}{machine}. ≈ marks a tie. {_floors(floors)}"
    told += " With times, intervals and memory:"
    return f"{grid.markdown()}\n\n{told} `{shown}/report.md`."


def choose(groups: list[Group]) -> list[Group]:
    """The one or two groups that stand for a run, by the rule stated in `RULE`.

    Without 512 and 256 channels the first rule applies to all groups.
    """
    measured = [group for group in groups if group.measured]
    if not measured:
        return []
    first = min(_usual(group) for group in measured)
    usual = [group for group in measured if _usual(group) == first]
    wide = [group for group in usual if group.channels == 512]
    narrow = [group for group in usual if group.channels == 256]
    found = [max(wide, key=lambda group: (group.measured, group.positions))] if wide else []
    found += [max(narrow, key=lambda group: (group.positions, group.measured))] if narrow else []
    return found or [max(usual, key=lambda group: (group.measured, group.positions))]


def _usual(group: Group) -> tuple[bool, bool, int]:
    """Orders groups: forward before train, blocks before backbones, then by part."""
    setting = group.setting
    return setting.mode != "forward", setting.kind != "blocks", setting.part.number


def _floors(floors: list[float]) -> str:
    if not floors:
        return ""
    if len(floors) == 1:
        return f"Noise floor: {percent(floors[0])}."
    low, middle, high = (percent(floor) for floor in (floors[0], statistics.median(floors), floors[-1]))
    return f"Noise floors of its {len(floors)} groups: {low} to {high}, median {middle}."


_SECTIONS: Mapping[str | None, Callable[[Path, str], str]] = {
    None: section,
    " training": accuracy_section,
    " then and now": ratios_section,
}


def _texts(readme: Path) -> tuple[str, str]:
    try:
        old = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot read '{readme}': {error.strerror}") from None
    if not MARKED.search(old):
        raise RunError(f"{readme} has no part between <!-- contextbench: path/of/run --> and <!-- /contextbench -->")

    def part(found: re.Match[str]) -> str:
        shown = found["run"].strip()
        show = _SECTIONS[found["kind"]]
        return f"{found[1]}\n{show(readme.parent / shown, shown)}\n\n<!-- /contextbench -->"

    return old, MARKED.sub(part, old)
