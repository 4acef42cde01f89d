"""The house rules of docs/architecture.md, read off the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINE = (
    ("bench.arguments",),
    ("modules",),
    ("bench.distributions",),
    ("bench.row", "bench.disturbance"),
    ("bench.record",),
    ("bench.case", "bench.axes"),
    ("bench.plugin", "bench.catalogue"),
    ("bench.workload", "bench.fold"),
    ("bench.weights",),
    ("bench.static",),
    ("bench.agreement",),
    ("bench.measure",),
    ("bench.shelf", "bench.skip", "bench.suite"),
    ("bench.environment",),
    ("bench.journal",),
    ("bench.store",),
    ("bench.plan",),
    ("bench.trial",),
    ("bench.repeats",),
    ("bench.pulse", "bench.slices", "bench.company", "bench.measurer", "bench.worker", "bench.isolation"),
    ("bench.runner",),
    ("bench.progress",),
    ("bench.session",),
    ("bench.cluster",),
    ("bench.papers",),
    ("bench.threshold", "bench.cell"),
    ("bench.weighing",),
    ("bench.compare",),
    ("bench.revision", "bench.turns", "bench.duel"),
    ("bench.regression",),
    ("bench.selftest",),
    ("bench.training",),
    ("bench.budget", "bench.offer", "bench.recommend"),
    ("bench.profiling", "bench.attention"),
)
REPORT = "bench.report"
ARGUMENTS = "bench.arguments"
SCHEMAS = (
    *("bench.distributions", "bench.row", "bench.disturbance", "bench.record"),
    *("bench.training.record", "bench.profiling.record", "bench.attention.record"),
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for folder in ("modules", "bench") for path in (ROOT / folder).rglob("*.py")}


def imported(path: Path, deferred: bool = True) -> set[str]:
    """Names of modules that a file imports; without `deferred` only those at its top level."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if deferred else tree.body
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(name: str) -> int | None:
    for number, rooms in enumerate(LINE):
        if any(name == room or name.startswith(room + ".") for room in rooms):
            return number
    return None


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_file_has_a_place_in_the_house(name: str) -> None:
    assert name == "bench" or name.startswith(REPORT) or place(name) is not None


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"bench"}))
def test_a_room_imports_only_what_stands_before_it(name: str) -> None:
    for other in imported(SOURCES[name]) & set(SOURCES) - {"bench"}:
        if name.startswith(REPORT):
            assert other.startswith((REPORT, *SCHEMAS)), other
        else:
            assert place(other) is not None, other
            assert place(other) <= place(name), other


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if name.startswith("bench")))
def test_bench_reaches_blocks_through_the_registry_and_their_checkpoints_alone(name: str) -> None:
    blocks = {other for other in imported(SOURCES[name]) if other.startswith("modules.")}
    allowed = ("modules.registry", "modules.options", "modules.checkpoints", "modules.observation", "modules.placement")
    assert all(other.startswith(allowed) for other in blocks)


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if name.startswith((REPORT, *SCHEMAS))))
def test_reports_never_import_torch(name: str) -> None:
    assert not any(other.partition(".")[0] in ("torch", "fvcore", "modules") for other in imported(SOURCES[name]))


def test_the_command_line_defers_every_import_of_a_room() -> None:
    top = imported(ROOT / "run_bench.py", deferred=False)
    rooms = {other for other in top if not other.startswith(ARGUMENTS)}
    assert not any(other.startswith(("bench", "modules", "torch")) for other in rooms)
    assert imported(SOURCES[ARGUMENTS]) <= {"__future__", "__future__.annotations", "enum", "enum.Enum"} | {
        *("pathlib", "pathlib.Path", "typing", "typing.Annotated", "typer")
    }


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_files_are_short_and_no_file_is_a_drawer(name: str) -> None:
    assert len(SOURCES[name].read_text().splitlines()) <= 300
    assert name.rpartition(".")[2] not in ("utils", "util", "helpers", "misc", "common")


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"bench.cluster.connection"}))
def test_ray_is_reached_through_one_file(name: str) -> None:
    text = SOURCES[name].read_text()
    assert "import ray" not in text
    assert '"ray"' not in text
