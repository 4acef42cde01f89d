"""The published figures as data: every cell has a rule, a place, and a case that exists."""

from __future__ import annotations

import csv
from collections import Counter
from importlib import resources

import pytest

from bench.axes import parse_blocks
from bench.case import make_case
from bench.papers.judge import INCREMENTS, MEASURED, RECOUNTED
from bench.papers.measured import suite_of, timed_cells
from bench.papers.published import PAPERS, Cell, Table, choose, facts, tables_of
from bench.papers.rounding import rounded
from bench.suite import load_suite
from modules import registry
from modules.options import SpecError

TABLES = [table for paper in PAPERS for table in tables_of(paper)]
CELLS = [cell for table in TABLES for cell in table.cells]
BLOCKS = sorted({cell.block for cell in CELLS if cell.block})
SUITES = {
    ("ann", "abstract"): "ann-1",
    ("ann", "1"): "ann-1",
    ("ann", "2"): "ann-2",
    ("galdv2", "IV"): "galdv2-iv",
    ("fastfcn", "2"): "fastfcn-2",
}
RATIOS = ("ratio_of_time", "ratio_of_memory", "ratio_of_printed")
RELATIVE = {
    *("difference", "same", "ann_memory_stale", *RATIOS, *INCREMENTS),
    *("params_increase", "params_increase_percent", "flops_increase_percent"),
}


def base_of(cell: Cell, table: Table) -> Cell:
    return table.base(cell, tables_of(cell.paper))


def in_tables(cells: list[Cell]) -> list[tuple[Cell, Table]]:
    """Cells, each with its table."""
    home = {(table.paper, table.id): table for table in TABLES}
    return [(cell, home[cell.paper, cell.table]) for cell in cells]


def cell(**fields: str) -> Cell:
    made = dict.fromkeys(("unit", "published", "block", "size", "channels", "base", "note"), "")
    made |= {"paper": "ann", "table": "1", "row": "a", "metric": "params", "convention": "params"}
    return Cell(**{**made, **fields}, stated="yes")


def test_every_published_figure_is_there() -> None:
    assert Counter(cell.paper for cell in CELLS) == {"ann": 58, "gald": 70, "galdv2": 137, "fastfcn": 72, "gcnet": 583}
    assert len(CELLS) == 888 + 32
    assert sum(bool(cell.published) for cell in CELLS) == 888


def test_a_place_in_a_table_holds_one_figure() -> None:
    places = Counter((cell.paper, cell.table, cell.row, cell.metric) for cell in CELLS)
    assert [place for place, count in places.items() if count > 1] == []
    assert all(all(place) for place in places)


@pytest.mark.parametrize("paper", PAPERS)
def test_whether_a_paper_states_enough_is_one_of_four_words(paper: str) -> None:
    text = (resources.files("bench.papers") / "data" / f"{paper}.csv").read_text(encoding="utf-8")
    lines = list(csv.DictReader(text.splitlines()))
    assert {line["stated"] for line in lines} <= {"yes", "no", "inferred", "own"}
    assert [cell.stated for cell in CELLS if cell.paper == paper] == [
        line["stated"] for table in tables_of(paper) for line in lines if line["table"] == table.id
    ]


def test_every_convention_is_known() -> None:
    assert {cell.convention for cell in CELLS} <= {*RECOUNTED, *MEASURED, "accuracy", "quoted"}


def test_a_published_figure_is_a_decimal_number_or_empty() -> None:
    for figure in CELLS:
        if figure.published:
            assert rounded(figure.value, figure.published) == "exact"
        else:
            assert figure.convention in ("params", "macs"), figure


def test_what_needs_training_or_another_group_says_whose_it_is() -> None:
    notes = {figure.note for figure in CELLS if figure.convention in ("accuracy", "quoted")}
    assert "" not in notes
    assert not any("\n" in figure.note for figure in CELLS)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_one_that_the_registry_knows(block: str) -> None:
    ((name, options),) = parse_blocks(block)
    case = make_case(name, options, 64, 64, 2048)
    texts = {option.name for option in registry.describe(name).options.values() if str in option.kinds}
    for option, value in (*case.options, *case.defaults):
        if option in texts and not registry.describe(name).options[option].choices and value != "none":
            nested, given = registry.read_nested(str(value))
            assert registry.describe(nested).family == "context"
            registry.describe(nested).resolve(given)


def test_every_figure_that_is_counted_or_measured_has_a_case() -> None:
    wanted = [c for c in CELLS if c.convention not in ("accuracy", "quoted", "difference", "ratio_of_printed", "same")]
    assert len(wanted) == 888 + 32 - 610 - 23 - 63 - 1 - 6
    for figure in wanted:
        case = figure.case()
        assert (f"{case.height}x{case.width}", str(case.channels)) == (figure.size, figure.channels or "2048")


def test_every_base_is_a_row_of_its_paper() -> None:
    based = in_tables([cell for cell in CELLS if cell.base])
    assert len(based) > 100
    for figure, table in based:
        base = base_of(figure, table)
        assert base != figure
        assert base.row == figure.base.rpartition("|")[2]


def test_what_is_relative_has_a_base_that_fits() -> None:
    for figure, table in in_tables([cell for cell in CELLS if cell.convention in RELATIVE]):
        base = base_of(figure, table)
        if figure.convention == "difference":
            mean = table.base(figure, tables_of(figure.paper), "mIoU")
            assert (mean.metric, mean.published != "") == ("mIoU", True)
        elif figure.convention == "same":
            assert base.convention in RECOUNTED
            assert base.published == figure.published
        elif figure.convention in INCREMENTS:
            assert (base.metric, base.unit, base.published != "") == ("FLOPs", figure.unit, True)
            assert base.convention == INCREMENTS[figure.convention]
        elif figure.convention == "ratio_of_printed":
            assert (base.convention, base.base) == ("fps", "resnet101 Encoding-None")
        else:
            assert base.case() != figure.case() or figure.convention == "ann_memory_stale"


