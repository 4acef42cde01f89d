"""Where the rows of each kind of device go, call after call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cluster import Kind, Share
from bench.cluster.session import run_folders
from bench.store import open_store
from bench.training.archive import open_archive
from modules.options import SpecError
from tests.cluster.fake import CARD, HERE, node, other, ready


def kind(code: str = "c0de") -> Kind:
    return Kind(Share((node("a", 8, 1),), 8, 1), ready(CARD), other(code=code) if code != "c0de" else HERE)


def names(folder: Path, kinds: list[Kind], envs: list[str]) -> list[str]:
    places = run_folders(folder, kinds, envs)
    for place, env in zip(places, envs, strict=True):
        place.mkdir(exist_ok=True)
        (place / "environment.json").write_text(json.dumps({"env": env}))
    return [place.name for place in places]


def test_a_kind_keeps_its_folder_whoever_else_is_there(tmp_path: Path) -> None:
    assert names(tmp_path, [kind()], ["aaaaaaaaaaaa"]) == ["nvidia-h200"]
    both = ["nvidia-h200-bbbbbb", "nvidia-h200"]
    assert names(tmp_path, [kind(), kind()], ["bbbbbbbbbbbb", "aaaaaaaaaaaa"]) == both
    assert names(tmp_path, [kind()], ["bbbbbbbbbbbb"]) == ["nvidia-h200-bbbbbb"]


def test_one_environment_in_two_versions_has_two_folders(tmp_path: Path) -> None:
    assert names(tmp_path, [kind(), kind("d1ff")], ["aaaaaaaaaaaa"] * 2) == ["nvidia-h200", "nvidia-h200-aaaaaa"]


def test_neither_a_sweep_nor_training_goes_into_a_folder_of_folders(tmp_path: Path) -> None:
    (tmp_path / "devices.json").write_text("{}")
    with pytest.raises(SpecError, match="holds a run for each kind of device"):
        open_store(tmp_path, "", {}, {"env": "e", "method": "m"})
    with pytest.raises(SpecError, match="holds the rows of a sweep"), open_archive(tmp_path, {}):
        pass
