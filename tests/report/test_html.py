"""report.html as a file: what it holds, what it never does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.report import Section, build, write_claims
from bench.report.groups import all_groups
from bench.report.html import write_html
from bench.report.style import assign
from bench.report.tables import efficiency
from bench.row import RunError
from tests.report.synthetic import row, skipped, sweep, write_run
from tests.report.trained import BLOCKS, failed, study, trained, write_runs

EVIL = '</script><script>alert("1")</script><!-- <b>& \N{LINE SEPARATOR}'
REPRO = "python run_bench.py sweep --blocks nl --out results/repro"


class Reader(HTMLParser):
    """Elements of a page with their attributes, the text of its scripts by kind, all text outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.style = self.text = ""
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = dict(attrs).get("type") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.style += data
        elif self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return json.loads(self.scripts["application/json"])


def read(folder: Path) -> Reader:
    """The report of a folder."""
    return Reader(write_html(folder).read_text(encoding="utf-8"))


def of_rows(folder: Path, rows: list[dict[str, Any]]) -> Reader:
    """The report of a run of these rows."""
    return read(write_run(folder, rows))


def columns(page: Reader, listing: str = "rows") -> dict[str, list[str]]:
    """The text of every row by the name of its column, of columns that show text."""
    found = page.data["listings"][listing]["columns"]
    return {one["name"]: [one["words"][at] for at in one["at"]] for one in found if "words" in one}


def small(**fields: Any) -> list[dict[str, Any]]:
    """A few rows of one group: a reference, a faster block, a tie."""
    faster = row("gc", ratio=0.1, ratio_ci_low=0.09, ratio_ci_high=0.11, **fields)
    tie = row("cgnl", ratio=1.01, ratio_ci_low=0.99, ratio_ci_high=1.02, **fields)
    return [row("nl", ratio=1.0, **fields), faster, tie]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """The report of every invented block at every size."""
    return of_rows(tmp_path_factory.mktemp("html") / "invented", sweep())


