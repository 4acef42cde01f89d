"""Verdicts on what follows from the networks alone; any change of one of them is a change of these lists."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bench.papers.judge import AGREES, CIRCULAR, INFERRED, MEASURED, RECOUNTED, TRUNCATED, Finding, Ratio, judge
from bench.papers.published import PAPERS, Cell, Table, choose, tables_of
from modules.options import SpecError

Place = tuple[str, str, str, str]
Record = dict[str, Any]

NOT_REPRODUCED = {
    ("ann", "abstract", "memory ratio"): "APNB vs NB 256x128",
    ("ann", "1", "FLOPs"): "APNB 256x128",
    ("ann", "2", "params"): "Ours ResNet-101",
    ("gald", "1(b)", "delta_a"): "+ASPP+LD | +NL+LD",
    ("gald", "1(d)", "delta_a"): "+PSP R101",
    ("galdv2", "I(b)", "delta_a"): "+ASPP+LDv1 | +NL+LDv1",
    ("galdv2", "I(d)", "delta_a"): "+LDv2 | +PSP+LDv2 | +ASPP+LDv2 | +NL+LDv2 | +CGNL+LDv2",
    ("galdv2", "I(d)", "delta_b"): "+PSP+LDv2 | +ASPP+LDv2 | +NL+LDv2 | +CGNL+LDv2",
    ("galdv2", "II(b)", "delta_b"): "ASPP+LDv2 k=5,r=6",
    ("galdv2", "III", "delta_a"): "R101",
    ("galdv2", "IV", "params"): "LDv1 increment",
    ("galdv2", "VI", "params"): "PSPNet | GALDv1 R101",
    ("gcnet", "10", "FLOPs"): "baseline (Slow-only) | +5 NL",
    ("gcnet", "11", "FLOPs"): "Slow-only | NLNet",
}
NOT_COMPARABLE = {
    ("ann", "2", "params"): "PSANet ResNet-101",
    ("galdv2", "IV", "params"): "+ASPP (R50) | FCN R101+ASPP",
    ("galdv2", "VI", "params"): "GALDv2 R101",
    ("gcnet", "5(a)", "FLOPs"): "baseline",
    ("gcnet", "7(a)", "FLOPs"): "R50 baseline | R101 baseline | X101 baseline",
    ("gcnet", "13", "params"): "ANN | CCNet",
    ("gcnet", "13", "FLOPs"): "ANN",
}
CIRCLES = {("galdv2", "IV", "params"): "LDv2 increment"}
CUT_OFF = {
    ("ann", "1", "APNB 96x96", "FLOPs"): (15.573713, "15.5"),
    ("galdv2", "VI", "CCNet", "params"): (66.558036, "66.5"),
    ("gcnet", "sec4.3", "GC-ResNet-50 params increase", "relative increase"): (9.867112, "9.86"),
    ("gcnet", "5(a)", "+1 SNL", "params"): (45.451318, "45.4"),
    ("gcnet", "5(c)", "c5", "params"): (45.987, "45.9"),
    ("gcnet", "10", "+all GC", "params"): (42.455005, "42.45"),
    ("gcnet", "11", "GCNet", "params"): (42.455005, "42.45"),
    ("gcnet", "12(a)", "GC backbone (c3-c5)", "FLOPs"): (647.199669, "647.19"),
}
INFERRED_ALONE = {
    ("ann", "1", "FLOPs"): "APNB 96x96",
    ("gcnet", "8(a)", "FLOPs"): "+1NL",
    ("gcnet", "8(b)", "params"): "avg+scale | avg+add",
    ("gcnet", "8(b)", "FLOPs"): "avg+scale | avg+add",
    ("gcnet", "9", "params"): "SENet* | CBAM*",
    ("gcnet", "9", "FLOPs"): "SENet*",
    ("gcnet", "10", "params"): "+5 NL",
    ("gcnet", "11", "params"): "NLNet",
    ("gcnet", "12(a)", "params"): "NL Head",
    ("gcnet", "12(a)", "FLOPs"): "NL Head | GC backbone (c3-c5) | GC backbone + GC Head",
    ("gcnet", "13", "params"): "DANet | NLNet",
    ("gcnet", "13", "FLOPs"): "DANet | CCNet | NLNet",
}
"""What is reproduced by a rule or a layer that no paper names, increments apart."""


@pytest.fixture(scope="module")
def findings() -> dict[Place, Finding]:
    """Every cell of the five papers, judged once."""
    found = [judge(cell, table) for paper in PAPERS for table in tables_of(paper) for cell in table.cells]
    return {(f.cell.paper, f.cell.table, f.cell.row, f.cell.metric): f for f in found}


@pytest.fixture(scope="module")
def records(findings: dict[Place, Finding]) -> dict[Place, Record]:
    """The same as flat records."""
    return {place: finding.row("a title") for place, finding in findings.items()}


def places(listed: dict[tuple[str, str, str], str]) -> set[Place]:
    return {(paper, table, row, metric) for (paper, table, metric), rows in listed.items() for row in rows.split(" | ")}


def made(convention: str, published: str = "", stated: str = "yes", **fields: str) -> Cell:
    known = {"paper": "ann", "table": "1", "row": "a", "metric": "x", "unit": "M", "block": "", "size": ""}
    known |= {"channels": "", "base": "", "note": ""}
    return Cell(**{**known, **fields}, convention=convention, published=published, stated=stated)


def table_of(*cells: Cell) -> Table:
    return Table("ann", "1", "", "", cells)


@pytest.mark.parametrize(
    ("verdict", "listed"),
    [("not reproduced", NOT_REPRODUCED), ("not comparable", NOT_COMPARABLE), ("circular", CIRCLES)],
)
def test_which_static_figures_do_not_agree(
    findings: dict[Place, Finding], verdict: str, listed: dict[tuple[str, str, str], str]
) -> None:
    assert {place for place, f in findings.items() if f.static and f.verdict == verdict} == places(listed)


def test_all_other_static_figures_are_reproduced(findings: dict[Place, Finding]) -> None:
    verdicts = Counter(finding.verdict for finding in findings.values() if finding.static)
    assert verdicts == {
        **{"reproduced": 155, "increment reproduced": 32, "circular": 1, "not reproduced": 26, "not comparable": 11}
    }


def test_the_verdicts_on_all_cells(findings: dict[Place, Finding]) -> None:
    assert Counter(finding.verdict for finding in findings.values()) == {
        **{"needs training": 610, "reproduced": 155, "increment reproduced": 32, "circular": 1},
        **{"not comparable": 11 + 23, "not reproduced": 26, "not measured": 30, "not published": 32},
    }


def test_what_was_cut_off_says_so(records: dict[Place, Record]) -> None:
    cut = {place: r for place, r in records.items() if str(r["why"]).startswith(TRUNCATED)}
    assert {p: (r["ours"], r["published"]) for p, r in cut.items()} == {
        place: (pytest.approx(ours, abs=5e-7), published) for place, (ours, published) in CUT_OFF.items()
    }
    assert {record["verdict"] for record in cut.values()} == {"reproduced"}


def test_what_no_paper_names_says_so(findings: dict[Place, Finding]) -> None:
    told = {place for place, f in findings.items() if INFERRED in f.how}
    assert {p for p in told if findings[p].verdict == "reproduced"} == places(INFERRED_ALONE)
    assert all(INFERRED in findings[place].why for place in told)
    cells = [findings[place].cell for place in told]
    assert {cell.stated for cell in cells if cell.convention != "same"} == {"inferred"}


def test_both_cells_of_an_inferred_row_are_those_of_one_network(findings: dict[Place, Finding]) -> None:
    rows = [("12(a)", "NL Head"), ("13", "NLNet"), ("13", "DANet"), ("8(b)", "avg+scale"), ("8(b)", "avg+add")]
    for table, row in [*rows, ("9", "SENet*")]:
        params, flops = (findings["gcnet", table, row, metric].cell for metric in ("params", "FLOPs"))
        assert params.case() == flops.case()


def test_difference_is_ours_over_the_published_figure_in_per_cent(records: dict[Place, Record]) -> None:
    record = records["ann", "1", "APNB 256x128", "FLOPs"]
    assert record["difference"] == pytest.approx((55.3732 / 43.5 - 1) * 100, abs=1e-3)
    fewer = records["ann", "2", "Ours ResNet-101", "params"]
    assert fewer["difference"] == pytest.approx(-0.325, abs=1e-3)
    for found in records.values():
        known = found["ours"] is not None and found["published"] is not None
        assert (found["difference"] is not None) == known


def test_a_time_of_another_device_has_no_difference() -> None:
    for convention in ("time", "fps", "cuda_memory"):
        assert Finding(made(convention, "19.5"), 3.0, "not comparable").row("")["difference"] is None
    assert Finding(made("ratio_of_time", "2"), 3.0, "not comparable").row("")["difference"] == 50


def test_a_record_tells_all_that_is_known_of_a_cell() -> None:
    cell = made("params", "1.2", block="gc", size="8x8", note="n")
    told = {"paper": "ann", "table": "1", "title": "t", "row": "a", "metric": "x", "unit": "M", "published": "1.2"}
    told |= {"ours": 1.5, "ratio": 1.1, "ratio_ci_low": 1.0, "ratio_ci_high": 2.0, "ratio_published": 1.2}
    told |= {"difference": pytest.approx(25), "verdict": "not reproduced", "why": "w"}
    told |= {"convention": "params", "block": "gc", "size": "8x8", "channels": 2048}
    assert Finding(cell, 1.5, "not reproduced", "w", Ratio(1.1, 1.0, 2.0, 1.2)).row("t") == told
    empty = Finding(made("accuracy"), None, "needs training").row("t")
    absent = {"published", "ours", "difference", "why", "block", "size", "channels"}
    absent |= {"ratio", "ratio_ci_low", "ratio_ci_high", "ratio_published"}
    assert {name for name, value in empty.items() if value is None} == absent


def test_an_accuracy_says_on_which_data_it_needs_training(records: dict[Place, Record]) -> None:
    record = records["ann", "4", "Ours ResNet-101", "mIoU"]
    assert (record["verdict"], record["why"]) == ("needs training", "needs training on ADE20K val")
    trained = [found for found in records.values() if found["verdict"] == "needs training"]
    assert {found["convention"] for found in trained} == {"accuracy"}
    assert {found["ours"] for found in trained} == {None}


def test_a_quoted_figure_is_not_comparable_and_says_why(records: dict[Place, Record]) -> None:
    quoted = [found for found in records.values() if found["convention"] == "quoted"]
    assert {(found["verdict"], found["ours"]) for found in quoted} == {("not comparable", None)}
    assert records["ann", "2", "DenseASPP DenseNet-161", "params"]["why"].startswith("A third party's network")


def test_what_is_to_be_measured_says_how(records: dict[Place, Record]) -> None:
    timed = [found for found in records.values() if found["convention"] in MEASURED]
    assert {(found["verdict"], found["ours"]) for found in timed} == {("not measured", None)}
    assert all(found["why"].startswith("to be measured with --measure") for found in timed)
    assert records["ann", "1", "NB 96x96", "GPU time"]["why"] == "to be measured with --measure"


def test_a_ratio_of_rates_is_told_beside_that_of_multiply_adds(records: dict[Place, Record]) -> None:
    why = records["fastfcn", "2", "resnet101 Encoding-JPU", "FPS"]["why"]
    assert why == "to be measured with --measure; multiply-adds alone would give 2.72 x of resnet101 Encoding-None"


def test_what_was_not_published_is_counted_all_the_same(findings: dict[Place, Finding]) -> None:
    unprinted = [finding for finding in findings.values() if not finding.cell.published]
    assert len(unprinted) == 32
    for finding in unprinted:
        assert finding.verdict == "not published"
        assert not finding.static
        assert finding.ours is not None
        assert finding.ours > 1


def test_a_repeated_cell_comes_to_what_the_first_one_does(findings: dict[Place, Finding]) -> None:
    for row, first in (("Slow-only", "baseline (Slow-only)"), ("NLNet", "+5 NL"), ("GCNet", "+all GC")):
        for metric in ("params", "FLOPs"):
            again, before = findings["gcnet", "11", row, metric], findings["gcnet", "10", first, metric]
            assert (again.ours, again.verdict, again.how) == (before.ours, before.verdict, before.how)
            assert again.why == f"{before.why} Repeats the cell of Table 10."


@pytest.mark.parametrize(
    ("published", "stated", "verdict", "how"),
    [
        *(("0.07", "yes", "reproduced", ""), ("0.07", "no", "not comparable", f"{AGREES} ")),
        *(("0.07", "own", "circular", f"{CIRCULAR} "), ("0.08", "own", "not reproduced", "")),
        *(("0.07", "inferred", "reproduced", f"{INFERRED} "), ("0.06", "yes", "reproduced", f"{TRUNCATED} ")),
        ("0.06", "inferred", "reproduced", f"{TRUNCATED} {INFERRED} "),
        *(("0.08", "yes", "not reproduced", ""), ("0.08", "inferred", "not reproduced", "")),
        ("0.08", "no", "not comparable", ""),
    ],
)
def test_what_a_paper_does_not_state_is_neither_confirmed_nor_refuted(
    published: str, stated: str, verdict: str, how: str
) -> None:
    cell = made("params", published, stated, block="nl:mode=gaussian", size="8x8", channels="256", note="a note")
    finding, weights = judge(cell, table_of(cell)), 2 * 256 * 128 + 128 + 256
    assert (finding.ours, finding.verdict, finding.why) == (pytest.approx(weights / 1e6), verdict, f"{how}a note")


def test_a_difference_is_that_of_the_printed_figures() -> None:
    base = made("accuracy", "73.7", row="base", metric="mIoU")
    mean = made("accuracy", "77.2", metric="mIoU")
    same, more = (made("difference", text, metric="delta", base="base") for text in ("3.5", "+3.6"))
    found = [judge(cell, table_of(base, mean, same, more)) for cell in (same, more)]
    assert [(f.ours, f.verdict) for f in found] == [(3.5, "reproduced"), (3.5, "not reproduced")]


def test_a_difference_without_its_minuend_is_refused() -> None:
    lonely = made("difference", "3.5", base="b")
    with pytest.raises(SpecError, match=r"^ann table 1, a: there is no mIoU to take a difference of$"):
        judge(lonely, table_of(lonely))


def test_only_what_was_published_and_follows_from_the_network_is_static() -> None:
    assert all(Finding(made(convention, "1"), 1.0, "reproduced").static for convention in RECOUNTED)
    assert not Finding(made("params"), 1.0, "not published").static
    assert not any(Finding(made(c, "1"), 1.0, "reproduced").static for c in (*MEASURED, "accuracy", "quoted"))


def test_the_same_difference_is_judged_by_the_base_of_another_table() -> None:
    (table,) = choose("gald", "1(d)")
    cell = table.at("+PSP+LD R50", "delta_a")
    assert cell is not None
    assert cell.base == "1(a)|FCN (Baseline)"
    assert judge(cell, table).ours == pytest.approx(78.9 - 73.7)
