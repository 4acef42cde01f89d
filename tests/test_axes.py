from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.axes import parse_blocks, parse_counts, parse_sizes
from bench.case import make_case
from modules import registry
from modules.options import SpecError, text_of

COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=6)


def test_an_item_with_equals_and_no_colon_continues_the_block_before_it() -> None:
    assert parse_blocks("nl, gald:ga=nl,ld=v2,gc:ratio=4") == [
        ("nl", {}),
        ("gald", {"ga": "nl", "ld": "v2"}),
        ("gc", {"ratio": "4"}),
    ]
    assert parse_blocks("apnb:sizes=1+3+6,share=none") == [("apnb", {"sizes": "1+3+6", "share": "none"})]


@given(COUNTS)
def test_counts_are_read_back(counts: list[int]) -> None:
    assert parse_counts(",".join(map(str, counts)), "channels") == counts


@given(st.lists(st.tuples(st.integers(1, 4096), st.integers(1, 4096)), min_size=1, max_size=5))
def test_sizes_are_read_back(sizes: list[tuple[int, int]]) -> None:
    assert parse_sizes(",".join(f"{h}x{w}" for h, w in sizes)) == sizes


def test_one_number_is_a_square() -> None:
    assert parse_sizes("96") == [(96, 96)]


@given(st.text(alphabet="nlgc:=,+ratio48x-. \n", max_size=24))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for parse in (parse_blocks, parse_sizes, lambda t: parse_counts(t, "channels")):
        with contextlib.suppress(SpecError):
            assert parse(text)


@st.composite
def specs(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    entry = registry.describe(draw(st.sampled_from(registry.names())))
    given: dict[str, object] = {}
    for option in entry.options.values():
        values = st.sampled_from(option.choices) if option.choices else st.just(option.default)
        if option.kinds == (bool,):
            values = st.booleans()
        if draw(st.booleans()):
            given[option.name] = draw(values)
    return entry.name, given


@given(specs())
def test_the_label_of_a_case_reads_back_as_the_case(spec: tuple[str, dict[str, object]]) -> None:
    case = make_case(*spec, 8, 8, 64)
    ((name, options),) = parse_blocks(case.label)
    again = make_case(name, options, 8, 8, 64)
    assert (again, again.key) == (case, case.key)


def test_a_default_that_is_spelled_out_is_the_same_case() -> None:
    assert make_case("gc", {"ratio": 16}, 8, 8, 64).key == make_case("gc", {}, 8, 8, 64).key
    assert make_case("gc", {"ratio": 4}, 8, 8, 64).key != make_case("gc", {}, 8, 8, 64).key


@pytest.mark.parametrize("field", ["batch", "dtype", "mode", "memory_format", "impl", "device", "compiled"])
def test_every_axis_is_part_of_the_key(field: str) -> None:
    other = {"batch": 2, "dtype": "bf16", "mode": "train", "memory_format": "channels_last", "impl": "fused"}
    other |= {"device": "cuda", "compiled": True}
    assert make_case("gc", {}, 8, 8, 64, **{field: other[field]}).key != make_case("gc", {}, 8, 8, 64).key


def test_text_of_values() -> None:
    assert [text_of(value) for value in (True, None, (1, 3, 6), 4, "att")] == ["true", "none", "1+3+6", "4", "att"]
