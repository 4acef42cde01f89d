"""The notebooks run from top to bottom, were committed with their outputs, and read results through one function."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what their imports warn of is not ours
    import nbformat
    from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_is_a_notebook_for_each_question() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["accuracy", "attention", "efficiency", "papers", "your_own_block"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_it_runs_from_top_to_bottom(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in shown if output.output_type == "error"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_short_and_was_committed_as_it_ran(path: Path) -> None:
    run = [cell.execution_count for cell in cells(path)]
    assert run == list(range(1, len(run) + 1))
    assert len(run) <= 10
    assert any(cell.outputs for cell in cells(path))
    assert not any(output.output_type == "error" for cell in cells(path) for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_reads_results_through_load_alone(path: Path) -> None:
    code = [cell.source for cell in cells(path) if not cell.source.startswith(("%%", "!"))]
    tree = ast.parse("\n".join(line for source in code for line in source.splitlines() if not line.startswith("!")))
    imported = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("bench", "modules"))
        for alias in node.names
    }
    assert imported == {("bench.report", "load")}


def test_a_broken_cell_would_fail(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(Exception, match="ZeroDivisionError"):
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
