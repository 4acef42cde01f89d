"""Attention: how far what a block computes depends on the position that asks, and maps of it.

Names are found when they are asked for, so that the record's schema can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.attention.session import AttentionOutcome, AttentionRequest, run_attention

__all__ = ["AttentionOutcome", "AttentionRequest", "run_attention"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from bench.attention import session

    return getattr(session, name)
