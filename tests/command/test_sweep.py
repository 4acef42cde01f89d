from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.progress import Watch
from bench.row import FIELDS
from bench.session import Outcome, Request
from modules import registry
from tests.hold import let_go, write_plugin

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]


def rows_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def test_a_sweep_leaves_rows_tables_plots_and_a_report(swept: Path) -> None:
    rows = rows_of(swept)
    assert len(rows) == 12
    assert {tuple(row) for row in rows} == {FIELDS}
    for name in ("suite.toml", "environment.json", "report.md"):
        assert (swept / name).stat().st_size > 0
    kinds = {path.suffix for folder in ("tables", "plots") for path in (swept / folder).iterdir()}
    assert kinds >= {".md", ".csv", ".tex", ".svg", ".png"}


def test_measured_rows_hold_what_the_schema_promises(swept: Path) -> None:
    for row in rows_of(swept):
        if row["status"] != "ok":
            continue
        low, median, high = (row[f"latency{part}_ms"] for part in ("_ci_low", "", "_ci_high"))
        assert row["latency_min_ms"] <= low <= median <= high
        assert row["latency_p10_ms"] <= median <= row["latency_p90_ms"]
        assert len(row["latency_samples_ms"]) == row["rounds"] >= 6
        assert row["stop_reason"] in ("interval", "settled", "rounds", "budget")
        assert row["macs_fvcore"] == row["macs_torch"] == row["macs"]
        assert row["reference"] == "nl" or row["ratio"] is None
        assert row["noise_floor"] > 0
        assert all(row[name] is None for name in ("cuda_peak_bytes", "energy_mj", "throttled"))
        assert (row["cpu_peak_bytes"] > 0) is (row["entry"] != "identity")


def test_a_skipped_case_says_by_which_rule_and_figure(swept: Path) -> None:
    skipped = [row for row in rows_of(swept) if row["status"] == "skipped"]
    assert [(row["entry"], row["width"], row["channels"]) for row in skipped] == [("nl", 12, 32)]
    assert skipped[0]["reason"] == "a rule for tests (positions 96 > 90, channels 32 > 16)"
    assert skipped[0]["macs"] > 0
    assert skipped[0]["latency_ms"] is None


def test_a_group_whose_reference_is_skipped_has_no_ratio_but_a_noise_floor(swept: Path) -> None:
    alone = [r for r in rows_of(swept) if (r["width"], r["channels"], r["status"]) == (12, 32, "ok")]
    assert len(alone) == 2
    assert all(row["ratio"] is None and row["reference"] is None and row["noise_floor"] for row in alone)


def test_the_same_command_again_measures_nothing(swept: Path, command: Command, mini: Path) -> None:
    before = (swept / "rows.jsonl").read_bytes()
    code, out, _ = command("sweep", "--suite", mini, "--device", "cpu", "--out", swept)
    assert code == 0
    assert "nothing missing; 12 rows in all" in out
    assert (swept / "rows.jsonl").read_bytes() == before


def test_rows_of_an_earlier_revision_are_told(swept: Path, command: Command, mini: Path) -> None:
    rows = rows_of(swept)
    (swept / "rows.jsonl").write_text("".join(json.dumps({**row, "git": "a1b2c3"}) + "\n" for row in rows))
    _, out, _ = command("sweep", "--suite", mini, "--device", "cpu", "--out", swept)
    assert "note: rows of an earlier call were measured at revision a1b2c3 of the code" in out


def test_a_missing_row_alone_is_measured_again(swept: Path, command: Command, mini: Path) -> None:
    lines = (swept / "rows.jsonl").read_text().splitlines(keepends=True)
    lost = next(i for i, line in enumerate(lines) if '"snl"' in line)
    (swept / "rows.jsonl").write_text("".join(lines[:lost] + lines[lost + 1 :]))
    assert command("sweep", "--suite", mini, "--device", "cpu", "--out", swept)[0] == 0
    again = rows_of(swept)
    assert [json.dumps(row) + "\n" for row in again[:-1]] == lines[:lost] + lines[lost + 1 :]
    assert again[-1]["key"] == json.loads(lines[lost])["key"]
    assert again[-1]["reference"] == "nl"


