"""report.md and the folders around it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.report import write
from bench.report.frame import build
from bench.report.page import sampling
from tests.report.synthetic import row, skipped, write_run

ROOT = Path(__file__).resolve().parents[2]
NO_TORCH = """
import sys
sys.modules["torch"] = None
sys.modules["modules"] = None
from pathlib import Path
import bench.report
assert "matplotlib" not in sys.modules, "matplotlib must be imported only to draw"
bench.report.write(Path(sys.argv[1]))
assert "matplotlib.pyplot" not in sys.modules
"""


def small(**fields: Any) -> list[dict[str, Any]]:
    """A few rows of one group."""
    return [row("nl", **fields), row("gc", ratio=0.1, ratio_ci_low=0.09, ratio_ci_high=0.11, **fields)]


def report(folder: Path, rows: list[dict[str, Any]]) -> str:
    """The report of a run of these rows."""
    return write(write_run(folder, rows))[0].read_text(encoding="utf-8")


def test_the_report_says_everything(run: Path) -> None:
    text = (run / "report.md").read_text(encoding="utf-8")
    for words in ("# invented", "Imaginary(R) CPU", "## Method", "`m0`", 'name = "synthetic"', "How to read", "≈"):
        assert words in text
    for words in ("Noise floor 3.0 % (against nl)", "too many multiply-adds", "`aten::softmax`", "1.0040"):
        assert words in text
    assert "Warning" not in text


def test_every_plot_is_embedded_and_exists(run: Path) -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (run / "report.md").read_text(encoding="utf-8"))
    assert {Path(path).name for path in shown} == {path.name for path in (run / "plots").glob("*.svg")}
    assert all((run / path).exists() for path in shown)


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", small())
    before = {path: path.read_bytes() for path in write(run)}
    assert {path: path.read_bytes() for path in write(run)} == before


@pytest.mark.parametrize("fields", [{"env": "e1"}, {"method": "m1"}, {"device": "cuda"}])
def test_rows_that_do_not_compare_are_kept_apart(tmp_path: Path, fields: dict[str, Any]) -> None:
    text = report(tmp_path / "run", small() + small(**fields))
    assert text.index("not comparable") < text.index("## Machine")
    assert "### Part 1 of 2" in text
    assert "### Part 2 of 2" in text
    assert len(re.findall(r"\| nl +\|[^\n]*1 \(ref\)", text)) == 2
    lines = (tmp_path / "run" / "tables" / "efficiency.md").read_text(encoding="utf-8").splitlines()
    assert "part 2 (environment e" in [line for line in lines if line.startswith("###")][-1]
    assert len(list((tmp_path / "run" / "plots").glob("time-*part*.svg"))) == 2


def test_counters_that_disagree_are_warned_of(tmp_path: Path) -> None:
    text = report(tmp_path / "run", [row("nl", macs_fvcore=7), row("gc", macs_fvcore=None)])
    warned = text[text.index("counters disagree") : text.index("## Machine")]
    assert "| nl " in warned
    assert "| gc " not in warned


def test_rows_without_a_result_are_listed_with_their_reasons(tmp_path: Path) -> None:
    text = report(tmp_path / "run", [row("gc"), skipped("nl", 64, 64, 512, status="oom", reason="9 GiB of 8 GiB")])
    assert re.search(r"\| nl .*out of memory.*9 GiB of 8 GiB", text[text.index("## Cases without") :])


def test_plots_that_no_longer_apply_are_removed_and_others_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [*small(), *small(mode="train")])
    write(run)
    mine = run / "plots" / "mine.svg"
    mine.write_text("mine")
    write_run(run, small())
    write(run)
    assert not list((run / "plots").glob("*train*"))
    assert mine.exists()


def test_a_run_without_rows_or_environment(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [])
    assert "no rows yet" in write(run)[0].read_text()
    run = write_run(tmp_path / "bare", small())
    (run / "environment.json").unlink()
    (run / "suite.toml").unlink()
    assert "Not recorded" in write(run)[0].read_text(encoding="utf-8")


def test_nested_facts_are_flattened(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", small())
    (run / "environment.json").write_text(json.dumps({"gpu": "Card", "versions": {"torch": "9.9"}}))
    assert re.search(r"versions\.torch +\| 9\.9", write(run)[0].read_text(encoding="utf-8"))


def test_a_broken_environment_is_one_clear_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", small())
    (run / "environment.json").write_text("{")
    with pytest.raises(ValueError, match=r"environment\.json is not JSON"):
        write(run)


def test_a_report_never_imports_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", small())
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(run)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (run / "report.md").exists()


def test_a_report_says_how_long_the_card_rested() -> None:
    rows = [row("nl", rested_seconds=12.34), row("gc", rested_seconds=7.0), row("snl", rested_seconds=None)]
    assert "ahead of the samples of 2 cases it rested, 12.3 s a group at most" in " ".join(sampling(build(rows)))
    assert "rested" not in " ".join(sampling(build([row("nl", rested_seconds=0.0), row("gc")])))
