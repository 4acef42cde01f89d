"""Multiply-adds and traced peak by class: exact parts of the figures of a sweep."""

from __future__ import annotations

import gc

import pytest
import torch

from bench.case import make_case
from bench.profiling.anatomy import dissect
from bench.profiling.record import CLASSES
from bench.profiling.residence import Residence
from bench.static import trace_figures
from bench.static.trace import Trace
from modules import registry

BLOCKS = [name for name in registry.names() if registry.describe(name).family in ("context", "fusion", "upsample")]
KIB = 2**10


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("name", BLOCKS)
def test_the_classes_add_up_to_the_figures_of_a_sweep(name: str, mode: str) -> None:
    case = make_case(name, {}, 24, 24, 64, batch=2, mode=mode)
    figures, anatomy = trace_figures(case), dissect(case)
    assert sum(anatomy.class_macs.values()) == figures.macs
    assert sum(anatomy.class_peak_bytes.values()) == figures.traced_peak_bytes
    assert tuple(anatomy.class_macs) == tuple(anatomy.class_peak_bytes) == CLASSES
    if anatomy.peak_step is not None:
        assert anatomy.steps[anatomy.peak_step].bytes == figures.traced_peak_bytes
        assert max(step.bytes for step in anatomy.steps) == figures.traced_peak_bytes
        assert sum(one.bytes for one in anatomy.at_peak) == figures.traced_peak_bytes
    assert (anatomy.backward is None) == (mode == "forward")


def test_the_parts_of_a_non_local_block_by_hand() -> None:
    """256 positions, 64 channels, 32 within: theta, phi, g, then the affinity and its softmax."""
    anatomy = dissect(make_case("nl", {}, 16, 16, 64))
    expected = dict.fromkeys(CLASSES, 0)
    position, product = 4 * 64 * 32, 2 * 256 * 32
    assert anatomy.class_macs == expected | {"convolution": 256 * position, "matmul": 256 * product}
    assert anatomy.class_peak_bytes == expected | {
        **{"convolution": 3 * 32 * KIB, "matmul": 256 * KIB},
        "softmax": 256 * KIB,
    }
    assert anatomy.peak_operator == "_softmax"
    assert [one.operator for one in anatomy.at_peak] == ["convolution"] * 3 + ["bmm", "_softmax"]
    assert anatomy.fields()["peak_operator"] == "_softmax"


def test_a_block_that_allocates_nothing_has_no_peak() -> None:
    anatomy = dissect(make_case("identity", {}, 8, 8, 16))
    assert anatomy.peak_operator is None
    assert anatomy.fields()["traced_peak_bytes"] == 0


def test_what_is_freed_leaves_its_class() -> None:
    x = torch.empty(256, 256, device="meta")
    residence = Residence()
    residence.ignore([x])
    with Trace(residence):
        product = x @ x
        softened = torch.softmax(product, -1)
        del product
        softened.t().contiguous()
    gc.collect()
    matmul, softmax, copy = (CLASSES.index(kind) for kind in ("matmul", "softmax", "copy"))
    assert [step.operator for step in residence.steps] == ["mm", "_softmax", "clone"]
    last = residence.steps[-1].live
    assert (last[matmul], last[softmax], last[copy]) == (0, 256 * KIB, 256 * KIB)
    assert residence.peak_step == 1
    assert residence.peak_by_class["matmul"] == 256 * KIB


def test_a_case_that_cannot_be_is_an_error() -> None:
    with pytest.raises(ValueError, match="15"):
        dissect(make_case("ldv1", {}, 4, 4, 64))
