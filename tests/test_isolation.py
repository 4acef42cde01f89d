"""Blocks that die, hang, eat memory or lie: each its own status, and the others are measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pulse import IDLE, Pulse

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = """
import os, time
import torch
from torch import nn
from modules.registry import register


def block(name):
    def enter(act):
        class Block(nn.Module):
            def __init__(self, channels):
                super().__init__()

            def forward(self, x):
                return act(x) if x.device.type != "meta" else x * 2

        Block.__doc__ = name
        register(name, family="context")(Block)
        return act

    return enter


@block("aborts")
def _(x):
    os.abort()


@block("hangs")
def _(x):
    time.sleep(1000)


@block("eats")
def _(x):
    kept = []
    while True:
        kept.append(torch.empty(2**30))


@block("nan")
def _(x):
    return x * float("nan")


@block("shrinks")
def _(x):
    return x[:, :, 1:]


@block("raises")
def _(x):
    raise RuntimeError("no luck")


@register("dies_late", family="context")
class DiesLate(nn.Module):
    \"\"\"Takes the process with it when it is freed, once.\"\"\"

    used = False

    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        self.used = x.device.type != "meta"
        return x * 2

    def __del__(self):
        if self.used and not os.path.exists(__file__ + ".died"):
            open(__file__ + ".died", "w").close()
            os._exit(3)


@register("aborts_on_meta", family="context")
class AbortsOnMeta(nn.Module):
    \"\"\"Dies where it is traced.\"\"\"

    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        os.abort()
"""


def sweep(folder: Path, blocks: str, *more: str) -> list[str]:
    words = [sys.executable, str(ROOT / "run_bench.py"), "sweep", "--suite", "quick", "--blocks", blocks]
    words += ["--plugin", str(folder / "bad.py"), "--sizes", "8x8", "--channels", "16", "--seconds", "0.05"]
    return [*words, "--device", "cpu", "--out", str(folder / "run"), *more]


def rows_of(folder: Path) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in (folder / "run" / "rows.jsonl").read_text().splitlines()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["entry"]: row for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bad.py").write_text(PLUGIN)
    return tmp_path


def test_each_way_to_fail_has_its_status_and_the_others_are_measured(folder: Path) -> None:
    blocks = "snl,aborts,hangs,eats,nan,shrinks,raises,aborts_on_meta,nl"
    done = subprocess.run(sweep(folder, blocks, "--timeout", "20"), cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 3, done.stderr
    rows = rows_of(folder)
    found = {name: row["status"] for name, row in rows.items()}
    assert found == {
        **{"snl": "ok", "nl": "ok", "aborts": "crashed", "hangs": "timeout", "eats": "oom", "nan": "invalid"},
        **{"shrinks": "invalid", "raises": "crashed", "aborts_on_meta": "crashed"},
    }
    assert "killed by SIGABRT; last output: Fatal Python error: Aborted" in str(rows["aborts"]["reason"])
    assert rows["hangs"]["reason"] == "no end after 20 s (--timeout)"
    assert rows["nan"]["reason"] == "returns NaN"
    assert rows["shrinks"]["reason"] == "returns (1, 16, 7, 8), which is not a map of 8x8"
    assert str(rows["aborts_on_meta"]["reason"]).startswith("tracing failed: worker killed by SIGABRT")
    assert rows["snl"]["ratio"] is not None


@pytest.mark.parametrize(
    ("reference", "told"), [("aborts", "worker killed by SIGABRT"), ("raises", "RuntimeError: no luck")]
)
def test_without_its_reference_a_group_is_measured_without_ratios(folder: Path, reference: str, told: str) -> None:
    words = sweep(folder, f"snl,{reference}", "--reference", reference)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)

    rows = rows_of(folder)
    assert (rows[reference]["status"], rows["snl"]["status"], rows["snl"]["ratio"]) == ("crashed", "ok", None)
    assert str(rows["snl"]["ratio_missing"]).startswith(f"{reference} crashed: {told}")
    assert f"{reference} crashed: {told}" in done.stdout + done.stderr
    assert f"no ratio: snl ({reference} crashed: {told}" in (folder / "run" / "report.md").read_text()


def test_what_ends_a_worker_after_sampling_is_blamed_on_no_block(folder: Path) -> None:
    done = subprocess.run(sweep(folder, "snl,dies_late,nl"), cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert {name: row["status"] for name, row in rows_of(folder).items()} == dict.fromkeys(
        ("snl", "dies_late", "nl"), "ok"
    )
    assert "crashed with no block in hand, measured again: worker ended with exit code 3" in done.stdout + done.stderr


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A shell starts what runs in its background deaf to Ctrl-C, and programs inherit that; not those of a test."""
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, held)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_ends_with_a_summary_and_the_command_to_go_on(folder: Path) -> None:
    words = sweep(folder, "hangs,snl")
    lines: list[str] = []
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("[0/2]"):
                break
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()

    assert process.returncode == 130
    assert any(line.startswith("2 missing; 0 rows in all") for line in lines)
    assert lines[-1].startswith("interrupted; to go on: python run_bench.py sweep --suite quick --blocks hangs,snl")


def test_a_worker_does_not_outlive_its_driver(folder: Path) -> None:
    with subprocess.Popen(sweep(folder, "hangs"), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("[0/1]") for line in process.stdout)
        (worker,) = children_of(process.pid)
        process.kill()

    deadline = time.monotonic() + 500  # left alone it would live for 1000 s
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def test_a_pulse_shows_what_is_in_hand() -> None:
    ours = Pulse()
    theirs = Pulse(os.dup(ours.descriptor))
    theirs.mark(3, 7)
    beat = ours.read()
    assert (beat.step, beat.round) == (3, 7)
    theirs.mark(IDLE)
    assert ours.read().step == IDLE
    theirs.close()
    ours.close()


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
