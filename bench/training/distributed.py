"""Distributed: one training run in several processes, started by torchrun."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from modules.options import SpecError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_PATIENCE = timedelta(hours=2)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
        local: number of this process on its machine, which is that of its card.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def writes(self) -> bool:
        """Whether this is the one process that writes files and prints."""
        return self.rank == 0


def started_ranks() -> Ranks:
    """What torchrun says of this process in the environment; a single process where it was not started so.

    Raises:
        SpecError: some of its variables are missing, or they are no such numbers.
    """
    given = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    if "RANK" not in given or "WORLD_SIZE" not in given:
        return Ranks()
    try:
        rank, world, local = (int(given.get(name, given["RANK"])) for name in _VARIABLES)
    except ValueError:
        rank, world, local = -1, 0, 0
    if not (0 <= rank < world and local >= 0):
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise SpecError(f"the environment says {shown}; allowed: 0 <= RANK < WORLD_SIZE, as torchrun sets them")
    return Ranks(rank, world, local)


@contextlib.contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that torchrun started, gloo on CPU and NCCL on CUDA, and leave them at the end.

    Yields this process's place and its device; of a single process there is nothing to join.

    Raises:
        SpecError: the environment is not torchrun's, or the machine has fewer cards than processes.
    """
    ranks = started_ranks()
    cuda = device == "cuda"
    if cuda and ranks.local >= torch.cuda.device_count():
        raise SpecError(f"process {ranks.local} of this machine has no card; allowed: {torch.cuda.device_count()}")
    place = torch.device("cuda", ranks.local) if cuda else torch.device(device)
    if ranks.world == 1:
        yield ranks, place
        return
    if cuda:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield ranks, place
    finally:
        dist.destroy_process_group()


def current_ranks() -> Ranks:
    """The place of this process in the group that was joined; a single process where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", dist.get_rank())))


def share(indices: Sequence[int], ranks: Ranks) -> Sequence[int]:
    """The indices of a batch that this process takes: neighbours, as equally many in each process as can be."""
    start, stop = (len(indices) * place // ranks.world for place in (ranks.rank, ranks.rank + 1))
    return indices[start:stop]


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same in each; without gradient."""
    summed = tensor.detach().clone()
    if current_ranks().world > 1:
        dist.all_reduce(summed)
    return summed


def gathered(values: Tensor) -> Tensor:
    """The values (n,) of all processes, joined; n the same in each."""
    world = current_ranks().world
    if world == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(world)]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def from_first(value: _Value) -> _Value:
    """The value that the first process has."""
    if current_ranks().world == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def parallel(network: nn.Module, device: torch.device, sync_bn: bool) -> nn.Module:
    """The network as the processes train it together; the network itself where there is one process.

    Gradients are averaged over the processes, buffers are the first one's. With `sync_bn` the batch norms take their
    statistics over all of them: torch's own on CUDA, `SharedBatchNorm` on CPU, where torch has none. They are replaced
    in place.
    """
    if current_ranks().world == 1:
        return network
    if sync_bn and device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    elif sync_bn:
        share_statistics(network)
    cards = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=cards, static_graph=True)


def share_buffers(network: nn.Module) -> None:
    """Give every process the first one's buffers: without shared statistics each holds those of its own batches."""
    if current_ranks().world > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


class SharedBatchNorm(nn.Module):
    """Batch norm whose statistics in training are those of all processes' batches together.

    Holds the parameters and buffers of the batch norm that it stands for, under the same names.

    Shapes: (B,C) or (B,C,...) -> the same. B may differ between the processes.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.register_buffer("num_batches_tracked", norm.num_batches_tracked)
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None and self.running_var is not None:
            mean, variance = self.running_mean, self.running_var
        else:
            mean, variance = self._statistics(x)
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        result = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) in two passes, in training over all processes; the running ones follow."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        if not self.training:
            variance, mean = torch.var_mean(x, axes, correction=0)
            return mean, variance
        count = total(x.new_tensor(float(x.numel() // x.shape[1])))
        mean = _sum_over_processes(x.sum(axes)) / count
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        variance = _sum_over_processes((x - mean.view(shape)).square().sum(axes)) / count
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked += 1
                rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * (count / (count - 1)), rate)
        return mean, variance


def share_statistics(module: nn.Module) -> None:
    """Put a `SharedBatchNorm` in the place of every batch norm below a module."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, SharedBatchNorm(child))
        else:
            share_statistics(child)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        return total(tensor)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return total(gradients[0])


def _sum_over_processes(tensor: Tensor) -> Tensor:
    result: Any = _SumOverProcesses.apply(tensor)  # type: ignore[no-untyped-call]
    return result  # type: ignore[no-any-return]
