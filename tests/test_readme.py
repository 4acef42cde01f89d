"""The README says what the tree says."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.axes import parse_blocks
from bench.papers.published import choose
from bench.report import stale
from bench.suite import suite_names
from bench.training.chain import parse_chains
from bench.training.plan import suite_names as training_suites

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for line in README.splitlines() if line.startswith("python run_bench.py")]


@pytest.mark.parametrize("name", ["README.md", "docs/then_and_now.md"])
def test_its_tables_are_those_of_the_reference_runs(name: str) -> None:
    assert not stale(ROOT / name)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_what_it_links_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_name_what_exists(command: str) -> None:
    words = shlex.split(command, comments=True)
    given = dict(itertools.pairwise(words))
    assert words[2] in (
        *("sweep", "estimate", "papers", "report", "list", "selftest", "compare", "recommend"),
        *("train", "profile", "attention"),
    )
    if words[2] == "papers":
        assert choose(next((word for word in words[3:4] if not word.startswith("-")), None), given.get("--table"))
    assert given.get("--suite", "default") in (training_suites() if words[2] == "train" else suite_names())
    if "--plugin" in given:
        assert (ROOT / given["--plugin"]).exists()
    elif "--blocks" in given:
        assert (parse_chains if words[2] == "train" else parse_blocks)(given["--blocks"])


@pytest.mark.parametrize("name", ["noise-cpu.jsonl", "noise-cpu-neighbour.jsonl"])
def test_the_noise_tables_are_those_of_the_recorded_repeats(name: str) -> None:
    words = [sys.executable, ROOT / "docs" / "noise.py", "--read", ROOT / "results" / "reference" / name]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert printed.strip() in (ROOT / "docs" / "measurement.md").read_text()


def test_the_trials_of_the_gate_are_those_recorded() -> None:
    words = [sys.executable, ROOT / "docs" / "trials.py", "--read", ROOT / "results" / "reference" / "trials-cpu.jsonl"]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert printed.strip() in (ROOT / "docs" / "gating.md").read_text()


def test_the_trials_on_a_cluster_are_those_recorded() -> None:
    recorded = ROOT / "results" / "reference" / "cluster-trials-cpu.jsonl"
    words = [sys.executable, ROOT / "docs" / "cluster_trials.py", "--read", recorded]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert printed.strip() in (ROOT / "docs" / "cluster.md").read_text()


def test_its_counts_of_reproduced_cells_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "papers.md").read_text()
    found = re.search(r"params (\d+ of \d+), FLOPs (\d+ of \d+), memory (\d+ of \d+)", page)
    assert found is not None
    params, flops, memory = found.groups()
    told = " ".join(README.split())
    assert f"params {params}, FLOPs {flops} and memory {memory} are reproduced" in told


def test_the_page_on_the_papers_is_what_the_command_prints() -> None:
    words = ["papers", "--rows", "results/reference/h200/papers", "--format", "markdown"]
    done = subprocess.run(
        [sys.executable, "run_bench.py", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == (ROOT / "docs" / "papers.md").read_text()
