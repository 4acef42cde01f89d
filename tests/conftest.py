from __future__ import annotations

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def registered() -> object:
    """Forget what a test registers."""
    from modules import registry

    before = dict(registry._ENTRIES)
    yield registry
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)
