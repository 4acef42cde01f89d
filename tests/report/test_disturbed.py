"""Disturbed rows in every output: the banner, the mark on ratios, and nothing of either where none was disturbed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import build, show_run, write
from bench.report.digits import MISSING
from bench.report.groups import all_groups
from bench.report.readme import section
from bench.report.tables import efficiency, ratio
from bench.report.then_and_now import comparisons
from tests.report.synthetic import row, write_run

SAID = "2 of 3 measured rows were disturbed by other processes on the CPUs. "
BAD = {"disturbed_rounds": 10, "disturbed_by": ["other processes on the CPUs (10 rounds)"], "unused_samples": []}
GOOD = {"disturbed_rounds": 1, "disturbed_by": ["other processes on the CPUs (1 rounds)"], "unused_samples": []}


def rows(bad: dict[str, Any] = BAD) -> list[dict[str, Any]]:
    compared = {"ratio": 0.31, "ratio_ci_low": 0.2, "ratio_ci_high": 0.4}
    wide = {"latency_ms": 1.79, "latency_ci_low_ms": 1.0, "latency_ci_high_ms": 100.0}
    return [row("nl", ratio=1.0, **bad), row("gc", **compared, **wide, **bad), row("snl", **compared, **GOOD)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", rows())


def test_a_ratio_of_disturbed_rounds_is_marked_and_the_note_says_why() -> None:
    (group,) = all_groups(build(rows()))
    made = efficiency(group)
    shown = {line[0]: dict(zip(made.grid.header, line, strict=True)) for line in made.grid.rows}
    assert [shown[name]["vs nl"] for name in ("nl", "gc", "snl")] == ["1 (ref)", "0.31x ‡", "0.31x"]
    assert shown["gc"]["ms"] == "1.79 ± >100 %"
    (note,) = (note for note in made.notes if note.startswith("‡: "))
    assert note.startswith(f"‡: {SAID}")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"ratio": 0.98, "ratio_ci_low": 0.9, "ratio_ci_high": 1.1}, "≈ 0.98x ‡"),
        ({"ratio": 0.5, "noise_floor": None}, "0.50x ? ‡"),
        ({"ratio": None}, MISSING),
    ],
)
def test_the_mark_joins_the_others(fields: dict[str, Any], shown: str) -> None:
    (made,) = build([row("gc", **BAD, **fields)]).to_dict("records")
    assert ratio(made) == shown


def test_an_unknown_noise_is_explained_beside_the_mark() -> None:
    (group,) = all_groups(build([row("gc", ratio=0.5, noise_floor=None, **BAD)]))
    assert "?: the noise of this ratio was not measured." in " ".join(efficiency(group).notes)


def test_a_ratio_to_another_implementation_is_marked_too() -> None:
    told = {"impl_ratio": 0.5, "impl_ratio_ci_low": 0.4, "impl_ratio_ci_high": 0.6}
    (found,) = comparisons(build([row("nl", **BAD), row("nl", impl="fused", **told, **BAD)]))
    assert "0.50x ‡" in found.grid().rows[0]


@pytest.mark.parametrize(("name", "head"), [("table", "WARNING: "), ("markdown", "> **Warning.** ")])
def test_the_banner_stands_above_the_first_table(run: Path, name: str, head: str) -> None:
    assert show_run(run, name).startswith(f"{head}{SAID}")


def test_latex_has_the_banner_ahead_of_the_floats_and_the_mark_in_them(run: Path) -> None:
    text = show_run(run, "latex")
    assert text.index(SAID) < text.index(r"\begin{table}")
    assert r"0.31x $\ddagger$" in text
    assert r"\footnotesize" in text[text.index(r"\end{tabular}") :]
    assert f"$\\ddagger$: {SAID}" in text


def test_json_and_csv_hold_a_field_that_is_null_where_nobody_looked(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [*rows(), row("apnb")])
    assert [made["disturbed"] for made in json.loads(show_run(folder, "json"))] == [True, True, False, None]
    lines = csv.DictReader(io.StringIO(show_run(folder, "csv")))
    assert [line["disturbed"] for line in lines] == ["True", "True", "False", ""]


def test_the_reports_and_written_tables_have_banner_and_mark(run: Path) -> None:
    write(run)
    report = (run / "report.md").read_text(encoding="utf-8")
    assert report.index(f"> **Warning.** {SAID}") < report.index("| block")
    assert "0.31x ‡" in report
    assert "`‡`" in report[report.index("How to read") :]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.index("Warning: disturbed measurements") < page.index(SAID) < page.index('data-listing="rows"')
    assert "0.31x \\u2021" in page or "0.31x ‡" in page
    assert "10 of 12 rounds were disturbed: other processes on the CPUs" in page
    for name in ("efficiency", "latency"):
        assert SAID in (run / "tables" / f"{name}.md").read_text(encoding="utf-8")
        assert SAID in (run / "tables" / f"{name}.tex").read_text(encoding="utf-8")
    assert SAID not in (run / "tables" / "memory.md").read_text(encoding="utf-8")


def test_a_readme_s_tables_are_marked(run: Path) -> None:
    text = section(run, "run")
    assert "0.31x ‡" in text
    assert f"‡: {SAID}" in text


def test_a_run_that_nothing_disturbed_has_neither(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rows(bad=GOOD))
    write(folder)
    assert "Warning" not in (folder / "report.md").read_text(encoding="utf-8")
    assert "disturbed measurements" not in (folder / "report.html").read_text(encoding="utf-8")
    for name in ("table", "markdown", "latex"):
        text = show_run(folder, name)
        assert "disturbed by" not in text
        assert "‡" not in text
        assert r"\ddagger" not in text
