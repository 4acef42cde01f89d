"""What a browser shows of report.html: its cells, its selects, its plots, its colours."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def cells(page: Page, name: str, listing: str = "rows") -> list[str]:
    """The shown texts of a column."""
    heads = page.locator(f"#{listing} thead th")
    place = [text.strip() for text in heads.all_inner_texts()].index(name) + 1
    found = page.locator(f"#{listing} tbody tr[data-row] > :nth-child({place})")
    return [text.strip() for text in found.all_inner_texts()]


def choose(page: Page, name: str, option: str, within: str = "#rows") -> None:
    """Choose an option of a select."""
    page.locator(f"{within} select[name={name}]").select_option(option)


def head(page: Page, name: str) -> Locator:
    """The button that sorts by a column."""
    return page.locator("#rows thead").get_by_role("button", name=name, exact=True)


def count(page: Page) -> Locator:
    """What is announced of the number of rows."""
    return page.locator("#rows .count")


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def drawn(page: Page, plot: str) -> Locator:
    """The plot, in view and drawn."""
    page.locator(f"[data-plot={plot}]").scroll_into_view_if_needed()
    place = page.locator(f"[data-plot={plot}] .plot")
    expect(place.locator(".main-svg").first).to_be_attached()
    return place


def counted(text: str) -> float:
    """The number that a count with a unit stands for."""
    units = {"k": 1e3, "M": 1e6, "G": 1e9}
    return float(text.rstrip("kMG")) * units.get(text[-1], 1)


def wait_for_scheme(page: Page, plot: str, dark: bool) -> None:
    """Wait until the page has a dark ground, or a light one, and the plot is written in the colour of its text."""
    page.wait_for_function(
        """([plot, dark]) => {
            const levels = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
            const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
            const box = document.querySelector(`[data-plot=${plot}] .plot`);
            return (levels[0] + levels[1] + levels[2] < 120) === dark && box.layout.font.color === ink;
        }""",
        arg=[plot, dark],
    )


def levels(colour: str) -> list[int]:
    """Red, green and blue of `rgb(1, 2, 3)`."""
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
