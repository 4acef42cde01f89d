"""Another revision beside this tree: there as long as it is needed, with its plugins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.revision import modules_of, plugins_at
from modules.options import SpecError


def test_a_revision_is_there_as_long_as_it_is_needed(repository: Path) -> None:
    (repository / "modules" / "identity.py").write_text("changed after the commit")
    with modules_of("HEAD", repository) as folder:
        assert [path.name for path in folder.iterdir()] == ["modules"]
        assert "class Identity" in (folder / "modules" / "identity.py").read_text()
    assert not folder.exists()
    listed = subprocess.run(["git", "-C", repository, "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_an_unknown_revision_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^--base 'nowhere' is no revision of this repository; give a branch"):
        modules_of("nowhere", repository).__enter__()
    with pytest.raises(SpecError, match="is no revision of an installed copy, not a git checkout"):
        modules_of("main", tmp_path).__enter__()


def test_a_plugin_of_the_repository_is_taken_from_the_revision(repository: Path, tmp_path: Path) -> None:
    for name in ("mine.py", "later.py"):
        (repository / name).write_text("now")
    git = ["git", "-C", str(repository), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run([*git, "add", "mine.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "second"], check=True)
    (repository / "mine.py").write_text("changed")
    other = tmp_path / "other.py"
    plugins = [str(repository / "mine.py"), str(repository / "later.py"), str(other)]
    with modules_of("HEAD", repository) as base:
        before, shared = plugins_at(base, plugins, repository)
        assert [Path(path).name for path in before] == ["mine.py", "other.py"]
        assert Path(before[0]).read_text() == "now"
    assert shared == [str(other)]
