"""How much of what a sweep reports is noise: A/A ratios, and interleaved rounds against one block after the other.

    python docs/noise.py --repeats 20 --out noise.jsonl
    python docs/noise.py --read noise.jsonl

Each repeat runs the suite `quick` in a process of its own, then times NL and APNB of each of its groups by
`torch.utils.benchmark`, one after the other, for as long as the sweep spent on NL, its A/A twin and APNB there, with
the same settings of the memory allocator.
Prints a line a repeat and two tables at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.measure.method import Method  # noqa: E402

PAIR = ("apnb", "nl")


def sweep(folder: Path, suite: str) -> dict[str, dict[str, float]]:
    """Run the suite once; by group: A/A ratio, APNB over NL, and the seconds spent on the two and the twin."""
    command = [sys.executable, ROOT / "run_bench.py", "sweep", "--suite", suite, "--device", "cpu", "--out", folder]
    subprocess.run(command, check=True, capture_output=True)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["entry"] in PAIR and not row["options"]:
            group = found.setdefault(f"{row['height']}x{row['width']}x{row['channels']}", {"seconds": 0.0})
            primed = row["latency_ms"] < Method().prime_ms
            spent = sum(row["latency_samples_ms"]) * (row["calls_per_sample"] + primed) / 1e3
            group["seconds"] += spent * (2 if row["entry"] == "nl" else 1)
            if row["entry"] == "apnb":
                group |= {"twin": row["twin_ratio"], "interleaved": row["ratio"]}
    return found


def sequential(place: str, seconds: float) -> float:
    """APNB over NL by `torch.utils.benchmark`, NL first and APNB after it, half of the time each."""
    command = [sys.executable, __file__, "--time-pair", place, "--seconds", str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_pair(place: str, seconds: float) -> float:
    """The measurement of `sequential`, in this process."""
    import torch
    from torch.utils.benchmark import Timer

    from bench.case import make_case
    from bench.measure.allocator import retain_host_memory
    from bench.workload import build

    retain_host_memory()
    height, width, channels = map(int, place.split("x"))
    medians = {}
    for name in reversed(PAIR):
        work = build(make_case(name, {}, height, width, channels))
        timer = Timer("call()", globals={"call": work.call}, num_threads=torch.get_num_threads())
        medians[name] = timer.blocked_autorange(min_run_time=seconds / 2).median
    return medians["apnb"] / medians["nl"]


def relative_sd(values: list[float]) -> float:
    """Standard deviation over mean, in percent."""
    return 100 * statistics.stdev(values) / statistics.mean(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--out", type=Path, help="also write the figures of every repeat to this file, as JSON lines")
    parser.add_argument("--neighbour", action="store_true", help="let another process compute in bursts meanwhile")
    parser.add_argument("--burst", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help="measure nothing: print the tables of such a file")
    parser.add_argument("--time-pair", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.time_pair:
        print(time_pair(given.time_pair, given.seconds))
        return
    if given.burst:
        burst()
    if given.read:
        report([json.loads(line) for line in given.read.read_text().splitlines()])
        return
    neighbour = subprocess.Popen([sys.executable, __file__, "--burst"]) if given.neighbour else None
    try:
        report(measure(given.repeats, given.suite, given.out))
    finally:
        if neighbour is not None:
            neighbour.kill()


def measure(count: int, suite: str, out: Path | None) -> list[dict[str, dict[str, float]]]:
    """The figures of every repeat, by group; also written to `out`, a line a repeat."""
    repeats: list[dict[str, dict[str, float]]] = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            groups = sweep(Path(folder) / "run", suite)
        for place, figures in groups.items():
            figures["sequential"] = sequential(place, figures["seconds"])
        repeats.append(groups)
        print(f"repeat {number + 1}: {json.dumps(groups)}", file=sys.stderr, flush=True)
        if out is not None:
            with open(out, "a") as file:
                file.write(json.dumps(groups) + "\n")
    return repeats


def burst() -> None:
    """Keep one core busy for a second or so, leave it alone for as long, and so on until killed."""
    import torch

    torch.set_num_threads(1)
    draw, matrix = random.Random(0), torch.randn(1024, 1024)
    while True:
        end = time.monotonic() + draw.uniform(0.2, 2.0)
        while time.monotonic() < end:
            matrix @ matrix
        time.sleep(draw.uniform(0.2, 2.0))


def report(repeats: list[dict[str, dict[str, float]]]) -> None:
    """Print the two tables."""
    count = len(repeats)
    print(f"A/A: median ratio of NL to its twin, {count} repeats\n")
    print("| group | within 2 % of 1 | worst |\n| --- | --- | --- |")
    for place in repeats[0]:
        off = [abs(groups[place]["twin"] - 1) for groups in repeats]
        print(f"| {place} | {sum(value <= 0.02 for value in off)} of {count} | {100 * max(off):.2f} % |")
    everywhere = sum(all(abs(g["twin"] - 1) <= 0.02 for g in groups.values()) for groups in repeats)
    print(f"| all groups at once | {everywhere} of {count} | |\n")
    print("Time of APNB over NL: relative sd between repeats, equal total time\n")
    print("| group | seconds | interleaved rounds | one after the other | sd ratio |\n| --- | --- | --- | --- | --- |")
    for place in repeats[0]:
        ours, theirs = ([groups[place][how] for groups in repeats] for how in ("interleaved", "sequential"))
        seconds = statistics.mean(groups[place]["seconds"] for groups in repeats)
        cells = [f"{statistics.mean(v):.3f} ± {relative_sd(v):.1f} %" for v in (ours, theirs)]
        print(f"| {place} | {seconds:.1f} | {' | '.join(cells)} | {relative_sd(ours) / relative_sd(theirs):.2f} |")


if __name__ == "__main__":
    main()
