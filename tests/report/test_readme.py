"""The part of a README that is rebuilt from a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import build
from bench.report.groups import all_groups
from bench.report.readme import choose, rebuild, stale
from tests.report.synthetic import row, skipped, sweep, write_run

TEXT = "# Title\n\nbefore\n\n<!-- contextbench: results/reference/cpu -->\nold\n<!-- /contextbench -->\n\nafter\n"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A README beside a run."""
    write_run(tmp_path / "results" / "reference" / "cpu", sweep())
    path = tmp_path / "README.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_rebuild_changes_the_marked_part_once(readme: Path) -> None:
    assert stale(readme)
    assert rebuild(readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\nbefore\n\n<!-- contextbench: results/reference/cpu -->\n")
    assert text.endswith("<!-- /contextbench -->\n\nafter\n")
    assert "old" not in text.split()
    assert not stale(readme)
    assert not rebuild(readme)
    assert readme.read_text(encoding="utf-8") == text


def test_the_part_names_groups_machine_noise_and_rule(readme: Path) -> None:
    rebuild(readme)
    text = readme.read_text(encoding="utf-8")
    for words in ("97x97, 512 channels", "97x97, 256 channels", "Imaginary CPU", "2 threads", "torch 0.0", "3.0 %"):
        assert words in text
    assert "by rule" in text
    assert "`results/reference/cpu/report.md`" in text


def test_new_rows_make_it_stale(readme: Path) -> None:
    rebuild(readme)
    run = readme.parent / "results" / "reference" / "cpu"
    write_run(run, [row("nl", latency_ms=1.0)])
    assert stale(readme)


def test_the_rule_takes_the_fullest_then_the_largest() -> None:
    rows = [row("nl", 8, 8), row("gc", 8, 8), row("nl", 16, 16), row("gc", 16, 16), row("nl", 32, 32)]
    rows += [row("nl", 8, 8, 256), row("nl", 32, 32, 256), skipped("nl", 97, 97, 256)]
    rows += [row("nl", 97, 97, mode="train"), row("dilated", 97, 97)]
    chosen = choose(all_groups(build(rows)))
    assert [(group.height, group.channels) for group in chosen] == [(16, 512), (32, 256)]


def test_other_channel_counts_fall_back_to_the_fullest_group() -> None:
    chosen = choose(all_groups(build([row("nl", 8, 8, 64), row("gc", 8, 8, 64), row("nl", 16, 16, 64)])))
    assert [group.height for group in chosen] == [8]


def test_a_readme_without_markers_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("nothing")
    with pytest.raises(ValueError, match="has no part between"):
        rebuild(path)
    with pytest.raises(ValueError, match="has no part between"):
        stale(path)


def test_a_run_without_rows_is_an_error(readme: Path) -> None:
    write_run(readme.parent / "results" / "reference" / "cpu", [])
    with pytest.raises(ValueError, match="has no rows to show"):
        rebuild(readme)
