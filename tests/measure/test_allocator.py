from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROBE = """
import resource, torch
from bench.measure.allocator import retain_host_memory
print(retain_host_memory())
for _ in range(20):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no mallopt")
def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    out = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True).stdout.split("\n")
    assert out[0] == "glibc, memory retained"
    pages_touched = 10 * 2**24 * 4 // 4096
    assert int(out[1]) < pages_touched / 100


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.measure.allocator import retain_host_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert retain_host_memory() == "system default"
