"""The host's memory allocator, made to hold on to memory: what ran before must not decide how fast a call is."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def retain_host_memory() -> str:
    """Keep freed memory in this process from now on, as CUDA's caching allocator does; what was done, in words.

    glibc hands large blocks back to the system and gets them again page by page, above a threshold that moves with the
    sizes freed before. A block's time would then depend on which blocks ran earlier in the process. Other C libraries
    are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return "system default"
    mallopt = ctypes.CDLL(None).mallopt
    never_trim, never_mmap = mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_MMAP_MAX, 0)
    return "glibc, memory retained" if never_trim and never_mmap else "system default"
