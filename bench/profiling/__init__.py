"""Profiling: where the time, the memory and the multiply-adds of a call go, by class of operator.

What needs torch is imported when it is asked for: the reports read `record.py` of this room without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.profiling.session import ProfileOutcome, ProfileRequest, run_profile

__all__ = ["ProfileOutcome", "ProfileRequest", "run_profile"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from bench.profiling import session

    return getattr(session, name)
