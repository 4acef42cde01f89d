"""Compute the intervals of earlier rows anew, from their samples, by the rule that rows are written by now.

    python experiments/rejudge.py results/reference/cpu [...]

An interval is a function of the samples, and rows hold all of them. That of a ratio is computed where the row that it
was taken to stands in the file, which shows in that the median of the ratios is the row's. Noise floors stay as they
are: the samples of the A/A twin are in no row. All else in the file stays as it is, too.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import journal
from bench.measure.stats import Interval, median_interval, paired_ratio
from bench.row import ROWS

TOGETHER = (
    *("started_at", "height", "width", "channels", "batch", "dtype", "memory_format", "mode", "device"),
    *("rounds", "unused_samples"),
)
"""What rows of one group that were sampled in the same rounds have in common."""
RATIOS = ("ratio", "impl_ratio")

Row = dict[str, Any]


def used(row: Row) -> list[float]:
    """Milliseconds a call in time order, without the samples that no figure uses."""
    unused = set(row.get("unused_samples") or ())
    return [ms for place, ms in enumerate(row["latency_samples_ms"]) if place not in unused]


def rejudge(row: Row, rows: Sequence[Row]) -> Counter[str]:
    """Set the intervals of a row; how many were computed, and how many could not be, by reason.

    Args:
        row: `ok`, with its samples.
        rows: all of its file.
    """
    told: Counter[str] = Counter()
    found = median_interval(used(row))
    if _same(found.median, row["latency_ms"]):
        row |= {"latency_ci_low_ms": found.low, "latency_ci_high_ms": found.high}
        told["intervals of a time"] += 1
    else:
        told["the median is not that of the samples"] += 1
    beside = [other for other in rows if other["status"] == "ok" and _together(row, other)]
    for name in RATIOS:
        if row.get(name) is None or row[f"{name}_ci_low"] == row[f"{name}_ci_high"] == 1:  # to itself
            continue
        ratio = _ratio(row, name, beside)
        if ratio is None:
            told[f"{name}: what it was taken to is not in the file"] += 1
            continue
        row |= {f"{name}_ci_low": ratio.low, f"{name}_ci_high": ratio.high}
        told[f"intervals of {name}"] += 1
    return told


def fill(folder: Path) -> Counter[str]:
    """Rejudge the rows of a run folder.

    Raises:
        ValueError: its lines are not written as this program writes them, so that more than intervals would change.
    """
    path = folder / ROWS
    lines = path.read_text(encoding="utf-8").splitlines()
    rows: list[Row] = [json.loads(line) for line in lines]
    if [json.dumps(row) for row in rows] != lines:
        raise ValueError(f"{path} is not written as a sweep writes it")
    told: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "ok":
            told += rejudge(row, rows)
    journal.replace(path, "".join(f"{json.dumps(row)}\n" for row in rows))
    return told


def _together(row: Row, other: Row) -> bool:
    return all(row.get(name) == other.get(name) for name in TOGETHER)


def _ratio(row: Row, name: str, beside: Sequence[Row]) -> Interval | None:
    """The interval of a ratio, from the row of the same rounds whose samples give its very median."""
    wanted = row["entry"] if name == "impl_ratio" else str(row["reference"]).partition(":")[0]
    for other in beside:
        if other is not row and other["entry"] == wanted:
            ratio = paired_ratio(used(row), used(other))
            if _same(ratio.median, row[name]):
                return ratio
    return None


def _same(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-9)


def main() -> None:
    """Rejudge the run folders named on the command line, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="folder of a run, with its rows.jsonl")
    for folder in parser.parse_args().folders:
        for what, many in sorted(fill(folder).items()):
            print(f"{folder}: {many} {what}")


if __name__ == "__main__":
    main()
