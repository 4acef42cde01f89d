"""A sweep probes the machine ahead of its first group and behind its last one, and keeps the best of both."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from rich.console import Console

from bench import measurer
from bench.measure.clock import clock_for
from bench.measure.method import Method
from bench.measure.rates import Rates
from bench.measurer import InProcess
from bench.report import load
from bench.session import Outcome, Request, run_sweep
from bench.weights import Weights

WHY = "other processes on the CPUs"
CALM = Rates({"mm_fp32_tflops": 0.1, "copy_1_mib_gb_s": 20.0}, {}, 1)
BUSY = Rates({"copy_1_mib_gb_s": 20.0}, {"mm_fp32_tflops": WHY}, 1)
Sweep: TypeAlias = Callable[..., tuple[Outcome, dict[str, Any]]]


@pytest.fixture
def sweep(mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Sweep one size in this process while the machine's probes read as given; the outcome and `machine`."""

    def run(*passes: Rates, probed: int | None = None) -> tuple[Outcome, dict[str, Any]]:
        left: list[Rates] = list(passes)

        def here(request: Request, device: str, method: Method, weights: Weights | None, rates: bool) -> InProcess:
            return InProcess(device, method, clock_for(device), weights, rates)

        monkeypatch.setattr(Request, "measurer", here)
        monkeypatch.setattr(measurer, "probe_machine", lambda *_: left.pop(0))
        request = Request(str(mini), {"sizes": "8x8", "channels": "16"}, "cpu", out=tmp_path / "run")
        outcome = run_sweep(request, Console(file=io.StringIO()))
        assert len(left) == len(passes) - (len(passes) if probed is None else probed)
        return outcome, json.loads((tmp_path / "run" / "environment.json").read_text())["machine"]

    return run


def shares(outcome: Outcome) -> Sequence[float]:
    frame = load(outcome.folder)
    return list(frame.loc[frame["macs"] > 0, "roofline"])


def test_the_best_of_both_passes_is_kept(sweep: Sweep) -> None:
    outcome, machine = sweep(CALM, Rates({"mm_fp32_tflops": 0.3, "copy_1_mib_gb_s": 10.0}, {}, 1))
    assert machine == {"mm_fp32_tflops": 0.3, "copy_1_mib_gb_s": 20.0, "passes": 2}
    assert all(0 < share <= 1 for share in shares(outcome))
    assert "null" not in outcome.text


def test_rates_of_a_busy_machine_are_measured_again_at_the_end(sweep: Sweep) -> None:
    outcome, machine = sweep(BUSY, CALM)
    assert machine == {"mm_fp32_tflops": 0.1, "copy_1_mib_gb_s": 20.0, "passes": 2}
    assert "null" not in outcome.text


def test_rates_of_a_machine_that_stays_busy_are_null_with_the_reason(sweep: Sweep) -> None:
    outcome, machine = sweep(BUSY, BUSY)
    assert machine == {"copy_1_mib_gb_s": 20.0, "mm_fp32_tflops": None, "passes": 2, "refused": {"mm_fp32_tflops": WHY}}
    assert f"null: 1 of the machine's 2 rates, disturbed ahead of the sweep and after it by {WHY}" in outcome.text
    assert all(share != share for share in shares(outcome))
    assert set(load(outcome.folder).query("macs > 0")["roofline_note"]) == {f"the machine's rates were refused: {WHY}"}


def test_a_run_that_has_its_rates_is_not_probed_again_and_one_that_lacks_some_is(sweep: Sweep) -> None:
    sweep(BUSY, BUSY)
    _, machine = sweep(BUSY, CALM)
    assert machine == {"mm_fp32_tflops": 0.1, "copy_1_mib_gb_s": 20.0, "passes": 4}
    assert sweep(CALM, CALM, probed=0)[1] == machine


def test_rows_hold_classes_and_what_they_computed_in(sweep: Sweep) -> None:
    outcome, _ = sweep(CALM, CALM)
    for row in load(outcome.folder).to_dict("records"):
        assert sum(row["macs_by_class"].values()) == row["macs"]
        assert set(row["class_precisions"].values()) == {"fp32"}
