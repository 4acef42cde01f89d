"""From a question to a ledger: what is refused, what is chosen, measured or read back, and the line that sums it up."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.papers import Inquiry, Ledger, inquire, ledger
from bench.papers.judge import INFERRED, TRUNCATED, Finding, Verdict
from bench.papers.ledger import Chapter
from bench.papers.published import Cell, Table
from bench.row import make_row
from bench.session import Outcome, Request
from bench.suite import load_suite
from modules.options import SpecError

QUIET = Console(file=io.StringIO())


def finding(verdict: Verdict, convention: str = "params", published: str = "1", how: tuple[str, ...] = ()) -> Finding:
    places = {"paper": "ann", "table": "1", "row": "a", "metric": "b", "unit": "M", "published": published}
    absent = dict.fromkeys(("block", "size", "channels", "base", "note"), "")
    return Finding(Cell(**places, **absent, convention=convention, stated="yes"), None, verdict, how=how)


def ledger_of(*findings: Finding) -> Ledger:
    table = Table("ann", "1", "a title", "", tuple(found.cell for found in findings))
    return Ledger((Chapter(table, findings[:1]), Chapter(table, findings[1:])))


def rows_of(suite: str, size: str | None = None) -> list[dict[str, Any]]:
    """The rows of a run of the suite on a CPU: the reference takes 8 ms, all others 2 ms."""
    rows = []
    for case, reference in load_suite(suite).override({"sizes": size}, None).cases("cpu").items():
        quick = case.label != reference
        timed = {"latency_ms": 2.0 if quick else 8.0, "reference": reference, "ratio": 0.25 if quick else 1.0}
        timed |= {"ratio_ci_low": 0.2 if quick else 1.0, "ratio_ci_high": 0.4 if quick else 1.0}
        rows.append(make_row(case.row(), {"status": "ok", **timed}))
    return rows


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Request]]:
    """Put runs made by hand in the place of sweeps; the requests that come."""

    def prepare(rows: Callable[[str], list[dict[str, Any]]], failed: bool = False, stop: bool = False) -> list[Request]:
        requests: list[Request] = []

        def sweep(request: Request, console: Console) -> Outcome:
            requests.append(request)
            assert request.out is not None
            write_rows(request.out, rows(request.suite))
            return Outcome(request.out, "2 ok", failed, stop)

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(ledger, "run_sweep", sweep)
        return requests

    return prepare


def times_of(found: Ledger) -> dict[tuple[str, str], Finding]:
    timed = [f for chapter in found.chapters for f in chapter.findings if f.cell.metric == "GPU time"]
    return {(f.cell.table, f.cell.row): f for f in timed}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sizes": "4x4"}, "--sizes 4x4 is for --measure: what is not measured has its published size"),
        ({"sizes": "4x4", "rows": Path("r")}, "--sizes 4x4 is for --measure: what is not measured has its published"),
        ({"seconds": 0.5}, "--seconds 0.5 is for --measure"),
        ({"out": Path("r")}, "--out r is for the runs of --measure; --output names a folder for the ledger"),
        ({"sizes": "4x4,8x8", "measure": True}, "papers takes one size in place of the published ones, not '4x4,8x8'"),
        ({"rows": Path("r"), "measure": True}, "--measure and --rows exclude each other: measure here, or read an"),
    ],
)
def test_a_question_that_contradicts_itself_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Inquiry(**asked)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("asked", [{"measure": True}, {"rows": Path("nowhere")}])
def test_tables_without_times_cannot_be_measured(asked: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"^the chosen tables hold nothing to measure: no time, rate or device memory"):
        inquire(Inquiry("gcnet", "12", **asked), QUIET)


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_the_runs_of_the_tables_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty" / "galdv2-iv").mkdir(parents=True)
    with pytest.raises(SpecError, match=r"holds no run of ann-1, ann-2; give what --out named when measuring$"):
        inquire(Inquiry("ann", rows=tmp_path / folder), QUIET)


def test_the_chosen_tables_are_judged_cell_by_cell() -> None:
    found = inquire(Inquiry("ann", "1"), QUIET)
    (chapter,) = found.chapters
    assert [f.cell for f in chapter.findings] == list(chapter.table.cells)
    assert (found.failed, found.interrupted) == (False, False)
    assert found.summary == (
        "12 printed figures: 7 of 8 static cells reproduced (FLOPs 3 of 4, memory 4 of 4), "
        "of them 1 by a rule or layer that no paper names, 1 with the last digit cut off; 1 not reproduced; "
        "4 of time, rate or device memory (4 not measured)"
    )


def test_a_chapter_tells_a_report_what_it_needs() -> None:
    (chapter,) = inquire(Inquiry("ann", "1"), QUIET).chapters
    told = chapter.facts
    assert told["heading"] == "ANN: Asymmetric Non-local Neural Networks for Semantic Segmentation"
    assert (told["name"], told["title"]) == ("Table 1", chapter.table.title)
    assert told["source"].startswith("Zhu")
    assert told["source"].endswith("2019")
    assert told["explain"] == chapter.table.explain != ""
    assert [(row["row"], row["metric"]) for row in told["rows"]] == [(c.row, c.metric) for c in chapter.table.cells]
    assert {row["title"] for row in told["rows"]} == {chapter.table.title}


def test_five_stands_for_all_parts_of_table_5() -> None:
    found = inquire(Inquiry("gcnet", "5"), QUIET)
    assert [chapter.table.id for chapter in found.chapters] == [f"5({letter})" for letter in "abcdef"]
    assert "(params 23 of 23, FLOPs 22 of 23), of them 22 as increments over a base row, " in found.summary
    assert "; 1 not comparable; " in found.summary


def test_the_whole_ledger_in_a_line() -> None:
    found = inquire(Inquiry(), QUIET)
    assert sum(len(chapter.findings) for chapter in found.chapters) == 888 + 32
    assert found.summary == (
        "888 printed figures: 187 of 225 static cells reproduced (params 62 of 73, FLOPs 63 of 73, memory 4 of 5, "
        "anchors and positions 10 of 10, ratios of printed rates 1 of 1, differences of printed accuracies 47 of 63), "
        "of them 32 as increments over a base row, 48 by a rule or layer that no paper names, "
        "8 with the last digit cut off; 1 circular; 26 not reproduced; 11 not comparable; "
        "30 of time, rate or device memory (30 not measured); 23 quoted from others; 610 of accuracy need training; "
        "beside them 32 of ours that no paper prints"
    )


def test_the_line_counts_static_measured_quoted_and_trained_cells_apart() -> None:
    found = ledger_of(
        *(finding("reproduced"), finding("reproduced", "macs"), finding("not comparable", "difference")),
        *(finding("not published", published=""), finding("not comparable", "quoted")),
        *(
            finding("reproduced", "time"),
            finding("differs on this device", "fps"),
            finding("reproduced", "cuda_memory"),
        ),
        finding("needs training", "accuracy"),
    )
    assert found.summary == (
        "8 printed figures: "
        "2 of 3 static cells reproduced (params 1 of 1, FLOPs 1 of 1, differences of printed accuracies 0 of 1); "
        "1 not comparable; 3 of time, rate or device memory (2 reproduced, 1 differs on this device); "
        "1 quoted from others; 1 of accuracy needs training; beside them 1 of ours that no paper prints"
    )


def test_the_line_says_what_agreement_rests_on() -> None:
    found = ledger_of(
        *(
            finding("reproduced"),
            finding("reproduced", how=(TRUNCATED, INFERRED)),
            finding("reproduced", how=(TRUNCATED,)),
        ),
        *(finding("increment reproduced", "macs_increment", how=(INFERRED,)), finding("circular")),
        *(finding("not reproduced", "macs"), finding("increment reproduced", "macs_increment")),
    )
    assert found.summary == (
        "7 printed figures: 5 of 7 static cells reproduced (params 3 of 4, FLOPs 2 of 3), "
        "of them 2 as increments over a base row, 2 by a rule or layer that no paper names, "
        "2 with the last digit cut off; 1 circular; 1 not reproduced"
    )


def test_the_line_leaves_out_what_is_not_there() -> None:
    alone = ledger_of(finding("not reproduced"))
    assert alone.summary == "1 printed figure: 0 of 1 static cells reproduced (params 0 of 1); 1 not reproduced"
    assert ledger_of(finding("needs training", "accuracy")).summary == "1 printed figure: 1 of accuracy needs training"


def test_a_measurement_sweeps_the_suites_of_the_tables_as_asked(
    swept: Callable[..., list[Request]], tmp_path: Path
) -> None:
    requests = swept(lambda suite: rows_of(suite, "4x4"))
    found = inquire(Inquiry("ann", None, True, None, "4x4", "cpu", 0.5, tmp_path / "out"), QUIET)
    assert requests == [
        Request(suite, {"sizes": "4x4"}, "cpu", None, tmp_path / "out" / suite, {"seconds": 0.5})
        for suite in ("ann-1", "ann-2")
    ]
    quick = times_of(found)["1", "APNB 96x96"]
    assert (quick.ours, quick.verdict) == (2.0, "not comparable")
    assert quick.ratio is not None
    assert (quick.ratio.ours, quick.ratio.low, quick.ratio.high) == (0.25, 0.2, 0.4)
    assert "4x4 instead of 96x96, on a CPU" in quick.why
    abstract = next(f for f in found.chapters[0].findings if f.cell.convention == "ratio_of_time")
    assert abstract.ratio is not None
    assert (abstract.ours, abstract.ratio.low, abstract.ratio.high) == (4.0, 2.5, 5.0)
    assert found.chapters[2].findings[0].verdict == "reproduced"


def test_without_an_out_the_folder_is_named_after_device_and_size(swept: Callable[..., list[Request]]) -> None:
    requests = swept(rows_of)
    asked = Inquiry("ann", "1", measure=True, sizes="4x4", device="cpu")
    assert inquire(asked, QUIET).runs == (Path("results/papers-cpu-4x4/ann-1"),)
    assert [request.out for request in requests] == [asked.runs / "ann-1"]


def test_rows_of_another_size_in_the_same_folder_are_left_aside(swept: Callable[..., list[Request]]) -> None:
    swept(lambda suite: [*rows_of(suite), *rows_of(suite, "8x8"), *rows_of(suite, "4x4")])
    found = times_of(inquire(Inquiry("ann", "1", measure=True, sizes="4x4"), QUIET))
    assert "at map size 4x4 instead of 96x96" in found["1", "APNB 96x96"].why
    assert "at map size 4x4 instead of 128x256" in found["1", "APNB 256x128"].why


def test_a_failure_is_kept_and_an_interruption_measures_no_further(swept: Callable[..., list[Request]]) -> None:
    requests = swept(rows_of, failed=True, stop=True)
    found = inquire(Inquiry("ann", measure=True), QUIET)
    assert [request.suite for request in requests] == ["ann-1"]
    assert (found.failed, found.interrupted) == (True, True)
    assert times_of(found)["1", "APNB 96x96"].ours == 2.0
    unmeasured = next(f for f in found.chapters[3].findings if f.cell.convention == "time")
    assert (unmeasured.verdict, unmeasured.why) == ("not measured", "to be measured with --measure")


def test_an_earlier_measurement_is_read_where_there_is_one(swept: Callable[..., list[Request]], tmp_path: Path) -> None:
    requests = swept(rows_of)
    write_rows(tmp_path / "earlier" / "ann-1", rows_of("ann-1"))
    found = inquire(Inquiry("ann", rows=tmp_path / "earlier"), QUIET)
    assert requests == []
    assert [f.ours for f in times_of(found).values()] == [8.0, 2.0, 8.0, 2.0]
    assert next(f for f in found.chapters[3].findings if f.cell.convention == "time").ours is None


def test_every_measured_cell_finds_its_row(tmp_path: Path) -> None:
    for suite in ("ann-1", "ann-2", "galdv2-iv", "fastfcn-2"):
        write_rows(tmp_path / suite, rows_of(suite))
    found = inquire(Inquiry(rows=tmp_path), QUIET)
    unmeasured = [f for chapter in found.chapters for f in chapter.findings if f.verdict == "not measured"]
    assert {f.why for f in unmeasured} == {"device memory is read on CUDA only, not on cpu"}
    assert len(unmeasured) == 2
