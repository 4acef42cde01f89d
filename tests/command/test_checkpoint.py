"""`--checkpoint` of a sweep and of an estimate: whose weights they are, and what is refused in one line."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.case import Case, make_case
from bench.trial import Trial
from bench.weights import Weights, weights_for
from modules.options import SpecError
from modules.registry import create
from tests.modules.test_golden import read

Command = Callable[..., tuple[int, str, str]]
SPEC = "fcn:layers=1+1+1+1"
AUTHORS = "ann:layers=1+1+2+3,classes=3"
TINY = ("--channels", "32", "--sizes", "8x8")


def network(classes: int = 19) -> nn.Module:
    torch.manual_seed(3)
    return create("fcn", 32, layers=(1, 1, 1, 1), classes=classes)


def saved(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file with our names, of the tiny network of `SPEC`."""
    return saved(tmp_path / "own.pth", {"state_dict": network().state_dict()})


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    """A file with the names of ANN's repository, of the tiny network of `AUTHORS`."""
    return saved(tmp_path / "authors.pth", read("ann_net_tiny_mg111").state)


@pytest.fixture
def sweep(command: Command, mini: Path) -> Command:
    """Sweep the tiny network; exit code, standard output, standard error."""

    def run(path: Path, *words: object, blocks: str = SPEC, out: Path = mini.parent / "run") -> tuple[int, str, str]:
        known = ("--suite", mini, "--device", "cpu", "--reference", "none", "--blocks", blocks, "--out", out, *TINY)
        return command("sweep", *known, "--checkpoint", path, *words)

    return run


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def refused(result: tuple[int, str, str], expected: str) -> None:
    code, out, err = result
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert expected in err


@pytest.mark.parametrize(
    ("file", "spec", "names"),
    [("own", SPEC, "contextbench"), ("authors", AUTHORS, "ann.asymmetric_non_local_network")],
)
def test_a_sweep_says_whose_weights_it_measured(
    request: pytest.FixtureRequest, sweep: Command, tmp_path: Path, file: str, spec: str, names: str
) -> None:
    path = request.getfixturevalue(file)
    code, out, _ = sweep(path, blocks=spec)
    assert code == 0
    assert f"\nweights of {spec} from '{path}' (names of {names})\n" in out
    (row,) = rows_of(tmp_path / "run")
    assert (row["status"], row["entry"]) == ("ok", spec.partition(":")[0])
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert environment["checkpoint"] == {"sha256": digest[:16], "names": names, "block": spec}


