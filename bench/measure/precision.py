"""Precision: what fp32 is computed in; where this project measures, IEEE fp32 in convolutions and products alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from bench.static.taps import CLASSES


def ieee_fp32() -> None:
    """Have this process compute fp32 in IEEE fp32."""
    set_tf32(convolutions=False, products=False)


def set_tf32(convolutions: bool, products: bool) -> None:
    """Say whether this process may compute fp32 convolutions and products in TF32 on CUDA.

    PyTorch's older switches are the ones set: unlike the newer `fp32_precision`, every version has them, and setting
    them takes back what the newer ones were set to.
    """
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision("high" if products else "highest")


def tf32_in_convolutions() -> bool:
    """Whether this process computes fp32 convolutions in TF32 on CUDA."""
    return _asked(lambda: torch.backends.cudnn.allow_tf32, lambda: torch.backends.cudnn.conv)  # type: ignore[attr-defined]


def tf32_in_products() -> bool:
    """Whether this process computes fp32 products in TF32 on CUDA."""
    return _asked(lambda: torch.backends.cuda.matmul.allow_tf32, lambda: torch.backends.cuda.matmul)


def class_precisions(dtype: str, device: str) -> dict[str, str]:
    """The precision of each class of `bench.static.taps`: `dtype`, or `tf32` where fp32 is not IEEE."""
    found = dict.fromkeys(CLASSES, dtype)
    if dtype == "fp32" and device == "cuda":
        convolutions, products = tf32_in_convolutions(), tf32_in_products()
        if os.environ.get("NVIDIA_TF32_OVERRIDE") in ("0", "1"):  # the libraries obey it before any switch
            convolutions = products = os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
        found |= dict.fromkeys(CLASSES, "tf32") if convolutions else {}
        found["product"] = "tf32" if products else "fp32"
    return found


def _asked(older: Callable[[], object], newer: Callable[[], Any]) -> bool:
    """What a switch says; PyTorch refuses to tell it by its older name once the newer one was set."""
    try:
        return bool(older())
    except RuntimeError:
        return bool(newer().fp32_precision == "tf32")
