"""Every block and network computes what the authors' published class computes, from the same weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modules.checkpoints import SOURCES, from_official
from modules.encoding import ContextEncoding

FOLDER = Path(__file__).parents[1] / "golden"
STEMS = sorted(path.stem for path in FOLDER.glob("*.pt"))


@dataclass(frozen=True)
class Golden:
    """One recording: the authors' class with its arguments, weights, inputs and outputs."""

    source: str
    config: Mapping[str, Any]
    state: dict[str, Tensor]
    inputs: list[Tensor]
    outputs: list[Tensor]
    tolerance: float


@functools.cache
def read(stem: str) -> Golden:
    data = torch.load(FOLDER / f"{stem}.pt", weights_only=True)
    if data.get("state_dict"):
        state = dict(data["state_dict"])
    else:
        coded = data["state_dict_int8"].items()
        state = {key: value.float() * 2.0**-e if value.dtype == torch.int8 else value for key, (value, e) in coded}
    outputs = data["output"] if isinstance(data["output"], list) else [data["output"]]
    largest = max(float(output.abs().max()) for output in outputs)
    error = data["meta"].get("fp64_max_abs_err") or 0.0
    return Golden(data["source"], data["config"], state, list(data["inputs"]), outputs, max(1e-5 * largest, 20 * error))


def loaded(golden: Golden) -> nn.Module:
    return from_official(golden.source, golden.state, **golden.config).eval()


@torch.no_grad()
def outputs_of(module: nn.Module, golden: Golden) -> list[Tensor]:
    """What the authors' class returns, in its order, from a call of ours."""
    inputs: list[Any] = golden.inputs
    if golden.source.startswith("fastfcn.JPU"):
        inputs = inputs[1:]
    if golden.source.endswith("Head"):
        inputs = [tuple(inputs)]
    if isinstance(module, ContextEncoding):
        gated, vector = module.encode(*inputs)
        return [gated, module.classify(vector)]
    result = module(*inputs)
    if golden.source == "spec.LDv2":
        return [result, module.distribute(*inputs)]
    outputs = list(result) if isinstance(result, tuple) else [result]
    return outputs[::-1] if golden.source == "ann.asymmetric_non_local_network" else outputs


def distance(module: nn.Module, golden: Golden) -> float:
    """The largest difference from the recorded outputs."""
    ours = outputs_of(module, golden)
    assert [output.shape for output in ours] == [output.shape for output in golden.outputs]
    return max(float((a - b).abs().max()) for a, b in zip(ours, golden.outputs, strict=True))


def test_a_recording_of_every_source_is_here() -> None:
    assert {read(stem).source for stem in STEMS} == set(SOURCES)


@pytest.mark.parametrize("stem", STEMS)
def test_output_equals_the_authors(stem: str) -> None:
    golden = read(stem)

    assert distance(loaded(golden), golden) <= golden.tolerance


@pytest.mark.parametrize("stem", STEMS)
def test_weights_off_by_a_thousandth_are_noticed(stem: str) -> None:
    golden = read(stem)
    module = loaded(golden)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.001)

    assert distance(module, golden) > golden.tolerance
