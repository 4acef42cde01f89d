"""Operators as PyTorch dispatches them, and the kinds that static figures must tell apart."""

from __future__ import annotations

import functools
from typing import TypeAlias

import torch

Operator: TypeAlias = torch._ops.OpOverload

_UNDECLARED_VIEWS = frozenset({"aten::_unsafe_view", "aten::_reshape_alias"})


@functools.cache
def moves_no_data(operator: Operator) -> bool:
    """Whether the operator only looks at existing storage: views, and those whose schema does not say that they are."""
    return operator.is_view or operator._schema.name in _UNDECLARED_VIEWS


@functools.cache
def is_functional(operator: Operator) -> bool:
    """Whether the outputs are new and the arguments untouched."""
    schema = operator._schema
    aliased = any(value.alias_info is not None for value in (*schema.arguments, *schema.returns))
    return not (schema.is_mutable or aliased or moves_no_data(operator))


@functools.cache
def is_composite(operator: Operator) -> bool:
    """Whether the operator is made of others, which autograd would see in its place."""
    return operator.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
