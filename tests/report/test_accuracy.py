"""Tables and page of training runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import accuracy_tables as tables
from bench.report import show_accuracy, write_accuracy
from bench.report.accuracy_runs import parts
from bench.report.digits import MISSING
from bench.report.readme import rebuild, stale
from bench.row import RunError
from tests.report.synthetic import row, write_run
from tests.report.trained import BLOCKS, failed, mean_iou, study, trained, write_runs


def cells(records: list[dict[str, Any]], label: str, baseline: str = "identity") -> dict[str, str]:
    """The row of a block in the accuracy table of the only part, by header."""
    (part,) = parts(records)
    grid = tables.accuracy(part, baseline).grid
    return dict(zip(grid.header, next(line for line in grid.rows if line[0] == label), strict=True))


def test_a_row_holds_mean_and_sample_deviation_over_the_seeds() -> None:
    records = [trained("gc", seed, miou=value, seconds=10.0 + seed) for seed, value in enumerate((60.0, 61.0, 62.0))]
    found = cells(records, "gc")
    assert found["mIoU"] == "61.0 ± 1.0"
    assert (found["seeds"], found["s a run"]) == ("3", "11.0")
    assert (found["params"], found["MMACs"]) == ("650", "0.166")


def test_one_seed_has_no_deviation() -> None:
    assert cells([trained("gc", miou=60.04)], "gc")["mIoU"] == "60.0"


def test_rows_stand_in_the_order_of_first_appearance() -> None:
    (part,) = parts([trained("nl"), trained("gc"), trained("apnb"), trained("nl", 1)])
    assert [line[0] for line in tables.accuracy(part, "nl").grid.rows] == ["nl", "gc", "apnb"]


def test_failed_runs_are_counted_and_said_and_do_not_enter_the_mean() -> None:
    records = [trained("gc", 0, miou=60.0), failed("gc", 1), failed("gc", 2), failed("pam", 0, "oom", "too large")]
    assert cells(records, "gc")["seeds"] == "1 of 3"
    assert cells(records, "gc")["mIoU"] == "60.0"
    assert set(list(cells(records, "pam").values())[1:]) == {MISSING, "0 of 1", ""}
    (part,) = parts(records)
    notes = tables.accuracy(part, "gc").notes
    assert "Without a result, diverged: gc seeds 1, 2 (the loss is nan)." in notes
    assert "Without a result, out of memory: pam seed 0 (too large)." in notes


def test_a_run_made_again_counts_once_and_a_good_one_outlives_a_later_failure() -> None:
    records = [failed("gc", 0), trained("gc", 0, miou=60.0), trained("gc", 0, miou=70.0), failed("gc", 0)]
    assert cells(records, "gc")["mIoU"] == "70.0"
    assert cells(records, "gc")["seeds"] == "1"
    (part,) = parts(records)
    assert "3 runs were left out: the last good run of a block and seed counts." in tables.accuracy(part, "gc").notes


@pytest.mark.parametrize("apart", [{"size": 96}, {"recipe": "probe"}, {"settings": "s1"}, {"dataset": "camvid"}])
def test_runs_that_do_not_compare_never_share_a_table(tmp_path: Path, apart: dict[str, Any]) -> None:
    records = [trained("gc"), trained("gc", 1, **apart), trained("nl")]
    found = parts(records)
    assert [[block.label for block in part.blocks] for part in found] == [["gc", "nl"], ["gc"]]
    assert len({part.words() for part in found}) == 2
    assert len({part.slug() for part in found}) == 2
    folder = write_runs(tmp_path / "run", records)
    write_accuracy(folder, baseline="gc")
    assert "2 parts that do not compare" in (folder / "accuracy.md").read_text()


def test_data_without_twins_or_groups_have_no_such_columns() -> None:
    bare = {
        "resolving": None,
        "groups": None,
        "block_params": None,
        "block_macs": None,
        "size": None,
        "map_width": None,
    }
    (part,) = parts([trained("gcnet", dataset="camvid", params=5_000_000, macs=7_000_000_000, **bare)])
    table = tables.accuracy(part, "gcnet")
    assert table.grid.header == ("block", "params", "MMACs", "mIoU", "boundary F1", "seeds", "s a run")
    assert table.grid.rows[0][1:3] == ("5.00M", "7000")
    assert "Params and MMACs are the whole network's." in table.notes
    assert tables.group_table(part) is None


def test_several_widths_get_a_table() -> None:
    (part,) = parts([trained("gc", boundary_f1_at={"3": 60.0, "12": 70.0}, boundary_f1_merged=None)])
    table = tables.boundary_table(part)
    assert table is not None
    assert table.grid.header == ("block", "3 px", "12 px")
    assert table.grid.rows == (("gc", "60.0", "70.0"),)


@pytest.mark.parametrize("label", ["gald:ga=nl,ld=v2,extraordinary=true,kernel=15", "a" * 70])
def test_the_terminal_holds_a_hundred_columns(tmp_path: Path, label: str) -> None:
    records = study(10)
    for seed in range(10):
        learned = 100.0 if seed % 2 else 10.0
        wild = {"scene": learned, "pairwise": learned, "regional": 90.0 + seed / 10}
        records.append(trained(label, seed, resolving=wild, boundary_f1=learned))
    shown = show_accuracy(write_runs(tmp_path / "run", records))
    assert max(len(line) for line in shown.split("\n")) <= 100
    assert "undecided: scene 5/10," in shown
    assert "pairwise 5/10" in shown


def test_json_and_csv_hold_raw_figures(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", [trained("gc", 0, miou=60.0), trained("gc", 1, miou=61.0), failed("nl", 0)])
    gc, nl = json.loads(show_accuracy(folder, "json"))
    assert (gc["block"], gc["miou_mean"], gc["seeds"], gc["failed"]) == ("gc", 60.5, 2, 0)
    assert gc["miou_sd"] == pytest.approx(0.5**0.5)
    assert (nl["miou_mean"], nl["seeds"], nl["failed"]) == (None, 0, 1)
    read = list(csv.DictReader(show_accuracy(folder, "csv").splitlines()))
    assert (read[0]["miou_mean"], read[1]["miou_mean"]) == ("60.5", "")


def test_markdown_and_latex(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", study(2))
    assert "| gc:ratio=4 " in show_accuracy(folder, "markdown")
    assert r"$\pm$" in show_accuracy(folder, "latex")
    with pytest.raises(ValueError, match="unknown format 'pdf'"):
        show_accuracy(folder, "pdf")


def test_write_makes_page_tables_and_plots_and_removes_what_is_stale(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", study(2))
    (folder / "plots").mkdir()
    for name in ("pareto-old.svg", "learning-old.png", "time-kept.svg"):
        (folder / "plots" / name).write_text("old")
    written = write_accuracy(folder)
    assert written[0] == folder / "accuracy.md"
    assert all(path.exists() for path in written)
    made = {path.relative_to(folder).as_posix() for path in written[1:]}
    names = {f"tables/{name}.{end}" for name in ("accuracy", "differences") for end in ("md", "csv", "tex")}
    assert made == names | {f"plots/learning-scenes-64-default.{end}" for end in ("svg", "png")} | {"report.html"}
    assert sorted(path.name for path in (folder / "plots").iterdir() if path not in written) == ["time-kept.svg"]
    page = (folder / "accuracy.md").read_text()
    assert "not drawn against cost: no sweep of costs was given" in page
    assert "Imaginary CPU" in page
    assert "Carries, by rule" in page


def test_a_run_without_records_has_a_page_and_a_run_without_a_file_is_an_error(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", [])
    assert write_accuracy(folder)[0].read_text().endswith("No run has been recorded yet.\n")
    assert show_accuracy(folder) == ""
    with pytest.raises(RunError, match="cannot read"):
        show_accuracy(tmp_path / "nowhere")


def test_an_unknown_baseline_names_the_nearest(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", [trained("gc:ratio=4"), trained("nl")])
    with pytest.raises(RunError, match=r"baseline 'gc:ratio=8'; trained: gc:ratio=4, nl; nearest: gc:ratio=4$"):
        write_accuracy(folder, baseline="gc:ratio=8")
    assert "no run of it ended well here" in show_accuracy(folder)


def test_the_invented_counts_add_up() -> None:
    record = trained("nl", 3)
    assert record["miou"] == pytest.approx(mean_iou(record["folds"]))


def test_a_readme_part_of_training_runs(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "results" / "trained", study(2))
    write_run(folder / "cost", [row(name, 16, 16, 48, params=BLOCKS[name][4]) for name in ("gc", "nl", "apnb")])
    write_run(tmp_path / "results" / "swept", [row("nl"), row("gc")])
    readme = tmp_path / "README.md"
    marked = "<!-- contextbench{}: results/{} -->\nold\n<!-- /contextbench -->\n"
    readme.write_text(marked.format(" training", "trained") + "between\n" + marked.format("", "swept") + "after\n")
    written = write_accuracy(folder)
    assert stale(readme)
    assert rebuild(readme)
    assert not stale(readme)
    text = readme.read_text()
    first, second = text.split("between\n")
    assert "| apnb " in first
    assert "All 26 runs: `results/trained/accuracy.md`." in first
    image = first.split("](")[1].split(")")[0]
    assert tmp_path / image in written
    assert "| gc " in second
    assert text.endswith("<!-- /contextbench -->\nafter\n")
    write_runs(folder, study(3))
    assert stale(readme)
    write_runs(folder, [])
    with pytest.raises(RunError, match="no training runs to show"):
        rebuild(readme)