def test_a_row_says_how_to_measure_it_again(swept: Path, command: Command, tmp_path: Path) -> None:
    row = next(row for row in rows_of(swept) if row["entry"] == "snl")
    words = shlex.split(str(row["repro"]))
    assert words[:3] == ["python", "run_bench.py", "sweep"]
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert command(*words[2:])[0] == 0
    (again,) = rows_of(tmp_path / "again")
    assert (again["key"], again["reference"]) == (row["key"], "nl")


def test_a_backbone_row_is_measured_again_beside_its_own_reference(command: Command, tmp_path: Path) -> None:
    suite = tmp_path / "two.toml"
    suite.write_text(
        "[method]\nseconds = 0.02\n[[grid]]\nblocks = 'snl'\nsizes = '8x8'\nchannels = '32'\n"
        "[[grid]]\nblocks = 'resnet'\nreference = 'dilated'\nsizes = '4x4'\nchannels = '32'\n"
    )
    assert command("sweep", "--suite", suite, "--out", tmp_path / "run", "--device", "cpu")[0] == 0
    row = rows_of(tmp_path / "run")[-1]
    words = shlex.split(str(row["repro"]))
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert command(*words[2:])[0] == 0
    (again,) = rows_of(tmp_path / "again")
    assert (again["key"], again["reference"]) == (row["key"], row["reference"]) == (row["key"], "dilated")


def test_another_request_of_the_same_suite_has_its_own_folder(
    command: Command, mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mini.parent)
    for blocks in (["--blocks", "snl"], ["--blocks", "identity"], ["--blocks", "snl"]):
        words = ("--reference", "none", "--sizes", "8x8", "--channels", "16", *blocks)
        assert command("sweep", "--suite", mini, "--device", "cpu", *words)[0] == 0
    assert len(list((mini.parent / "results").iterdir())) == 2


def test_axes_of_the_command_line_replace_those_of_the_suite(command: Command, mini: Path) -> None:
    run = mini.parent / "other"
    arguments = ("--blocks", "gc:ratio=4,pooling=avg", "--sizes", "8x10", "--channels", "16", "--mode", "train")
    assert command("sweep", "--suite", mini, "--out", run, "--device", "cpu", "--batch", 2, *arguments)[0] == 0
    (row,) = rows_of(run)
    assert (row["entry"], row["options"], row["height"], row["width"]) == ("gc", {"ratio": 4, "pooling": "avg"}, 8, 10)
    assert (row["batch"], row["mode"]) == (2, "train")


def test_the_report_is_rebuilt_from_rows_alone_without_torch(swept: Path) -> None:
    wanted = (swept / "report.md").read_bytes()
    (swept / "report.md").unlink()
    block = "import sys; sys.modules['torch'] = None; sys.argv = ['run_bench.py', 'report', sys.argv[1]]"
    code = f"{block}; import run_bench; run_bench.main()"
    subprocess.run([sys.executable, "-c", code, swept], cwd=ROOT, check=True, capture_output=True)
    assert (swept / "report.md").read_bytes() == wanted


def test_a_block_that_fails_is_a_row_and_the_sweep_goes_on(command: Command, mini: Path, monkeypatch: object) -> None:
    plugin = mini.parent / "failing.py"
    plugin.write_text(
        "import torch\nfrom torch import nn\nfrom modules.registry import register\n\n"
        "@register('fails_when_run', family='context')\nclass Fails(nn.Module):\n"
        "    def __init__(self, channels):\n        super().__init__()\n"
        "    def forward(self, x):\n"
        "        if x.device.type != 'meta':\n            raise RuntimeError('no\\nluck')\n        return x * 2\n"
    )
    run = mini.parent / "failed"
    arguments = ("--plugin", plugin, "--blocks", "fails_when_run,snl", "--sizes", "8x8", "--channels", "16")
    try:
        code, _, _ = command("sweep", "--suite", mini, "--out", run, "--device", "cpu", *arguments)
    finally:
        registry._ENTRIES.pop("fails_when_run", None)
    assert code == 3
    assert [(r["entry"], r["status"], r["reason"]) for r in rows_of(run)] == [
        ("fails_when_run", "crashed", "RuntimeError: no luck"),
        ("snl", "ok", None),
    ]


