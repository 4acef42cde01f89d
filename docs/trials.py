"""Trials of the harness itself: planted slow-downs, unchanged code, and kills, each many times over.

    python docs/trials.py plant --repeats 20 --percent 30 --out trials.jsonl
    python docs/trials.py kill --repeats 20 --whom driver --out trials.jsonl
    python docs/trials.py --read trials.jsonl

`plant` copies the last commit, gives one block's forward some per cent more multiply-adds (it runs once more on the
first rows of its input), and asks `compare --base HEAD` of the copy; 0 per cent is unchanged code. Every second repeat
has a process beside it that multiplies matrices on one thread, in bursts. A block counts as found if its *time* is
judged slower, and as a false alarm if a block that was not touched is.

`kill` starts a sweep, kills the driver or its worker with SIGKILL at a random moment, gives the same command again, and
compares the rows with those of an undisturbed run: keys, statuses and static figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOMES = {"nl": "non_local", "gc": "global_context", "psp": "pyramid"}
CLASSES = {"nl": "NonLocal", "gc": "GlobalContext", "psp": "PyramidPooling"}
PLACE = ("--sizes", "48x48", "--channels", "256")
STATIC = ("key", "status", "params", "macs", "traced_peak_bytes", "traffic_bytes")
PLANT = """

_unplanted = {name}.forward


def _planted(self, *maps):  # type: ignore[no-untyped-def]
    _unplanted(self, *(x[:, :, :{rows}] for x in maps))
    return _unplanted(self, *maps)


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


def rows_for(block: str, percent: float) -> int:
    """How many of the 48 rows cost that share of the block's multiply-adds."""
    sys.path.insert(0, str(ROOT))
    from bench.case import make_case
    from bench.static import trace_figures

    def macs(height: int) -> int:
        return trace_figures(make_case(block, {}, height, 48, 256)).macs

    whole = macs(48)
    return min(range(6, 49), key=lambda height: abs(macs(height) / whole - percent / 100))


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


def plant(block: str, percent: float, loaded: bool) -> dict[str, object]:
    """Ask once whether a copy of this tree, planted or not, is slower than itself."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
        if percent:
            with open(tree / "modules" / f"{HOMES[block]}.py", "a", encoding="utf-8") as file:
                file.write(PLANT.format(name=CLASSES[block], rows=rows_for(block, percent)))
        command = [sys.executable, "run_bench.py", "compare", "--base", "HEAD", "--blocks", ",".join(HOMES), *PLACE]
        start = time.perf_counter()
        with load(loaded):
            done = subprocess.run([*command, "--format", "json"], cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 4):
            raise SystemExit(done.stderr)
        cells = {row["entry"]: row for row in json.loads(done.stdout)}
    verdicts = {name: f"{row['verdict']}{' (regressed)' * row['regressed']}" for name, row in cells.items()}
    slower = {name for name, row in cells.items() if row["verdict"] == "slower" and row["regressed"]}
    return {
        **{"trial": f"plant {percent:g} %", "block": block if percent else None, "loaded": loaded},
        **{"found": block in slower if percent else None, "false_alarms": len(slower - {block} if percent else slower)},
        **{"verdicts": verdicts, "exit_code": done.returncode, "seconds": round(time.perf_counter() - start, 1)},
    }


def figures(folder: Path) -> list[tuple[object, ...]]:
    """What two runs of one suite must agree on, by row."""
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(tuple(row[name] for name in STATIC) for row in map(json.loads, lines))


def kill(whom: str, after: float, suite: Path, undisturbed: Path) -> dict[str, object]:
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


def summary(trials: list[dict[str, object]]) -> str:
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
        lines.append(f"{name}{found}, {alarms} with a false alarm ({codes})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=("plant", "kill"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--percent", type=float, default=30.0)
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
    draw = random.Random(given.seed)
    trials: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        suite, undisturbed = Path(name) / "kill.toml", Path(name) / "undisturbed"
        if given.what == "kill":
            suite.write_text(SUITE, encoding="utf-8")
            start = time.perf_counter()
            command = [sys.executable, "run_bench.py", "sweep", "--suite", str(suite), "--out", str(undisturbed)]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            length = time.perf_counter() - start
        for number in range(given.repeats):
            if given.what == "plant":
                trial = plant(list(HOMES)[number // 2 % len(HOMES)], given.percent, bool(number % 2))
            else:
                trial = kill(given.whom, draw.uniform(0.2, length), suite, undisturbed)
            trials.append(trial)
            print(json.dumps(trial), flush=True)
            if given.out is not None:
                with open(given.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(trial) + "\n")
    print(summary(trials))


if __name__ == "__main__":
    main()
