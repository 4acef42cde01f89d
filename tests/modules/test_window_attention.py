"""Windows by kernels: what the tiles and the reference compute, shown by Triton's interpreter without a card."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from bench.case import make_case
from bench.static import trace_figures
from modules.dilated_windows import Windows
from modules.window_attention import kernels_take

SHAPES = [(3, 1, (1, 5, 3, 4)), (5, 2, (1, 34, 2, 33)), (7, 3, (1, 2, 4, 5)), (1, 1, (2, 3, 2, 2))]


def interpret(code: str) -> None:
    """Run it in a process of its own: Triton decides at import whether it compiles or interprets."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_kernels_are_the_tiles_and_the_reference() -> None:
    pytest.importorskip("triton")
    interpret(f"from tests.modules.test_window_attention import hold_against_tiles\nhold_against_tiles({SHAPES!r})")


def hold_against_tiles(shapes: list[tuple[int, int, tuple[int, int, int, int]]]) -> None:
    """Output and gradients, masked or not, of contiguous maps and of others."""
    from modules.dilated_windows import attend_classes, join_classes, split_classes
    from modules.window_attention import attend_windows

    torch.manual_seed(0)
    for kernel, dilation, shape in shapes:
        for masked in (False, True):
            windows = Windows(kernel, dilation, 0.7, masked)
            parts = [torch.randn(shape, dtype=torch.float64) for _ in range(4)]
            if masked:
                parts = [part.contiguous(memory_format=torch.channels_last) for part in parts]
            *leaves, incoming = parts
            found = []
            for by_kernels in (False, True):
                query, key, value = (leaf.detach().requires_grad_() for leaf in leaves)
                if by_kernels:
                    result = attend_windows(query, key, value, windows)
                else:
                    classes = [split_classes(part, dilation) for part in (query, key, value)]
                    attended = attend_classes(*classes, windows, (shape[2], shape[3]))
                    result = join_classes(attended, dilation, shape[2], shape[3])
                found.append([result.detach(), *torch.autograd.grad(result, (query, key, value), incoming)])
            for tiled, given in zip(*found, strict=True):
                assert torch.allclose(tiled, given, rtol=0, atol=1e-10 * tiled.abs().max().item())


def test_ldv2_by_kernels_is_its_reference() -> None:
    pytest.importorskip("triton")
    interpret("from tests.modules.test_window_attention import hold_against_reference\nhold_against_reference()")


def hold_against_reference() -> None:
    import modules.local_distribution as local
    from bench.agreement import TOLERANCES
    from tests.modules.test_fused import computed, furthest, pair

    local.kernels_take = lambda map_BDHW, windows: True
    for options in ({"kernel": 3, "dilation": 2, "scale": True}, {"dilation": 1, "mask_border": True}):
        reference, fused = pair("ldv2", options, torch.float32, training=False)
        inputs = [torch.randn(1, 32, 3, 4) for _ in range(2)]
        assert furthest(computed(reference, inputs), computed(fused, inputs)).relative <= TOLERANCES["fp32"]
    reference, fused = pair("ldv2", {"dilation": 1}, torch.bfloat16, training=False)
    inputs = [torch.randn(1, 32, 3, 4).bfloat16()]
    with torch.no_grad():
        expected, given = reference(*inputs).float(), fused(*inputs).float()
    assert (expected - given).abs().max() <= TOLERANCES["bf16"] * expected.abs().max()


def test_both_counters_count_the_kernels() -> None:
    pytest.importorskip("triton")
    interpret("from tests.modules.test_window_attention import hold_counters\nhold_counters()")


def hold_counters() -> None:
    from bench.static.flops import count_with_fvcore
    from modules.window_attention import attend_windows

    class Attend(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return attend_windows(x, x, x, Windows(3, 1, 1.0, False))

    found = count_with_fvcore(Attend(), (torch.randn(1, 4, 2, 3),))
    assert found.macs == 2 * 9 * 4 * 2 * 3
    assert not any("window" in name for name in found.passed_over)


def test_kernels_run_on_cuda_alone() -> None:
    assert not kernels_take(torch.empty(1, 4, 8, 8), Windows(3, 1, 1.0, False))
    assert not kernels_take(torch.empty(1, 4, 8, 8, device="meta"), Windows(3, 1, 1.0, False))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there the trace asks for Triton itself")
def test_the_trace_for_cuda_holds_four_maps_and_a_number_a_neighbour() -> None:
    """Query, key, value, the affinity in single precision, and the result; the products are counted."""
    height, width, channels, kernel = 16, 24, 64, 5
    found = trace_figures(make_case("ldv2", {}, height, width, channels, impl="fused", device="cuda"))
    count = height * width
    assert found.macs == 6 * count * channels**2 + 2 * kernel**2 * count * channels
    assert found.macs_uncounted == ["batch_norm", "softmax"]
    assert found.traced_peak_bytes == 4 * count * (4 * channels + kernel**2)
