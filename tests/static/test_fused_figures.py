"""Static figures of the fused implementations: attention traced as one kernel, never more memory than the reference."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from bench.axes import parse_blocks
from bench.case import make_case
from bench.static import StaticFigures, trace_figures, with_fvcore
from bench.static.attention import FusedAttention
from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from bench.workload import build
from modules import registry
from modules.blockwise import BLOCK_BYTES

FUSED = [name for name in registry.names() if "fused" in registry.describe(name).impls]
MODES = [f"nl:mode={mode}" for mode in ("gaussian", "dot_product", "concat")]


def figures(
    block: str, height: int, width: int, channels: int, mode: str, batch: int, **axes: str
) -> list[StaticFigures]:
    """Of the reference and of the fused implementation."""
    ((name, options),) = parse_blocks(block)
    case = make_case(name, options, height, width, channels, mode=mode, batch=batch, **axes)
    return [trace_figures(dataclasses.replace(case, impl=impl)) for impl in ("reference", "fused")]


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("block", [*FUSED, *MODES, "gald:ld=v2", "gc:ratio=4"])
@pytest.mark.parametrize("place", [(64, 64, 512), (97, 97, 256)])
def test_no_fused_block_takes_more_memory_than_its_reference(
    block: str, mode: str, place: tuple[int, int, int]
) -> None:
    then, now = figures(block, *place, mode=mode, batch=2 if mode == "train" else 1)
    assert now.traced_peak_bytes <= then.traced_peak_bytes
    assert now.params == then.params


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("block", ["nl", "nl:mode=gaussian", "fnb", "pam", "apnb:sampling=none", "ldv2"])
def test_nor_does_what_takes_another_way_on_cuda(block: str, mode: str, dtype: str) -> None:
    for place in ((64, 64, 512), (97, 97, 256), (128, 256, 2048)):
        then, now = figures(block, *place, mode=mode, batch=1, dtype=dtype, device="cuda")
        assert now.traced_peak_bytes <= then.traced_peak_bytes


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nl_takes_a_twentieth_and_ldv2_an_eighth_of_the_memory_of_the_reference(device: str) -> None:
    for block, factor in (("nl", 20), ("ldv2", 8)):
        then, now = figures(block, 128, 256, 2048, "forward", 1, device=device)
        assert then.traced_peak_bytes >= factor * now.traced_peak_bytes


def test_a_trace_takes_the_way_of_the_case_s_device() -> None:
    """Blocks of queries on CUDA in fp32: their room comes on top of queries, keys and values, and nothing else."""
    count, width = 64 * 64, 256
    on_cpu, on_cuda = (figures("nl", 64, 64, 512, "forward", 1, device=device)[1] for device in ("cpu", "cuda"))
    assert on_cuda.traced_peak_bytes == 4 * 3 * count * width + BLOCK_BYTES
    assert on_cpu.traced_peak_bytes == 4 * (4 * count * width + count)
    assert on_cpu.macs == on_cuda.macs


@pytest.mark.parametrize("train", [False, True])
def test_attention_is_one_kernel_that_returns_the_result_and_a_number_a_query(train: bool) -> None:
    query, key, value = (torch.empty(1, 1, 512, 64, device="meta", requires_grad=train) for _ in range(3))
    live = LiveStorage()
    live.ignore([query, key, value])
    with torch.set_grad_enabled(train), FusedAttention(), Trace(live):
        result = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    assert live.peak_bytes == 4 * (512 * 64 + 512)
    if train:
        incoming = torch.empty_like(result)
        live.ignore([incoming])
        with Trace(live):
            torch.autograd.grad(result, (query, key, value), incoming)
        assert live.peak_bytes == 4 * (4 * 512 * 64 + 512)


def test_attention_that_no_flash_kernel_takes_is_traced_in_its_mathematical_form() -> None:
    query, key, value = (torch.empty(1, 1, 128, width, device="meta") for width in (8, 8, 16))
    live = LiveStorage()
    with torch.no_grad(), FusedAttention(), Trace(live):
        functional.scaled_dot_product_attention(query, key, value)
    assert live.peak_bytes >= 4 * 128 * 128


def test_multiply_adds_of_nl_are_those_of_the_formula() -> None:
    n, c, d = 24 * 20, 64, 32
    _, now = figures("nl", 24, 20, c, "forward", 1)
    assert now.macs == 4 * n * c * d + 2 * n * n * d


def test_re_associated_forms_have_no_product_of_all_pairs() -> None:
    n, c, d, s = 32 * 32, 64, 32, 110
    _, dot = figures("nl:mode=dot_product", 32, 32, c, "forward", 1)
    assert dot.macs <= 2 * n * c * d + n * d * d + n * c * d + 2 * c * d * d + n * d * c
    _, concat = figures("nl:mode=concat", 32, 32, c, "forward", 1)
    assert concat.macs == 2 * n * c * d + 2 * n * c + 2 * c * d + 2 * d
    _, apnb = figures("apnb", 32, 32, c, "forward", 1)
    assert apnb.macs < 2 * n * c * s + 3 * s * c * d + n * c * (1 + 3 + 6 + 8) + 32 * c * s


def test_a_symmetric_affinity_is_computed_once_for_both_of_a_pair() -> None:
    """Of 4 x 4 tiles the 4 on the diagonal and 6 of the 12 others."""
    n, c, d = 64 * 64, 64, 32
    _, gaussian = figures("nl:mode=gaussian", 64, 64, c, "forward", 1)
    assert gaussian.macs == 2 * n * c * d + n * n * c * 10 // 16 + n * n * d


@pytest.mark.parametrize("block", [*FUSED, *MODES])
def test_both_counters_agree_on_fused_blocks(block: str) -> None:
    ((name, options),) = parse_blocks(block)
    case = make_case(name, options, 17, 23, 64, impl="fused")
    found = with_fvcore(trace_figures(case), build(case))
    assert found.macs_fvcore == found.macs_torch
