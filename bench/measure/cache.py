"""Cache: how much a device caches, and a flush that leaves nothing of a block's data in it."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.measure.clock import Call
from bench.measure.method import Method

FACTOR = 2
"""A flush goes over this many times what the cache holds, since caches do not replace strictly the oldest line."""
_CPUS = Path("/sys/devices/system/cpu")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


class Flush:
    """Reads and writes a buffer larger than the cache; on a CPU with all threads, so that their own caches turn over.

    The buffer is read as well as written, for plain stores of a large buffer may pass the caches by.
    """

    def __init__(self, device: str, held: int) -> None:
        self._buffer = torch.zeros(FACTOR * held // 4, dtype=torch.int32, device=device)

    @property
    def bytes(self) -> int:
        """Size of the buffer."""
        return self._buffer.numel() * self._buffer.element_size()

    def __call__(self) -> None:
        self._buffer.add_(1)


def flush_for(method: Method, device: str) -> Call | None:
    """What is to run ahead of every sample, outside of what is timed: a flush for cold caches, nothing for warm ones.

    Raises:
        RuntimeError: nobody says how much this device caches.
    """
    if method.cache == "warm":
        return None
    held = cache_bytes(device)
    if held is None:
        raise RuntimeError(f"the size of the caches of this {device} cannot be read")
    return Flush(device, held)


def cache_bytes(device: str, cpus: Path = _CPUS) -> int | None:
    """Bytes of a card's L2, or of all last-level caches of the processors; null where nobody says.

    Args:
        device: `cpu` or `cuda`.
        cpus: where Linux describes its processors.
    """
    if device == "cuda":
        return int(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0)) or None
    found: dict[tuple[int, str], int] = {}
    for index in cpus.glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            level, kind, size, shared = (_read(index / name) for name in ("level", "type", "size", "shared_cpu_list"))
            if kind != "Instruction":
                found[int(level), shared] = int(size[:-1]) * _UNITS[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last) or None


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
