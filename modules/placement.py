"""Placement: which kind of device computes with a tensor; for one on meta, the kind that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

_meant: list[str] = []


def device_kind(tensor: Tensor) -> str:
    """`cpu`, `cuda` or another; on meta what `standing_for` says, `cpu` where nothing does."""
    if tensor.device.type != "meta":
        return tensor.device.type
    return _meant[-1] if _meant else "cpu"


@contextmanager
def standing_for(kind: str) -> Iterator[None]:
    """Have tensors on meta stand for those of a kind of device, so that a trace takes the way that the device takes."""
    _meant.append(kind)
    try:
        yield
    finally:
        _meant.pop()