def test_the_weights_that_are_measured_are_those_of_the_file(
    sweep: Command, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []
    load = Weights.load

    def watched(self: Weights, case: Case, module: nn.Module) -> None:
        load(self, case, module)
        seen.append({name: value.clone() for name, value in module.state_dict().items()})

    monkeypatch.setattr(Weights, "load", watched)
    assert sweep(own)[0] == 0
    wanted = torch.load(own, weights_only=True)["state_dict"]
    assert seen
    for state in seen:
        assert state.keys() == wanted.keys()
        assert all(torch.equal(value, wanted[name]) for name, value in state.items())


def test_the_reference_beside_it_keeps_its_random_weights(own: Path) -> None:
    case = make_case("fcn", {"layers": "1+1+1+1"}, 8, 8, 32)
    other = make_case("gcnet", {"layers": "1+1+1+1", "depth": 50}, 8, 8, 32)
    module = create("gcnet", 32, layers=(1, 1, 1, 1))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights_for([case], own).load(other, module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_blocks_beside_the_one_network_are_measured_without_it(sweep: Command, own: Path, tmp_path: Path) -> None:
    code, out, _ = sweep(own, blocks=f"{SPEC},dilated,snl")
    assert code == 0
    assert f"weights of {SPEC} from " in out
    assert {(row["entry"], row["status"]) for row in rows_of(tmp_path / "run")} == {
        *(("fcn", "ok"), ("dilated", "ok"), ("snl", "ok")),
    }


def test_a_row_says_how_to_measure_it_again_with_the_same_weights(
    sweep: Command, command: Command, own: Path, tmp_path: Path
) -> None:
    assert sweep(own)[0] == 0
    (row,) = rows_of(tmp_path / "run")
    words = shlex.split(row["repro"])
    assert words[words.index("--checkpoint") + 1] == str(own)
    words[words.index("--out") + 1] = str(tmp_path / "again")
    code, out, _ = command(*words[2:])
    assert code == 0
    assert f"weights of {SPEC} from '{own}' (names of contextbench)" in out
    (again,) = rows_of(tmp_path / "again")
    assert (again["key"], again["env"]) == (row["key"], row["env"])


def test_the_same_weights_again_measure_nothing_and_others_are_refused(
    sweep: Command, own: Path, tmp_path: Path
) -> None:
    assert sweep(own)[0] == 0
    before = (tmp_path / "run" / "rows.jsonl").read_bytes()
    assert "nothing missing; 1 rows in all" in sweep(own)[1]
    changed = {name: value + 1 for name, value in network().state_dict().items()}
    code, _, err = sweep(saved(tmp_path / "other.pth", changed))
    assert code == 2
    assert err.startswith("error: ")
    assert str(tmp_path / "run") in err
    assert (tmp_path / "run" / "rows.jsonl").read_bytes() == before


def test_other_weights_have_a_folder_of_their_own(
    command: Command, mini: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = {name: value + 1 for name, value in network().state_dict().items()}
    for path in (own, saved(tmp_path / "other.pth", changed), own):
        words = ("--suite", mini, "--device", "cpu", "--reference", "none", "--blocks", SPEC, *TINY)
        assert command("sweep", *words, "--checkpoint", path)[0] == 0
    assert len(list((tmp_path / "results").iterdir())) == 2


@pytest.mark.parametrize(("file", "spec"), [("own", SPEC), ("authors", AUTHORS)])
def test_an_estimate_takes_the_weights_of_a_network(
    request: pytest.FixtureRequest, command: Command, file: str, spec: str
) -> None:
    words = ("estimate", "--blocks", spec, *TINY, "--format", "json")
    plain = command(*words)
    assert plain[0] == 0
    assert command(*words, "--checkpoint", request.getfixturevalue(file)) == plain


def test_an_estimate_of_a_huge_map_allocates_nothing(command: Command, own: Path) -> None:
    """The image alone would be 30 TB."""
    words = ("--blocks", SPEC, "--channels", "32", "--sizes", "200000x200000", "--format", "json")
    code, out, _ = command("estimate", *words, "--checkpoint", own)
    (row,) = json.loads(out)
    assert code == 0
    assert row["resident_bytes"] > 3e13


@pytest.mark.parametrize("verb", ["sweep", "estimate"])
@pytest.mark.parametrize(
    ("blocks", "channels", "found"),
    [
        (f"{SPEC},{AUTHORS}", "32", f"2: {SPEC} of 32 channels, {AUTHORS} of 32 channels"),
        (SPEC, "64,32", f"2: {SPEC} of 64 channels, {SPEC} of 32 channels"),
        ("gc,snl", "32", "2: gc of 32 channels, snl of 32 channels"),
    ],
)
def test_weights_are_for_one_network_of_one_width(
    command: Command, own: Path, tmp_path: Path, verb: str, blocks: str, channels: str, found: str
) -> None:
    words: list[object] = ["--blocks", blocks, "--channels", channels, "--sizes", "8x8", "--checkpoint", own]
    words += ["--out", tmp_path / "run"] if verb == "sweep" else []
    refused(command(verb, *words), f"--checkpoint '{own}' is for one network, not for {found}")
    assert not (tmp_path / "run").exists()


def garbage(path: Path) -> None:
    path.write_bytes(b"not a checkpoint")


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no checkpoint file '{path}'"),
    "a folder": (lambda path: path.mkdir(), "no checkpoint file '{path}'"),
    "garbage": (garbage, "'{path}' is no checkpoint of tensors alone"),
    "no state": (lambda path: saved(path, {"epoch": 3}), "'{path}' holds no state dict"),
    "other classes": (lambda path: saved(path, network(5).state_dict()), "'{path}' does not fit 'fcn'"),
    "other network": (lambda path: saved(path, create("gc", 32).state_dict()), "'{path}' does not fit 'fcn'"),
}


@pytest.mark.parametrize("verb", ["sweep", "estimate"])
@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_does_not_fit_is_refused_before_anything_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, what: str
) -> None:
    write, said = UNFIT[what]
    path = tmp_path / "weights.pth"
    write(path)
    monkeypatch.setattr(Trial, "__init__", lambda *_: pytest.fail("measured with weights that do not fit"))
    words: list[object] = ["--blocks", SPEC, *TINY, "--checkpoint", path]
    words += ["--out", tmp_path / "run", "--device", "cpu"] if verb == "sweep" else []
    refused(command(verb, *words), said.format(path=path))
    assert not (tmp_path / "run").exists()


def test_one_block_alone_takes_weights_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "gc.pth", create("gc", 32, ratio=4).state_dict())
    cases = [make_case("gc", {"ratio": 4}, size, size, 32) for size in (8, 9)]
    weights = weights_for(cases, path)
    assert (weights.label, weights.names) == ("gc:ratio=4", "contextbench")
    with pytest.raises(SpecError, match="does not fit 'gc'"):
        weights_for([make_case("gc", {}, 8, 8, 32)], path)
