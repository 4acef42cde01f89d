"""What is installed is whole: both packages, the command line, and the suites."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("bench", "modules", "run_bench.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed the project into, away from the tree."""
    tree, site = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("site")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", site, tree], check=True)
    return site


SUFFIXES = (".py", ".toml", ".csv", ".json", ".j2", ".css", ".js")


def test_the_suites_and_every_source_file_are_installed(site: Path) -> None:
    for folder in ("bench", "modules"):
        files = (path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
        wanted = {path.relative_to(ROOT) for path in files}
        assert wanted
        assert all((site / path).exists() for path in wanted)


def test_the_command_works_away_from_the_tree(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    words = ["sweep", "--suite", "quick", "--blocks", "snl", "--sizes", "8x8", "--channels", "16", "--seconds", "0.01"]
    command = site / "bin" / "contextbench"
    done = subprocess.run(
        [sys.executable, command, *words, "--device", "cpu", "--reference", "none"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    (run,) = (tmp_path / "results").iterdir()
    assert f"results/{run.name}/report.md" in done.stdout
    assert '"repro": "contextbench sweep ' in (run / "rows.jsonl").read_text()
    assert (run / "report.md").exists()
