"""The table of implementations, from invented rows."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.digits import MISSING
from bench.report.frame import build
from bench.report.then_and_now import claims, comparisons, compiled, markdown, overview
from tests.report.synthetic import row


def pair(name: str, ratio: float | None, size: int = 64, **fields: Any) -> list[dict[str, Any]]:
    """A block as published, and fused at a third of the memory."""
    then = row(name, size, size, **fields)
    low, high = (None, None) if ratio is None else (0.98 * ratio, 1.02 * ratio)
    now = {"impl": "fused", "traced_peak_bytes": then["traced_peak_bytes"] // 3, "impl_ratio": ratio}
    return [then, row(name, size, size, **fields, **now, impl_ratio_ci_low=low, impl_ratio_ci_high=high)]


def test_each_block_has_ratio_interval_and_peak() -> None:
    frame = build([*pair("nl", 0.5), *pair("gc", 1.01), *pair("ldv2", None), row("se")])
    (found,) = comparisons(frame)
    lines = found.grid().rows
    assert [line[0] for line in lines] == ["nl", "gc", "ldv2"]
    assert [line[4] for line in lines] == ["0.50x", "≈ 1.01x", MISSING]
    assert lines[0][5:7] == ("0.490 to 0.510", "0.33x")
    assert found.summary().startswith("Geometric mean 0.71x over 2 blocks; the largest is 1.01x, gc. Noise floor")


def test_memory_of_the_device_stands_where_it_was_measured() -> None:
    then, now = pair("nl", 0.5)
    (found,) = comparisons(build([then | {"cuda_peak_bytes": 4000}, now | {"cuda_peak_bytes": 1000}]))
    assert found.grid().header[-1] == "CUDA peak"
    assert found.grid().rows[0][-1] == "0.25x"


def test_the_published_form_compiled_stands_beside_itself_and_others_beside_it() -> None:
    then, now = pair("nl", 0.5)
    on = {"compiled": True}
    beside = {"impl_ratio": 0.8, "impl_ratio_ci_low": 0.79, "impl_ratio_ci_high": 0.81}
    frame = build([then, now, then | on | beside, now | on | {"impl_ratio": 0.7}])
    (alone,) = compiled(frame)
    assert alone.title == "64x64, 512 channels, cpu, fp32, forward, batch 1, published form, compiled over not"
    assert [line[:2] + line[4:6] for line in alone.grid().rows] == [("nl", "compiled", "0.80x", "0.790 to 0.810")]
    assert [[line[1:2] + line[4:5] for line in one.grid().rows] for one in comparisons(frame)] == [
        [("fused", "0.50x")],
        [("fused", "0.70x")],
    ]
    assert alone.title in "\n".join(markdown(frame))


def test_all_places_stand_side_by_side() -> None:
    rows = [*pair("nl", 0.5), *pair("gc", 1.01), *pair("nl", 0.25, size=97), *pair("psp", 0.5, mode="train", batch=2)]
    found = overview(build(rows))
    assert found is not None
    words, grid = found
    assert words == "512 channels, cpu, fp32, batch 1"
    assert grid.header == ("block", "64x64, forward", "97x97, forward", "64x64, train")
    assert grid.rows == (
        ("nl", "0.50x", "0.25x", ""),
        ("gc", "≈ 1.01x", "", ""),
        ("psp, batch 2", "", "", "0.50x"),
        ("geometric mean", "0.71x", "0.25x", "0.50x"),
    )
    assert overview(build([row("nl")])) is None


def test_claims_of_compiled_blocks_stand_apart() -> None:
    rows = []
    for on in (False, True):
        for name, ms in (("nl", 10.0), ("gc", 4.0 if on else 1.0)):
            times = {"latency_ms": ms, "latency_ci_low_ms": ms, "latency_ci_high_ms": ms}
            then, now = pair(name, 0.5, compiled=on, reference=None, **times)
            rows += [then, now]
    judged = claims(build(rows))
    assert judged is not None
    found = {line[1]: line[4] for line in judged.rows if line[0] == "gc over nl"}
    assert (found["reference"], found["reference, compiled"]) == ("0.10x", "0.40x")


def test_an_implementation_that_could_not_be_timed_says_its_status() -> None:
    then, now = pair("nl", None)
    (found,) = comparisons(build([then, now | {"status": "invalid", "reason": "differs"}]))
    assert found.grid().rows[0][3:5] == ("invalid", MISSING)
    assert found.summary() == "No block of this group has a ratio."


def test_claims_are_judged_in_each_implementation() -> None:
    rows = [*pair("nl", 0.5, 32), *pair("nl", 0.5, 64), *pair("apnb", 0.5, 32), *pair("apnb", 0.5, 64)]
    for made in rows:
        faster = made["entry"] == "apnb" and (made["impl"] == "reference" or made["height"] == 64)
        ratio = 0.5 if faster else 1.5
        made |= {"ratio": ratio, "ratio_ci_low": 0.99 * ratio, "ratio_ci_high": 1.01 * ratio}
    judged = claims(build(rows))
    assert judged is not None
    assert [(line[0], line[1], line[-2], line[-1]) for line in judged.rows] == [
        ("apnb over nl", "reference", "0.50x", "1024"),
        ("apnb over nl", "fused", "1.50x to 0.50x", "4096"),
    ]


@pytest.mark.parametrize("rows", [[], [row("nl"), row("apnb")]])
def test_a_run_of_published_blocks_alone_has_no_such_section(rows: list[dict[str, Any]]) -> None:
    assert markdown(build(rows)) == []


@pytest.mark.parametrize(("high", "since"), [(0.94, "4096"), (0.96, "at none measured")])
def test_a_claim_without_a_paired_ratio_holds_where_intervals_lie_apart(high: float, since: str) -> None:
    """Against a block that is not the reference: by more than the noise floor, which is 5 %."""
    measured = {"latency_ms": 1.0, "latency_ci_low_ms": 1.0, "latency_ci_high_ms": 1.0}
    measured |= {"impl": "fused", "noise_floor": 0.05}
    mine = measured | {"latency_ms": 0.9, "latency_ci_low_ms": 0.9, "latency_ci_high_ms": high}
    judged = claims(build([row("fnb", 64, 64, **measured), row("afnb", 64, 64, **mine)]))
    assert judged is not None
    assert next(line[-1] for line in judged.rows if "afnb" in " ".join(line)) == since
