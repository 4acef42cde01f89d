"""A sweep on two kinds of device: columns of their own, nothing pooled, what is missing said."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.report import load, show_folder, write_folder
from bench.report.device_order import faster, orders
from bench.report.device_places import places
from bench.report.devices import read_devices
from bench.report.digits import MISSING, plus_minus
from bench.report.frame import build
from bench.row import RunError
from tests.report.synthetic import row, skipped, write_run

H200, A100 = "NVIDIA H200", "NVIDIA A100 80GB PCIe"
FOLDERS = {H200: "nvidia-h200", A100: "nvidia-a100-80gb"}
DRIVERS = {H200: "580.1", A100: "570.2"}
ENVS = {H200: "e1", A100: "e2"}


def timed(name: str, device: str, ms: float, ratio: float | None = None, **fields: Any) -> dict[str, Any]:
    """A row of a device with a time within 1 %, and a ratio within 1 %."""
    made: dict[str, Any] = {"latency_ms": ms, "latency_ci_low_ms": 0.99 * ms, "latency_ci_high_ms": 1.01 * ms}
    if ratio is not None:
        made |= {"ratio": ratio, "ratio_ci_low": 0.99 * ratio, "ratio_ci_high": 1.01 * ratio}
    return row(name, **{"env": ENVS[device], "device": "cuda", "rounds": 12, **made, **fields})


def write_lab(folder: Path, rows: dict[str, list[dict[str, Any]]], **said: dict[str, Any]) -> Path:
    """A folder of two devices; `said` replaces what the list says of `h200` or `a100`."""
    listed = []
    for device, own in rows.items():
        run = write_run(folder / FOLDERS[device], own)
        facts = {"device": "cuda", "gpu": device, "driver": DRIVERS[device], "torch": "2.11", "env": ENVS[device]}
        rates = {"copy_gb_s": 1000.0, "gemm_fp32_tflops": 40.0 if device == H200 else 20.0}
        (run / "environment.json").write_text(json.dumps({**facts, "method": "m0", "machine": rates}))
        entry = {"folder": FOLDERS[device], "device": device, "nodes": ["a", "b"] if device == H200 else ["c"]}
        entry |= {"rows": len(own), "missing": 0, "note": None, **said.get(device.split()[1].lower(), {})}
        listed.append(entry)
    (folder / "devices.json").write_text(json.dumps({"schema": 1, "devices": listed}))
    return folder


def usual() -> dict[str, list[dict[str, Any]]]:
    """NL, GC and SE on both; on the first GC and SE are apart, on the second they tie."""
    return {
        H200: [timed("nl", H200, 2.0, 1.0), timed("gc", H200, 0.5, 0.25, node="a"), timed("se", H200, 0.4, 0.2)],
        A100: [timed("nl", A100, 6.0, 1.0), timed("gc", A100, 6.1, 1.015), timed("se", A100, 6.0, 1.0)],
    }


def cells(markdown: str, block: str) -> list[str]:
    """The cells of the line of a block, in the first table that has one."""
    line = next(line for line in markdown.splitlines() if re.match(rf"\| {re.escape(block)} +\|", line))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_case_on_two_devices_has_exactly_the_figures_of_each(tmp_path: Path) -> None:
    rows = usual()
    text = show_folder(write_lab(tmp_path, rows), "markdown")
    assert "H200 ms" in text
    assert "A100 80GB PCIe vs nl" in text
    shown = cells(text, "gc")
    assert shown[4:6] == [plus_minus(0.5, 0.005), "0.25x"]
    assert shown[6:8] == [plus_minus(6.1, 0.061), "≈ 1.01x"]
    assert cells(text, "nl")[4:] == ["2.00 ± 0.02", "1 (ref)", "6.00 ± 0.06", "1 (ref)"]
    means = {plus_minus((a["latency_ms"] + b["latency_ms"]) / 2, None) for a, b in zip(*rows.values(), strict=True)}
    assert not any(mean in cell for mean in means for name in ("nl", "gc", "se") for cell in cells(text, name)[4:])


def test_a_tie_is_judged_by_the_noise_floor_of_its_own_device(tmp_path: Path) -> None:
    rows = {
        H200: [timed("nl", H200, 2.0, 1.0, noise_floor=0.01), timed("gc", H200, 1.8, 0.9, noise_floor=0.01)],
        A100: [timed("nl", A100, 6.0, 1.0, noise_floor=0.2), timed("gc", A100, 5.4, 0.9, noise_floor=0.2)],
    }
    text = show_folder(write_lab(tmp_path, rows), "markdown")
    assert cells(text, "gc")[5::2] == ["0.90x", "≈ 0.90x"]
    assert "H200 1.0 % (against nl); A100 80GB PCIe 20.0 % (against nl)" in text


def test_the_frame_has_every_row_once_with_its_device_and_its_own_roofline(tmp_path: Path) -> None:
    rows = usual()
    rows[H200][0]["device_name"] = "NVIDIA H200"
    frame = load(write_lab(tmp_path, rows))
    assert list(frame["device_name"]) == [H200] * 3 + [A100] * 3
    assert list(frame["latency_ms"]) == [made["latency_ms"] for own in rows.values() for made in own]
    assert list(frame["roof_gflops"]) == [40e3] * 3 + [20e3] * 3
    for device, own in frame.groupby("device_name"):
        alone = load(tmp_path / FOLDERS[device])
        for name in ("roofline", "verdict", "half_ms", "label"):
            assert list(own[name]) == list(alone[name])


def test_devices_of_one_environment_are_still_kept_apart(tmp_path: Path) -> None:
    from bench.report.groups import all_groups

    rows = usual()
    for made in rows[A100]:
        made["env"] = "e1"
    groups = all_groups(load(write_lab(tmp_path, rows)))
    assert [set(group.frame["device_name"]) for group in groups] == [{H200}, {A100}]
    assert "device cuda (NVIDIA H200)" in groups[0].setting.part.title()


def test_missing_rows_are_dashes_and_words(tmp_path: Path) -> None:
    rows = usual()
    rows[A100] = [
        skipped("nl", 64, 64, 512, env="e2", device="cuda", status="oom", reason="9 GiB of 8 GiB"),
        timed("se", A100, 6.0),
    ]
    text = show_folder(write_lab(tmp_path, rows, a100={"missing": 1, "note": "node c was lost"}), "markdown")
    assert cells(text, "gc")[6:] == [MISSING, MISSING]
    assert cells(text, "nl")[6:] == ["out of memory", MISSING]
    assert "A100 80GB PCIe, no row: gc (node c was lost)" in text
    assert "A100 80GB PCIe, out of memory: nl (9 GiB of 8 GiB)" in text
    assert f"{A100}: 2 rows, from node c; 1 case is missing (node c was lost)." in text
    assert f"{H200}: 3 rows, from nodes a, b; no case is missing." in text


def test_a_device_without_any_row_is_told_and_has_no_column(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, {**usual(), A100: []}, a100={"missing": 3, "note": "out of time"})
    (lab / FOLDERS[A100] / "rows.jsonl").unlink()
    text = show_folder(lab, "markdown")
    assert f"{A100}: 0 rows, from node c; 3 cases are missing (out of time)." in text
    assert len(cells(text, "gc")) == 6
    assert len(load(lab)) == 3


def test_a_place_that_one_device_lacks_keeps_its_columns(tmp_path: Path) -> None:
    rows = usual()
    rows[H200].append(timed("nl", H200, 9.0, 1.0, height=97, width=97))
    large = places(read_devices(write_lab(tmp_path, rows)))[1].table()
    assert large.title.startswith("Blocks, 97x97, 512 channels")
    assert large.grid.rows[0][4:] == ("9.00 ± 0.09", "1 (ref)", MISSING, MISSING)
    assert large.notes[-1] == "A100 80GB PCIe, no row: nl"


def test_static_figures_that_differ_are_said_loudly(tmp_path: Path) -> None:
    rows = usual()
    assert "Static figures differ" not in show_folder(write_lab(tmp_path / "equal", rows), "table")
    rows[A100][1]["params"] += 1
    lab = write_lab(tmp_path / "apart", rows)
    text = show_folder(lab, "markdown")
    assert "Static figures differ between devices" in text
    exact = next(line for line in text.splitlines() if "| gc " in line and "| params " in line)
    assert [int(cell) for cell in re.findall(r"\d{5}", exact)] == [rows[device][1]["params"] for device in rows]
    (place,) = places(read_devices(lab))
    assert ["†" in line[1] for line in place.table().grid.rows] == [False, True, False]


def test_implementations_have_lines_of_their_own(tmp_path: Path) -> None:
    rows = usual()
    rows[H200].append(timed("nl", H200, 1.0, 1.0, impl="fused"))
    (place,) = places(read_devices(write_lab(tmp_path, rows)))
    table = place.table()
    assert [line[:2] for line in table.grid.rows] == [
        ("nl", "reference"),
        ("nl", "fused"),
        ("gc", "reference"),
        ("se", "reference"),
    ]
    assert "A100 80GB PCIe, no row: nl fused" in table.notes


def test_the_order_respects_ties_and_compares_the_same_blocks(tmp_path: Path) -> None:
    rows = usual()
    rows[H200].append(timed("cgnl", H200, 0.1, 0.05))
    (order,) = orders(places(read_devices(write_lab(tmp_path, rows))))
    table = order.table()
    assert table.grid.rows == (("se", "1", "1 ="), ("gc", "2", "1 ="), ("nl", "3", "1 ="))
    assert table.notes[1:] == (
        "Of another rank on some device: nl, gc.",
        "Without a rank, for not every device has its time: cgnl.",
    )


@pytest.mark.parametrize(
    ("ratio", "low", "high", "floor"),
    [(0.9, 0.88, 0.92, 0.03), (0.98, 0.97, 0.99, 0.03), (1.05, 0.98, 1.1, 0.01), (1.031, 1.02, 1.04, 0.03)],
)
def test_the_order_agrees_with_the_verdict_against_the_reference(
    ratio: float, low: float, high: float, floor: float
) -> None:
    ends = {"ratio_ci_low": low, "ratio_ci_high": high}
    one = {"ratio": 1.0, "ratio_ci_low": 1.0, "ratio_ci_high": 1.0}
    frame = build([row("nl", noise_floor=floor, **one), row("gc", ratio=ratio, noise_floor=floor, **ends)])
    reference, block = frame.to_dict("records")
    told = "faster" if faster(block, reference) else "slower" if faster(reference, block) else "tie"
    assert told == block["verdict"]


def test_rows_of_two_environments_of_a_device_have_columns_of_their_own(tmp_path: Path) -> None:
    rows = usual()
    rows[H200].append(timed("se", H200, 0.7, 0.2, env="e3"))
    lab = write_lab(tmp_path, rows)
    text = show_folder(lab, "markdown")
    assert cells(text, "se")[4:8:2] == [plus_minus(0.4, 0.004), plus_minus(0.7, 0.007)]
    assert "H200: part 1 (environment e1, method m0), part 2 (environment e3, method m0)." in text


def test_the_versions_that_differ_are_shown_and_the_others_once(tmp_path: Path) -> None:
    text = show_folder(write_lab(tmp_path, usual()), "table")
    assert re.search(r"driver +580\.1 +570\.2", text)
    assert re.search(r"environment +e1 +e2", text)
    assert "The same on all: torch 2.11." in text
    assert "Each device is an environment of its own" in text


@pytest.mark.parametrize("name", ["json", "csv"])
def test_a_record_a_row_with_its_device(tmp_path: Path, name: str) -> None:
    text = show_folder(write_lab(tmp_path, usual()), name)
    records: Sequence[dict[str, Any]] = json.loads(text) if name == "json" else list(csv.DictReader(text.splitlines()))
    assert [(made["device_name"], made["label"]) for made in records] == [
        (device, label) for device in (H200, A100) for label in ("nl", "gc", "se")
    ]


def test_latex_stacks_device_over_figure(tmp_path: Path) -> None:
    text = show_folder(write_lab(tmp_path, usual()), "latex")
    assert r"\shortstack{H200 \\ ms}" in text
    assert text.isascii()


def test_pages_are_written_for_each_device_and_above_them(tmp_path: Path) -> None:
    rows = usual()
    rows[H200][1]["node"], rows[H200][2]["node"] = "a", "b"
    lab = write_lab(tmp_path / "lab", rows)
    written = write_folder(lab)
    assert all(path.exists() for path in written)
    names = {path.relative_to(lab).as_posix() for path in written}
    assert {f"{folder}/report.md" for folder in FOLDERS.values()} | {"report.md"} <= names
    assert {
        f"tables/{name}.{end}" for name in ("by-device", "order", "devices") for end in ("md", "csv", "tex")
    } <= names
    text = (lab / "report.md").read_text(encoding="utf-8")
    assert "[NVIDIA H200](nvidia-h200/report.md)" in text
    assert "Order by time:" in text
    values = list(csv.DictReader((lab / "tables" / "by-device.csv").read_text().splitlines()))
    assert [float(value["latency_ms"]) for value in values] == [2.0, 0.5, 0.4, 6.0, 6.1, 6.0]
    own = (lab / "nvidia-h200" / "report.md").read_text(encoding="utf-8")
    assert re.search(r"nodes +\| not told \(1 row\), a \(1 row\), b \(1 row\)", own)
    assert "| nodes" not in (lab / "nvidia-a100-80gb" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"schema": 2, "devices": []}', "is not a list of devices of schema 1"),
        ('{"schema": 1, "devices": [1]}', "device 1: not an object"),
        ('{"schema": 1, "devices": [{"folder": "../x", "device": "x"}]}', "must be a name within this folder"),
        ('{"schema": 1, "devices": [{"folder": "x", "device": "x", "nodes": "a"}]}', "nodes must be a list"),
        ('{"schema": 1, "devices": [{"folder": "x", "device": "x", "nodes": [], "rows": -1}]}', "rows must be a count"),
        (
            '{"schema": 1, "devices": [{"folder": "x", "device": "x", "nodes": [], "rows": 1, "missing": 0}]}',
            "cannot read",
        ),
    ],
)
def test_a_broken_list_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "devices.json").write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_list_beside_rows_or_with_a_folder_twice_is_refused(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, usual())
    content = json.loads((lab / "devices.json").read_text())
    content["devices"][1]["folder"] = FOLDERS[H200]
    (lab / "devices.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="lists folder 'nvidia-h200' twice"):
        load(lab)
    write_run(lab, [row("nl")])
    with pytest.raises(RunError, match=r"holds both devices\.json and rows\.jsonl"):
        load(lab)
