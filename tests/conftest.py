from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def registered() -> object:
    """Forget what a test registers."""
    from modules import registry

    before = dict(registry._ENTRIES)
    yield registry
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose first commit holds this tree's modules."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "modules", root / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(root), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return root
