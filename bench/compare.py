"""Comparing two runs: rows joined by case, a verdict for each cell, and the exit code that follows."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cell import VERDICTS, Cell, alone
from bench.measure.processes import LEAST
from bench.row import ENVIRONMENT, ROWS, read_rows, refuse_folder_of_runs
from bench.threshold import Thresholds
from bench.weighing import GROUP, Row, weigh
from modules.options import SpecError

SAME, REGRESSED, UNDECIDED = 0, 1, 4
_FEW = 3
_HASHES = {"method": "by different methods", "env": "in different environments"}
_SHOWN_FACTS = 6


@dataclass(frozen=True)
class Comparison:
    """What became of every case.

    Attributes:
        cells: those of both runs in the order of the new one, then the missing, then the new.
        notes: what a reader has to know of all of them.
        strict: whether times that single processes cannot decide leave the comparison undecided.
    """

    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    strict: bool = False

    @property
    def exit_code(self) -> int:
        """1 with a confirmed regression; 4 where nothing regressed and something is open; else 0."""
        if any(cell.regressed for cell in self.cells):
            return REGRESSED
        undecided = any(cell.open or (self.strict and cell.verdict == "unjudged") for cell in self.cells)
        return UNDECIDED if undecided else SAME

    @property
    def summary(self) -> str:
        """How many cells there are of each verdict, and what follows, in one line."""
        found = Counter(cell.verdict for cell in self.cells)
        counts = ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict])
        changed = sum(bool(cell.changes) for cell in self.cells)
        static = f"static figures differ in {changed}" if changed else "no static figure differs"
        bad = sum(cell.regressed for cell in self.cells)
        end = {
            SAME: "nothing regressed",
            REGRESSED: f"{bad} {'case' if bad == 1 else 'cases'} regressed",
            UNDECIDED: "nothing is known to have regressed, but not everything could be decided",
        }
        return f"{len(self.cells)} cases: {counts}; {static}; {end[self.exit_code]}"

    def rows(self) -> list[dict[str, Any]]:
        """The cells as flat records, the regressed ones first, then in the order of `VERDICTS`."""
        order = sorted(self.cells, key=lambda cell: (not cell.regressed, VERDICTS.index(cell.verdict)))
        return [cell.row() for cell in order]


def two_runs(old: Path | None, new: Path | None) -> tuple[Path, Path]:
    """The two folders.

    Raises:
        SpecError: one is not given.
    """
    if old is None or new is None:
        raise SpecError("compare takes two run folders, old and new, or --base with a git revision")
    return old, new


def refuse_unused(given: Mapping[str, object], why: str) -> None:
    """See that nothing is given that would not be used.

    Args:
        given: options by name, arguments by their name in capitals; null where not given.
        why: one that is given cannot be used, to go behind its name.

    Raises:
        SpecError: something is given.
    """
    for name, value in given.items():
        if value is not None:
            raise SpecError(
                f"{name if name.isupper() else f'--{name}'} {why}: `compare OLD NEW` or `compare --base REV`"
            )


def compare_runs(
    old: Path, new: Path, across: bool = False, thresholds: Thresholds | None = None, strict: bool = False
) -> Comparison:
    """Compare two run folders.

    Raises:
        RunError: a folder has no rows, or some that cannot be read, or holds a run for each kind of device.
        SpecError: see `compare_rows`; it then also says in what the environments differ.
    """
    for folder in (old, new):
        refuse_folder_of_runs(folder)
    before, after = read_rows(old / ROWS), read_rows(new / ROWS)
    facts = _environment_changes(old, new)
    for rows, folder in ((before, old), (after, new)):
        if not rows:
            raise SpecError(f"'{folder}' holds no rows yet; measure something into it first")
    return compare_rows(before, after, across, thresholds, facts, strict)


def compare_rows(
    old: Sequence[Row],
    new: Sequence[Row],
    across: bool = False,
    thresholds: Thresholds | None = None,
    facts: Sequence[str] = (),
    strict: bool = False,
) -> Comparison:
    """Compare the rows of two runs that were measured one after the other.

    Times are judged by processes, where both runs have at least three of a case (`--repeats 3`): one process tells how
    long its own calls take, not how far the next process may lie. Else their ratio is given, and not judged.

    Args:
        old, new: their rows.
        across: compare although methods or environments differ, and join cases of different devices.
        thresholds: slow-down from which an entry has regressed; 10 % where not given.
        facts: what is known to differ between the environments, for messages.
        strict: see `Comparison`.

    Raises:
        SpecError: methods or environments differ and `across` is not set; no case is in both; or a threshold is
            given for an entry that neither has.
    """
    thresholds = thresholds or Thresholds()
    thresholds.check(str(row["entry"]) for row in (*old, *new))
    strangeness = _differences([*old, *new], facts)
    if strangeness and not across:
        raise SpecError(f"the runs were measured {strangeness}; --across compares them all the same")
    joined, missing, extra = join(old, new, across)
    if not joined:
        raise SpecError("the runs have no case in common; a case is a block with its options, sizes and settings")
    notes = [f"compared across: measured {strangeness}"] if strangeness else []
    cells = weigh(joined, thresholds, one_machine=not strangeness)
    for rows, verdict in ((missing, "missing"), (extra, "new")):
        cells += [alone(row, verdict, thresholds.of(str(row["entry"]))) for row in rows]
    return Comparison(tuple(cells), (*(notes or _unrest_note(cells)), *_single_note(cells)), strict)


def join(old: Sequence[Row], new: Sequence[Row], across: bool) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Rows of the same case side by side, those that only the old run has, and those that only the new one has.

    A case is its key: everything about it, the defaults of its options included. Across devices it is what a row spells
    out, but for the device.

    Raises:
        SpecError: a run holds such a case on two devices.
    """
    before, after = _by_case(old, across), _by_case(new, across)
    joined = [(before[case], row) for case, row in after.items() if case in before]
    missing = [row for case, row in before.items() if case not in after]
    return joined, missing, [row for case, row in after.items() if case not in before]


