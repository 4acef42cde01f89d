"""Compiled workloads: each is compiled for its own case, whatever else was compiled before it in the process."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.case import make_case
from bench.workload import build

MODES = ("embedded_gaussian", "dot_product", "gaussian")
Graphs = list[torch.fx.GraphModule]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    """Every graph that is compiled; they run as they are, without the generated code."""
    seen: Graphs = []
    compile_module = nn.Module.compile

    def keep(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        seen.append(graph)
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: compile_module(module, backend=keep, **options))
    torch._dynamo.reset()
    return seen


def test_a_second_size_is_compiled_for_its_size(graphs: Graphs) -> None:
    for size in (8, 9, 10):
        build(make_case("nl", {}, size, size, 16, compiled=True)).forward()
    inputs = [node for graph in graphs for node in graph.graph.nodes if node.op == "placeholder"]
    shapes = [tuple(node.meta["example_value"].shape) for node in inputs]
    assert [shape for shape in shapes if shape[0] == 1 and shape[1:2] == (16,)] == [(1, 16, n, n) for n in (8, 9, 10)]


@pytest.mark.skipif(
    "isolate_recompiles" not in inspect.signature(torch.compile).parameters,
    reason="this PyTorch cannot keep apart what lies below a graph break",
)
def test_nor_what_lies_below_a_graph_break(graphs: Graphs) -> None:
    counts = []
    for inner in range(1, 13):
        before = len(graphs)
        options = {"mode": "gaussian", "inner": inner}
        build(make_case("nl", options, 6, 6, 16, impl="fused", compiled=True)).forward()
        counts.append(len(graphs) - before)
    assert set(counts) == {counts[0]}


def test_no_block_is_left_uncompiled_because_many_of_its_class_were(graphs: Graphs) -> None:
    for inner in range(1, 13):
        work = build(make_case("nl", {"inner": inner}, 6, 6, 16, compiled=True))
        for _ in range(2):
            work.forward()
    assert len(graphs) == 12


def test_what_is_compiled_last_does_not_stand_in_for_those_before(graphs: Graphs) -> None:
    """The fused gaussian form breaks the graph, and what is compiled up to there would fit every other block."""
    works = [build(make_case("nl", {"mode": mode}, 33, 33, 16, impl="fused", compiled=True)) for mode in MODES]
    for work in works:
        work.forward()
    before = len(graphs)
    for work in works:
        work.forward()
    assert len(graphs) == before


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from within the compiler
def test_a_compiled_block_returns_what_it_returned() -> None:
    for name in ("nl", "psp"):
        plain, compiled = (build(make_case(name, {}, 8, 8, 16, compiled=on)) for on in (False, True))
        compiled.module.load_state_dict(plain.module.state_dict())
        torch.testing.assert_close(compiled.forward(), plain.forward(), rtol=1e-4, atol=1e-5)
