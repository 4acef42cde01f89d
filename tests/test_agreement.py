"""Whether an implementation is checked against its reference before it is timed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bench.agreement import agree
from bench.axes import implementations
from bench.case import Case, make_case
from bench.measure.clock import HostClock
from bench.measure.method import Method
from bench.plan import make_plan
from bench.suite import read_suite
from bench.trial import measure_group
from bench.workload import FalseOutput, build
from modules import registry
from modules.registry import register
from tests.command.conftest import command  # noqa: F401


@pytest.fixture
def leaning() -> Iterator[None]:
    """A block whose fused form is off by what its option says, in the output or in the gradient alone."""
    before = dict(registry._ENTRIES)

    @register("leaning", family="context")
    class Leaning(nn.Module):
        def __init__(
            self,
            channels: int,
            off: float = 0.0,
            where: Literal["output", "gradient"] = "output",
            impl: Literal["reference", "fused"] = "reference",
        ) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(channels, 1, 1))
            self.gamma = nn.Parameter(torch.zeros(1))
            self.off = off if impl == "fused" else 0.0
            self.where = where

        def forward(self, x: Tensor) -> Tensor:
            y = x * self.weight
            off = y * self.off
            return x + self.gamma * (y + (off if self.where == "output" else off - off.detach()))

    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


def case(mode: str = "train", **options: object) -> Case:
    return make_case("leaning", options, 12, 10, 8, batch=2, mode=mode, impl="fused")


@pytest.mark.usefixtures("leaning")
def test_what_agrees_is_told_with_its_size_and_left_as_it_was() -> None:
    work = build(case())
    assert agree(work) == "12x10"
    assert not work.module.gamma.any()


@pytest.mark.usefixtures("leaning")
@pytest.mark.parametrize("where", ["output", "gradient"])
def test_what_differs_is_refused_with_the_figure(where: str) -> None:
    with pytest.raises(FalseOutput, match=r"differs from the reference's by .* at 12x10, more than 1e-05 \(fp32\)"):
        agree(build(case(off=1e-3, where=where)))


@pytest.mark.usefixtures("leaning")
def test_gradients_do_not_count_where_none_are_taken() -> None:
    assert agree(build(case("forward", off=1e-3, where="gradient"))) == "12x10"


@pytest.mark.parametrize("mode", ["forward", "train"])
def test_gradients_that_should_vanish_are_as_near_to_zero_as_the_reference_s(mode: str) -> None:
    assert agree(build(make_case("cgnl", {}, 9, 8, 32, batch=2, mode=mode, impl="fused"))) == "9x8"


def test_a_reference_that_does_not_fit_is_run_on_a_smaller_map() -> None:
    work = build(make_case("nl", {}, 32, 32, 16, impl="fused"))
    assert agree(work, free_bytes=4 * 2**20) == "16x16"
    with pytest.raises(FalseOutput, match="does not fit into memory even at 8x8"):
        agree(work, free_bytes=1)


@pytest.mark.usefixtures("leaning")
def test_a_false_implementation_is_never_timed(
    command: Callable[..., tuple[int, str, str]],  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ("--blocks", "leaning:off=0.01,nl", "--sizes", "8x8", "--channels", "8", "--impl", "reference,fused")
    quick = ("--seconds", "0.02", "--device", "cpu", "--in-process", "--out", tmp_path / "run")
    code, _, _ = command("sweep", "--suite", "quick", *words, *quick)
    assert code == 3
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    found = {(row["entry"], row["impl"]): row for row in rows}
    false = found["leaning", "fused"]
    assert (false["status"], false["latency_ms"]) == ("invalid", None)
    assert "differs from the reference's by 0.0" in false["reason"]
    true = found["nl", "fused"]
    assert true["status"] == "ok"
    assert true["checked_at"] == "8x8"
    assert true["impl_ratio_ci_low"] <= true["impl_ratio"] <= true["impl_ratio_ci_high"]
    assert found["nl", "reference"]["impl_ratio"] is found["nl", "reference"]["checked_at"] is None
    assert "## Then and now" in (tmp_path / "run" / "report.md").read_text()


@pytest.fixture
def eager_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled runs as it is traced, without generated code."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda module, **options: compile_module(module, backend="eager", **options)
    )
    torch._dynamo.reset()


@pytest.mark.usefixtures("eager_backend")
@pytest.mark.parametrize("mode", ["forward", "train"])
def test_what_is_compiled_is_held_against_what_is_not(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(registry._ENTRIES)

    @register("changing", family="context")
    class Changing(nn.Module):
        """Off by a hundredth once it is compiled."""

        def __init__(self, channels: int, off: float = 0.01) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(channels, 1, 1))
            self.off = off

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight * (1 + self.off) if torch.compiler.is_compiling() else x * self.weight

    try:
        changed, same = (
            build(make_case("changing", {"off": off}, 12, 10, 8, mode=mode, compiled=True)) for off in (0.01, 0.0)
        )
        with pytest.raises(FalseOutput, match=r"differs from the reference's by 0\.01"):
            agree(changed)
        assert agree(same) == "12x10"
    finally:
        registry._ENTRIES.clear()
        registry._ENTRIES.update(before)


@pytest.mark.usefixtures("eager_backend")
def test_a_compiled_block_has_the_ratio_to_itself_and_its_other_forms_that_to_it() -> None:
    grid = {"blocks": "snl", "sizes": "8x8", "channels": "8", "impl": "reference,fused", "compile": "off,on"}
    (group,) = make_plan(read_suite({"grid": [grid], "reference": "none"}, "x"), "cpu", {}, None).groups
    method = Method(seconds=0.0, warm_seconds=0.0, sample_ms=0.0, energy_seconds=0.0)
    rows = measure_group(group, method, HostClock()).fields
    samples = {name: row["latency_samples_ms"] for name, row in rows.items()}
    for name, over in (
        ("snl (compiled)", "snl"),
        ("snl (fused)", "snl"),
        ("snl (fused, compiled)", "snl (compiled)"),
    ):
        pairs = [a / b for a, b in zip(samples[name], samples[over], strict=True)]
        assert rows[name]["impl_ratio"] == pytest.approx(statistics.median(pairs))
        assert rows[name]["checked_at"] == "8x8"
    assert "impl_ratio" not in rows["snl"]
    assert rows["snl"]["checked_at"] is None


def test_implementations_share_the_rounds_and_stand_beside_each_other() -> None:
    grid = {"blocks": "nl,snl", "sizes": "8x8", "channels": "8", "impl": "reference,fused", "compile": "off,on"}
    (group,) = make_plan(read_suite({"grid": [grid]}, "x"), "cpu", {}, None).groups
    names = [
        f"{block}{mark}" for block in ("nl", "snl") for mark in ("", " (compiled)", " (fused)", " (fused, compiled)")
    ]
    assert [case.name for case in group.cases] == names
    assert group.reference is not None
    assert group.reference.case.name == "nl"
    assert implementations() == ["reference", "fused"]


def test_a_case_that_is_not_compiled_has_the_key_that_it_always_had() -> None:
    plain, compiled = (make_case("nl", {}, 8, 8, 8, compiled=on) for on in (False, True))
    assert plain.key == make_case("nl", {}, 8, 8, 8).key != compiled.key
    assert "--compile" not in plain.arguments()
    assert compiled.arguments()[compiled.arguments().index("--compile") + 1] == "on"


@pytest.mark.parametrize(
    ("more", "mode", "told"),
    [
        ("output", "forward", "the reference has no output 1"),
        ("less", "forward", "has no output 1, as the reference has"),
        ("detached", "train", "has no gradient of weight, as the reference has"),
    ],
)
def test_another_number_of_outputs_or_gradients_is_false(more: str, mode: str, told: str) -> None:
    before = dict(registry._ENTRIES)

    @register("uneven", family="context")
    class Uneven(nn.Module):
        def __init__(self, channels: int, impl: Literal["reference", "fused"] = "reference") -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(channels, 1, 1))
            self.fused = impl == "fused"

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
            y = x * (self.weight.detach() if self.fused and more == "detached" else self.weight)
            return (y, 2 * y) if self.fused == (more == "output") and more != "detached" else y

    try:
        with pytest.raises(FalseOutput, match=told):
            agree(build(make_case("uneven", {}, 8, 8, 4, impl="fused", mode=mode)))
    finally:
        registry._ENTRIES.clear()
        registry._ENTRIES.update(before)


def test_what_has_no_backward_pass_is_not_trained() -> None:
    before = dict(registry._ENTRIES)

    @register("detached", family="context")
    class Detached(nn.Module):
        def __init__(self, channels: int, name: str = "an option of that name") -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    try:
        with pytest.raises(FalseOutput, match="no output has a gradient"):
            build(make_case("detached", {"name": "n"}, 8, 8, 4, mode="train")).call()
    finally:
        registry._ENTRIES.clear()
        registry._ENTRIES.update(before)
