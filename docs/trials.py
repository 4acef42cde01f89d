"""Trials of the harness itself: planted slow-downs, unchanged code, and kills, each many times over.

    python docs/trials.py plant --repeats 10 --percent 0,0,15,30 --out trials.jsonl
    python docs/trials.py plant --repeats 10 --percent 30 --blocks nl,gc,psp --channels 256 --load --out trials.jsonl
    python docs/trials.py kill --repeats 20 --whom driver --out trials.jsonl
    python docs/trials.py --read trials.jsonl

`plant` copies the last commit, has one block take some per cent longer, and asks `compare --base HEAD` of the copy; 0
per cent is unchanged code. What is planted are products of the block's input with 1, of as many of its channels as take
that share of the block's time; nothing of it is in the static figures. How many, and what they really take, is measured
here beforehand, with the planted and the plain call in turns, the latter in fresh processes. With `--load` every second
repeat has a process beside it that multiplies matrices on one thread, in bursts. A block counts as found if its *time*
is judged slower, by the threshold or more, and as a false alarm if a block that was not touched is.

`kill` starts a sweep, kills the driver or its worker with SIGKILL at a random moment, gives the same command again, and
compares the rows with those of an undisturbed run: keys, statuses and static figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parent.parent
Trial: TypeAlias = "dict[str, Any]"
THRESHOLD = 0.1
STATIC = ("key", "status", "params", "macs", "traced_peak_bytes", "traffic_bytes")
PLANT = """

_unplanted = {name}.forward


def _planted(self, *maps):  # type: ignore[no-untyped-def]
    found = _unplanted(self, *maps)
    if maps[-1].device.type != "meta":
        for channels in {channels}:
            maps[-1][:, :channels] * 1.0
    return found


{name}.forward = _planted  # type: ignore[method-assign]
"""
SUITE = """
name = "kill"
description = "small, but some seconds long"
[method]
seconds = 0.15
[[grid]]
blocks = "identity,nl,snl,gc"
sizes = "8x8,8x12,16x16"
channels = "32,64"
"""
LOAD = """
import random, time, torch
torch.set_num_threads(1)
a = torch.randn(768, 768)
while True:
    end = time.perf_counter() + random.uniform(0.05, 1.0)
    while time.perf_counter() < end:
        a @ a
    time.sleep(random.uniform(0.05, 1.0))
