"""Agreement: whether another form of a block computes what its reference computes, before it may be timed."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.case import Case
from bench.fold import folded
from bench.static import trace_figures
from bench.workload import FalseOutput, Workload, build

TOLERANCES: Mapping[str, float] = types.MappingProxyType({"fp32": 1e-5, "bf16": 2e-2, "fp16": 4e-3})
"""Largest difference, relative to the largest element; of gradients, to the largest of the same layer."""
_AS_NEAR = 2.0
_GRADIENT = "gradient of "
_SMALLEST = 8


@dataclass(frozen=True)
class Difference:
    """How far a tensor of another implementation is from the reference's.

    Attributes:
        name: `output`, `gradient of input 1`, `gradient of phi.weight`.
        relative: largest difference of an element, over the largest element of the reference or of its layer.
    """

    name: str
    relative: float


def check_form(plain: Workload, fold: bool, free_bytes: int | None = None, seed: int = 0) -> str | None:
    """Hold a workload against what it stands for: folded, itself without the fold; other than published, or compiled,
    what is published.

    Args:
        plain: the workload, not folded; it is left as it was.
        fold: whether its batch norms are going to be folded.
        free_bytes: memory that the check may take; null for no bound.
        seed: of the inputs.

    Returns:
        The size at which they agree, `64x64`; null for what is published as it is.

    Raises:
        FalseOutput: they do not.
    """
    case = plain.case
    size = agree_folded(plain, seed) if fold else None
    if case.impl != "reference" or case.compiled:
        size = agree(plain, free_bytes, seed)
    return size


def agree(work: Workload, free_bytes: int | None = None, seed: int = 0) -> str:
    """Hold a workload of another implementation, or a compiled one, against its reference as it is: outputs, and in
    `train` mode all gradients.

    Both run once on the inputs of the case with the workload's own weights; parameters that are all zero, behind which
    nothing could be seen, are drawn for the check. A tensor that is further away than `TOLERANCES` may still be as
    near as the reference, twice at most, to the reference in double precision. A gradient that vanishes, beside the
    largest of the block, is noise in both, and held to vanish. Where the reference does not fit into memory, a smaller
    map is checked.

    Args:
        work: the workload; it is left as it was.
        free_bytes: memory that the check may take; null for no bound.
        seed: of the inputs.

    Returns:
        The size at which they agree, `64x64`.

    Raises:
        FalseOutput: they do not, by how much is said; or no map is small enough to run the reference on.
    """
    case = work.case
    while True:
        place = f"{case.height}x{case.width}"
        try:
            if free_bytes is None or _needs(case) <= free_bytes:
                worst = _worst(case, work.module, seed)
                break
        except (torch.OutOfMemoryError, MemoryError):
            pass
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
        if min(case.height, case.width) < 2 * _SMALLEST:
            raise FalseOutput(f"cannot be checked: the reference does not fit into memory even at {place}")
        case = dataclasses.replace(case, height=case.height // 2, width=case.width // 2)
    if worst is not None:
        told = f"{worst.name} differs from the reference's by {worst.relative:.3g} of its largest element at {place}"
        raise FalseOutput(f"{told}, more than {TOLERANCES[case.dtype]:g} ({case.dtype})")
    return place


def agree_folded(work: Workload, seed: int = 0) -> str:
    """Hold a workload of `forward` mode against itself with its batch norms folded, on its own inputs and weights.

    If it is compiled, what is folded is, and what it is held against is not.

    Scale, shift and statistics of every batch norm are drawn for the check: those of a new block change nothing.

    Args:
        work: the workload before the fold; its module is what it was afterwards.
        seed: of the inputs and of what is drawn.

    Returns:
        The size at which both agree, `64x64`.

    Raises:
        FalseOutput: they do not, by how much is said.
    """
    case, place = work.case, f"{work.case.height}x{work.case.width}"
    run = functools.partial(_run, ours=work.module, seed=seed, norms=True)
    uncompiled = dataclasses.replace(case, compiled=False)
    plain, other = run(uncompiled), run(case, fold=True)
    scales = _scales(plain)
    found = [Difference(name, _apart(plain[name], other[name], scales[_layer(name)])) for name in plain]
    worst = max(found, key=lambda difference: difference.relative)
    if not worst.relative <= TOLERANCES[case.dtype]:
        exact = run(uncompiled, dtype=torch.float64)[worst.name]
        scale = _scales({worst.name: exact})[_layer(worst.name)]
        allowed = _AS_NEAR * _apart(exact, plain[worst.name], scale)
        if not _apart(exact, other[worst.name], scale) <= max(allowed, TOLERANCES[case.dtype]):
            told = f"folded, {worst.name} differs by {worst.relative:.3g} of its largest element at {place}"
            raise FalseOutput(f"{told}, more than {TOLERANCES[case.dtype]:g} ({case.dtype})")
    return place


def differences(case: Case, ours: nn.Module | None = None, seed: int = 0) -> Iterator[Difference]:
    """Every output, and in `train` mode every gradient, of the case beside those of its reference, not compiled.

    Args:
        case: what to run; on its own device.
        ours: a module whose weights both take; fresh ones where not given.
        seed: of inputs, of weights that are drawn, and of what a call draws itself.

    Raises:
        FalseOutput: one has an output, or the reference a gradient, that the other has not.
    """
    reference, other = _run(_plain(case), ours, seed), _run(case, ours, seed)
    lacking = [name for name in reference if name not in other]
    more = [name for name in other if name not in reference and not name.startswith(_GRADIENT)]
    if lacking or more:
        raise FalseOutput(
            f"has no {lacking[0]}, as the reference has" if lacking else f"the reference has no {more[0]}"
        )
    scales = _scales(reference)
    for name, expected in reference.items():
        yield Difference(name, _apart(expected, other[name], scales[_layer(name)]))


def _worst(case: Case, ours: nn.Module, seed: int) -> Difference | None:
    """The difference that is beyond the tolerance by most, if one is."""
    found = list(differences(case, ours, seed))
    beyond = [difference for difference in found if not difference.relative <= TOLERANCES[case.dtype]]
    if not beyond:
        return None
    exact = _run(_plain(case), ours, seed, torch.float64)
    reference, other = _run(_plain(case), ours, seed), _run(case, ours, seed)
    scales = _scales(exact)
    most = max((scale for layer, scale in scales.items() if layer.startswith(_GRADIENT)), default=0.0)
    judged = []
    for difference in beyond:
        name, scale = difference.name, scales[_layer(difference.name)]
        if name.startswith(_GRADIENT) and scale <= TOLERANCES[case.dtype] * most:
            scale = most
        error, allowed = _apart(exact[name], other[name], scale), _apart(exact[name], reference[name], scale)
        if not error <= max(_AS_NEAR * allowed, TOLERANCES[case.dtype]):
            judged.append(difference)
    return max(judged, key=lambda difference: difference.relative, default=None)


def _run(
    case: Case,
    ours: nn.Module | None,
    seed: int,
    dtype: torch.dtype | None = None,
    norms: bool = False,
    fold: bool = False,
) -> dict[str, Tensor]:
    """Outputs and gradients by name, of a copy of the module; `norms` has its batch norms drawn, `fold` folded."""
    work = build(case, seed=seed)
    if ours is not None:
        work.module.load_state_dict(ours.state_dict())
    _draw_zeros(work.module, seed)
    if norms:
        _draw_norms(work.module, seed)
    work = folded(work) if fold else work
    if dtype is not None:
        work.module.to(dtype)
        grads = [tensor.requires_grad for tensor in work.inputs]
        work.inputs = tuple(
            tensor.detach().to(dtype).requires_grad_(wanted) for tensor, wanted in zip(work.inputs, grads, strict=True)
        )
    with torch.random.fork_rng(devices=[case.device] if case.device == "cuda" else []):
        torch.manual_seed(seed)
        outputs = work.forward()
    found = {f"output {number}" if number else "output": output.detach() for number, output in enumerate(outputs)}
    if case.mode == "train":
        generator = torch.Generator().manual_seed(seed)
        roots = [output for output in outputs if output.requires_grad]
        work.incoming = tuple(torch.randn(o.shape, generator=generator).to(o.device, o.dtype) for o in roots)
        named = [(name, parameter) for name, parameter in work.module.named_parameters() if parameter.requires_grad]
        names = [f"{_GRADIENT}{name}" for name, _ in named]
        names += [f"{_GRADIENT}input {number}" for number, tensor in enumerate(work.inputs) if tensor.requires_grad]
        gradients = zip(names, work.backward(outputs), strict=True)
        found |= {name: gradient for name, gradient in gradients if gradient is not None}
    return found


def _draw_zeros(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def _draw_norms(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                for tensor, least, most in (
                    *((norm.weight, 0.5, 1.5), (norm.running_var, 0.5, 1.5)),
                    *((norm.bias, -0.3, 0.3), (norm.running_mean, -0.3, 0.3)),
                ):
                    if tensor is not None:
                        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (most - least) + least)


def _plain(case: Case) -> Case:
    return dataclasses.replace(case, impl="reference", compiled=False)


def _needs(case: Case) -> int:
    """Bytes that a run of the reference in double precision takes."""
    figures = trace_figures(_plain(case))
    width = 8 // {"fp32": 4}.get(case.dtype, 2)
    return width * (figures.traced_peak_bytes + 2 * figures.resident_bytes)


def _layer(name: str) -> str:
    """What shares a scale: weight and bias of one layer; softmax sees no bias of its keys, whose gradient is zero."""
    return name.rpartition(".")[0] or name


def _scales(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for name, tensor in tensors.items():
        largest = float(tensor.abs().max()) if tensor.numel() else 0.0
        scales[_layer(name)] = max(scales.get(_layer(name), 0.0), largest)
    return scales


def _apart(expected: Tensor, given: Tensor, scale: float) -> float:
    if expected.shape != given.shape:
        return float("inf")
    apart = float((expected.double() - given.double()).abs().max()) if expected.numel() else 0.0
    return apart / scale if scale else (0.0 if apart == 0 else float("inf"))