def test_every_table_has_a_title_and_every_title_a_table() -> None:
    assert tuple(facts()) == PAPERS
    for paper in PAPERS:
        assert {"title", "short", "authors", "year", "venue"} <= set(facts()[paper])
        assert {table.id for table in tables_of(paper)} == set(facts()[paper]["table"])
    for table in TABLES:
        assert table.title.strip()
        assert "\n" not in table.title


def test_what_can_be_measured_has_a_suite() -> None:
    assert {(table.paper, table.id): suite_of(table) for table in TABLES if suite_of(table)} == SUITES
    for figure in CELLS:
        if figure.convention in MEASURED:
            assert figure.block
            assert figure.size
            assert (figure.paper, figure.table) in SUITES


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", sorted(set(SUITES.values())))
def test_a_suite_holds_the_cases_of_its_tables_and_no_others(name: str, device: str) -> None:
    cases = load_suite(name).cases(device)
    found = set()
    for table in [table for table in TABLES if suite_of(table) == name]:
        for figure in timed_cells(table):
            case = figure.case(device)
            base = base_of(figure, table) if figure.base else figure
            assert cases[case] == base.case(device).label
            assert (base.size, base.channels) == (figure.size, figure.channels)
            found.add(case)
    assert found == set(cases)


def test_a_table_is_called_as_in_the_paper() -> None:
    names = {(table.paper, table.id): table.name for table in TABLES}
    assert names["gcnet", "12(a)"] == "Table 12(a)"
    assert names["galdv2", "IV"] == "Table IV"
    assert names["gcnet", "sec4.3"] == "Section 4.3"
    assert names["ann", "abstract"] == "Abstract"


def test_a_cell_is_found_by_row_and_metric() -> None:
    (table,) = choose("ann", "1")
    found = table.at("NB 96x96", "GPU memory")
    assert found is not None
    assert (found.published, found.value, found.unit) == ("609", 609, "MiB")
    assert table.at("NB 96x96", "memory") is None


def test_a_case_can_be_asked_for_on_another_device_and_at_another_size() -> None:
    case = cell(block="gc:ratio=4", size="8x12", channels="64").case("cuda", "4x6")
    assert (case.label, case.height, case.width, case.channels, case.device) == ("gc:ratio=4", 4, 6, 64, "cuda")


def test_a_cell_without_a_block_has_no_case() -> None:
    with pytest.raises(SpecError, match=r"^ann table 1, a, params: no case recounts it$"):
        cell().case()


@pytest.mark.parametrize("base", ["nowhere", "1|nowhere", "99|a"])
def test_a_base_that_is_not_there_is_named(base: str) -> None:
    lost = cell(base=base)
    with pytest.raises(SpecError) as caught:
        Table("ann", "1", "", "", (lost,)).base(lost, tables_of("ann"))
    assert str(caught.value) == f"ann table 1, a: there is no base row '{base}'"


def test_a_base_is_the_cell_of_that_metric_else_of_that_rule_else_one_with_a_case() -> None:
    quoted = cell(row="b", metric="mIoU", convention="accuracy")
    params = cell(row="b", metric="weights", block="gc")
    flops = cell(row="b", metric="FLOPs", convention="macs", block="nl")
    table = Table("ann", "1", "", "", (quoted, flops, params))
    assert table.base(cell(base="b", metric="FLOPs"), ()) is flops
    assert table.base(cell(base="b", metric="size", convention="params"), ()) is params
    assert table.base(cell(base="b", metric="share", convention="params_increase"), ()) is flops
    assert table.base(cell(base="b"), (), "mIoU") is quoted


@pytest.mark.parametrize(
    ("paper", "table", "ids"),
    [
        ("gcnet", "5", ["5(a)", "5(b)", "5(c)", "5(d)", "5(e)", "5(f)"]),
        *(("gcnet", "5(D)", ["5(d)"]), ("gcnet", "12", ["12(a)", "12(b)"]), ("gcnet", "1", ["1"])),
        *(("gcnet", "8b", ["8(b)"]), ("GCNet", "12B", ["12(b)"]), ("GALDv2", "Ic", ["I(c)"])),
        *(
            ("galdv2", "iv", ["IV"]),
            ("galdv2", "i", ["I(a)", "I(b)", "I(c)", "I(d)"]),
            ("ann", "Abstract", ["abstract"]),
        ),
    ],
)
def test_a_table_is_chosen_as_users_type_it(paper: str, table: str, ids: list[str]) -> None:
    assert [found.id for found in choose(paper, table)] == ids


def test_without_a_table_all_of_a_paper_and_without_a_paper_all_are_chosen() -> None:
    assert choose("gald", None) == list(tables_of("gald"))
    assert choose(None, None) == TABLES


@pytest.mark.parametrize(
    ("paper", "table", "message"),
    [
        (
            "fastfnc",
            None,
            "unknown paper 'fastfnc'; did you mean 'fastfcn'? allowed: ann, gald, galdv2, fastfcn, gcnet",
        ),
        ("galdv2", "I(e)", "galdv2 has no table 'I(e)'; did you mean 'I(d)'? allowed: secIII-B, I(a), I(b),"),
        ("ann", "12", "ann has no table '12'; did you mean '2'? allowed: abstract, sec3.2, 1, 2, 3"),
        ("ann", "", "ann has no table ''; allowed: "),
        (None, "1", "--table 1 needs a paper before it; allowed: ann, gald, galdv2, fastfcn, gcnet"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest(paper: str | None, table: str | None, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        choose(paper, table)
    assert str(caught.value).startswith(message)
