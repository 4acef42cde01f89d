"""What only printed digits confirm, against closed forms worked out by hand."""

from __future__ import annotations

import pytest

from bench.axes import parse_blocks
from bench.case import Case, make_case
from bench.papers.conventions import macs_pooled, ptflops, recount
from bench.papers.readings import READINGS, cbam_params, ptflops_criss_cross, ptflops_dual, senet_params

GIGA = 1e9
BLOCKS, WIDTHS = (3, 4, 6, 3), (256, 512, 1024, 2048)
SIDE = 97
N = SIDE**2
RESNET_50 = 25_557_032


def case_of(block: str, side: int = SIDE, channels: int = 2048) -> Case:
    ((name, options),) = parse_blocks(block)
    return make_case(name, options, side, side, channels)


def squeezes(ratio: int) -> int:
    """2/r sum of N_s C_s^2, Squeeze-and-Excitation Networks, Eq. 5."""
    return 2 * sum(count * width**2 for count, width in zip(BLOCKS, WIDTHS, strict=True)) // ratio


def test_criss_cross_products_at_the_width_of_keys() -> None:
    case, width, inner = case_of("ccnet:side=odd"), 512, 64
    executed = 2 * N * 2 * SIDE * (inner + width)
    counted = 2 * 2 * N * (2 * SIDE - 1) * inner
    assert ptflops(recount(case).tally) - ptflops_criss_cross(case) == executed - counted
    assert ptflops_criss_cross(case) / GIGA == pytest.approx(653.5250, abs=5e-5)


@pytest.mark.parametrize("passes", [1, 3])
def test_each_pass_of_criss_cross_counts(passes: int) -> None:
    one, more = (case_of(f"ccnet:recurrence={count},side=odd") for count in (passes, passes + 1))
    projections = N * (2 * 512 * 64 + 512**2) + N * (2 * 64 + 512)
    assert ptflops_criss_cross(more) - ptflops_criss_cross(one) == projections + 2 * N * (2 * SIDE - 1) * 64


def test_dual_attention_with_three_calls_of_the_classifier() -> None:
    case, width = case_of("danet:side=odd"), 512
    projections = N * (2 * width * 64 + width**2) + N * (2 * 64 + width)
    classifier = N * width * 19 + N * 19
    assert ptflops_dual(case) == ptflops(recount(case).tally) + projections + 2 * classifier
    assert ptflops_dual(case) / GIGA == pytest.approx(709.1839, abs=5e-5)
    assert recount(case).params == 71_288_936


@pytest.mark.parametrize("context", ["se/ratio=16", "gc/ratio=16/pooling=avg/fusion=add"])
def test_squeeze_excitation_weighs_what_its_formula_says(context: str) -> None:
    case = case_of(f"gc_resnet:context={context},stages=2+3+4+5", 28)
    assert senet_params(case) == RESNET_50 + squeezes(16) == 28_071_976
    small = sum(count * (width // 16 + width + 2 * width // 16) for count, width in zip(BLOCKS, WIDTHS, strict=True))
    assert recount(case).params == senet_params(case) + small
    assert macs_pooled(recount(case).tally) / GIGA == pytest.approx(3.8669, abs=5e-5)


def test_squeeze_excitation_of_another_ratio_and_of_fewer_stages() -> None:
    assert senet_params(case_of("gc_resnet:context=se/ratio=4,stages=2+3+4+5", 28)) == RESNET_50 + squeezes(4)
    late = 2 * 3 * 2048**2 // 16
    assert senet_params(case_of("gc_resnet:context=se/ratio=16,stages=5", 28)) == RESNET_50 + late
    assert senet_params(case_of("gc_resnet:context=none", 28)) == RESNET_50


def test_cbam_has_a_gate_of_positions_in_each_block() -> None:
    case = case_of("gc_resnet:context=se/ratio=16,stages=2+3+4+5", 28)
    assert cbam_params(case) == senet_params(case) + sum(BLOCKS) * 2 * 7 * 7 == 28_073_544
    assert sum(BLOCKS) * 2 * 7 * 7 == 1_568


def test_readings_go_by_their_names() -> None:
    assert set(READINGS) == {"ptflops_criss_cross", "ptflops_dual", "senet_params", "cbam_params"}
    assert READINGS["cbam_params"] is cbam_params
