"""Fold: batch norm put into the convolution ahead of it, as an inference engine does before it runs a network."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.case import Case
from bench.workload import Workload, build

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(work: Workload) -> Workload:
    """The workload with every batch norm that can be folded gone into its convolution; its module is changed, unless it
    is on meta, where modules are shared and a copy is.

    Raises:
        ValueError: in `train` mode, where a batch norm depends on the batch.
    """
    if work.case.mode == "train":
        raise ValueError(
            "batch norm folds into convolutions in forward mode only: in train mode it depends on the batch"
        )
    on_meta = any(tensor.is_meta for tensor in work.inputs)
    module = copy.deepcopy(work.module) if on_meta else work.module
    for pair in _pairs(dataclasses.replace(work.case, device="cpu", compiled=False)):
        fold(module, *pair)
    return dataclasses.replace(work, module=module)


def fold(module: nn.Module, conv: str, norm: str) -> None:
    """Put the batch norm of that name into the convolution of that name, both inside of `module`."""
    parts = module.get_submodule(conv), module.get_submodule(norm)
    _put(module, conv, _fused(*parts))
    _put(module, norm, nn.Identity())


def pairs(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[tuple[str, str], ...]:
    """Names of the convolutions that are followed by a batch norm which can be folded, each with the norm's.

    Found in one call of a copy, whatever the module's control flow: what a convolution returns is read by the norm and
    by no other operator and is no result of the call; either is called once, stands in one place, and has weights that
    nothing else reads.

    Args:
        module: in evaluation mode.
        inputs: of the call; on meta it costs nothing.
    """
    module = copy.deepcopy(module)
    with torch.no_grad(), _Watch(module) as watch:
        results = {_storage(leaf) for leaf in tree_leaves(module(*inputs)) if isinstance(leaf, Tensor)}
    return tuple(watch.pairs(results))


@functools.lru_cache(maxsize=512)
def _pairs(case: Case) -> tuple[tuple[str, str], ...]:
    work = build(case, "meta")
    return pairs(work.module, work.inputs)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Which convolution and which batch norm reads which storage in a call; null stands for everything else."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names: dict[nn.Module, str] = {}
        self._calls: Counter[nn.Module] = Counter()
        self._readers: dict[int, set[nn.Module | None]] = {}
        self._given: dict[nn.Module, Tensor] = {}
        self._made: dict[int, nn.Module] = {}
        self._kept: list[object] = []  # or another tensor could take the address of one that is gone
        self._inside: nn.Module | None = None
        places = Counter(part for _, part in module.named_modules(remove_duplicate=False))
        for name, part in module.named_modules():
            if name and places[part] == 1 and _candidate(part):
                self._names[part] = name
                part.register_forward_pre_hook(self._enter)
                part.register_forward_hook(self._leave)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._readers.setdefault(_storage(leaf), set()).add(self._inside)
        result = func(*args, **(kwargs or {}))
        self._kept.append((args, result))
        return result

    def _enter(self, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._inside = part
        self._calls[part] += 1
        self._given[part] = inputs[0]

    def _leave(self, part: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._inside = None
        if not isinstance(part, _NORMS):
            self._made[id(output)] = part
            self._kept.append(output)

    def pairs(self, results: set[int]) -> Iterable[tuple[str, str]]:
        """Names of convolutions and norms that belong together; `results` are what the call returned."""
        for norm, given in self._given.items():
            conv = self._made.get(id(given)) if isinstance(norm, _NORMS) else None
            if conv is None or self._calls[conv] != 1 or self._calls[norm] != 1 or _storage(given) in results:
                continue
            alone = self._readers.get(_storage(given)) == {norm}
            if alone and all(self._own(part) for part in (conv, norm)):
                yield self._names[conv], self._names[norm]

    def _own(self, part: nn.Module) -> bool:
        """Whether nothing else reads the weights and buffers of a part."""
        return all(
            self._readers.get(_storage(tensor), {part}) == {part} for tensor in (*part.parameters(), *part.buffers())
        )


def _candidate(part: nn.Module) -> bool:
    """Whether a part is just what it seems: of no class of its own, without hooks, and of a kind that folds."""
    if part._forward_hooks or part._forward_pre_hooks:
        return False
    if type(part) in _NORMS:
        return not part.training and part.running_mean is not None and part.running_var is not None
    return type(part) in _CONVOLUTIONS or (type(part) in _TRANSPOSED and bool(part.groups == 1))


def _fused(conv: nn.Module, norm: nn.Module) -> nn.Module:
    """A convolution that does what both do, found in double precision and held in the convolution's own."""
    weight = next(conv.parameters())
    exact: tuple[Any, Any] = (copy.deepcopy(conv).double(), copy.deepcopy(norm).double())
    with torch.no_grad():
        made: nn.Module = fuse_conv_bn_eval(*exact, transpose=type(conv) in _TRANSPOSED)
    return made.to(weight.dtype).requires_grad_(weight.requires_grad)


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, part.eval())


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
