"""Figures of ours, cell by cell, as they were worked out apart from the ledger."""

from __future__ import annotations

import pytest

from bench.papers.judge import judge
from bench.papers.published import PAPERS, tables_of

Place = tuple[str, str, str, str]

FIGURES = {
    ("ann", "abstract", "APNB vs NB 256x128", "memory ratio"): 15.517,
    ("ann", "sec3.2", "matmul saving", "ratio"): 32768 / 110,
    ("ann", "1", "NB 96x96", "FLOPs"): 58.0127,
    ("ann", "1", "APNB 96x96", "FLOPs"): 15.573713,
    ("ann", "1", "NB 256x128", "FLOPs"): 601.4045,
    ("ann", "1", "APNB 256x128", "FLOPs"): 55.3732,
    ("ann", "1", "NB 96x96", "GPU memory"): 609.0142,
    ("ann", "1", "APNB 96x96", "GPU memory"): 150.0142,
    ("ann", "1", "NB 256x128", "GPU memory"): 7797,
    ("ann", "1", "APNB 256x128", "GPU memory"): 277,
    ("galdv2", "secIII-B", "N vs K example", "N"): 65 * 65,
    ("galdv2", "IV", "LDv1 increment", "params"): 0.018432,
    ("fastfcn", "abstract", "compute reduction R101", "FPS ratio"): 32.02 / 10.51,
    ("gcnet", "sec4.3", "GC-ResNet-50 params increase", "params increase"): 2.5217,
    ("gcnet", "sec4.3", "GC-ResNet-50 FLOPs increase", "relative increase"): (3.87 - 3.86) / 3.86 * 100,
    ("gcnet", "8(b)", "avg+scale", "params"): 28.071976,
    ("gcnet", "8(b)", "avg+add", "params"): 28.071976,
    ("gcnet", "8(b)", "avg+scale", "FLOPs"): 3.86691,
    ("gcnet", "8(b)", "avg+add", "FLOPs"): 3.86691,
    ("gcnet", "9", "SENet*", "params"): 28.071976,
    ("gcnet", "9", "SENet*", "FLOPs"): 3.86691,
    ("gcnet", "9", "CBAM*", "params"): 28.073544,
    ("gcnet", "13", "DANet", "params"): 71.288936,
    ("gcnet", "13", "DANet", "FLOPs"): 709.183874,
    ("gcnet", "13", "CCNet", "FLOPs"): 653.524991,
    ("gcnet", "13", "NLNet", "params"): 71.22263,
    ("gcnet", "13", "NLNet", "FLOPs"): 697.158664,
}
TABLE_12 = {
    ("12(a)", "baseline"): (70.95959, 646.8818),
    ("12(a)", "NL Head"): (71.22263, 697.1587),
    ("12(a)", "SNL Head"): (71.222759, 646.8917),
    ("12(a)", "GC head"): (71.092071, 646.8916),
    ("12(a)", "GC backbone (c3-c5)"): (89.921284, 647.1997),
    ("12(a)", "GC backbone + GC Head"): (90.053765, 647.2046),
    ("12(b)", "avg+scale"): (71.091558, 646.8867),
    ("12(b)", "avg+add"): (71.091558, 646.8867),
    ("12(b)", "att+scale"): (71.092071, 646.8916),
    ("12(b)", "att+add"): (71.092071, 646.8916),
}


@pytest.fixture(scope="module")
def ours() -> dict[Place, float | None]:
    """Our figure for every cell of the five papers."""
    cells = [(cell, table) for paper in PAPERS for table in tables_of(paper) for cell in table.cells]
    return {(cell.paper, cell.table, cell.row, cell.metric): judge(cell, table).ours for cell, table in cells}


@pytest.mark.parametrize("place", FIGURES, ids=" ".join)
def test_figures_of_ours(ours: dict[Place, float | None], place: Place) -> None:
    assert ours[place] == pytest.approx(FIGURES[place], rel=2e-5)


@pytest.mark.parametrize("place", TABLE_12, ids=" ".join)
def test_gcnet_table_12(ours: dict[Place, float | None], place: tuple[str, str]) -> None:
    params, flops = TABLE_12[place]
    assert ours[("gcnet", *place, "params")] == pytest.approx(params, abs=5e-7)
    assert ours[("gcnet", *place, "FLOPs")] == pytest.approx(flops, abs=5e-5)
