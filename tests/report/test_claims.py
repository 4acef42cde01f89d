"""The ledger as a reader sees it: for a terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import FORMATS, Section, show_claims, write_claims
from bench.report.digits import MISSING

Record = dict[str, Any]
ARROW, YES, NO = "\N{RIGHTWARDS ARROW}", "\N{CHECK MARK}", "\N{BALLOT X}"
DELTA, CIRCLE, UNEQUAL = "\N{INCREMENT}", "\N{ANTICLOCKWISE OPEN CIRCLE ARROW}", "\N{NOT EQUAL TO}"
NOTE = "Counted with its bias, as its table says."
SUMMARY = "2 of 3 static cells reproduced"


def cell(row: str, metric: str, published: str | None, ours: float | None, verdict: str, **fields: Any) -> Record:
    """A record as the ledger gives it."""
    apart = (ours / float(published) - 1) * 100 if published and ours is not None else None
    made = {"paper": "ann", "table": "1", "title": "a title", "row": row, "metric": metric, "unit": "M"}
    made |= {"published": published, "ours": ours, "difference": apart}
    made |= dict.fromkeys(("ratio", "ratio_ci_low", "ratio_ci_high", "ratio_published"))
    made |= {"verdict": verdict, "why": None, "convention": "params", "block": "gc:ratio=4", "size": "8x8"}
    return {**made, "channels": 2048, **fields}


def accuracy(row: str, metric: str, published: str, data: str = "Cityscapes val") -> Record:
    why = f"needs training on {data}"
    return cell(row, metric, published, None, "needs training", why=why, convention="accuracy", unit="%")


CELLS = [
    cell("+GC | r=16", "params", "28.08", 28.079, "reproduced", why=NOTE),
    cell("+GC | r=16", "FLOPs", "43.5", 55.2306, "not reproduced", why=NOTE, unit="G"),
    accuracy("+GC | r=16", "Top-1", "76.51"),
    accuracy("+GC | r=16", "Top-5", "93.35"),
    cell("plain", "params", None, 25.55703, "not published", why=NOTE),
    cell("plain", "FLOPs", "12", None, "not comparable", why="A network of others.", unit="G", convention="quoted"),
    accuracy("plain", "Top-1", "75.01"),
    cell("plain", "time", "19.5", None, "not measured", why="to be measured", convention="time", unit="ms"),
]


def section(cells: list[Record] = CELLS, explain: str = "") -> Section:
    return Section("ANN: a paper", "Somebody, 2019", "Table 1", "what it compares", explain, cells)


def lines(cells: list[Record] = CELLS, width: int = 400) -> list[tuple[str, ...]]:
    return list(section(cells).lines(width).rows)


def shown(found: Record) -> str:
    """Column `ours` of a line."""
    return lines([found])[0][3]


def test_a_line_a_cell_with_the_row_named_once() -> None:
    assert section().lines().header == ("row", "metric", "published", "ours", "difference", "verdict", "why")
    assert lines()[:2] == [
        ("+GC | r=16", "params (M)", "28.08", "28.079", "-0.00 %", "reproduced", NOTE),
        ("", "FLOPs (G)", "43.5", "55.23", "+26.97 %", "not reproduced", "as above"),
    ]


def test_accuracies_of_a_row_share_a_line_at_its_end() -> None:
    found = lines()
    assert [line[0] for line in found] == ["+GC | r=16", "", "", "plain", "", "", ""]
    assert found[2][1:] == ("Top-1 76.51, Top-5 93.35", "", MISSING, MISSING, "needs training", "on Cityscapes val")
    assert found[6][1:] == ("Top-1 (%)", "75.01", MISSING, MISSING, "needs training", "on Cityscapes val")


def test_accuracies_on_several_data_sets_name_each_once() -> None:
    both = [accuracy("a", "mIoU", "1.0"), accuracy("a", "pixAcc", "2.0"), accuracy("a", "AP", "3.0", "COCO val")]
    assert lines(both)[0][6] == "on Cityscapes val; on COCO val"


def test_a_long_reason_is_told_once_and_named_after_its_row() -> None:
    whys = (NOTE, NOTE, "another", NOTE, "", "", "short", "short")
    cells = [cell("a", str(number), "1", 1.0, "reproduced", why=why or None) for number, why in enumerate(whys)]
    told = [NOTE, "as above", "another", "as above", "", "", "short", "short"]
    assert [line[6] for line in lines(cells)] == told
    later = [cell("b", "0", "1", 1.0, "reproduced", why=why) for why in (NOTE, "short", "of b alone " * 4, NOTE)]
    assert [line[6].strip() for line in lines([*cells, *later])] == [
        *told,
        *("as for a", "short", ("of b alone " * 4).strip(), "as for a"),
    ]


def test_a_reason_is_repeated_where_naming_its_row_takes_more_room() -> None:
    cells = [
        cell(row, "0", "1", 1.0, "reproduced", why=NOTE) for row in ("a row with a very long name of its own", "b")
    ]
    assert [line[6] for line in lines(cells)] == [NOTE, NOTE]


def test_what_is_not_there_is_a_dash() -> None:
    assert lines()[3][:4] == ("plain", "params (M)", MISSING, "25.56")
    assert lines()[4][2:6] == ("12", MISSING, MISSING, "not comparable")


@pytest.mark.parametrize(
    ("published", "ours", "text"),
    [
        *(("28.08", 28.079, "28.079"), ("58.0", 58.0127, "58.01"), ("609", 609.014, "609.0"), ("110", 110.0, "110")),
        *(("7797", 7797.0, "7797"), ("+0.4", 0.018432, "0.02"), ("3.5", 3.5, "3.50"), (None, 65.7075, "65.71")),
    ],
)
def test_ours_has_one_decimal_more_than_printed(published: str | None, ours: float, text: str) -> None:
    assert shown(cell("a", "b", published, ours, "reproduced")) == text


def test_a_measured_figure_has_significant_digits() -> None:
    assert shown(cell("a", "b", "19.50", 9.06531, "not comparable", ratio=0.5)) == "9.065"


def test_long_texts_are_wrapped_for_a_terminal() -> None:
    told = cell("a row of " + "many words " * 5, "b", "1", 1.0, "reproduced", why="word " * 40)
    for width in (120, 200):
        (line,) = lines([told], width)
        assert "\n" in line[0]
        assert max(map(len, line[0].split("\n"))) <= 32
        assert line[6].split() == ["word"] * 40
        wide = max(map(len, section([told]).lines(width).plain().splitlines()))
        assert width - 6 < wide <= width
    (narrow,) = lines([told], 20)
    assert 20 < max(map(len, narrow[6].split("\n"))) <= 28


def test_a_terminal_gets_paper_table_cells_explanation_and_summary() -> None:
    text = show_claims([section(explain="First.\n\nSecond " + "word " * 40)], SUMMARY, "table")
    assert text.startswith("ANN: a paper (Somebody, 2019)\nTable 1: what it compares\n\nrow ")
    assert text.endswith(f"\n\n{SUMMARY}")
    assert "\n\nFirst.\n\nSecond word" in text
    assert "| r=16" in text


def test_the_layout_is_the_paper_s_with_both_figures_and_a_mark() -> None:
    grid = section().layout()
    assert grid.header == ("", "params (M)", "FLOPs (G)", "Top-1 (%)", "Top-5 (%)", "time (ms)")
    assert grid.rows == (
        ("+GC | r=16", f"28.08 {ARROW} 28.079 {YES}", f"43.5 {ARROW} 55.23 {NO}", "76.51", "93.35", ""),
        ("plain", f"{MISSING} {ARROW} 25.56", "12 ~", "75.01", "", "19.5 ?"),
    )


@pytest.mark.parametrize("convention", ["time", "fps", "cuda_memory"])
def test_a_figure_of_another_device_stands_alone_in_the_layout(convention: str) -> None:
    timed = cell("a", "b", "19.5", 3.0, "reproduced", convention=convention, ratio=0.5)
    assert section([timed]).layout().rows == (("a", f"19.5 {YES}"),)
    ratio = {**timed, "convention": "ratio_of_time", "ratio": 3.0}
    assert section([ratio]).layout().rows == (("a", f"19.5 {ARROW} 3.000 {YES}"),)


def test_a_verdict_on_an_increment_shows_both_totals_and_is_named() -> None:
    why = "Adds 0.130 G to baseline, printed 0.2 G."
    fields = {"unit": "G", "convention": "ptflops_increment", "why": why}
    found = cell("+GC", "FLOPs", "279.6", 275.7275, "increment reproduced", **fields)
    assert section([found]).layout().rows == (("+GC", f"279.6 {ARROW} 275.73 {DELTA}{YES}"),)
    assert lines([found]) == [("+GC", "FLOPs (G)", "279.6", "275.73", "-1.39 %", "increment reproduced", why)]
    assert r"279.6 $\to$ 275.73 $\Delta$\checkmark" in section([found]).latex()


def test_circles_and_other_devices_have_marks_of_their_own() -> None:
    circle = cell("a", "params", "2.3", 2.36288, "circular")
    other = cell("a", "time", "19.5", 3.0, "differs on this device", convention="time", ratio=0.5, unit="ms")
    assert section([circle, other]).layout().rows == (("a", f"2.3 {ARROW} 2.36 {CIRCLE}", f"19.5 {UNEQUAL}"),)
    assert r"a & 2.3 $\to$ 2.36 $\circlearrowleft$ & 19.5 $\neq$ \\" in section([circle, other]).latex()


def test_markdown_escapes_pipes_and_lists_reasons() -> None:
    text = section(explain="An explanation.").markdown()
    assert text.startswith("### Table 1: what it compares\n\n|")
    assert "| +GC \\| r=16 |" in text
    assert "\n\nAn explanation.\n\n- " in text
    assert text.splitlines()[-3:] == [
        f"- +GC | r=16, params; +GC | r=16, FLOPs; plain, params: {NOTE}",
        "- Needs training on Cityscapes val.",
        "- plain, FLOPs: A network of others.",
    ]


def test_a_reason_names_four_cells_and_counts_the_rest() -> None:
    cells = [cell(row, "params", "1", 1.0, "reproduced", why="same") for row in "abcdefg"]
    assert section(cells).reasons() == ["a, params; b, params; c, params; d, params and 3 more: Same"]


def test_what_is_still_to_be_measured_is_no_reason() -> None:
    assert not any("measured" in reason for reason in section().reasons())
    only = section([CELLS[-1]])
    assert only.reasons() == []
    assert only.markdown().endswith("|")


def test_a_page_names_each_paper_once() -> None:
    other = Section("GCNet: another", "Others, 2020", "Table 2", "else", "", CELLS[:1])
    text = show_claims([section(), section(), other], SUMMARY, "markdown")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# The papers' figures, checked",
        *("## ANN: a paper", "### Table 1: what it compares", "### Table 1: what it compares"),
        *("## GCNet: another", "### Table 2: else"),
    ]
    assert f"**{SUMMARY}.**" in text
    assert "\n\n## ANN: a paper\n\nSomebody, 2019\n\n### " in text
    legend = " ".join(text.split("##")[0].split())
    for mark in (YES, f"{DELTA}{YES}", CIRCLE, NO, UNEQUAL, "~", "?"):
        assert f" {mark} " in legend


def test_latex_is_a_table_of_signs_under_a_legend_and_over_its_reasons() -> None:
    text = show_claims([section(), section(CELLS[2:3])], SUMMARY, "latex")
    assert text.isascii()
    legend, first, second, summary = text.split("\n\n")
    assert all(line.startswith("% ") for line in legend.splitlines())
    for word in ("booktabs", "amssymb", r"\checkmark reproduced", r"$\times$ not reproduced", r"$\sim$ not comparable"):
        assert word in legend
    for word in (r"$\Delta$\checkmark increment", r"$\circlearrowleft$ circular", r"$\neq$ differs on this device"):
        assert word in legend
    start = "% ANN: a paper (Somebody, 2019), Table 1: what it compares\n\\begin{tabular}"
    assert first.startswith(f"{start}{{lrrrrr}}\n")
    assert second.startswith(f"{start}{{lr}}\n")
    assert first.count(r"\begin{tabular}") == first.count(r"\end{tabular}") == 1
    assert r"+GC $|$ r=16 & 28.08 $\to$ 28.079 \checkmark & 43.5 $\to$ 55.23 $\times$ & 76.51 & 93.35 &  \\" in first
    assert r"plain & -- $\to$ 25.56 & 12 $\sim$ & 75.01 &  & 19.5 ? \\" in first
    assert r"Top-1 (\%)" in first
    assert first.splitlines()[-4:] == [
        r"\end{tabular}",
        f"%   +GC | r=16, params; +GC | r=16, FLOPs; plain, params: {NOTE}",
        "%   Needs training on Cityscapes val.",
        "%   plain, FLOPs: A network of others.",
    ]
    assert second.endswith("\\end{tabular}\n%   Needs training on Cityscapes val.")
    assert summary == f"% {SUMMARY}"


def test_json_holds_one_raw_record_a_cell() -> None:
    found = json.loads(show_claims([section(CELLS[:3]), section(CELLS[3:])], SUMMARY, "json"))
    assert found == CELLS


def test_csv_holds_one_raw_record_a_cell_and_keeps_printed_digits() -> None:
    found = list(csv.DictReader(io.StringIO(show_claims([section()], SUMMARY, "csv"))))
    assert list(found[0]) == list(CELLS[0])
    assert [line["row"] for line in found] == [made["row"] for made in CELLS]
    printed = show_claims([section([cell("a", "b", "58.0", 58.0127, "reproduced")])], SUMMARY, "csv")
    (line,) = csv.DictReader(io.StringIO(printed))
    assert (line["published"], line["ours"], line["why"], line["channels"]) == ("58.0", "58.0127", "", "2048")
    assert (found[4]["published"], found[4]["ours"]) == ("", "25.55703")


def test_a_ledger_is_written_as_page_tables_and_records(tmp_path: Path) -> None:
    written = write_claims([section()], SUMMARY, tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["papers.md", "papers.tex", "papers.csv"]
    for path, name in zip(written, ("markdown", "latex", "csv"), strict=True):
        assert path.read_text(encoding="utf-8") == show_claims([section()], SUMMARY, name) + "\n"


def test_a_ledger_that_cannot_be_written_says_which_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        write_claims([section()], SUMMARY, tmp_path / "file")
    assert caught.value.filename is not None


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_a_table_of_one_accuracy(name: str) -> None:
    text = show_claims([section([accuracy("a", "mIoU", "81.3")])], SUMMARY, name)
    assert "81.3" in text
