"""Ray is an extra: nothing of it without `--cluster`, and one line where it or its cluster is missing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench.cluster import connected
from bench.cluster.software import Software, software_here, source_digest
from modules.options import SpecError
from tests.cluster.fake import HERE, other

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import sys
sys.argv = ["run_bench.py", "sweep", "--blocks", "identity", "--sizes", "8x8", "--channels", "8", "--seconds", "0.01",
            "--device", "cpu", "--in-process", "--out", sys.argv[1]]
import run_bench
try:
    run_bench.main()
finally:
    print("ray" in sys.modules)
"""


def test_nothing_of_ray_is_imported_without_a_cluster(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROBE, str(tmp_path / "run")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = r"not installed here .*pip install 'contextbench\[cluster\]'"
    with pytest.raises(SpecError, match=told), connected("auto", Console(file=io.StringIO())):
        pass


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", r"no Ray cluster at '127.0.0.1:1': .*refused; allowed: auto"),
        ("ray://127.0.0.1:1", r"no Ray cluster at 'ray://127.0.0.1:1': .*allowed: auto"),
        ("nonsense", r"'nonsense' is no address of a Ray cluster; allowed: auto .*host:port"),
        ("host:port", r"'host:port' is no address"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(address: str, told: str) -> None:
    with pytest.raises(SpecError, match=told), connected(address, Console(file=io.StringIO())):
        pass


def test_software_is_told_with_the_digest_of_files(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    here = software_here([str(tmp_path / "mine.py"), str(tmp_path / "none.py")])
    assert here.code == source_digest()
    assert len(here.code) == 12
    assert list(map(bool, here.files.values())) == [True, False]
    assert here.differences(here) == []


def test_differences_are_words() -> None:
    assert HERE.differences(other(contextbench="0.2.0", git=None)) == [
        "contextbench 0.2.0, not 0.1.0",
    ]
    ours = Software("2.13.0", "0.1.0", "abc", "c0de", {"mine.py": "1"})
    assert ours.differences(HERE) == ["file 'mine.py' missing, not 1"]
