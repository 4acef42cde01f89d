"""What rows of GCNet add to their base rows, where no total can be recounted."""

from __future__ import annotations

import re

import pytest

from bench.papers.judge import Finding, judge
from bench.papers.published import tables_of
from bench.papers.rounding import rounded

Place = tuple[str, str]

INCREMENTS = {
    ("5(a)", "+1 NL"): (9.3501, "9.3"),
    ("5(a)", "+1 SNL"): (0.0092, "0.0"),
    ("5(a)", "+1 GC"): (0.0083, "0.0"),
    ("5(a)", "+all GC"): (0.1296, "0.2"),
    ("5(b)", "afterAdd"): (0.1296, "0.2"),
    ("5(b)", "after1x1"): (0.1296, "0.2"),
    ("5(c)", "c3"): (0.0657, "0.1"),
    ("5(c)", "c4"): (0.0500, "0.1"),
    ("5(c)", "c5"): (0.0139, "0.0"),
    ("5(c)", "c3+c4+c5"): (0.1296, "0.2"),
    ("5(d)", "w/o ratio"): (0.1470, "0.2"),
    ("5(d)", "r16"): (0.1296, "0.2"),
    ("5(d)", "r16+ReLU"): (0.1296, "0.2"),
    ("5(d)", "r16+LN+ReLU"): (0.1296, "0.2"),
    ("5(e)", "ratio 4"): (0.1370, "0.2"),
    ("5(e)", "ratio 8"): (0.1321, "0.2"),
    ("5(e)", "ratio 16"): (0.1296, "0.2"),
    ("5(e)", "ratio 32"): (0.1283, "0.1"),
    ("5(f)", "avg+scale"): (0.0660, "0.1"),
    ("5(f)", "avg+add"): (0.0660, "0.1"),
    ("5(f)", "att+scale"): (0.1296, "0.2"),
    ("5(f)", "att+add"): (0.1296, "0.2"),
    ("7(a)", "R50 +GC r16"): (0.1296, "0.2"),
    ("7(a)", "R50 +GC r4"): (0.1370, "0.2"),
    ("7(a)", "R101 +GC r16"): (0.2712, "0.3"),
    ("7(a)", "R101 +GC r4"): (0.2853, "0.3"),
    ("7(a)", "X101 +GC r16"): (0.2712, "0.3"),
    ("7(a)", "X101 +GC r4"): (0.2853, "0.3"),
    ("10", "+5 SNL"): (0.0261, "0.03"),
    ("10", "+5 GC"): (0.0243, "0.02"),
    ("10", "+all GC"): (0.0597, "0.06"),
    ("11", "GCNet"): (0.0597, "0.06"),
}
"""What a row adds to its base row, in G: ours, and the difference of the printed totals."""


@pytest.fixture(scope="module")
def findings() -> dict[Place, Finding]:
    """Every FLOPs cell of GCNet, judged once."""
    cells = [(cell, table) for table in tables_of("gcnet") for cell in table.cells if cell.metric == "FLOPs"]
    return {(cell.table, cell.row): judge(cell, table) for cell, table in cells}


@pytest.mark.parametrize("place", INCREMENTS, ids=" ".join)
def test_increments_over_a_base_row(findings: dict[Place, Finding], place: Place) -> None:
    found, (ours, printed) = findings[place], INCREMENTS[place]
    assert found.verdict == "increment reproduced"
    told = re.search(r"Adds (\S+) G to .*, printed (\S+) G\.", found.why)
    assert told is not None
    unit = 10.0 ** -len(told[1].partition(".")[2])
    assert (float(told[1]), told[2]) == (pytest.approx(ours, abs=0.6 * unit), printed)


def test_every_increment_is_listed_and_its_total_is_off(findings: dict[Place, Finding]) -> None:
    found = {place: f for place, f in findings.items() if f.verdict == "increment reproduced"}
    assert set(found) == set(INCREMENTS)
    for finding in found.values():
        assert finding.ours is not None
        assert rounded(finding.ours, finding.cell.published) == "off"


def test_an_increment_that_does_not_agree_is_not_reproduced(findings: dict[Place, Finding]) -> None:
    found = findings["10", "+5 NL"]
    assert (found.verdict, found.how) == ("not reproduced", ())
    assert found.why.startswith("Adds 22.2348 G to baseline (Slow-only), printed 20.31 G.")
