"""Software: what a node would measure with, which has to be the same on all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.environment import git_revision

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("modules", "bench")


@dataclass(frozen=True)
class Software:
    """Versions, as far as they decide what is measured and how.

    Attributes:
        torch: its public version; builds for other devices differ behind it.
        contextbench: its version.
        git: commit of the tree that it runs from, with `+` if that has changes; null outside of a checkout.
        code: digest of its source.
        files: digest of each plugin and checkpoint by path; null where the file is not there.
    """

    torch: str
    contextbench: str
    git: str | None
    code: str
    files: Mapping[str, str | None]

    def differences(self, other: Software) -> list[str]:
        """In words, what another has that this has not."""
        names = ("torch", "contextbench", "git", "code")
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        pairs |= {f"file '{path}'": (digest, other.files.get(path)) for path, digest in self.files.items()}
        if None in pairs["git"]:
            pairs.pop("git")  # outside of a checkout; the source decides
        elif pairs["git"][0] != pairs["git"][1]:
            pairs.pop("code")  # follows from it
        return [f"{name} {theirs or 'missing'}, not {ours}" for name, (ours, theirs) in pairs.items() if ours != theirs]


def software_here(files: Sequence[str]) -> Software:
    """What this process runs, and the files of a request as they are here."""
    version = metadata.version("torch").partition("+")[0]
    digests = {path: _digest(Path(path)) for path in files}
    return Software(version, metadata.version("contextbench"), git_revision(), source_digest(), digests)


def source_digest() -> str:
    """Digest of the source that this process runs, which also tells apart two trees with changes."""
    found = hashlib.sha256()
    for path in sorted(path for folder in _SOURCES for path in (_ROOT / folder).rglob("*.py")):
        found.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else None
