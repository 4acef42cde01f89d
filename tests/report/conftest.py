"""A synthetic run on disk, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import write
from tests.report.synthetic import sweep, write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every block at three sizes and three channel counts, and its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "invented", sweep())
    write(folder)
    return folder
