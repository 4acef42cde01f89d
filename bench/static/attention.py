"""Fused attention on meta: `scaled_dot_product_attention` as the one kernel that it is on devices, not taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


class FusedAttention(TorchFunctionMode):
    """Has `scaled_dot_product_attention` on meta tensors run as a flash kernel, where such a kernel takes them.

    On meta PyTorch itself would pick the mathematical form, with a matrix of all pairs. The kernel returns the
    result and one log-sum-exp a query, which its backward pass reads beside query, key, value and result.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention and fits(*args, **given):
            named = dict(zip(("query", "key", "value"), args, strict=False)) | given
            query, key, value = named["query"], named["key"], named["value"]
            causal = bool(given.get("is_causal", False))
            return _KERNEL(query, key, value, 0.0, causal, scale=given.get("scale"))[0]
        return func(*args, **given)


def fits(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> bool:
    """Whether all is on meta and a flash kernel takes it: 4-D, one width, contiguous along it, no mask, no dropout."""
    parts = (query, key, value)
    if any(part.device.type != "meta" or part.ndim != 4 or part.stride(3) != 1 for part in parts):
        return False
    alike = query.shape[3] == key.shape[3] == value.shape[3] and query.shape[:2] == key.shape[:2]
    return alike and attn_mask is None and not dropout_p and not enable_gqa
