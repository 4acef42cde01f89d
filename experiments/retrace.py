"""Fill in static figures that the rows of an earlier run lack, by tracing their cases again on meta tensors.

    python experiments/retrace.py results/reference/h200/default [...]

A static figure is a property of the case, so it may be found at any time: but only where the case is still what was
measured. A row gets `macs_by_class` and `executed_macs_by_class` if today's trace of its case has the row's `params`
and `macs`; else it stays as it is, and the reason is printed. All other bytes of the file stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bench.training.priced  # noqa: F401  registers the blocks as they were trained
from bench import journal
from bench.case import make_case
from bench.measure.precision import set_tf32
from bench.report.machine import Machine, read_machine
from bench.row import ROWS
from bench.static import StaticFigures, trace_figures

FILLED = ("macs_by_class", "executed_macs_by_class")
AXES = ("impl", "batch", "dtype", "memory_format", "mode", "compiled", "device")


def retrace(row: dict[str, Any], machine: Machine) -> StaticFigures:
    """The static figures of a row's case, traced now.

    Raises:
        ValueError: the case cannot be traced, or is not what it was when the row was written.
    """
    try:
        axes = {name: row[name] for name in AXES}
        case = make_case(row["entry"], row["options"], row["height"], row["width"], row["channels"], **axes)
        figures = trace_figures(case, machine.facts.get("method_settings.fold") == 1)
    except Exception as error:  # an entry or an option that is gone, or a plugin's
        raise ValueError(f"cannot be traced: {type(error).__name__}: {' '.join(str(error).split())}") from None
    for name in ("params", "macs"):
        if row[name] != getattr(figures, name):
            raise ValueError(f"{name} {row[name]} in the row, {getattr(figures, name)} traced now")
    return figures


def fill(folder: Path) -> Counter[str]:
    """Fill the rows of a run folder; how many rows were filled, and how many were not, by reason."""
    machine, path = read_machine(folder), folder / ROWS
    # A fused implementation makes 1x1 convolutions convolutions or products by this switch.
    set_tf32(bool(machine.facts.get("tf32_cudnn")), bool(machine.facts.get("tf32_matmul")))
    told: Counter[str] = Counter()
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        if not line:
            continue
        row = json.loads(line)
        if all(row.get(name) is not None for name in FILLED):
            told["has them already"] += 1
            continue
        try:
            figures = retrace(row, machine).row()
        except ValueError as error:
            told[f"{row['entry']}: {error}"] += 1
            continue
        missing = {name: figures[name] for name in FILLED if name not in row}
        if len(missing) < len(FILLED):
            told[f"{row['entry']}: holds null where a figure would go"] += 1
            continue
        lines[number] = f"{line[: line.rindex('}')]}, {json.dumps(missing)[1:]}"
        told["filled"] += 1
    journal.replace(path, "\n".join(lines))
    return told


def main() -> None:
    """Fill the run folders named on the command line, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="folder of a run, with its rows.jsonl")
    for folder in parser.parse_args().folders:
        for what, many in fill(folder).items():
            print(f"{folder}: {many} rows: {what}")


if __name__ == "__main__":
    main()
