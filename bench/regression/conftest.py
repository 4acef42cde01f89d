"""Benchmarks are off in the project's settings, so that its tests time nothing; who asks for this folder wants them."""

from __future__ import annotations

import pytest

_OFF = ("--benchmark-disable", "--benchmark-skip")


def pytest_configure(config: pytest.Config) -> None:
    """Switch benchmarks on, unless the command line itself switches them off."""
    if not any(word in _OFF for word in config.invocation_params.args):
        config.option.benchmark_enable = True
