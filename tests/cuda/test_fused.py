"""The fused implementations on a CUDA device: equal to their references, and within the memory that is traced."""

from __future__ import annotations

import pytest

from bench.agreement import agree
from bench.case import make_case
from bench.measure.peak import cuda_peak
from bench.static import trace_figures
from bench.workload import build
from modules import registry

pytestmark = pytest.mark.cuda
FUSED = [name for name in registry.names() if "fused" in registry.describe(name).impls]


COARSE = ("psp", "gald", "encoding")
"""Some of their bf16 gradients lie more than twice as far from the exact ones as the reference's, on an H200."""
CASES = [
    pytest.param(name, dtype, mode, marks=[pytest.mark.xfail(reason="bf16 gradients coarser than the reference's")])
    if (name in COARSE and (dtype, mode) == ("bf16", "train"))
    else (name, dtype, mode)
    for name in FUSED
    for dtype in ("fp32", "bf16")
    for mode in ("forward", "train")
]


@pytest.mark.parametrize(("name", "dtype", "mode"), CASES)
def test_it_computes_what_the_reference_computes(name: str, dtype: str, mode: str) -> None:
    case = make_case(name, {}, 33, 40, 128, batch=2, dtype=dtype, mode=mode, impl="fused", device="cuda")
    assert agree(build(case)) == "33x40"


@pytest.mark.parametrize("name", ["nl", "ldv2", "pam"])
def test_its_peak_is_far_below_the_reference_s(name: str) -> None:
    peaks = []
    for impl in ("reference", "fused"):
        work = build(make_case(name, {}, 64, 64, 256, impl=impl, device="cuda"))
        for _ in range(2):
            work.call()
        peaks.append(cuda_peak(work.call).allocated)
    assert peaks[0] > 2 * peaks[1]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("name", ["nl", "pam", "ldv2"])
def test_the_traced_peak_is_the_device_s(name: str, mode: str, dtype: str) -> None:
    case = make_case(name, {}, 64, 64, 256, impl="fused", device="cuda", mode=mode, dtype=dtype)
    work = build(case)
    for _ in range(2):
        work.call()
    traced = trace_figures(case).traced_peak_bytes
    assert 0.8 * traced <= cuda_peak(work.call).allocated <= 2 * traced + 64 * 2**20
