"""Trials of sweeps on a cluster: three Ray nodes on this machine, of one processor each, one of them killed at random.

    python docs/cluster_trials.py --repeats 10 --out cluster-trials.jsonl
    python docs/cluster_trials.py --read cluster-trials.jsonl

First the suite `quick` is measured without Ray and on the nodes. Then, many times over, a smaller suite is measured on
them, and one of the nodes is killed with SIGKILL at a random moment of the sweep and replaced before the next. Rows are
compared with those of an undisturbed run without Ray (keys, statuses, static figures), and `placements.jsonl` shows
whether a node ever measured two groups at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STATIC = ("key", "status", "params", "macs", "flops", "macs_fvcore", "macs_torch", "traced_peak_bytes", "traffic_bytes")
SUITE = """
name = "cluster"
description = "small, but some seconds long"
[method]
seconds = 0.2
[[grid]]
blocks = "identity,nl,gc"
sizes = "8x8,8x12,16x16,16x20"
channels = "32,64"
"""
NODES = ("a", "b", "c")
SPAWNED = {**os.environ, "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}


@contextmanager
def nodes() -> Iterator[tuple[Any, dict[str, Any]]]:
    """A cluster of three nodes beside a head that measures nothing."""
    os.environ.update(RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield cluster, {name: cluster.add_node(num_cpus=1, node_name=name) for name in NODES}
    finally:
        cluster.shutdown()


def sweep(suite: Path | str, folder: Path, *words: str) -> subprocess.Popen[str]:
    """A sweep that has begun."""
    command = [sys.executable, "run_bench.py", "sweep", "--suite", str(suite), "--device", "cpu", "--out", str(folder)]
    return subprocess.Popen(
        [*command, *words], cwd=ROOT, env=SPAWNED, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def figures(folder: Path) -> list[str]:
    """What two runs of one suite must agree on, by row; rows that are there twice are here twice."""
    rows = map(json.loads, (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    return sorted(json.dumps([row[name] for name in STATIC]) for row in rows)


def outcome(folder: Path, undisturbed: Path) -> dict[str, object]:
    """How the rows of a run on the cluster compare."""
    sys.path.insert(0, str(ROOT))
    from bench.cluster.placement import overlaps, read_placements

    found, wanted = figures(folder), figures(undisturbed)
    placed = read_placements(folder)
    rows = map(json.loads, (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    return {
        "failed": [f"{row['status']} on {row['node']}: {row['reason']}" for row in rows if row["status"] != "ok"],
        **{"rows": len(found), "doubled": len(found) - len(set(found)), "equal": found == wanted},
        **{"groups": dict(sorted(Counter(one.node for one in placed).items())), "overlaps": len(overlaps(placed))},
    }


def compare_quick(address: str, name: Path) -> dict[str, object]:
    """The suite `quick` with and without Ray."""
    for folder, words in (("plain", ()), ("cluster", ("--cluster", address))):
        run = sweep("quick", name / folder, *words)
        told, _ = run.communicate()
        if run.returncode != 0:
            raise SystemExit(told)
    return {"trial": "quick", **outcome(name / "cluster", name / "plain")}


def kill(cluster: Any, victim: Any, whom: str, after: float, suite: Path, undisturbed: Path) -> dict[str, object]:
    """Measure the suite, with a node killed on the way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        run = sweep(suite, folder, "--cluster", cluster.address)
        time.sleep(after)
        hit = run.poll() is None
        rows = (folder / "rows.jsonl").read_text(encoding="utf-8") if (folder / "rows.jsonl").exists() else ""
        cluster.remove_node(victim, allow_graceful=False)
        told, _ = run.communicate()
        return {
            **{"trial": "kill", "node": whom, "after": round(after, 1), "hit": hit, "rows_then": rows.count("\n")},
            **{"exit_code": run.returncode, "begun_again": told.count("begun again")},
            **outcome(folder, undisturbed),
        }


def summary(trials: list[dict[str, Any]]) -> str:
    """A line for each kind of trial."""
    lines = []
    for kind in dict.fromkeys(trial["trial"] for trial in trials):
        of = [trial for trial in trials if trial["trial"] == kind]
        words = [f"{kind}: {len(of)} trial{'s' * (len(of) > 1)}"]
        if kind == "kill":
            words.append(f"{sum(trial['hit'] for trial in of)} hit")
            words.append(f"{sum(trial['begun_again'] for trial in of)} groups begun again")
        words.append(f"{sum(trial['equal'] for trial in of)} with the same rows")
        words.append(f"{sum(trial['doubled'] for trial in of)} rows doubled")
        words.append(f"{sum(trial['overlaps'] for trial in of)} overlaps on a node")
        lines.append(", ".join(words))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path)
    given = parser.parse_args()
    if given.read is not None:
        print(summary([json.loads(line) for line in given.read.read_text(encoding="utf-8").splitlines()]))
        return
    draw = random.Random(given.seed)
    trials: list[dict[str, Any]] = []

    def keep(trial: dict[str, Any]) -> None:
        trials.append(trial)
        print(json.dumps(trial), flush=True)
        if given.out is not None:
            with open(given.out, "a", encoding="utf-8") as file:
                file.write(json.dumps(trial) + "\n")

    with tempfile.TemporaryDirectory() as name, nodes() as (cluster, alive):
        suite, undisturbed = Path(name) / "cluster.toml", Path(name) / "undisturbed"
        suite.write_text(SUITE, encoding="utf-8")
        sweep(suite, undisturbed).communicate()
        keep(compare_quick(cluster.address, Path(name)))
        start = time.perf_counter()
        sweep(suite, Path(name) / "timed", "--cluster", cluster.address).communicate()
        length = time.perf_counter() - start
        for _ in range(given.repeats):
            whom = draw.choice(NODES)
            after = draw.uniform(0.3 * length, 0.9 * length)  # when nodes are surveyed, or measure
            keep(kill(cluster, alive.pop(whom), whom, after, suite, undisturbed))
            alive[whom] = cluster.add_node(num_cpus=1, node_name=whom)
    print(summary(trials))


if __name__ == "__main__":
    main()