def _by_case(rows: Sequence[Row], across: bool) -> dict[object, Row]:
    if not across:
        return {row["key"]: row for row in rows}
    found: dict[object, Row] = {}
    for row in rows:
        case = (row["entry"], json.dumps(row["options"], sort_keys=True), *(row[name] for name in GROUP))
        if case in found and found[case]["device"] != row["device"]:
            raise SpecError(f"a run holds {row['entry']} on two devices; compare runs of one device each")
        found[case] = row
    return found


def _differences(rows: Sequence[Row], facts: Sequence[str]) -> str:
    """`by different methods (a, b) and in different environments (c, d): torch 2.6 -> 2.7`, or ""."""
    found = []
    for name, words in _HASHES.items():
        values = list(dict.fromkeys(str(row[name]) for row in rows))
        if len(values) > 1:
            found.append(f"{words} ({', '.join(values)})")
    told = f": {', '.join(facts)}" if found and facts else ""
    return " and ".join(found) + told


def _environment_changes(old: Path, new: Path) -> list[str]:
    """Facts of two runs' environments and settings that differ, a few of them; none where a run does not tell."""
    try:
        before, after = (_flat(json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))) for folder in (old, new))
    except (OSError, ValueError):
        return []
    names = [name for name in {**before, **after} if name not in _HASHES and before.get(name) != after.get(name)]
    told = [f"{name} {before.get(name)} -> {after.get(name)}" for name in names[:_SHOWN_FACTS]]
    return [*told, *([f"{len(names) - _SHOWN_FACTS} more"] if len(names) > _SHOWN_FACTS else [])]


def _flat(facts: object) -> dict[str, object]:
    """Facts by name, those inside of others by their own; empty for what is no object."""
    found: dict[str, object] = {}
    for name, value in facts.items() if isinstance(facts, dict) else ():
        found |= _flat(value) if isinstance(value, dict) else {name: value}
    return found


def _unrest_note(cells: Sequence[Cell]) -> list[str]:
    """What the times did as a whole, if that is worth a word."""
    ratios = [cell.ratio.median for cell in cells if cell.ratio is not None and cell.verdict != "unjudged"]
    typical = statistics.median(max(ratio, 1 / ratio) for ratio in ratios) if len(ratios) > _FEW else 1.0
    if typical < 1.02:
        return []
    return [
        f"a typical one of the {len(ratios)} timed cases moved by {typical:.2f}x (median ratio "
        f"{statistics.median(ratios):.2f}x): the machine, or something that all of them share, was another. Measure "
        "both sides in one session: `compare --base`"
    ]


def _single_note(cells: Sequence[Cell]) -> list[str]:
    """What to run instead, where times were not judged for want of processes."""
    many = sum(cell.verdict == "unjudged" for cell in cells)
    if not many:
        return []
    return [
        f"times of {many} {'case' if many == 1 else 'cases'} are not judged: runs of one process each cannot decide "
        f"them; run `compare --base REV`, or sweep both sides with --repeats {LEAST} or more"
    ]
