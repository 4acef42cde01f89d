from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from bench import environment
from bench.environment import available_bytes, describe_environment, environment_hash, git_revision, pick_device


def test_the_environment_is_flat_json_and_its_hash_follows_every_fact() -> None:
    facts = describe_environment("cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["torch"] == torch.__version__
    assert environment_hash(facts) == environment_hash(dict(reversed(facts.items())))
    assert all(environment_hash({**facts, name: "other"}) != environment_hash(facts) for name in facts)


def test_auto_is_the_best_device_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, best in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device("auto") == best


def test_available_memory_is_what_the_system_says() -> None:
    total = describe_environment("cpu")["memory_bytes"]
    assert 0 < available_bytes("cpu") <= total


@pytest.mark.parametrize(
    "names", [("", "max", "current", ""), ("memory", "limit_in_bytes", "usage_in_bytes", "total_")]
)
def test_of_a_container_what_its_limit_leaves_is_available(tmp_path: Path, names: tuple[str, str, str, str]) -> None:
    folder, limit, used, prefix = names
    there = tmp_path / folder
    there.mkdir(exist_ok=True)
    (tmp_path / "meminfo").write_text("MemTotal:       9 kB\nMemAvailable:    8000 kB\n")

    def available() -> int:
        return available_bytes("cpu", proc=tmp_path, cgroup=tmp_path)

    assert available() == 8000 * 1024
    (there / f"memory.{used}").write_text("900000\n")
    (there / f"memory.{limit}").write_text("max\n")
    assert available() == 8000 * 1024
    (there / f"memory.{limit}").write_text("1000000\n")
    assert available() == 100_000
    (there / "memory.stat").write_text(f"active_file 7\n{prefix}inactive_file 300000\n")
    assert available() == 400_000  # files in the cache make room
    (there / f"memory.{used}").write_text("2000000\n")
    assert available() == 0


def test_the_revision_is_the_commit_with_a_mark_for_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / "bench").mkdir()
    source = tmp_path / "bench" / "environment.py"
    source.write_text("a")
    monkeypatch.setattr(environment, "__file__", str(source))
    git_revision.cache_clear()
    assert git_revision() is None
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    git_revision.cache_clear()
    clean = git_revision()
    assert clean == git("rev-parse", "--short=12", "HEAD").strip()
    source.write_text("b")
    git_revision.cache_clear()
    assert git_revision() == f"{clean}+"
    git_revision.cache_clear()
