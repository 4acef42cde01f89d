"""What the nodes of a cluster are: kinds of devices, and versions that differ."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from bench.cluster import Kind, Node, NodesLost, Software, check_skew, find_kinds, nodes_with
from bench.cluster.survey import difference
from bench.measure.method import make_method
from bench.measure.rates import Rates
from bench.measurer import Ready
from bench.worker import Task
from modules.options import SpecError
from tests.cluster.fake import CARD, FACTS, HERE, FakeCluster, node, other, ready


def surveyed(
    answers: Mapping[Node, Ready | Exception], device: str, versions: Mapping[Node, Software] | None = None
) -> tuple[list[Kind], str]:
    def answer(place: Node, function: Any, arguments: Any) -> Ready:
        assert arguments[2] == (max(1, place.cpus // place.gpus) if device == "cuda" else place.cpus)
        found = answers[place]
        if isinstance(found, Exception):
            raise found
        return found

    console = Console(file=io.StringIO(), width=200)
    software = versions or dict.fromkeys(answers, HERE)
    kinds = find_kinds(FakeCluster(list(answers), answer), software, Task(device, make_method({})), 1.0, console)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return kinds, console.file.getvalue()


def test_nodes_alike_are_one_kind_with_the_least_free_memory() -> None:
    kinds, _ = surveyed({node("a"): ready(FACTS, 300), node("b"): ready(FACTS, 200)}, "cpu")
    (kind,) = kinds
    assert (kind.name, kind.slug, kind.share.count) == ("Some Processor", "some-processor", 2)
    assert kind.ready.free_bytes == 200
    assert (kind.share.cpus, kind.share.gpus) == (4, 0)
    assert [place.name for place in kind.share.nodes] == ["a", "b"]


def test_a_card_has_its_part_of_the_processors() -> None:
    kinds, _ = surveyed({node("a", 64, 8): ready(CARD, cards=8), node("b", 64, 8): ready(CARD, cards=8)}, "cuda")
    (kind,) = kinds
    assert (kind.name, kind.share.count, kind.share.cpus, kind.share.gpus) == ("NVIDIA H200", 16, 8, 1)


def test_a_node_may_give_out_cards_and_no_processors() -> None:
    kinds, _ = surveyed({node("a", 0, 8): ready(CARD, cards=8)}, "cuda")
    assert (kinds[0].share.cpus, kinds[0].share.gpus, kinds[0].share.threads) == (0, 1, 1)


def test_other_models_other_processors_and_other_drivers_are_other_kinds() -> None:
    answers = {
        node("a", 8, 1): ready(CARD, cards=1),
        node("b", 8, 1): ready({**CARD, "gpu": "NVIDIA A100"}, cards=1),
        node("c", 8, 1): ready({**CARD, "driver": "580"}, cards=1),
    }
    kinds, _ = surveyed(answers, "cuda")
    assert [kind.share.nodes[0].name for kind in kinds] == ["a", "b", "c"]
    assert difference(kinds) == "gpu, driver"


def test_versions_that_were_allowed_to_differ_are_kinds_of_their_own() -> None:
    first, second = node("a"), node("b")
    kinds, _ = surveyed(
        {first: ready(FACTS), second: ready(FACTS)}, "cpu", {first: HERE, second: other(git="def", code="d1ff")}
    )
    assert [kind.software.git for kind in kinds] == ["abc", "def"]
    assert difference(kinds) == "code"


def test_a_node_that_is_lost_is_left_out_and_that_is_said() -> None:
    kinds, told = surveyed({node("a"): ready(FACTS), node("b"): NodesLost(True, "no node is left of b")}, "cpu")
    assert [place.name for place in kinds[0].share.nodes] == ["a"]
    assert "node b is left out: no node is left of b" in told


def test_nodes_on_one_machine_are_told() -> None:
    first, second = (replace(node(name), host="192.0.2.1") for name in "ab")
    assert "measure beside each other" in surveyed({first: ready(FACTS), second: ready(FACTS)}, "cpu")[1]
    apart = replace(second, host="192.0.2.2")
    assert "beside" not in surveyed({first: ready(FACTS), apart: ready(FACTS)}, "cpu")[1]


def test_a_node_that_measures_behind_all_else_is_told() -> None:
    _, told = surveyed({node("a"): replace(ready(FACTS), niceness=15)}, "cpu")
    assert "node a measures at niceness 15" in told
    assert "RAY_worker_niceness=0" in told
    assert "niceness" not in surveyed({node("a"): ready(FACTS)}, "cpu")[1]


def test_cards_of_several_models_in_a_node_are_refused() -> None:
    mixed = Ready("kept", Rates(), CARD, 1, ("NVIDIA H200", "NVIDIA A100"))
    with pytest.raises(SpecError, match=r"node a has cards of several models .*CUDA_VISIBLE_DEVICES"):
        surveyed({node("a", 8, 2): mixed}, "cuda")


def test_auto_is_cuda_where_a_node_has_a_card() -> None:
    mixed = FakeCluster([node("a"), node("b", 8, 2)], lambda *_: None)
    assert nodes_with(mixed, "auto") == ("cuda", [node("b", 8, 2)])  # type: ignore[arg-type]
    assert nodes_with(FakeCluster([node("a")], lambda *_: None), "auto")[0] == "cpu"  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no node of the cluster has a device 'cuda'; nodes: a"):
        nodes_with(FakeCluster([node("a")], lambda *_: None), "cuda")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="unknown device 'tpu'"):
        nodes_with(mixed, "tpu")  # type: ignore[arg-type]


def told(answers: dict[str, Software | str], allowed: bool, files: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("bench.cluster.survey.software_here", lambda paths: other(files=dict.fromkeys(paths, "f11e")))
    places = {node(name): answer for name, answer in answers.items()}
    cluster = FakeCluster(list(places), lambda place, function, arguments: places[place])
    return check_skew(cluster, list(places), files, allowed, Console(file=io.StringIO()))  # type: ignore[arg-type]


def test_other_versions_are_refused_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {"a": HERE, "b": other(torch="2.6.0"), "c": other(git="def", code="d1ff")}
    with pytest.raises(
        SpecError, match=r"node b has torch 2.6.0, not 2.13.0, node c has git def, not abc .*allow-skew"
    ):
        told(nodes, False, [], monkeypatch)
    assert [software.torch for software in told(nodes, True, [], monkeypatch).values()] == ["2.13.0", "2.6.0", "2.13.0"]


def test_changes_that_no_commit_holds_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="node b has code d1ff, not c0de"):
        told({"a": HERE, "b": other(code="d1ff")}, False, [], monkeypatch)


def test_a_node_without_contextbench_or_a_file_cannot_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="node a cannot measure: ModuleNotFoundError: No module named 'bench'"):
        told({"a": "ModuleNotFoundError: No module named 'bench'"}, True, [], monkeypatch)
    with pytest.raises(SpecError, match=r"node a has file '/lab/mine.py' missing, not f11e"):
        told({"a": other(files={"/lab/mine.py": None})}, True, ["/lab/mine.py"], monkeypatch)


def test_a_kind_says_where_it_is() -> None:
    kinds, _ = surveyed({node("a"): ready(FACTS), node("b"): ready(FACTS)}, "cpu")
    assert isinstance(kinds[0], Kind)
    assert str(kinds[0]) == "Some Processor (2 on a, b)"
