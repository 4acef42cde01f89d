"""The page of live memory: whole in itself, the peak named, every operator on it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from bench.case import make_case
from bench.profiling.anatomy import dissect
from bench.profiling.record import CLASSES, COLOURS
from bench.profiling.timeline import mib, page

VOID = {"meta", "br", "img", "line", "rect"}


class Balanced(HTMLParser):
    """Fails where tags do not close in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_needs_nothing_beside_it() -> None:
    cases = [make_case(name, {}, 16, 16, 64, mode="train") for name in ("nl", "apnb")]
    text = page([(str(case), dissect(case)) for case in cases])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert parser.links == []
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text
    assert all(colour in text for kind, colour in COLOURS.items() if kind != "normalisation")
    assert set(COLOURS) == set(CLASSES)


def test_the_operator_at_the_peak_is_named_and_every_operator_can_be_read() -> None:
    case = make_case("nl", {}, 16, 16, 64)
    anatomy = dissect(case)
    text = page([(str(case), anatomy)])
    assert "<b>0.594 MiB</b>, made by <b>_softmax</b>, operator 5 of 9" in text
    assert "matmul 0.250 MiB (42%), softmax 0.250 MiB (42%), convolution 0.0938 MiB (16%)" in text
    drawing = ElementTree.fromstring(re.search(r"<svg.*?</svg>", text, re.S)[0])  # type: ignore[index]
    told = [rect.findtext("title") for rect in drawing.iter("rect")]
    assert len(told) == len(anatomy.steps)
    assert told[4] == "5. _softmax: 0.594 MiB alive: convolution 0.0938, matmul 0.250, softmax 0.250"


def test_many_operators_are_numbered_and_names_are_escaped() -> None:
    case = make_case("gald", {}, 16, 16, 64, batch=2, mode="train")
    text = page([("a <b> & c", dissect(case))])
    assert "a &lt;b&gt; &amp; c" in text
    assert "rotate(" not in text


def test_a_case_that_allocates_nothing_says_so() -> None:
    case = make_case("identity", {}, 8, 8, 16)
    assert "Nothing is allocated" in page([("identity", dissect(case))])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (512, "4.9e-04"), (2**20, "1.00"), (100 * 2**20, "100"), (12345 * 2**20, "12345")]
)
def test_sizes(size: int, text: str) -> None:
    assert mib(size) == text
