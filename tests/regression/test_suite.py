"""The pytest-benchmark suite: what it would time, without timing it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from bench.regression import test_blocks
from bench.regression.baseline import entries, load
from bench.regression.conftest import pytest_configure


class FakeBenchmark:
    """Calls what it is given once, as pytest-benchmark does when it is switched off."""

    def __init__(self) -> None:
        self.extra_info: dict[str, object] = {}
        self.calls = 0

    def __call__(self, call: Callable[[], object]) -> None:
        call()
        self.calls += 1


@pytest.mark.parametrize("entry", ["identity", "gc", "afnb", "jpu", "resnet", "fcn"])
def test_the_static_figures_go_along(entry: str) -> None:
    benchmark = FakeBenchmark()
    test_blocks.test_time(entry, benchmark)
    assert benchmark.calls == 1
    assert benchmark.extra_info.keys() == load().entries[entry].keys()
    for name in ("key", "params", "macs", "flops"):
        assert benchmark.extra_info[name] == load().entries[entry][name]


def test_every_entry_is_in_the_suite() -> None:
    (marked,) = (mark for mark in test_blocks.test_time.pytestmark if mark.name == "parametrize")
    assert marked.args[1] == entries()


@pytest.mark.parametrize(
    ("words", "enabled"),
    [
        (("bench/regression",), True),
        (("bench/regression", "--benchmark-json=out.json"), True),
        (("bench/regression", "--benchmark-disable"), False),
        (("bench/regression", "--benchmark-skip"), False),
    ],
)
def test_benchmarks_are_on_unless_the_command_line_switches_them_off(words: tuple[str, ...], enabled: bool) -> None:
    config = SimpleNamespace(
        invocation_params=SimpleNamespace(args=words), option=SimpleNamespace(benchmark_enable=False)
    )
    pytest_configure(config)  # type: ignore[arg-type]
    assert config.option.benchmark_enable is enabled


def test_a_figure_that_is_not_the_accepted_one_fails_with_a_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = load()
    wrong.entries["gc"]["params"] += 5  # type: ignore[index, operator]
    monkeypatch.setattr(test_blocks, "load", lambda: wrong)
    test_blocks.test_static_figures("se")
    with pytest.raises(AssertionError, match=r"gc: params \d+ -> \d+ .*make baseline"):
        test_blocks.test_static_figures("gc")
