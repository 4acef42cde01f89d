"""Workload: a case made runnable, on meta, cpu or cuda."""

from __future__ import annotations

import functools
import inspect
import math
import types
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.case import DTYPES, Case
from modules import registry

IMAGE_STRIDE = 8
IMAGE_CHANNELS = 3
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class FalseOutput(ValueError):
    """A block returned what cannot be a result: NaN, or a map of another size."""


@dataclass
class Workload:
    """A module, its inputs, and the call that a case stands for.

    Attributes:
        case: what it was made from.
        module: on the device, in the case's dtype, memory format and mode.
        inputs: tensors that the module is called with; in `train` mode they require gradients unless they are images.
    """

    case: Case
    module: nn.Module
    inputs: tuple[Tensor, ...]
    incoming: tuple[Tensor, ...] = field(default=(), repr=False)

    @property
    def parameters(self) -> list[Tensor]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def forward(self) -> tuple[Tensor, ...]:
        """Run the module, with autograd in `train` mode only. Output tensors, whatever container they came in."""
        with torch.set_grad_enabled(self.case.mode == "train"):
            return _flatten(self.module(*self.inputs))

    def receive(self, outputs: tuple[Tensor, ...]) -> None:
        """Make the gradients that the layer above would send; once, outside of what is timed or traced.

        Raises:
            FalseOutput: no output has a gradient, so that there is no backward pass.
        """
        if not any(output.requires_grad for output in outputs):
            raise FalseOutput("no output has a gradient: there is no backward pass to measure")
        self.incoming = tuple(torch.ones_like(output) for output in outputs if output.requires_grad)

    def backward(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
        """Gradients of all parameters and inputs, freed when the caller drops them."""
        sources = [tensor for tensor in (*self.parameters, *self.inputs) if tensor.requires_grad]
        roots = [output for output in outputs if output.requires_grad]
        return torch.autograd.grad(roots, sources, self.incoming, allow_unused=True)

    def call(self) -> None:
        """One call of the case: a forward, or a forward and a backward."""
        outputs = self.forward()
        if self.case.mode == "train":
            if not self.incoming:
                self.receive(outputs)
            self.backward(outputs)

    def check(self) -> None:
        """Look at what one call returns.

        Raises:
            FalseOutput: it holds NaN, is of another batch, or its map is not of the size that its family says.
        """
        with torch.no_grad():
            outputs = _flatten(self.module(*self.inputs))
        family = registry.describe(self.case.entry).family
        like = {"context": 0, "fusion": -1, "upsample": 0}.get(family)
        for output in outputs:
            if output.shape[:1] != self.inputs[0].shape[:1]:
                raise FalseOutput(f"returns {tuple(output.shape)} for a batch of {self.case.batch}")
            if like is not None and output.shape[2:] != self.inputs[like].shape[2:]:
                wanted = "x".join(map(str, self.inputs[like].shape[2:]))
                raise FalseOutput(f"returns {tuple(output.shape)}, which is not a map of {wanted}")
            if output.isnan().any():
                raise FalseOutput("returns NaN")

    @property
    def resident_bytes(self) -> int:
        """Bytes of weights, buffers and inputs: what is there before a call begins."""
        held = (*self.module.parameters(), *self.module.buffers(), *self.inputs)
        return sum(tensor.numel() * tensor.element_size() for tensor in held)


def input_shapes(case: Case, module: nn.Module) -> list[tuple[int, ...]]:
    """Shapes (B,C,H,W) of what the case's entry is called with, by its family.

    A module with a method `input_shape(batch, height, width)` says it itself: a clip, or an image of other sides.
    """
    own = getattr(module, "input_shape", None)
    if own is not None:
        return [tuple(own(case.batch, case.height, case.width))]
    b, c, h, w = case.batch, case.channels, case.height, case.width
    family = registry.describe(case.entry).family
    if family == "context":
        return [(b, c, h, w)]
    if family == "fusion":
        return [(b, c // 2, h, w), (b, c, h, w)]
    if family == "upsample":
        return [(b, c // (4 // s), math.ceil(h / s), math.ceil(w / s)) for s in (1, 2, 4)]
    return [(b, IMAGE_CHANNELS, IMAGE_STRIDE * h, IMAGE_STRIDE * w)]


def build(case: Case, device: str | None = None, seed: int = 0) -> Workload:
    """Make a case runnable on its device, or on another such as `meta`.

    Weights and inputs are random and depend on `seed` alone.

    Raises:
        SpecError: the entry cannot be built for these channels and options.
    """
    place = torch.device(device or case.device)
    dtype = getattr(torch, DTYPES[case.dtype])
    if place.type == "meta":
        spec = (case.entry, case.channels, case.impl, case.options, case.defaults)
        module = _meta_module(*spec, dtype, case.memory_format)
        inputs = [torch.empty(shape, dtype=dtype, device=place) for shape in input_shapes(case, module)]
    else:
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []), place:
            torch.manual_seed(seed)
            module = _module(case.entry, case.channels, case.impl, case.options, case.defaults)
            module = _cast(module, dtype, case.memory_format)
            inputs = [torch.randn(shape).to(dtype) for shape in input_shapes(case, module)]
    if case.memory_format == "channels_last":
        inputs = [tensor.contiguous(memory_format=_LAST[tensor.ndim]) for tensor in inputs]
    module.train(case.mode == "train")
    if case.compiled and place.type != "meta":
        _compile(module)
    if case.mode == "train" and registry.describe(case.entry).family not in ("backbone", "network"):
        inputs = [tensor.requires_grad_() for tensor in inputs]
    return Workload(case, module, tuple(inputs))


def _compile(module: nn.Module) -> None:
    """Have torch.compile run the module, as if no other of its class had been compiled in this process.

    What is compiled is kept by the code object of `forward`. Modules of one class would share it: the first that fits
    runs, and after a few nothing is compiled any more. So each has a copy of that code, and where PyTorch can keep
    what one call compiles to itself, also what lies below a graph break. Nor is a second size compiled for sizes of
    any kind.
    """
    method = module.forward
    if isinstance(method, types.MethodType) and isinstance(method.__func__, types.FunctionType):
        shared = method.__func__
        code, name = shared.__code__.replace(), shared.__name__
        own = types.FunctionType(code, shared.__globals__, name, shared.__defaults__, shared.__closure__)
        own.__kwdefaults__ = shared.__kwdefaults__
        own.__dict__.update(shared.__dict__)
        module.forward = types.MethodType(own, module)
    known = inspect.signature(torch.compile).parameters
    module.compile(dynamic=False, **({"isolate_recompiles": True} if "isolate_recompiles" in known else {}))


def _module(entry: str, channels: int, impl: str, options: object, defaults: object) -> nn.Module:
    return registry.create(entry, channels, impl, **dict((*options, *defaults)))  # type: ignore[misc]


@functools.lru_cache(maxsize=512)
def _meta_module(*arguments: object) -> nn.Module:
    *spec, dtype, memory_format = arguments
    with torch.device("meta"):
        return _cast(_module(*spec), dtype, memory_format)  # type: ignore[arg-type]


def _cast(module: nn.Module, dtype: torch.dtype, memory_format: str) -> nn.Module:
    module = module.to(dtype)
    if memory_format == "channels_last":
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.ndim in _LAST:
                tensor.data = tensor.data.contiguous(memory_format=_LAST[tensor.ndim])
    return module


def _flatten(outputs: object) -> tuple[Tensor, ...]:
    if isinstance(outputs, Tensor):
        return (outputs,)
    if isinstance(outputs, (tuple, list)):
        return tuple(tensor for output in outputs for tensor in _flatten(output))
    raise TypeError(f"a module must return tensors, not {type(outputs).__name__}")