def test_a_killed_sweep_loses_and_doubles_nothing(mini: Path) -> None:
    run, plugin = mini.parent / "killed", write_plugin(mini.parent)
    words = [sys.executable, ROOT / "run_bench.py", "sweep", "--suite", mini, "--device", "cpu", "--out", run]
    words += ["--blocks", "identity,nl,snl,waits", "--plugin", plugin]
    file = run / "rows.jsonl"
    survived = b""
    for width, channels, rows in ((8, 16, 4), (12, 16, 8)):
        let_go(plugin, width, channels)
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") >= rows):
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        left = file.read_bytes()
        assert left.startswith(survived)
        assert left.count(b"\n") == rows
        survived = left
    for width in (8, 12):
        let_go(plugin, width, 32)
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    assert file.read_bytes().startswith(survived)
    keys = [row["key"] for row in rows_of(run)]
    assert len(keys) == len(set(keys)) == 16


def test_without_a_command_the_default_suite_is_swept(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_sweep(request: Request, console: object) -> Outcome:
        asked.append(request)
        return Outcome(Path("nowhere"), "done", failed=True, interrupted=False)

    monkeypatch.setattr("bench.session.run_sweep", run_sweep)
    monkeypatch.setattr("bench.report.write_folder", lambda run: [])
    monkeypatch.setattr("bench.report.show_folder", lambda run, format: "a table")
    code, out, _ = command()
    assert (code, out) == (3, "a table\ndone\n")
    assert (asked[0].suite, asked[0].device, set(asked[0].axes.values())) == ("default", "auto", {None})


def test_an_interrupted_sweep_keeps_its_rows_and_says_how_to_go_on(
    command: Command, mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def interrupt(watch: Watch, row: object) -> None:
        seen.append(row)
        if len(seen) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "row", interrupt)
    code, out, _ = command("sweep", "--suite", mini, "--device", "cpu", "--out", mini.parent / "run")
    assert code == 130
    assert len(rows_of(mini.parent / "run")) == 5
    assert "7 missing; 5 rows in all" in out
    assert "interrupted; to go on: python run_bench.py sweep --suite" in out


def test_a_terminal_without_unicode_and_a_reader_that_leaves_do_no_harm(swept: Path) -> None:
    report = f"{sys.executable} {ROOT / 'run_bench.py'} report {swept}"
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain = subprocess.run(shlex.split(report), env=ascii_only, capture_output=True, check=True)
    assert b"median of a call, ?" in plain.stdout
    piped = subprocess.run(["bash", "-c", f"{report} | true"], capture_output=True, check=True)
    assert b"Error" not in piped.stderr


def test_cold_caches_are_a_method_of_their_own_in_rows_repro_and_report(
    command: Command, swept: Path, mini: Path, tmp_path: Path
) -> None:
    cold = tmp_path / "cold"
    words = ("sweep", "--suite", mini, "--device", "cpu", "--cache", "cold")
    code, out, _ = command(*words, "--out", cold, "--blocks", "nl", "--sizes", "8x8", "--channels", "16")
    assert code == 0
    assert "Caches were flushed ahead of every sample." in out
    assert "Caches were flushed ahead of every sample." in (cold / "report.md").read_text()
    (flushed,) = rows_of(cold)
    warm = next(row for row in rows_of(swept) if row["key"] == flushed["key"])
    assert warm["method"] != flushed["method"]
    assert ["--cache cold" in str(row["repro"]) for row in (warm, flushed)] == [False, True]
    code, _, err = command(*words, "--out", swept)
    assert code == 2
    assert "by another method" in err
