"""A sweep and training on a real Ray cluster: two nodes of one processor each, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.placement import overlaps, read_placements
from bench.training.record import read_records
from tests.hold import let_go, write_plugin

ROOT = Path(__file__).resolve().parents[2]
STATIC = ("key", "status", "params", "macs", "macs_fvcore", "traced_peak_bytes", "traffic_bytes", "compulsory_bytes")
SUITE = """
name = "tiny"
description = "small enough for tests"
[method]
seconds = 0.05
warm_seconds = 0.01
sample_ms = 0.1
[[grid]]
blocks = "identity,snl,gc"
sizes = "8x8,8x12"
channels = "16,32"
"""
TRAIN = ("--blocks", "identity,gc", "--seeds", "1", "--recipe", "probe", "--no-costs")
TINY = ("iterations=4", "train_count=32", "test_count=40", "batch=8", "warmup=1")
HOLD = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = {name: cluster.add_node(num_cpus=1, node_name=name) for name in "ab"}
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes[line.strip()], allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""


class Nodes:
    """Two nodes, held by a process of their own."""

    def __init__(self) -> None:
        told = {**os.environ, "RAY_worker_niceness": "0", "PYTHONWARNINGS": "ignore"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([sys.executable, "-c", HOLD], text=True, env=told, cwd=ROOT, **pipes)
        self.address = self._answer()

    def kill(self, name: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        assert self._answer() == "removed"

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    held = Nodes()
    yield held
    held.close()


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(SUITE)
    return path


def start(*words: object) -> subprocess.Popen[str]:
    told = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "run_bench.py", *map(str, words), "--device", "cpu"]
    return subprocess.Popen(command, cwd=ROOT, env=told, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*words: object) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate()
    return process.returncode, out, err


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def figures(folder: Path) -> list[list[object]]:
    return sorted([row[name] for name in STATIC] for row in rows(folder))


@pytest.fixture(scope="module")
def plain(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite measured without Ray."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert run("sweep", "--suite", suite, "--out", folder)[0] == 0
    return folder


def test_a_sweep_has_the_rows_that_it_has_without_ray(nodes: Nodes, suite: Path, plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    code, out, err = run("sweep", "--suite", suite, "--cluster", nodes.address, "--out", folder, "--format", "json")
    assert code == 0, err
    assert len(json.loads(out)) == 12
    assert figures(folder) == figures(plain)
    environments = [json.loads((place / "environment.json").read_text()) for place in (folder, plain)]
    assert len({facts["env"] for facts in environments}) == 1
    assert {row["node"] for row in rows(folder)} <= set("ab")
    assert {row["node"] for row in rows(plain)} == {None}
    assert {row["device_name"] for row in rows(folder)} == {row["device_name"] for row in rows(plain)}
    placed = read_placements(folder)
    times = Counter(key for one in placed for key in one.keys)
    assert set(times) == {row["key"] for row in rows(folder)}
    told = any(words in err for words in ("measured again: ", "no ratios: "))
    assert told or set(times.values()) == {1}, err  # nothing is measured twice without a word
    assert overlaps(placed) == []
    assert "never two at once" in err
    before = (folder / "rows.jsonl").read_bytes()
    code, _, err = run("sweep", "--suite", suite, "--cluster", nodes.address, "--out", folder, "--format", "json")
    assert code == 0
    assert "nothing missing" in err
    assert (folder / "rows.jsonl").read_bytes() == before


def test_a_column_a_kind_of_device(nodes: Nodes, suite: Path, plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    words = ("--cluster", nodes.address, "--per-device", "--sizes", "8x8", "--out", folder)
    code, _, err = run("sweep", "--suite", suite, *words, "--format", "json")
    assert code == 0, err
    (device,) = json.loads((folder / "devices.json").read_text())["devices"]
    assert device["nodes"] == ["a", "b"]
    assert device["missing"] == 0
    assert len(rows(folder / device["folder"])) == device["rows"] == 6
    code, _, err = run("sweep", "--suite", suite, "--cluster", nodes.address, "--out", folder)
    assert code == 2
    assert "holds a run for each kind of device" in err


def test_training_gives_the_records_that_it_gives_here(nodes: Nodes, tmp_path: Path) -> None:
    settings = [word for setting in TINY for word in ("--set", setting)]
    for place, words in (("here", ("--jobs", "2")), ("afield", ("--cluster", nodes.address))):
        code, _, err = run("train", *TRAIN, *settings, "--out", tmp_path / place, *words)
        assert code == 0, err
    here, afield = (read_records(tmp_path / place / "runs.jsonl") for place in ("here", "afield"))
    assert [record["key"] for record in here] == [record["key"] for record in afield]
    assert [record["curve"] for record in here] == [record["curve"] for record in afield]
    assert [record["miou"] for record in here] == [record["miou"] for record in afield]
    assert {record["node"] for record in afield} <= set("ab")


def test_a_driver_that_is_killed_and_a_node_that_is_lost(
    nodes: Nodes, suite: Path, plain: Path, tmp_path: Path
) -> None:
    folder, plugin = tmp_path / "lab", write_plugin(tmp_path)
    words = ("sweep", "--suite", suite, "--cluster", nodes.address, "--out", folder)
    words += ("--blocks", "identity,snl,gc,waits", "--plugin", plugin)
    let_go(plugin, 8, 16)
    driver = start(*words)
    until(lambda: (folder / "rows.jsonl").exists() and len(rows(folder)) == 4)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert len(rows(folder)) == 4
    let_go(plugin, 12, 16)
    driver = start(*words)
    until(lambda: len(rows(folder)) == 8)
    nodes.kill("b")
    for width in (8, 12):
        let_go(plugin, width, 32)
    _out, err = driver.communicate()
    assert driver.returncode == 0, err
    assert [one for one in figures(folder) if one[0] in keys(plain)] == figures(plain)
    assert overlaps(read_placements(folder)) == []
    assert len(keys(folder)) == len(rows(folder)) == 16


def keys(folder: Path) -> set[str]:
    return {row["key"] for row in rows(folder)}


def until(holds: Any, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
