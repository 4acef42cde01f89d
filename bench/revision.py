"""Revision: the blocks and plugins of another git revision, beside this tree."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from modules.options import SpecError

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def modules_of(revision: str, root: Path = ROOT) -> Iterator[Path]:
    """A folder that holds the `modules` of a git revision and nothing else, as long as the block lasts.

    Raises:
        SpecError: this is no checkout, or it has no such revision.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        where = "an installed copy, not a git checkout" if not (root / ".git").exists() else "this repository"
        raise SpecError(f"--base '{revision}' is no revision of {where}; give a branch, a tag or a commit")
    with tempfile.TemporaryDirectory(prefix="contextbench-base-") as folder:
        tree, shown = Path(folder) / "tree", Path(folder) / "shown"
        if _git(root, "worktree", "add", "--detach", "--force", str(tree), commit) is None:
            raise SpecError(f"--base '{revision}' cannot be checked out beside this tree")
        try:
            shown.mkdir()
            (shown / "modules").symlink_to(tree / "modules")
            yield shown
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def plugins_at(base: Path, plugins: Sequence[str], root: Path = ROOT) -> tuple[tuple[str, ...], list[str]]:
    """The plugins as they are at the revision that `modules_of` shows in `base`; and those that no revision holds.

    The latter are the same on both sides. One that the revision does not have is left out.
    """
    found, shared = [], []
    for plugin in plugins:
        path = Path(plugin).resolve()
        if not path.is_relative_to(root):
            shared.append(plugin)
            found.append(plugin)
        elif (then := base.parent / "tree" / path.relative_to(root)).is_file():
            found.append(str(then))
    return tuple(found), shared


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; null where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
