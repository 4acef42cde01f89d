"""`run_bench.py papers` from the command line: print, write, refuse, measure and read back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.papers import ledger
from bench.row import read_rows
from bench.session import Outcome, Request

Command = Callable[..., tuple[int, str, str]]
SUMMARY = (
    "12 printed figures: 7 of 8 static cells reproduced (FLOPs 3 of 4, memory 4 of 4), "
    "of them 1 by a rule or layer that no paper names, 1 with the last digit cut off; 1 not reproduced; "
    "4 of time, rate or device memory (4 not measured)"
)


@pytest.mark.parametrize("arguments", [["ann", "--table", "1"], ["ann", "--table", "1", "--format", "table"]])
def test_a_table_is_printed_with_its_summary(command: Command, arguments: list[str]) -> None:
    code, out, err = command("papers", *arguments)
    assert (code, err) == (0, "")
    first, second, *_, last = out.splitlines()
    assert first == "ANN: Asymmetric Non-local Neural Networks for Semantic Segmentation (Zhu et al., ICCV, 2019)"
    assert second.startswith("Table 1: ")
    assert last == SUMMARY
    line = next(line.split() for line in out.splitlines() if "55.37" in line and "43.5" in line)
    assert line[:9] == ["APNB", "256x128", "FLOPs", "(G)", "43.5", "55.37", "+27.29", "%", "not"]


def test_a_paper_is_all_of_its_tables(command: Command) -> None:
    code, out, _ = command("papers", "gald")
    assert code == 0
    titles = [line.partition(":")[0] for line in out.splitlines() if line.startswith("Table ")]
    assert titles == [f"Table {id}" for id in ("1(a)", "1(b)", "1(c)", "1(d)", "1(e)", "2", "3(a)", "3(b)")]


def test_json_and_csv_hold_a_record_a_cell_and_nothing_else(command: Command) -> None:
    code, out, _ = command("papers", "ann", "--table", "1", "--format", "json")
    records = json.loads(out)
    assert (code, len(records)) == (0, 12)
    code, out, _ = command("papers", "ann", "--table", "1", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert list(lines[0]) == list(records[0])
    assert [line["published"] for line in lines] == [record["published"] for record in records]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("latex", "% Packages: booktabs, amssymb.", f"% {SUMMARY}\n"),
        ("markdown", f"# The papers' figures, checked\n\n**{SUMMARY}.**", "\n"),
    ],
)
def test_a_table_is_printed_for_a_manuscript(command: Command, name: str, start: str, end: str) -> None:
    code, out, _ = command("papers", "ann", "--table", "1", "--format", name)
    assert code == 0
    assert out.startswith(start)
    assert out.endswith(end)


def test_output_writes_the_ledger_in_three_formats(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ledger"
    code, out, err = command("papers", "ann", "--table", "1", "--output", folder)
    assert code == 0
    assert out.endswith(f"{SUMMARY}\n")
    names = ["papers.md", "papers.tex", "papers.csv"]
    assert err.splitlines() == [f"wrote {folder / name}" for name in names]
    for name, format in zip(names, ("markdown", "latex", "csv"), strict=True):
        printed = command("papers", "ann", "--table", "1", "--format", format)[1]
        assert (folder / name).read_text(encoding="utf-8") == printed


REFUSED = [
    (["an"], "unknown paper 'an'; did you mean 'ann'? allowed: ann, gald, galdv2, fastfcn, gcnet"),
    (["gcnet", "--table", "12(c)"], "gcnet has no table '12(c)'; did you mean '12(b)'? allowed: 1, 2, 4, sec4.3, 5(a)"),
    (["--table", "1"], "--table 1 needs a paper before it; allowed: ann, gald, galdv2, fastfcn, gcnet"),
    (["ann", "--sizes", "4x4"], "--sizes 4x4 is for --measure"),
    (["ann", "--measure", "--sizes", "4x4,8x8"], "papers takes one size in place of the published ones, not '4x4,8x8'"),
    (["ann", "--measure", "--sizes", "4by4"], "size '4by4' is not of the form HEIGHTxWIDTH"),
    (["ann", "--measure", "--device", "tpu"], "unknown device 'tpu'; did you mean 'cpu'? allowed: auto, cpu, cuda"),
    (["ann", "--measure", "--seconds", "-1"], "method setting 'seconds' must be a number of at least 0"),
    (["ann", "--measure", "--rows", "earlier"], "--measure and --rows exclude each other"),
    (["ann", "--rows", "nowhere"], "'nowhere' holds no run of ann-1, ann-2; give what --out named when measuring"),
    (["gald", "--rows", "nowhere"], "the chosen tables hold nothing to measure"),
    (["gcnet", "--measure"], "the chosen tables hold nothing to measure"),
    (["ann", "--seconds", "2"], "--seconds 2 is for --measure"),
    (["ann", "--out", "ledger"], "--out ledger is for the runs of --measure; --output names a folder for the ledger"),
    (["ann", "--format", "yaml"], "'yaml'"),
]


@pytest.mark.parametrize(("arguments", "expected"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_does_not_exist_or_fit_is_refused_in_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("papers", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert expected in err
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_a_file_or_broken_are_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = command("papers", "ann", "--table", "1", "--rows", tmp_path / "file")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"'{tmp_path / 'file'}' holds no run of ann-1" in err
    (tmp_path / "ann-1").mkdir()
    (tmp_path / "ann-1" / "rows.jsonl").write_text("nonsense\n{}\n")
    code, out, err = command("papers", "ann", "--table", "1", "--rows", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "line 1 is not a row" in err


def test_an_output_that_is_a_file_is_refused_before_anything_is_judged(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "judge", lambda *_: pytest.fail("judged although it cannot be written"))
    (tmp_path / "file").write_text("")
    code, out, err = command("papers", "gald", "--table", "2", "--output", tmp_path / "file")
    assert (code, out) == (2, "")
    assert err == f"error: '{tmp_path / 'file'}': is not a folder\n"


def test_papers_and_tables_are_named_as_one_likes(command: Command) -> None:
    asked = [command("papers", paper, "--table", table) for paper, table in (("gcnet", "8(b)"), ("GCNet", "8B"))]
    assert asked[0] == asked[1]
    assert "\nTable 8(b): " in asked[0][1]


def timed(out: str) -> dict[str, dict[str, Any]]:
    """The records of times, by row."""
    return {record["row"]: record for record in json.loads(out) if record["convention"] == "time"}


def test_a_table_is_measured_here_and_read_back(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("papers", "ann", "--table", "1", "--format", "json")
    asked = ("--measure", "--sizes", "4x4", "--seconds", "0.2", "--device", "cpu", "--out", tmp_path)
    code, out, err = command(*words, *asked)
    assert code == 0
    assert "ann-1: 2 ok; 2 rows in all" in err
    rows = read_rows(tmp_path / "ann-1" / "rows.jsonl")
    assert [(row["height"], row["width"], row["channels"], row["status"]) for row in rows] == [(4, 4, 2048, "ok")] * 2
    found = timed(out)
    assert [record["ours"] for record in found.values()] == [rows[i]["latency_ms"] for i in (0, 1, 0, 1)]
    for row, printed, size in (("APNB 96x96", "0.64", "96x96"), ("APNB 256x128", "0.17", "128x256")):
        record = found[row]
        for name in ("ratio", "ratio_ci_low", "ratio_ci_high"):
            assert record[name] == rows[1][name]
        assert 0 < record["ratio_ci_low"] <= record["ratio"] <= record["ratio_ci_high"]
        assert f"{record['ratio_published']:.2f}" == printed
        assert (record["verdict"], record["difference"]) == ("not comparable", None)
        assert f"published {printed} x" in record["why"]
        assert record["why"].endswith(f"; at map size 4x4 instead of {size}, on a CPU instead of a GPU")
    for row in ("NB 96x96", "NB 256x128"):
        assert found[row]["why"] == "the row that others are compared with"
        assert found[row]["ratio"] is None

    monkeypatch.setattr(ledger, "run_sweep", lambda *_: pytest.fail("measured although there are rows"))
    assert command(*words, "--rows", tmp_path) == (0, out, "")


@pytest.mark.parametrize(
    ("failed", "interrupted", "expected"), [(True, False, 3), (False, True, 130), (True, True, 130)]
)
def test_the_exit_code_says_how_the_measuring_ended(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: bool, interrupted: bool, expected: int
) -> None:
    def sweep(request: Request, _: object) -> Outcome:
        assert request.out is not None
        request.out.mkdir(parents=True)
        (request.out / "rows.jsonl").write_text("")
        return Outcome(request.out, "1 crashed", failed, interrupted)

    monkeypatch.setattr(ledger, "run_sweep", sweep)
    code, out, err = command("papers", "ann", "--table", "1", "--measure", "--out", tmp_path / "runs")
    assert code == expected
    assert out.endswith("(4 not measured)\n")
    assert "not in the run" in out
    told, runs = err.splitlines()
    assert told == "ann-1: 1 crashed"
    assert runs.endswith(f"--rows {tmp_path / 'runs'})")
    assert (tmp_path / "runs" / "ann-1" / "report.md").exists()
