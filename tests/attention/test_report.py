"""Tables, page and figures of attention statistics, from invented records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.attention.record import ATTENTION, QUANTITIES, SPREADS, make_record
from bench.report.attention import show_attention, write_attention
from bench.row import RunError

DISTANCES = dict(zip(QUANTITIES, (0.4012, 0.332, 0.05, 0.0051, 0.02, 0.00012), strict=True))


def record(label: str, place: str = "block", **fields: Any) -> dict[str, Any]:
    common = {"label": label, "place": place, "key": f"{label} {place}", "status": "ok", "recipe": "probe", "seed": 0}
    common |= {"images": 64, "data": "scenes", "map_height": 16, "map_width": 16, "positions": 256, "env": "e0"}
    figures = {"distances": DISTANCES, "sd": dict.fromkeys(QUANTITIES, 0.01), "missing": {}, "independent": False}
    figures |= {"zeros": dict.fromkeys(QUANTITIES, 0.0), "spreads": dict.fromkeys(SPREADS)}
    return make_record(common, figures, fields)


RESOLVING = {"scene": 100.0, "regional": 66.0, "pairwise": 75.2, "scene_mixed": 100.0}
MANY = [
    record("nl", resolving=RESOLVING, miou=50.0, spreads={**dict.fromkeys(SPREADS), "attention_entropy": 0.72}),
    record(
        "gc",
        independent=True,
        distances={**dict.fromkeys(QUANTITIES), "attention": 0.0, "input": 0.3},
        missing={"key": "the block shows none", "query": "the block shows none"},
    ),
    record("gald:ga=nl/mode=dot_product,ld=v2,arrangement=parallel", "trunk.layer3.4.context.ga", note="an odd one"),
    make_record(
        {"label": "big", "key": "big", "status": "skipped", "reason": "too big", "recipe": "probe", "seed": 0},
        {"images": 64, "data": "scenes", "env": "e0"},
    ),
]


def folder(path: Path, records: list[dict[str, Any]]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / ATTENTION).write_text("".join(json.dumps(one) + "\n" for one in records))
    (path / "environment.json").write_text(json.dumps({"cpu": "Imaginary", "threads": 1, "torch": "0.0"}))
    return path


def maps(path: Path, **held: Any) -> str:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    facts = {"image": image, "picture": np.array("scene 0"), "extent": np.array([16, 16])}
    points = {"points": np.array([[0.5, 0.5], [0.1, 0.9]]), "names": np.array(["region (ctx0)", "bar (reg1)"])}
    np.savez_compressed(path, **{**facts, **points, **held})
    return path.name


def test_the_table_reads_as_the_papers_does(tmp_path: Path) -> None:
    text = show_attention(folder(tmp_path, MANY))
    lines = text.split("\n")
    assert lines[0] == "Average cosine distance between positions: 64 scenes, recipe probe, seed 0"
    assert lines[2].split() == ["block", "place", "map", "input", "key", "query", "prod", "att", "output"]
    assert lines[4].split() == ["nl", "block", "16x16", "0.401", "0.332", "0.050", "0.005", "0.020", "<0.001"]
    assert "0 †" in lines[5]
    assert "† one map serves all positions by construction." in text
    assert "gc: no key, query: the block shows none." in text
    assert "big: skipped: too big." in text
    assert "an odd one." in text
    assert "75.2" in text
    assert max(map(len, lines)) <= 100


def test_records_of_different_making_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    text = show_attention(folder(tmp_path, [record("nl"), record("gc", seed=1), record("snl", recipe=None)]))
    assert text.count("Average cosine distance") == 3
    assert "weights of a file, seed 0" in text


def test_vectors_that_were_left_out_are_told(tmp_path: Path) -> None:
    zeros = {**dict.fromkeys(QUANTITIES, 0.0), "attention": 0.125}
    assert "nl: left out, as they are zero: att 12.5 %." in show_attention(
        folder(tmp_path, [record("nl", zeros=zeros)])
    )


def test_every_format_holds_the_figures(tmp_path: Path) -> None:
    run = folder(tmp_path, MANY)
    assert "0.401 ± 0.010" in show_attention(run, "markdown")
    assert r"0.401 $\pm$ 0.010" in show_attention(run, "latex")
    assert json.loads(show_attention(run, "json"))[0]["distances.product"] == 0.0051
    assert show_attention(run, "csv").split("\n")[0].startswith("schema,key")
    with pytest.raises(ValueError, match="unknown format"):
        show_attention(run, "yaml")


def test_the_page_shows_tables_maps_and_machine(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    weights = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    kinds = {
        "nl": {"attention": weights / weights.sum((1, 2), keepdims=True)},
        "nl:mode=dot_product": {"attention": weights - 0.5},
        "gc": {"attention": np.full((1, 16, 16), 1 / 256, np.float32)},
        "ldv1": {"mask": weights[0]},
        "ldv2": {"affinity": np.where(weights > 0.9, weights, np.nan)},
        "flat": {"attention": np.zeros((2, 16, 16), np.float32)},
    }
    records = [
        record(label, maps=[f"maps/{maps(tmp_path / 'maps' / f'{number}.npz', **held)}"])
        for number, (label, held) in enumerate(kinds.items())
    ]
    other = maps(tmp_path / "maps" / "other.npz", picture=np.array("scene 1"), attention=weights)
    run = folder(tmp_path, [*records, record("apnb", maps=[f"maps/{other}"])])
    (run / "plots").mkdir()
    (run / "plots" / "maps-7.png").write_text("of an earlier call")
    page, *others = write_attention(run)
    text = page.read_text()
    assert [path.name for path in others if path.suffix == ".svg"] == ["maps-1.svg", "maps-2.svg"]
    assert not (run / "plots" / "maps-7.png").exists()
    for expected in (
        "Measured on Imaginary",
        "plots/maps-1.svg",
        "Blue: negative weights",
        "Mask: mean over",
        "0.401 ±",
    ):
        assert expected in text
    assert write_attention(run)[0].read_text() == text


def test_more_blocks_than_a_sheet_holds_are_drawn_on_several(tmp_path: Path) -> None:
    name = maps(tmp_path / "one.npz", attention=np.ones((2, 16, 16), np.float32))
    run = folder(tmp_path, [record(f"nl:inner={width}", maps=[name]) for width in range(1, 12)])
    assert len([path for path in write_attention(run) if path.suffix == ".svg"]) == 2


def test_an_empty_folder_has_a_page_that_says_so(tmp_path: Path) -> None:
    assert "Nothing has been measured yet." in write_attention(folder(tmp_path, []))[0].read_text()
    assert show_attention(tmp_path) == ""


def test_maps_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"cannot read maps '.*torn\.npz'"):
        write_attention(folder(tmp_path, [record("nl", maps=["torn.npz"])]))
