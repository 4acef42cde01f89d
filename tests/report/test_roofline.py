"""The share of the roofline: its ceilings, its column, its reasons, its plot, and their absence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.report import build, load, show_run, write
from bench.report.ceilings import Timed, ceilings
from bench.report.digits import MISSING
from bench.report.groups import all_groups
from bench.report.machine import Machine
from bench.report.roofline import FIGURES, WINOGRAD, Roof
from bench.report.tables import Table, efficiency
from tests.report.synthetic import row, skipped, write_run

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
MIB = 2**20
RATES = {"machine.mm_fp32_tflops": 0.1, "machine.copy_256_mib_gb_s": 20.0}
MACHINE = Machine({"env": "e0", **RATES})


def timed(name: str, **fields: Any) -> dict[str, Any]:
    """A row of 1e9 multiply-adds and 4e8 bytes: 20 ms each on the machine above."""
    return row(name, **{"macs": 10**9, "compulsory_bytes": 4 * 10**8, "latency_ms": 40.0, **fields})


def of(name: str, **macs: int) -> dict[str, Any]:
    """The same with these executed multiply-adds by class."""
    fields = {key: macs.pop(key) for key in ("latency_ms", "compulsory_bytes", "class_precisions") if key in macs}
    return timed(name, executed_macs_by_class=macs, **fields)


def shares(rows: list[dict[str, Any]], machine: Machine = MACHINE) -> list[float | None]:
    """The column, null as None."""
    return [None if pd.isna(value) else float(value) for value in build(rows, machine)["roofline"]]


def table(rows: list[dict[str, Any]], machine: Machine = MACHINE) -> Table:
    (group,) = all_groups(build(rows, machine))
    return efficiency(group)


def with_rates(folder: Path, rows: list[dict[str, Any]], rates: dict[str, Any]) -> Path:
    """A run folder whose environment holds rates as a sweep writes them."""
    run = write_run(folder, rows)
    facts = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**facts, "machine": rates}))
    return run


def test_the_longer_of_both_bounds_counts() -> None:
    slow_copy, slow_product = timed("nl", compulsory_bytes=8 * 10**8), timed("gc", macs=15 * 10**8)
    assert shares([timed("se"), slow_copy, slow_product]) == pytest.approx([0.5, 1.0, 0.75])


def test_intensity_and_rate_come_with_it() -> None:
    frame = build([timed("nl")], MACHINE)
    assert [float(frame[name].iloc[0]) for name in FIGURES] == pytest.approx([100.0, 20.0, 5.0, 50.0, 0.5])


def test_a_block_without_multiply_adds_is_bound_by_memory_alone() -> None:
    assert shares([of("identity")]) == pytest.approx([0.5])


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "train"},
        {"env": "e1"},
        {"dtype": "bf16"},
        {"executed_macs_by_class": None},
        {"compulsory_bytes": None},
    ],
)
def test_no_share_where_it_would_not_be_true(fields: dict[str, Any]) -> None:
    assert shares([timed("nl"), timed("gc", **fields)]) == pytest.approx([0.5, None])


def test_a_case_that_was_not_timed_has_no_share() -> None:
    assert shares([skipped("nl", 64, 64, 512)]) == [None]


@pytest.mark.parametrize("name", sorted(RATES))
def test_one_rate_alone_is_no_roof(name: str) -> None:
    assert shares([timed("nl")], Machine({"env": "e0", name: RATES[name]})) == [None]


TF32 = {**RATES, "machine.mm_tf32_tflops": 0.4}


def test_each_class_has_the_rate_of_its_own_precision() -> None:
    told = {"product": "fp32", "pointwise": "tf32", "convolution": "tf32", "grouped": "tf32"}
    mixed = of("nl", product=10**9, pointwise=4 * 10**9, compulsory_bytes=1, latency_ms=80.0, class_precisions=told)
    frame = build([mixed], Machine({"env": "e0", **TF32}))
    assert shares([mixed], Machine({"env": "e0", **TF32})) == pytest.approx([(20 + 20) / 80])
    assert frame["precisions"].tolist() == ["product fp32, pointwise tf32"]


@pytest.mark.parametrize(
    ("convolutions", "products", "least_ms"),
    [(False, False, 40), (True, False, 25), (False, True, 25), (True, True, 10)],
)
def test_an_older_row_computed_as_its_environment_says(convolutions: bool, products: bool, least_ms: float) -> None:
    machine = Machine({"env": "e0", **TF32, "tf32_cudnn": convolutions, "tf32_matmul": products})
    older = of("nl", product=10**9, pointwise=10**9, compulsory_bytes=1, latency_ms=100.0)
    assert shares([older], machine) == pytest.approx([least_ms / 100])
    half = of("nl", product=10**9, compulsory_bytes=1) | {"dtype": "bf16"}
    assert shares([half], machine) == [None]


def test_the_best_probe_of_any_kind_is_the_rate() -> None:
    facts = {"machine.gemm_fp32_tflops": 0.05, "machine.bmm_fp32_tflops": 0.2, "machine.conv1x1_fp32_tflops": None}
    machine = Machine({"env": "e0", **RATES, **facts})
    assert shares([of("nl", product=10**9, compulsory_bytes=1)], machine) == pytest.approx([10 / 40])


def test_a_row_faster_than_every_probe_is_the_ceiling_itself() -> None:
    fast, slow = (
        of(name, product=10**9, compulsory_bytes=1, latency_ms=ms) for name, ms in (("nl", 10.0), ("gc", 40.0))
    )
    assert shares([fast, slow]) == pytest.approx([1.0, 0.25])


def test_a_row_with_larger_convolutions_raises_no_rate_and_says_why_it_is_above() -> None:
    spared = of("aspp", convolution=10**9, pointwise=10**6, compulsory_bytes=1, latency_ms=10.0)
    frame = build([spared, of("nl", product=10**9, compulsory_bytes=1)], MACHINE)
    assert frame["roofline"].tolist() == pytest.approx([2.002, 0.5])
    assert frame["roofline_note"].tolist() == [WINOGRAD, ""]


def test_larger_convolutions_of_an_x86_cpu_are_direct_and_raise_its_rate() -> None:
    rows = [of("aspp", convolution=10**9, compulsory_bytes=1, latency_ms=10.0), of("nl", product=10**9)]
    x86 = {**MACHINE.facts, "device": "cpu", "system": "Linux x86_64"}
    assert shares(rows, Machine(x86)) == pytest.approx([1.0, 0.5])
    for other in ({"device": "cuda"}, {"system": "Linux aarch64"}):
        frame = build(rows, Machine({**x86, **other}))
        assert frame["roofline"].tolist() == pytest.approx([2.0, 0.5])
        assert frame["roofline_note"].tolist() == [WINOGRAD, ""]


def test_convolutions_are_no_reason_where_the_rest_alone_takes_longer_than_the_call() -> None:
    told = {"product": "tf32", "pointwise": "fp32", "convolution": "fp32", "grouped": "fp32"}
    row = of("aspp", convolution=10**6, pointwise=10**9, compulsory_bytes=1, latency_ms=10.0, class_precisions=told)
    assert "no reason is known" in str(build([row], MACHINE)["roofline_note"].iloc[0])


def test_a_row_of_two_precisions_raises_no_rate() -> None:
    mixed = Timed({"product": 10**9, "pointwise": 1}, {"product": "fp32", "pointwise": "tf32"}, 1.0, 1.0)
    assert ceilings(Machine(TF32), [mixed]).gflops == {"fp32": 100.0, "tf32": 400.0}


def test_a_precision_without_a_probe_has_no_rate_even_if_a_row_has_it() -> None:
    half = Timed({"product": 10**9}, {"product": "bf16"}, 1.0, 1.0)
    assert ceilings(Machine(RATES), [half]).compute_ms(half) is None


COPIES = {"machine.copy_1_mib_gb_s": 50.0, "machine.copy_16_mib_gb_s": 90.0, "machine.copy_256_mib_gb_s": 30.0}


@pytest.mark.parametrize(
    ("footprint", "rate"), [(0.5, 90.0), (1, 90.0), (16, 90.0), (20, 90.0), (255, 90.0), (256, 30.0), (1000, 30.0)]
)
def test_bandwidth_is_that_of_the_next_smaller_footprint_or_of_a_larger_one(footprint: float, rate: float) -> None:
    """What moves at that rate through a larger footprint can do so through a smaller one."""
    assert ceilings(Machine(COPIES), []).gb_s(footprint * MIB) == rate


def test_a_row_raises_the_bandwidth_of_its_footprint_and_of_smaller_ones() -> None:
    fast = Timed({}, {}, 64.0 * MIB, 64 * MIB / 200 / 1e6)
    known = ceilings(Machine(COPIES), [fast])
    assert [known.gb_s(mib * MIB) for mib in (1, 64, 65, 256)] == pytest.approx([200.0, 200.0, 90.0, 30.0])


def test_an_older_run_copied_256_mib_to_256_mib() -> None:
    assert ceilings(Machine({"machine.copy_gb_s": 20.0}), []).probed == {512 * MIB: 20.0}


def test_rates_that_a_busy_machine_spoilt_are_no_rates_and_the_notes_say_so() -> None:
    facts = {"machine.mm_fp32_tflops": None, "machine.refused.mm_fp32_tflops": "other processes on the CPUs"}
    made = table([timed("nl"), timed("gc")], Machine({**MACHINE.facts, **facts}))
    assert "of roofline" not in made.grid.header
    (note,) = [note for note in made.notes if "roofline" in note]
    assert note == "No share of the roofline: the machine's rates were refused: other processes on the CPUs."


def test_the_roof_is_a_slope_and_then_flat() -> None:
    assert [Roof(100.0, 20.0).at(x) for x in (1.0, 5.0, 50.0)] == [20.0, 100.0, 100.0]


def test_a_table_has_the_column_only_where_rates_are_known() -> None:
    rows = [timed("nl"), timed("gc"), skipped("se", 64, 64, 512)]
    made = table(rows)
    assert made.grid.header[-1] == "of roofline"
    assert [line[-1] for line in made.grid.rows] == ["50.0 %", "50.0 %", MISSING]
    assert any("rates allow" in note for note in made.notes)
    bare = table(rows, Machine({"env": "e0"}))
    assert "of roofline" not in bare.grid.header
    assert not any("rates allow" in note for note in bare.notes)


def test_more_than_the_roof_is_explained_by_name() -> None:
    above = of("aspp", convolution=10**9, latency_ms=10.0, compulsory_bytes=1)
    assert f"Above 100 %: aspp ({WINOGRAD})." in " ".join(table([above, timed("nl")]).notes)
    assert "Above 100 %" not in " ".join(table([timed("nl")]).notes)


def test_notes_name_the_rates_where_classes_did_not_compute_alike() -> None:
    machine = Machine({"env": "e0", **TF32, "tf32_cudnn": True})
    rows = [of("cam", product=10**9), of("psp", pointwise=10**9)]
    assert "Rates by class: pointwise tf32, product fp32." in " ".join(table(rows, machine).notes)
    assert "Rates by class" not in " ".join(table(rows).notes)


def test_a_run_with_rates_shows_them_everywhere(tmp_path: Path) -> None:
    rows = [timed(name, height=side, width=side) for name in ("nl", "gc") for side in (32, 64)]
    rows += [of("identity"), timed("nl", mode="train")]
    run = with_rates(tmp_path / "run", rows, {"mm_fp32_tflops": 0.1, "copy_256_mib_gb_s": 20.0, "passes": 2})
    report = write(run)[0].read_text(encoding="utf-8")
    drawn = sorted(path.name for path in (run / "plots").glob("roofline-*"))
    assert drawn == [f"roofline-blocks-cpu-fp32-forward-b1-reference.{kind}" for kind in ("png", "svg")]
    assert "the highest ceilings of these rows: 100 GFLOP/s" in " ".join(report.split())
    assert "**of roofline**" in report
    assert "Zero, which a log axis cannot show: identity." in report
    assert "of roofline" in show_run(run, "table")
    assert "roofline,precisions" in (run / "tables" / "efficiency.csv").read_text().splitlines()[0]
    assert load(run)["roofline"].notna().sum() == 5


def test_a_plot_draws_the_lowest_and_the_highest_ceilings(tmp_path: Path) -> None:
    told = {"product": "fp32", "pointwise": "tf32", "convolution": "tf32", "grouped": "tf32"}
    rows = [of(name, **{kind: 10**9}, class_precisions=told) for name, kind in (("nl", "product"), ("gc", "pointwise"))]
    rates = {"mm_fp32_tflops": 0.1, "mm_tf32_tflops": 0.4, "copy_256_mib_gb_s": 20.0, "passes": 2}
    report = write(with_rates(tmp_path / "run", rows, rates))[0].read_text(encoding="utf-8")
    assert "100 to 400 GFLOP/s" in " ".join(report.split())


def test_a_run_without_rates_is_as_before(tmp_path: Path) -> None:
    run = with_rates(tmp_path / "run", [timed("nl")], {})
    report = write(run)[0].read_text(encoding="utf-8")
    assert "roofline" not in report
    assert not list((run / "plots").glob("roofline-*"))
    assert "roofline" not in (run / "tables" / "efficiency.csv").read_text()


def test_a_plot_goes_when_the_rates_do(tmp_path: Path) -> None:
    run = with_rates(tmp_path / "run", [timed("nl")], {"mm_fp32_tflops": 0.1, "copy_256_mib_gb_s": 20.0})
    write(run)
    assert list((run / "plots").glob("roofline-*"))
    write_run(run, [timed("nl")])
    write(run)
    assert not list((run / "plots").glob("roofline-*"))


H200 = {
    ("64x64", 512): {
        "nl": 61.4,
        "nl:mode=gaussian": 72.7,
        "nl:mode=dot_product": 63.9,
        "pam": 62.5,
        "cam": 59.1,
        "fnb": 61.4,
    },
    ("97x97", 256): {"nl": 57.6, "nl:mode=gaussian": 69.3},
}


@pytest.mark.parametrize(("size", "channels"), H200)
def test_the_attention_blocks_of_the_h200_are_held_to_what_they_may_use(size: str, channels: int) -> None:
    """Products ran in IEEE fp32, convolutions in TF32: against TF32 alone these blocks would be at 7 to 10 %."""
    frame = load(REFERENCE / "h200" / "default")
    group = frame[(frame["size"] == size) & (frame["channels"] == channels)].set_index("label")
    found = {name: 100 * float(group.loc[name, "roofline"]) for name in H200[size, channels]}
    assert found == pytest.approx(H200[size, channels], abs=0.06)
    assert 55 < found["nl"] < 70


@pytest.mark.parametrize("path", sorted(REFERENCE.rglob("rows.jsonl")), ids=lambda path: str(path.parent.name))
def test_no_committed_row_is_above_its_ceiling_without_a_reason(path: Path) -> None:
    frame = load(path.parent)
    above = frame[frame["roofline"] > 1 + 1e-9]
    assert set(above["roofline_note"]) <= {WINOGRAD}
    assert set(frame.loc[frame["roofline"] <= 1, "roofline_note"]) <= {""}


@pytest.mark.parametrize("run", ["default", "then-and-now", "then-and-now-large", "then-and-now-bf16"])
def test_the_committed_rows_of_the_h200_are_judged(run: str) -> None:
    frame = load(REFERENCE / "h200" / run)
    timed = frame[(frame["status"] == "ok") & (frame["mode"] == "forward") & (frame["compulsory_bytes"] > 0)]
    assert len(timed) > 30
    assert timed["roofline"].notna().all()
