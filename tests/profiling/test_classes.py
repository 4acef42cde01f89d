"""What class an operator is of, and which operator a nested one counts for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bench.case import make_case
from bench.profiling import classes
from bench.profiling.classes import class_of, credited, is_known
from bench.profiling.record import CLASSES
from bench.static.operators import Operator
from bench.static.trace import Trace
from bench.workload import build
from modules import registry

BLOCKS = [name for name in registry.names() if registry.describe(name).family in ("context", "fusion", "upsample")]


class Names:
    """An observer that writes down what runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def see(self, operator: Operator, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        self.seen.add(operator._schema.name)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_class_of_every_operator_of_every_block_was_decided(name: str) -> None:
    work, names = build(make_case(name, {}, 24, 24, 64, batch=2, mode="train"), "meta"), Names()
    with Trace(names):
        outputs = work.forward()
        work.receive(outputs)
        work.backward(outputs)
    assert [operator for operator in names.seen if not is_known(operator)] == []


def test_no_operator_stands_in_two_classes() -> None:
    listed = [name for names in classes._NAMES.values() for name in names.split()]
    assert len(listed) == len(set(listed))
    assert tuple(classes._NAMES) == CLASSES


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::convolution_backward", "convolution"),
        ("bmm", "matmul"),
        ("aten::_softmax_backward_data", "softmax"),
        ("aten::mean", "pooling"),
        ("aten::native_layer_norm", "normalisation"),
        ("aten::copy_", "copy"),
        ("aten::index_put_", "copy"),
        ("aten::im2col", "copy"),
        ("aten::relu_", "other"),
        ("aten::upsample_bilinear2d", "other"),
        ("mine::convolution", "other"),
    ],
)
def test_classes(operator: str, kind: str) -> None:
    assert class_of(operator) == kind


def test_what_nobody_decided_is_other_and_not_known() -> None:
    assert is_known("aten::mul")
    assert is_known("aten::transpose")
    assert class_of("aten::fft_fft") == "other"
    assert not is_known("aten::fft_fft")
    assert not is_known("mine::operator")


@pytest.mark.parametrize(
    ("chain", "operator"),
    [
        (("call", "aten::conv2d"), "aten::conv2d"),
        (("aten::conv2d", "aten::convolution", "aten::_convolution", "aten::copy_"), "aten::convolution"),
        (("aten::contiguous", "aten::clone", "aten::copy_"), "aten::clone"),
        (("aten::matmul", "aten::reshape", "aten::clone"), "aten::clone"),
        (("aten::matmul", "aten::bmm", "aten::resolve_conj"), "aten::bmm"),
        (("aten::matmul",), "aten::matmul"),
        (("aten::softmax", "aten::to"), "aten::to"),
        (("aten::adaptive_avg_pool2d", "aten::mean", "aten::sum", "aten::div_"), "aten::mean"),
        (("autograd::engine::evaluate_function: MulBackward0", "MulBackward0", "aten::mul"), "aten::mul"),
        (("autograd::engine::evaluate_function: MulBackward0", "MulBackward0"), None),
        (("call", "cudaLaunchKernel"), None),
        (("aten::bmm", "cudaLaunchKernel"), "aten::bmm"),
        (("nowhere::convolution", "aten::of_no_such_name"), None),
        ((), None),
    ],
)
def test_a_nested_operator_counts_for_the_outermost_that_is_not_made_of_others(
    chain: tuple[str, ...], operator: str | None
) -> None:
    assert credited(chain) == operator