def test_nothing_is_loaded_from_anywhere(page: Reader) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes, tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,")), attributes
    assert not re.search(r"@import|url\(", page.style)
    for text in (page.style, page.text, page.scripts["script"], page.scripts["application/json"]):
        assert "//" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_policy_knows_the_two_scripts_and_forbids_the_rest(page: Reader) -> None:
    policy = next(one["content"] for tag, one in page.elements if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    digests = [hashlib.sha256(page.scripts[kind].encode()).digest() for kind in ("script", "text/plain")]
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    assert policy.endswith(f"script-src {scripts}")


def test_plotly_stands_behind_the_table_as_text(page: Reader) -> None:
    assert "plotly.js v" in page.scripts["text/plain"][:200]
    kinds = [one.get("type") for tag, one in page.elements if tag == "script"]
    assert kinds == ["application/json", None, "text/plain"]


def test_equal_rows_give_equal_bytes_wherever_they_lie(tmp_path: Path) -> None:
    first = write_run(tmp_path / "here" / "run", small())
    second = Path(shutil.copytree(first, tmp_path / "there" / "run"))
    written = write_html(first).read_bytes()
    assert write_html(first).read_bytes() == written
    assert write_html(second).read_bytes() == written


def test_labels_reasons_and_facts_are_text_whatever_they_hold(tmp_path: Path) -> None:
    evil = skipped("nl", 64, 64, 512, reason=EVIL, repro=EVIL, macs_uncounted=[EVIL], dtype=EVIL, suite=EVIL)
    folder = write_run(tmp_path / "<i>run", [row("gc"), {**evil, "options": {"mode": EVIL}}])
    (folder / "environment.json").write_text(json.dumps({"cpu": EVIL, "env": "e0"}), encoding="utf-8")
    (folder / "suite.toml").write_text(f"# {EVIL}\n", encoding="utf-8")
    page = read(folder)
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3
    assert not {"b", "i"} & {tag for tag, _ in page.elements}
    assert columns(page)["reason"][1] == EVIL
    assert columns(page)["label"][1] == f"nl:mode={EVIL}"
    assert page.data["listings"]["rows"]["commands"][1] == [["measure again", EVIL]]
    assert EVIL in page.text


def test_the_rows_say_what_the_markdown_tables_say(page: Reader) -> None:
    grids = [efficiency(group).grid for group in all_groups(build(sweep()))]
    wanted = [cells for grid in grids for cells in grid.rows]
    shown = columns(page)
    names = ("label", "params", "gmacs", "peak_mib", "latency_ms", "ratio")
    assert list(zip(*(shown[name] for name in names), strict=True)) == wanted
    assert {cell[0] for cell in shown["ratio"]} >= {"1", "≈", "0"}


def test_a_status_has_its_reason_and_a_row_its_command(tmp_path: Path) -> None:
    page = of_rows(
        tmp_path / "run", [row("gc", repro=REPRO), skipped("nl", 64, 64, 512, status="oom", reason="9 GiB of 8 GiB")]
    )
    shown = columns(page)
    assert shown["latency_ms"][1] == shown["status"][1] == "out of memory"
    assert shown["reason"] == ["", "9 GiB of 8 GiB"]
    assert page.data["listings"]["rows"]["commands"][0] == [["measure again", REPRO]]


def test_columns_that_are_empty_in_every_row_are_left_out(tmp_path: Path) -> None:
    names = ("cuda_peak_mib", "energy_mj", "roofline", "reason")
    assert not set(columns(of_rows(tmp_path / "bare", small()))) & set(names)
    fields = {"cuda_peak_bytes": 2**20, "energy_mj": 7.5, "status": "invalid", "reason": "nan"}
    run = write_run(tmp_path / "full", [*small(), row("snl", **fields), row("se")])
    rates = {"gemm_fp32_tflops": 1.0, "copy_gb_s": 10.0}
    (run / "environment.json").write_text(json.dumps({"env": "e0", "machine": rates}), encoding="utf-8")
    page = read(run)
    assert set(columns(page)) >= set(names)
    assert set(page.data["plots"]["axes"]) == {"latency_ms", "peak_mib", "cuda_peak_mib", "energy_mj"}


@pytest.mark.parametrize("fields", [{"env": "e1"}, {"method": "m1"}, {"device": "cuda"}])
def test_rows_that_do_not_compare_are_sections_of_their_own(tmp_path: Path, fields: dict[str, Any]) -> None:
    page = of_rows(tmp_path / "run", [*small(), *small(**fields), row("se")])
    listing = page.data["listings"]["rows"]
    assert listing["section"] == [0, 0, 0, 0, 1, 1, 1]
    assert [title[:11] for title in listing["sections"]] == ["Part 1 of 2", "Part 2 of 2"]
    assert "are not comparable" in page.text
    assert len(page.data["plots"]["settings"]) == 2
    assert "are not comparable" not in of_rows(tmp_path / "one", small()).text


def test_a_block_looks_as_in_the_other_plots(page: Reader) -> None:
    labels = dict.fromkeys(columns(page)["label"])
    blocks = [label for label in labels if label.partition(":")[0] not in ("dilated", "resnet")]
    styles = assign(blocks, ["nl"])
    made = page.data["plots"]["styles"][0]
    assert {label: one["colour"] for label, one in made.items()} == {name: one.colour for name, one in styles.items()}
    assert {label: one["marker"] for label, one in made.items()} == {name: one.marker for name, one in styles.items()}
    assert made["nl"]["dash"] == ""
    assert len({(one["colour"], one["dash"]) for one in made.values()}) == len(blocks)


def test_the_page_tells_machine_method_noise_and_suite(page: Reader) -> None:
    for words in ("Imaginary CPU @ 1.00GHz", "Method: m0.", "3.0 %", "1.0040", 'name = "synthetic"', "Nowhere x0"):
        assert words in page.text
    assert "median 12, from 12 to 12" in page.text


def test_counters_that_disagree_are_warned_of(tmp_path: Path) -> None:
    page = of_rows(tmp_path / "run", [row("nl", macs_fvcore=7), row("gc", macs_fvcore=None)])
    assert "The two MAC counters disagree" in page.text


def test_a_folder_of_training_runs_shows_its_blocks(tmp_path: Path) -> None:
    records = [*study(5), failed("gc", 9)]
    records[0] |= {"repro": REPRO}
    page = read(write_runs(tmp_path / "run", records))
    shown = columns(page)
    assert shown["label"] == list(BLOCKS)
    names = ("params", "MMACs", "mIoU", "scene", "pairwise", "regional", "boundary F1", "seeds", "s a run", "carries")
    assert set(shown) >= set(names)
    place = shown["label"].index("apnb")
    assert shown["carries"][place] == "scene, pairwise"
    mious = next(one for one in page.data["listings"]["rows"]["columns"] if one["name"] == "mIoU")["values"]
    assert shown["mIoU"][place].startswith(f"{mious[place]:.1f} ± ")
    assert page.data["listings"]["rows"]["commands"][0][0][1] == REPRO
    assert "the loss is nan" in shown["failed"][shown["label"].index("gc")]
    assert page.data["plots"] is None
    assert "text/plain" not in page.scripts


def test_training_runs_with_costs_are_drawn_against_them(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", study(2))
    write_run(folder / "cost", [row(name, 16, 16, 48, params=BLOCKS[name][4]) for name in ("gc", "nl", "apnb")])
    (drawn,) = read(folder).data["plots"]["sets"]
    assert [point["label"] for point in drawn["points"]] == ["gc", "apnb", "nl"]
    assert all(point["latency_ms"] and point["miou"] and point["sd"] for point in drawn["points"])
    assert drawn["columns"] == ["latency_ms", "peak_mib"]
    shutil.move(folder / "cost", tmp_path / "elsewhere")
    assert read(folder).data["plots"] is None
    again = Reader(write_html(folder, tmp_path / "elsewhere", "nl").read_text(encoding="utf-8"))
    assert again.data["plots"]["sets"][0]["points"] == drawn["points"]
    assert "Differences to nl" in again.text


def test_training_runs_that_do_not_compare_are_sections_of_their_own(tmp_path: Path) -> None:
    listing = read(write_runs(tmp_path / "run", [trained("gc"), trained("gc", size=96)])).data["listings"]["rows"]
    assert listing["section"] == [0, 1]
    assert len(set(listing["sections"])) == 2


def test_a_ledger_in_the_folder_is_shown(tmp_path: Path) -> None:
    fields = ("paper", "table", "row", "metric", "unit", "published", "ours", "difference", "verdict", "why", "title")
    cell = dict.fromkeys(fields) | {"paper": "gcnet", "table": "12", "row": "+GC | r=16", "metric": "params"}
    cell |= {"published": "28.08", "ours": 28.079, "difference": -0.004, "verdict": "reproduced", "unit": "M"}
    run = write_run(tmp_path / "run", small())
    write_claims([Section("a", "b", "c", "d", "", [{**cell, "ratio": None, "convention": "params"}])], "one", run)
    shown = columns(read(run), "ledger")
    assert (shown["row"], shown["metric"], shown["ours"]) == (["+GC | r=16"], ["params (M)"], ["28.08"])
    assert shown["verdict"] == ["reproduced"]
    assert "why" not in shown
    for word in (
        "Increment reproduced: what the row adds",
        "Differs on this device: a ratio on another card",
        "Circular",
    ):
        assert word in read(run).text
    (run / "papers.csv").write_text("paper,table\nann,1\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"papers\.csv' is no ledger .* no column row, metric"):
        write_html(run)


def test_runs_without_rows_or_facts_have_a_page(tmp_path: Path) -> None:
    assert "The run has no rows yet." in of_rows(tmp_path / "empty", []).text
    assert "No run has been recorded yet." in read(write_runs(tmp_path / "untrained", [])).text
    run = write_run(tmp_path / "bare", small())
    (run / "environment.json").unlink()
    (run / "suite.toml").unlink()
    assert "Not recorded: the run has no environment.json." in read(run).text


def test_what_is_broken_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read"):
        write_html(tmp_path / "nowhere")
    run = write_run(tmp_path / "run", small())
    (run / "environment.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"environment\.json is not JSON"):
        write_html(run)
    (run / "environment.json").unlink()
    (run / "rows.jsonl").write_text("{}\n{}\n", encoding="utf-8")
    with pytest.raises(RunError, match="line 1 is not a row"):
        write_html(run)
    assert not (run / "report.html").exists()
