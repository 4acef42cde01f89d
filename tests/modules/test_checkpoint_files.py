"""Checkpoint files: our own names, the authors', and files that are neither."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modules.checkpoints import OWN_NAMES, SOURCES, from_official, load_checkpoint
from modules.options import SpecError
from modules.registry import create, describe
from tests.modules.test_checkpoints import FITTING
from tests.modules.test_golden import Golden, distance, read


def saved(folder: Path, data: object) -> Path:
    path = folder / "weights.pth"
    torch.save(data, path)
    return path


def emptied(module: nn.Module) -> nn.Module:
    """The module with every tensor zero."""
    module.load_state_dict({name: torch.zeros_like(value) for name, value in module.state_dict().items()})
    return module.eval()


def load_refusal(module: nn.Module, entry: str, path: Path) -> str:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(SpecError) as caught:
        load_checkpoint(module, entry, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    return str(caught.value)


WRAPPINGS = {
    "alone": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "both": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_own_names_are_read(tmp_path: Path, wrapping: str) -> None:
    module, other = create("gald", 16), create("gald", 16)
    path = saved(tmp_path, WRAPPINGS[wrapping](module.state_dict()))

    assert load_checkpoint(other, "gald", path) == OWN_NAMES
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in module.state_dict().items())


READABLE = [
    stem for stem in FITTING if SOURCES[read(stem).source].entries and not read(stem).source.startswith("fastfcn.JPU")
]


@pytest.mark.parametrize("stem", READABLE)
def test_the_authors_names_are_read(tmp_path: Path, stem: str) -> None:
    golden = read(stem)
    module = emptied(from_official(golden.source, golden.state, **golden.config))
    (entry, *_) = SOURCES[golden.source].entries
    same = golden.source == "fastfcn.ResNet"  # the names are torchvision's, and so are ours

    whose = load_checkpoint(module, entry, saved(tmp_path, {"state_dict": golden.state}))

    assert whose == (OWN_NAMES if same else golden.source)
    assert distance(module, golden) <= golden.tolerance


def test_an_imagenet_backbone_is_read_without_its_classifier(tmp_path: Path) -> None:
    golden = read("fast_resnet_tiny_dilated")
    module = emptied(from_official(golden.source, golden.state, **golden.config))
    classifier = {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}

    assert load_checkpoint(module, "resnet", saved(tmp_path, {**golden.state, **classifier})) == "fastfcn.ResNet"
    assert distance(module, golden) <= golden.tolerance


def part_of(golden: Golden, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in golden.state.items() if name.startswith(prefix)}


@torch.no_grad()
def test_the_jpu_of_a_network_is_read(tmp_path: Path) -> None:
    golden = read("fast_net_encnet_jpu_tiny")
    network = from_official(golden.source, golden.state, **golden.config).eval()
    module = create("jpu", 32, width=8).eval()

    assert load_checkpoint(module, "jpu", saved(tmp_path, part_of(golden, "jpu."))) == "fastfcn.JPU"

    maps = network.trunk(golden.inputs[0])[1:]
    assert torch.equal(module(*maps), network.neck(*maps))


def test_the_names_behind_lateral_connections_are_the_authors() -> None:
    network = create("fastfcn", 64, up="fpn", layers=(1, 1, 1, 1))
    naming = SOURCES["fastfcn.EncNet"].naming(network)
    heads = {naming.theirs(name) for name in network.state_dict() if name.startswith(("neck.", "head."))}

    assert heads == {f"head.{name}" for name in read("fast_enc_head_lateral").state}


def test_what_no_name_tells_is_checked(tmp_path: Path) -> None:
    block = saved(tmp_path, read("gald_block").state)
    assert "residual=code" in load_refusal(create("gald", 16), "gald", block)
    assert load_checkpoint(create("gald", 16, residual="code"), "gald", block) == "gald.GALDBlock"
    pool = saved(tmp_path, read("gald_psp").state)
    assert "pad their bottleneck" in load_refusal(create("psp", 16, width=8, out=8, activation=False), "psp", pool)


def test_every_entry_with_a_source_is_registered() -> None:
    entries = {entry for source in SOURCES.values() for entry in source.entries}

    assert {describe(entry).name for entry in entries} == entries
    assert {"ann", "fastfcn", "galdnet", "gc", "nl", "apnb", "afnb", "jpu", "gald"} <= entries


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no checkpoint file" in load_refusal(create("gc", 16), "gc", tmp_path / "nowhere.pth")
    assert "no checkpoint file" in load_refusal(create("gc", 16), "gc", tmp_path)


class Unsafe:
    """Something that a pickle can hold only by naming code."""


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short", b"\x80\x04 pickled"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.pth"
    path.write_bytes(content)

    assert f"'{path}' is no checkpoint" in load_refusal(create("gc", 16), "gc", path)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": create("gc", 16).state_dict(), "args": Unsafe()})

    assert "runs code" in load_refusal(create("gc", 16), "gc", path)


@pytest.mark.parametrize("data", [{"epoch": 3}, [torch.zeros(1)], {}, torch.zeros(2), {1: torch.zeros(1)}])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, data: object) -> None:
    assert "holds no state dict" in load_refusal(create("gc", 16), "gc", saved(tmp_path, data))


ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "meta": lambda: torch.empty(3, device="meta"),
    "complex": lambda: torch.zeros(3, dtype=torch.complex64),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("wrapped", [False, True])
def test_tensors_that_no_layer_holds_are_refused(tmp_path: Path, kind: str, wrapped: bool) -> None:
    module = create("gc", 16)
    state = {**module.state_dict(), "key.weight": ODD[kind]()}
    path = saved(tmp_path, {"state_dict": state} if wrapped else state)

    message = f"'{path}' holds 'key.weight', which is no dense tensor of real numbers"
    assert load_refusal(module, "gc", path) == message


def test_the_wrong_network_is_refused_by_the_nearest_names(tmp_path: Path) -> None:
    golden = read("ann_net_tiny_mg111")
    path = saved(tmp_path, golden.state)

    other = create("ann", 32, layers=(1, 1, 1, 1), classes=3)
    message = load_refusal(other, "ann", path)
    assert "by the names of 'ann.asymmetric_non_local_network'" in message
    assert "unexpected 'backbone.layer3.1.conv1.weight'" in message

    classes = create("ann", 32, layers=(1, 1, 2, 3), classes=5)
    assert "of another shape 'cls.weight' (3, 8, 1, 1), not (5, 8, 1, 1)" in load_refusal(classes, "ann", path)

    message = load_refusal(create("gc", 16), "gc", path)
    assert "by the names of 'contextbench': missing 'key.weight'" in message


def test_the_page_on_checkpoints_names_every_source_and_argument() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    for name, source in SOURCES.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(f"`{argument}" in line for argument in inspect.signature(source.build).parameters)
