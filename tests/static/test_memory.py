from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.axes import parse_blocks
from bench.case import Case, make_case
from bench.static import trace_figures
from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from bench.static.traffic import Traffic
from bench.workload import build
from modules import registry

MIB = 2**20


def published_protocol(make: nn.Module | None, channels: int, height: int, width: int, calls: int = 3) -> float:
    """Peak MiB of ANN's measuring loop: the previous input lives until the next one is made; weights count."""
    live = LiveStorage()
    with torch.device("meta"), torch.no_grad(), Trace(live):
        block = make() if make is not None else None
        for _ in range(calls):
            x = torch.randn(1, channels, height, width)
            if block is not None:
                block.eval()(x)
    return live.peak_bytes / MIB


NB = {"sampling": "none", "share": "query_key", "norm": True, "inner": 256, "fuse": "concat"}
APNB = {"share": "query_key", "norm": True, "inner": 256, "fuse": "concat"}


@pytest.mark.parametrize(
    ("options", "size", "published", "stale"),
    [
        (NB, (96, 96), 609, 0),
        (APNB, (96, 96), 150, 0),
        (NB, (128, 256), 7797, 753.01 - 512),
        (APNB, (128, 256), 277, 753.01 - 512),
    ],
)
def test_ann_table_1_memory_follows_without_executing_anything(
    options: dict[str, object], size: tuple[int, int], published: int, stale: float
) -> None:
    """ANN Table 1. The published 256x128 rows subtract a peak that was never reset, 753 instead of 512 MiB."""
    block = published_protocol(lambda: registry.create("apnb", 2048, **options), 2048, *size)
    null = published_protocol(None, 2048, *size)
    assert block - null - stale == pytest.approx(published, abs=0.5)


def test_the_first_cell_to_the_second_decimal() -> None:
    block = published_protocol(lambda: registry.create("apnb", 2048, **NB), 2048, 96, 96)
    assert block - published_protocol(None, 2048, 96, 96) == pytest.approx(609.01, abs=0.01)


def traced(call: object, *inputs: torch.Tensor) -> LiveStorage:
    live = LiveStorage()
    live.ignore(inputs)
    with Trace(live):
        call(*inputs)
    return live


def test_storage_is_rounded_to_512_bytes() -> None:
    x = torch.empty(100, device="meta")
    assert traced(lambda x: x + 1, x).peak_bytes == 512
    assert traced(lambda x: x.add_(1), x).peak_bytes == 0


def test_what_is_dropped_is_not_counted_twice() -> None:
    x = torch.empty(1024, device="meta")

    def chain(x: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            x = x + 1
        return x

    assert traced(chain, x).peak_bytes == 2 * 4096
    assert traced(chain, x).live_bytes == 0


def test_views_cost_nothing() -> None:
    x = torch.empty(64, 64, device="meta")
    assert traced(lambda x: x.t().reshape(-1, 8, 64).unsqueeze(0)[..., :4], x).peak_bytes == 0


def test_forward_and_backward_hold_saved_activations() -> None:
    x = torch.empty(1024, device="meta", requires_grad=True)

    def train(x: torch.Tensor) -> None:
        y = x.sigmoid().sigmoid()
        torch.autograd.grad(y.sum(), x)

    assert traced(train, x).peak_bytes > 3 * 4096


@pytest.mark.parametrize("block", ["nl", "apnb", "gc", "cgnl", "ldv1", "ldv2", "aspp", "afnb", "jpu"])
def test_training_needs_more_than_forward(block: str) -> None:
    forward, train = (
        trace_figures(make_case(block, {}, 24, 24, 64, batch=2, mode=mode)) for mode in ("forward", "train")
    )
    assert train.traced_peak_bytes > forward.traced_peak_bytes
    assert train.traffic_bytes > forward.traffic_bytes
    assert train.compulsory_bytes > forward.compulsory_bytes
    assert train.macs == forward.macs


def test_identity_costs_nothing() -> None:
    figures = trace_figures(make_case("identity", {}, 24, 24, 64))
    assert (figures.params, figures.macs, figures.traced_peak_bytes) == (0, 0, 0)
    assert (figures.traffic_bytes, figures.compulsory_bytes) == (0, 0)


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("block", registry.names())
def test_no_implementation_moves_less_than_what_is_compulsory(block: str, mode: str) -> None:
    figures = trace_figures(make_case(block, {}, 16, 20, 64, batch=2, mode=mode))
    assert figures.compulsory_bytes <= figures.traffic_bytes


def test_an_input_that_is_not_read_is_not_compulsory() -> None:
    assert trace_figures(make_case("bilinear", {}, 8, 8, 64)).compulsory_bytes == 4 * (64 * 2 * 2 + 64 * 8 * 8)


@pytest.mark.parametrize("sampling", ["pyramid_random", "random,sizes=3"])
def test_what_is_drawn_at_the_first_call_is_in_no_figure(sampling: str) -> None:
    ((name, options),) = parse_blocks(f"apnb:sampling={sampling}")
    first, second = (trace_figures(make_case(name, options, 19, 23, 32)) for _ in range(2))
    assert first == second


def test_traffic_counts_what_operators_read_and_write() -> None:
    traffic = Traffic()
    x, y = torch.empty(10, 10, device="meta"), torch.empty(10, 10, device="meta")
    with Trace(traffic):
        (x.t() @ y).relu_()
    assert traffic.bytes == 400 * (2 + 1) + 400 * 2


def test_half_precision_halves_the_peak() -> None:
    full, half = (trace_figures(make_case("nl", {}, 32, 32, 64, dtype=dtype)) for dtype in ("fp32", "bf16"))
    assert full.traced_peak_bytes == 2 * half.traced_peak_bytes


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("block", registry.names())
def test_remembered_shapes_change_no_figure(block: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(block, {}, 16, 20, 64, batch=2, mode=mode)
    figures = [trace_figures(case) for _ in range(2)]
    monkeypatch.setattr("bench.static.trace.infer", lambda operator, args, kwargs: operator(*args, **kwargs))
    assert figures == [trace_figures(case)] * 2


def peak_of_a_real_call(case: Case) -> int:
    """What the same tracker sees when the operators really run."""
    work = build(case)
    live = LiveStorage()
    live.ignore([*work.module.parameters(), *work.module.buffers(), *work.inputs])
    with Trace(live):
        outputs = work.forward()
    if case.mode == "train":
        work.receive(outputs)
        live.ignore(work.incoming)
        with Trace(live):
            work.backward(outputs)
    return live.peak_bytes


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("block", registry.names())
def test_the_meta_trace_sees_what_a_real_call_allocates(block: str, mode: str) -> None:
    """Exactly, but for the two statistics that batch norm returns in evaluation mode: empty on the CPU alone."""
    case = make_case(block, {}, 16, 20, 64, batch=2, mode=mode)
    excess = trace_figures(case).traced_peak_bytes - peak_of_a_real_call(case)
    assert excess in ((0, 2 * 512) if mode == "forward" else (0,))


def test_what_is_expanded_is_read_once() -> None:
    traffic = Traffic()
    x = torch.empty(1, 100)
    with Trace(traffic):
        x.expand(5, 100).contiguous()
    assert traffic.bytes == 400 + 5 * 400
