"""What fp32 is computed in: set by the older switches, read whichever were set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.environment import describe_environment
from bench.measure import precision
from bench.measure.precision import class_precisions, ieee_fp32, set_tf32, tf32_in_convolutions, tf32_in_products
from bench.static.taps import CLASSES


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = tf32_in_convolutions(), tf32_in_products()
    yield
    set_tf32(*before)


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("products", [False, True])
def test_switches_are_read_as_they_were_set(convolutions: bool, products: bool) -> None:
    set_tf32(convolutions, products)
    assert (tf32_in_convolutions(), tf32_in_products()) == (convolutions, products)
    found = class_precisions("fp32", "cuda")
    assert found.pop("product") == ("tf32" if products else "fp32")
    assert set(found.values()) == {"tf32" if convolutions else "fp32"}


def test_fp32_is_ieee_in_every_class_after_that_was_asked_for() -> None:
    set_tf32(True, True)
    ieee_fp32()
    assert class_precisions("fp32", "cuda") == dict.fromkeys(CLASSES, "fp32")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch without newer switches")
def test_the_newer_switches_are_read_and_taken_back() -> None:
    ieee_fp32()
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    assert tf32_in_convolutions()
    assert tf32_in_products()
    ieee_fp32()
    assert not tf32_in_convolutions()
    assert not tf32_in_products()
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("dtype", "device"), [("bf16", "cuda"), ("fp16", "cuda"), ("fp32", "cpu")])
def test_other_types_and_devices_know_no_tf32(dtype: str, device: str) -> None:
    set_tf32(True, True)
    assert class_precisions(dtype, device) == dict.fromkeys(CLASSES, dtype)


@pytest.mark.parametrize(("value", "name"), [("1", "tf32"), ("0", "fp32")])
def test_the_variable_that_nvidia_s_libraries_obey_goes_first(
    value: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_tf32(value == "0", value == "0")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    assert class_precisions("fp32", "cuda") == dict.fromkeys(CLASSES, name)


def test_a_measuring_process_computes_ieee_fp32_before_it_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import measurer
    from bench.measure.clock import HostClock
    from bench.measure.method import Method

    set_tf32(True, True)
    seen: list[tuple[bool, bool]] = []

    def describe(device: str) -> dict[str, object]:
        seen.append((precision.tf32_in_convolutions(), precision.tf32_in_products()))
        return describe_environment(device)

    monkeypatch.setattr(measurer, "describe_environment", describe)
    measurer.get_ready("cpu", HostClock(), Method(), rates=False)
    assert seen == [(False, False)]
