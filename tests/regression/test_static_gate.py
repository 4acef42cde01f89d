"""The static gate: it holds for the tree as it is, and no planted change gets past it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import workload
from bench.regression import baseline
from bench.regression.baseline import Baseline, accept, changes_of, differences, entries, figures_of, gated, load
from modules import registry
from modules.options import SpecError

PLANTED = ("gc", "afnb", "jpu", "resnet", "fcn")


def with_a_parameter(module: nn.Module) -> None:
    module.planted = nn.Parameter(torch.ones(1))


def with_a_product(module: nn.Module) -> None:
    """One more multiply-add."""

    def multiply(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        one = torch.ones(1, 1, device=inputs[0].device)
        one @ one

    module.register_forward_pre_hook(multiply)


def with_a_copy(module: nn.Module) -> None:
    """One more copy of the last input lives through the call."""

    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        module.kept = inputs[-1].detach().repeat(64, 1, 1, 1)

    module.register_forward_pre_hook(keep)
    module.register_forward_hook(lambda *_: delattr(module, "kept"))


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, registered: object) -> Iterator[Callable[[str, Callable[..., None]], None]]:
    """Change what an entry builds, for the time of a test."""

    def change(name: str, alter: Callable[[nn.Module], None]) -> None:
        entry = registry.describe(name)

        def build(**arguments: object) -> nn.Module:
            module = entry.build(**arguments)
            alter(module)
            return module

        build.__module__ = entry.build.__module__
        monkeypatch.setitem(registry._ENTRIES, name, dataclasses.replace(entry, build=build))
        workload._meta_module.cache_clear()

    yield change
    workload._meta_module.cache_clear()


@pytest.mark.parametrize("entry", sorted({*entries(), *load().entries}))
def test_the_entry_is_as_the_baseline_has_it(entry: str) -> None:
    accepted = load()
    found = changes_of(entry, accepted.entries.get(entry), figures_of(entry) if entry in entries() else None)
    wrong = gated(found, accepted.exact)
    assert not wrong, "; ".join(map(str, wrong)) + " (`make baseline` accepts it)"
    if found:
        pytest.skip(f"peaks and launches are those of PyTorch {accepted.torch}: {'; '.join(map(str, found))}")


@pytest.mark.parametrize("entry", PLANTED)
@pytest.mark.parametrize(
    ("alter", "figures"),
    [
        (with_a_parameter, {"params"}),
        (with_a_product, {"macs", "flops", "launches", "train_launches"}),
        (with_a_copy, {"traced_peak_bytes", "train_traced_peak_bytes"}),
    ],
)
def test_a_planted_change_is_named(
    plant: Callable[[str, Callable[..., None]], None],
    entry: str,
    alter: Callable[[nn.Module], None],
    figures: set[str],
) -> None:
    before = figures_of(entry)
    plant(entry, alter)
    after = figures_of(entry)
    found = changes_of(entry, before, after)
    assert figures <= {difference.figure for difference in found}
    assert {difference.figure for difference in found} <= {*figures, *baseline.TRACED}
    for figure in figures:
        assert any(str(d).startswith(f"{entry}: {figure} {before[figure]} -> {after[figure]} (+") for d in found)
    assert gated(found, exact=True) == found


def test_a_changed_default_is_another_case() -> None:
    old = figures_of("gc")
    (found,) = changes_of("gc", old, {**old, "key": "0"})
    assert str(found).startswith(f"gc: key {old['key']} -> 0 (a default option")


def test_missing_and_new_entries_fail() -> None:
    figures = {name: load().entries[name] for name in ("nl", "gc")}
    old, new = (Baseline("1", {"both": {}, **{name: figures[name]}}) for name in ("nl", "gc"))
    found = differences(old, new)
    assert [str(line).partition(" it is")[0] for line in found] == ["nl: missing:", "gc: new:"]
    assert gated(found, exact=False) == found


def test_under_another_pytorch_only_peaks_and_launches_are_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"params": 1, "macs": 1, "flops": 2}
    old: dict[str, int | str] = {"key": "a", **counts, **dict.fromkeys(baseline.TRACED, 1)}
    found = changes_of("nl", old, {name: "b" if name == "key" else 9 for name in old})
    assert len(gated(found, exact=True)) == 8
    assert {d.figure for d in gated(found, exact=False)} == {"key", "params", "macs", "flops"}
    monkeypatch.setattr(torch, "__version__", "9.9.1+cpu")
    assert (Baseline("9.9.1", {}).exact, Baseline("9.9.0", {}).exact) == (True, False)


def test_only_what_comes_with_the_package_is_gated(registered: object) -> None:
    before = entries()

    @registry.register("somebodys_own", family="context")
    class Own(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

    assert entries() == before
    assert set(before) == set(load().entries)


def test_accepting_shows_the_difference_and_is_then_at_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    monkeypatch.setattr(baseline, "entries", lambda: ["gc", "se"])
    assert accept(path).splitlines()[-1] == "accepted into baseline.json: 2 differences"
    assert accept(path) == "baseline.json is as it was"
    content = json.loads(path.read_text())
    content["entries"]["gc"]["params"] += 5
    path.write_text(json.dumps({**content, "torch": "1.0"}))
    *lines, peaks, end = accept(path).splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        f"gc: params {figures_of('gc')['params'] + 5} -> {figures_of('gc')['params']}"
    ]
    assert peaks == f"peaks and launches are now those of PyTorch {baseline.torch_release()}, not 1.0"
    assert end == "accepted into baseline.json: 2 differences"
    assert accept(path) == "baseline.json is as it was"


@pytest.mark.parametrize("content", ["", "[]", '{"torch": "1"}', "{"])
def test_a_file_that_is_no_baseline_is_told_and_replaced(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "baseline.json"
    with pytest.raises(SpecError, match="make baseline"):
        load(path)
    path.write_text(content)
    with pytest.raises(SpecError, match="not a baseline"):
        load(path)
    monkeypatch.setattr(baseline, "entries", lambda: ["gc"])
    accept(path)
    assert list(load(path).entries) == ["gc"]
