"""From what was asked for to records: training once, weights from files, pictures, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from bench.attention import AttentionOutcome, AttentionRequest, run_attention
from bench.attention.pictures import Photos, SceneImages, parse_queries
from bench.attention.record import ATTENTION, FIELDS, make_record, read_attention
from bench.row import RunError
from bench.training import loop
from bench.training.scenes import LABELS
from modules import registry
from modules.options import SpecError
from modules.registry import register

Look = Callable[..., AttentionOutcome]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Run a request on narrow networks that are trained for three iterations."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("iterations = 3\nbatch = 4\ntrain_count = 8\ntest_count = 2\n")

    def run(blocks: str, **fields: Any) -> AttentionOutcome:
        settings = {"recipe": str(recipe), "channels": 16, "count": 2, "device": "cpu", "out": tmp_path / "out"}
        return run_attention(AttentionRequest(blocks, **{**settings, **fields}), Console(quiet=True))

    return run


def records(outcome: AttentionOutcome) -> dict[tuple[str, str | None], dict[str, Any]]:
    return {(one["label"], one["place"]): one for one in read_attention(outcome.folder / ATTENTION)}


def test_blocks_are_trained_measured_and_described(look: Look) -> None:
    outcome = look("nl,gc,ldv1,identity")
    assert (outcome.failed, outcome.interrupted, outcome.measured) == (False, False, 4)
    found = records(outcome)
    assert [label for label, _ in found] == ["nl", "gc", "ldv1", "identity"]
    nl = found["nl", "block"]
    assert set(nl) == set(FIELDS)
    assert [nl[name] for name in ("status", "positions", "images", "iterations", "seed")] == ["ok", 256, 2, 3, 0]
    assert all(figure is not None for figure in nl["distances"].values())
    assert nl["sd"]["input"] is not None
    assert set(nl["resolving"]) >= {"scene", "pairwise", "regional"}
    assert found["identity", "block"]["missing"]["attention"]
    assert found["gc", "block"]["independent"]
    assert found["ldv1", "block"]["spreads"]["mask_mean"] is not None
    assert (outcome.folder / "weights" / f"{nl['run']}.pt").exists()
    assert all((outcome.folder / name).exists() for name in nl["maps"])


def test_the_same_again_trains_nothing_and_finds_the_same(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    first = records(look("nl"))["nl", "block"]
    monkeypatch.setattr(loop._Run, "_step", lambda *arguments: pytest.fail("an iteration was done again"))
    outcome = look("nl")
    assert (outcome.measured, records(outcome)["nl", "block"]["distances"]) == (1, first["distances"])


def test_another_block_joins_those_that_the_folder_holds(look: Look) -> None:
    look("gc")
    assert [label for label, _ in records(look("ldv1"))] == ["gc", "ldv1"]


def test_query_points_are_those_asked_for(look: Look) -> None:
    outcome = look("nl", queries="4x4,8x12")
    with np.load(outcome.folder / records(outcome)["nl", "block"]["maps"][0]) as held:
        assert held["names"].tolist() == ["4x4", "8x12"]
        assert (held["points"] * 16).tolist() == [[4.5, 4.5], [8.5, 12.5]]
        assert held["attention"].shape == (2, 16, 16)


def test_a_training_checkpoint_stands_in_for_training(look: Look, tmp_path: Path) -> None:
    trained = records(look("nl"))["nl", "block"]
    path = tmp_path / "out" / "weights" / f"{trained['run']}.pt"
    outcome = look("nl", checkpoint=path, out=tmp_path / "other")
    found = records(outcome)["nl", "block"]
    assert found["distances"] == trained["distances"]
    assert (found["recipe"], found["iterations"], found["checkpoint"]["names"]) == (None, 3, "contextbench")
    assert not (outcome.folder / "weights").exists()


def test_weights_of_a_block_alone_are_taken_and_the_layers_around_it_named_untrained(
    look: Look, tmp_path: Path
) -> None:
    block = registry.create("nl", 16)
    torch.save(block.state_dict(), tmp_path / "nl.pt")
    found = records(look("nl", checkpoint=tmp_path / "nl.pt"))["nl", "block"]
    assert "not trained" in found["note"]
    assert found["resolving"] is None


def test_a_whole_network_is_looked_into_by_stage_over_pictures(look: Look, tmp_path: Path) -> None:
    label = "gcnet:context=nl,stages=3+4,often=once,layers=1+2+2+1,head=gc/ratio=1,classes=5"
    options = dict(item.split("=", 1) for item in label.partition(":")[2].split(","))
    torch.save(registry.create("gcnet", 32, **options).state_dict(), tmp_path / "net.pt")
    paths = [picture(tmp_path / f"{number}.png", 70, 62, number) for number in range(2)]
    outcome = look(label, checkpoint=tmp_path / "net.pt", channels=32, images=tuple(paths))
    found = records(outcome)
    assert len(found) == 3
    first = next(iter(found.values()))
    assert (first["size"], first["data"], first["images"], first["positions"]) == ([64, 72], "pictures", 2, 9 * 10)
    assert [one["entry"] for one in found.values()] == ["nl", "nl", "gc"]
    assert all(one["distances"]["attention"] is not None for one in found.values())


def test_a_network_without_context_is_said_to_have_none(look: Look, tmp_path: Path) -> None:
    torch.save(registry.create("fcn", 32, layers="1+1+1+1").state_dict(), tmp_path / "fcn.pt")
    outcome = look("fcn:layers=1+1+1+1", checkpoint=tmp_path / "fcn.pt", channels=32)
    (found,) = records(outcome).values()
    assert (found["status"], outcome.failed) == ("unsupported", False)
    assert "no block" in found["reason"]


def test_a_block_that_fails_is_a_record_and_the_others_go_on(look: Look, registered: object) -> None:
    @register("fragile", family="context")
    class Fragile(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("cannot be\ntrained")
            return x * self.scale

    outcome = look("fragile,gc")
    found = records(outcome)
    assert (outcome.failed, outcome.measured) == (True, 2)
    assert found["fragile", None]["status"] == "crashed"
    assert found["fragile", None]["reason"] == "RuntimeError: cannot be trained"
    assert found["gc", "block"]["status"] == "ok"
    assert [label for label, _ in records(look("ldv1"))] == ["gc", "ldv1"]


def test_what_does_not_fit_into_memory_is_skipped(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.attention.session.available_bytes", lambda device: 1000)
    (found,) = records(look("nl")).values()
    assert (found["status"], found["iterations"]) == ("skipped", None)
    assert "GiB are free" in found["reason"]


def test_a_stop_by_the_user_keeps_what_is_done(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop._Run._step
    steps: list[int] = []

    def step(run: Any, number: int, *arguments: Any) -> Tensor:
        steps.append(number)
        if len(steps) > 4:
            raise KeyboardInterrupt
        return whole(run, number, *arguments)

    monkeypatch.setattr(loop._Run, "_step", step)
    outcome = look("gc,nl")
    assert (outcome.interrupted, outcome.failed, outcome.measured) == (True, False, 1)
    assert "interrupted; to go on:" in outcome.text


def picture(path: Path, width: int, height: int, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_pictures_are_resized_and_normalised(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((9, 21), 51, np.uint8)).save(path)
    photos = Photos([path], lambda height, width: (height - 1, width - 1), (0.1, 0.2, 0.3), (0.1, 0.1, 0.1))
    assert photos.tensor(0).shape == (1, 3, 8, 20)
    torch.testing.assert_close(photos.tensor(0)[0, :, 3, 3], torch.tensor([1.0, 0.0, -1.0]))


def test_scenes_are_asked_from_what_context_decides() -> None:
    scenes = SceneImages(6, 64)
    target = scenes.scenes.targets
    for index in scenes.drawn:
        assert bool(scenes.scenes.mixed[index])
        for point in scenes.points(index):
            row, column = point.cell(64, 64)
            around = target[index, row - 1 : row + 1, column - 1 : column + 1].flatten().tolist()
            assert point.name.partition("(")[2].rstrip(")") in {LABELS.classes[label] for label in around}


def test_query_points_are_read_from_text() -> None:
    assert parse_queries("4x4, 8x12,4x4") == [(4, 4), (8, 12)]


REFUSED = [
    ({"blocks": "nll"}, "unknown block 'nll'; did you mean 'nl'?"),
    ({"blocks": "nl", "recipe": "prob"}, "unknown recipe 'prob'; did you mean 'probe'?"),
    ({"blocks": "nl", "queries": "4x"}, "query point '4x' in '4x' is not of the form ROWxCOLUMN, such as 4x12"),
    ({"blocks": "nl", "queries": "4x4,3x16"}, "query point 3x16 lies outside of the 16x16 map of 'nl' at block"),
    ({"blocks": "nl", "images": (Path("nowhere.png"),)}, "no picture 'nowhere.png'"),
    ({"blocks": "nl", "images": (Path(__file__),)}, "cannot read picture"),
    ({"blocks": "nl", "checkpoint": Path("nowhere.pt")}, "no checkpoint file 'nowhere.pt'"),
    ({"blocks": "nl", "checkpoint": Path(__file__)}, "is no checkpoint of tensors alone"),
    ({"blocks": "nl", "count": 0}, "allowed: 1 or more"),
    ({"blocks": "cgnl", "channels": 20}, "cannot build 'cgnl'"),
]


@pytest.mark.parametrize(("fields", "expected"), REFUSED)
def test_what_cannot_be_is_refused_in_one_line(
    look: Look, tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        look(**fields)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_for_one_network_and_must_fit_it(look: Look, tmp_path: Path) -> None:
    torch.save(registry.create("gc", 16, ratio=4).state_dict(), tmp_path / "gc.pt")
    with pytest.raises(SpecError, match=r"is for one block or network, not for 2: nl, gc"):
        look("nl,gc", checkpoint=tmp_path / "gc.pt")
    with pytest.raises(SpecError, match=r"gc\.pt' does not fit 'nl'"):
        look("nl", checkpoint=tmp_path / "gc.pt")
    trained = records(look("gc"))["gc", "block"]
    with pytest.raises(SpecError, match=r"of a training run that does not fit 'nl': missing"):
        look("nl", checkpoint=tmp_path / "out" / "weights" / f"{trained['run']}.pt")


def test_a_folder_of_another_kind_is_refused(look: Look, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rows.jsonl").write_text("")
    with pytest.raises(SpecError, match="holds the rows of a sweep"):
        look("gc")


def test_a_record_has_the_fields_of_the_schema_and_a_reason() -> None:
    with pytest.raises(KeyError, match="no such field: speed"):
        make_record({"speed": 1, "status": "ok"})
    with pytest.raises(ValueError, match="reason"):
        make_record({"status": "crashed"})


def test_the_last_record_of_a_key_counts_and_a_torn_line_does_not(tmp_path: Path) -> None:
    path = tmp_path / ATTENTION
    kept = [
        make_record({"key": key, "status": "ok", "images": images}) for key, images in (("a", 1), ("b", 2), ("a", 3))
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in kept) + '{"schema": 1, "ke')
    assert [(record["key"], record["images"]) for record in read_attention(path)] == [("b", 2), ("a", 3)]
    path.write_text("{}\n")
    with pytest.raises(RunError, match="line 1 is not a record of attention"):
        read_attention(path)
    with pytest.raises(RunError, match="cannot read"):
        read_attention(tmp_path / "nowhere.jsonl")
