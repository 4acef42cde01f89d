"""Every entry at one small case: its static figures exactly, and its time by pytest-benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.regression.baseline import case_of, changes_of, entries, figures_of, gated, load
from bench.workload import build


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread: these maps are too small for more, and threads that wait for each other are what is noisy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("entry", sorted({*entries(), *load().entries}))
def test_static_figures(entry: str) -> None:
    """They are what the baseline says; the failure names every figure that is not."""
    baseline = load()
    found = figures_of(entry) if entry in entries() else None
    wrong = gated(changes_of(entry, baseline.entries.get(entry), found), baseline.exact)
    assert not wrong, "; ".join(map(str, wrong)) + " (`make baseline` accepts it)"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.benchmark(group="forward", max_time=0.25, warmup=True, warmup_iterations=3, disable_gc=True)
@pytest.mark.parametrize("entry", entries())
def test_time(entry: str, benchmark: BenchmarkFixture) -> None:
    """A forward pass on one core; the static figures go along as `extra_info`."""
    benchmark.extra_info.update(figures_of(entry))
    benchmark(build(case_of(entry)).call)