"""


def parts(channels: int, whole: int) -> list[int]:
    """So many channels in all, of a map that has `whole`."""
    return [*[whole] * (channels // whole), *([channels % whole] if channels % whole else [])]


def measured(block: str, size: str, whole: int, channels: int, seconds: float = 2.0) -> float:
    """How much longer a call takes with products of so many channels behind it; both in turns, in this process."""
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from bench.case import make_case
    from bench.workload import build

    height, width = map(int, size.split("x"))
    work = build(make_case(block, {}, height, width, whole))

    def once(extra: list[int]) -> float:
        start = time.perf_counter()
        work.call()
        for part in extra:
            work.inputs[-1][:, :part] * 1.0
        return time.perf_counter() - start

    plain: list[float] = []
    longer: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(plain) < 20:
        for times, extra in ((plain, []), (longer, parts(channels, whole))):
            once(extra)
            times.append(once(extra))
    # calls that nothing disturbs; the first half warms the machine up
    fast = [float(np.quantile(times[len(times) // 2 :], 0.1)) for times in (longer, plain)]
    return fast[0] / fast[1]


def calibrated(block: str, size: str, whole: int, percent: float) -> tuple[int, float]:
    """How many channels take that share of the block's time, and the ratio that they make.

    Both are medians of three processes, of which none takes part in a trial.
    """

    def elsewhere(channels: int) -> float:
        words = ["truth", "--blocks", block, "--sizes", size, "--channels", str(whole), "--planted", str(channels)]
        command = [sys.executable, __file__, *words]
        found = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(3)]
        return sorted(map(float, found))[1]

    channels, wanted, tried = whole // 4, percent / 100, dict[int, float]()
    for _ in range(5):  # the time grows with the channels, nearly in proportion
        tried[channels] = elsewhere(channels)
        if abs(tried[channels] - 1 - wanted) < 0.005:
            break
        channels = max(1, round(channels * wanted / max(tried[channels] - 1, wanted / 4)))
    return min(tried.items(), key=lambda pair: abs(pair[1] - 1 - wanted))


@contextmanager
def load(present: bool) -> Iterator[None]:
    """A process that computes on one CPU in bursts meanwhile, half of the time."""
    busy = subprocess.Popen([sys.executable, "-c", LOAD]) if present else None
    try:
        yield
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()


@dataclass(frozen=True)
class Planting:
    """What one block is given to do, and what it really takes: 1.15 for 15 % more."""

    block: str
    channels: list[int]
    true_ratio: float


def plant(blocks: str, size: str, channels: int, minutes: float, planting: Planting | None, loaded: bool) -> Trial:
    """Ask once whether a copy of this tree, planted or not, is slower than itself."""
    sys.path.insert(0, str(ROOT))
    from modules import registry

    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
        if planting:
            build = registry.describe(planting.block).build
            home = tree.joinpath(*build.__module__.split(".")).with_suffix(".py")
            with open(home, "a", encoding="utf-8") as file:
                file.write(PLANT.format(name=build.__name__, channels=planting.channels))
        command = [sys.executable, "run_bench.py", "compare", "--base", "HEAD", "--device", "cpu", "--format", "json"]
        command += ["--blocks", blocks, "--sizes", size, "--channels", str(channels), "--minutes", str(minutes)]
        start = time.perf_counter()
        with load(loaded):
            done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 4):
            raise SystemExit(done.stderr)
        cells = {row["entry"]: row for row in json.loads(done.stdout)}
    late = {name for name, row in cells.items() if row["verdict"] == "slower" and row["ratio"] >= 1 + THRESHOLD}
    touched = {planting.block} if planting else set()
    return {
        "block": planting.block if planting else None,
        "loaded": loaded,
        "place": f"{blocks} {size}x{channels}",
        "true_ratio": round(planting.true_ratio, 3) if planting else 1.0,
        "found": bool(touched & late) if planting else None,
        "false_alarms": len(late - touched),
        "verdicts": {name: f"{row['verdict']}{' (regressed)' * row['regressed']}" for name, row in cells.items()},
        "ratios": {name: [row["ratio"], row["ratio_low"], row["ratio_high"]] for name, row in cells.items()},
        "processes": {name: row["processes"] for name, row in cells.items()},
        "exit_code": done.returncode,
        "seconds": round(time.perf_counter() - start, 1),
    }


def figures(folder: Path) -> list[tuple[object, ...]]:
    """What two runs of one suite must agree on, by row."""
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(tuple(row[name] for name in STATIC) for row in map(json.loads, lines))


def kill(whom: str, after: float, suite: Path, undisturbed: Path) -> Trial:
    """Kill a sweep once, go on, and compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        command = [sys.executable, "run_bench.py", "sweep", "--suite", str(suite), "--out", str(folder)]
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        victims = [driver.pid] if whom == "driver" else children(driver.pid)
        hit = [pid for pid in victims if driver.poll() is None]
        for pid in hit:
            os.kill(pid, signal.SIGKILL)
        driver.wait()
        begun = (folder / "rows.jsonl").exists()
        written = len((folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()) if begun else 0
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        equal = figures(folder) == figures(undisturbed)
    return {"trial": f"kill {whom}", "after": round(after, 2), "hit": bool(hit), "rows": written, "equal": equal}


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text() if Path(f"/proc/{pid}").exists() else ""
    return [int(word) for word in text.split()]


def summary(trials: list[Trial]) -> str:
    """A line for each kind of trial."""
    lines = []
    for kind in dict.fromkeys((trial["trial"], trial.get("loaded")) for trial in trials):
        of = [trial for trial in trials if (trial["trial"], trial.get("loaded")) == kind]
        name = f"{kind[0]}{', beside a load' if kind[1] else ''}: {len(of)} trials"
        if "equal" in of[0]:
            lines.append(f"{name}, {sum(bool(t['hit']) for t in of)} hit, {sum(bool(t['equal']) for t in of)} equal")
            continue
        found = f", {sum(bool(trial['found']) for trial in of)} found" if of[0]["block"] else ""
        codes = ", ".join(f"{n} exit {code}" for code, n in sorted(Counter(t["exit_code"] for t in of).items()))
        alarms = sum(bool(trial["false_alarms"]) for trial in of)
        if "processes" in of[0]:
            same = sum(all(word == "same" for n, word in t["verdicts"].items() if n != t["block"]) for t in of)
            seconds = sorted(t["seconds"] for t in of)
            took = f"; {seconds[len(seconds) // 2]:.0f} s each, {seconds[-1]:.0f} s at most"
            found += f", {same} with all blocks that were not touched *same*"
        else:
            took = ""
        lines.append(f"{name}{found}, {alarms} with a false alarm ({codes}){took}")
    return "\n".join(lines)


def plantings(blocks: str, size: str, channels: int, percents: Sequence[float]) -> dict[tuple[str, float], Planting]:
    """What to plant into each block for each share of its time; none for 0."""
    found = {}
    for block in blocks.split(","):
        for percent in sorted(set(percents) - {0.0}):
            many, ratio = calibrated(block, size, channels, percent)
            found[block, percent] = Planting(block, parts(many, channels), ratio)
            print(f"{block}: {percent:g} % is {many} channels: {ratio:.3f}x, measured in three processes", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=("plant", "kill", "truth"))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--percent", default="0,0,15,30", help="shares of a block's time, each `repeats` times")
    parser.add_argument("--blocks", default="snl,gc")
    parser.add_argument("--sizes", default="48x48")
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--load", action="store_true", help="compute beside every second trial")
    parser.add_argument("--planted", type=int, help="of `truth`: channels")
    parser.add_argument("--whom", choices=("driver", "worker"), default="driver")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path)
    given = parser.parse_args()
    if given.read is not None:
        print(summary([json.loads(line) for line in given.read.read_text(encoding="utf-8").splitlines()]))
        return
    if given.what is None:
        parser.error("say plant or kill, or give --read")
    place = (given.blocks, given.sizes, given.channels)
    if given.what == "truth":
        print(measured(*place, given.planted))
        return
    trials: list[Trial] = []

    def keep(trial: Trial) -> None:
        trials.append(trial)
        print(json.dumps(trial), flush=True)
        if given.out is not None:
            with open(given.out, "a", encoding="utf-8") as file:
                file.write(json.dumps(trial) + "\n")

    if given.what == "plant":
        percents = [float(word) for word in given.percent.split(",")]
        planted = plantings(*place, percents)
        for number, percent in itertools.product(range(given.repeats), percents):
            blocks = given.blocks.split(",")
            planting = planted.get((blocks[number % len(blocks)], percent))
            loaded = given.load and bool(number // len(blocks) % 2)
            kind = {"trial": f"{percent:g} % of the time planted" if percent else "unchanged"}
            keep({**kind, **plant(*place, given.minutes, planting, loaded)})
    else:
        draw = random.Random(given.seed)
        with tempfile.TemporaryDirectory() as name:
            suite, undisturbed = Path(name) / "kill.toml", Path(name) / "undisturbed"
            suite.write_text(SUITE, encoding="utf-8")
            start = time.perf_counter()
            command = [sys.executable, "run_bench.py", "sweep", "--suite", str(suite), "--out", str(undisturbed)]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            length = time.perf_counter() - start
            for _ in range(given.repeats):
                keep(kill(given.whom, draw.uniform(0.2, length), suite, undisturbed))
    print(summary(trials))


if __name__ == "__main__":
    main()
