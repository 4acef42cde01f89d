"""report.html in a real browser: sorting, filtering, opening, copying, drawing, at any width and in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from bench.report.html import write_html
from bench.report.style import assign
from tests.report.browser import NAMES, VARIABLE, Visit, chromium, executable, visit
from tests.report.shown import cells, choose, count, counted, drawn, head, levels, overflow, wait_for_scheme
from tests.report.synthetic import row, skipped, sweep, write_run
from tests.report.trained import BLOCKS, failed, study, write_runs

EVIL = "</script><img src=x onerror=alert(1)><script>alert(2)</script>"
REPRO = "python run_bench.py sweep --blocks {} --sizes {}x{} --channels {} --out results/repro"
MANY = 5000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of every block, of blocks and backbones, forward and train, with a hostile reason."""
    rows = sweep(("forward", "train"))
    for made in rows:
        made["repro"] = REPRO.format(made["entry"], made["height"], made["width"], made["channels"])
    rows.append(skipped("mine", 97, 97, 512, reason=EVIL, repro="rm -rf <b>nothing</b> && echo 'a  b'"))
    return write_html(write_run(tmp_path_factory.mktemp("html") / "invented", rows))


@pytest.fixture
def seen(browser: Browser, report: Path) -> Iterator[Visit]:
    """The report, open; whatever is done to it, it must log no error and ask nobody for anything."""
    with visit(browser, report) as seen:
        yield seen
        assert seen.errors == []
        assert seen.strangers == []


def test_a_column_sorts_by_click_both_ways_and_back(seen: Visit) -> None:
    page = seen.page
    choose(page, "mode", "forward")
    choose(page, "size", "64x64")
    choose(page, "channels", "512")
    before = cells(page, "params")
    heads = page.locator("#rows thead th").filter(has_text="params")
    expect(heads).to_have_attribute("aria-sort", "none")
    head(page, "params").click()
    expect(heads).to_have_attribute("aria-sort", "ascending")
    rising = cells(page, "params")
    assert rising != before
    assert rising == sorted(rising, key=counted)
    expect(count(page)).to_contain_text("Sorted by params, ascending")
    head(page, "params").click()
    expect(heads).to_have_attribute("aria-sort", "descending")
    assert [counted(text) for text in cells(page, "params")] == [counted(text) for text in reversed(rising)]
    head(page, "params").click()
    expect(heads).to_have_attribute("aria-sort", "none")
    assert cells(page, "params") == before


def test_the_keyboard_sorts_and_what_was_not_measured_comes_last(seen: Visit) -> None:
    page = seen.page
    choose(page, "size", "97x97")
    choose(page, "channels", "2048")
    for key in ("Enter", "Space"):
        head(page, "ms").focus()
        page.keyboard.press(key)
        shown = cells(page, "ms")
        times = [text for text in shown if text != "skipped"]
        assert shown == times + ["skipped"] * (len(shown) - len(times))
        assert 0 < len(times) < len(shown)
        figures = [float(text.split()[0]) for text in times]
        assert figures == sorted(figures, reverse=key == "Space")
        assert page.evaluate("document.activeElement.textContent") == "ms"


def test_search_and_selects_filter_and_the_count_is_announced(seen: Visit) -> None:
    page = seen.page
    total = count(page).inner_text().split()[0]
    assert count(page).get_attribute("role") == "status"
    page.get_by_role("searchbox").fill("MODE=gau 97x97")
    expect(count(page)).to_have_text(f"6 of {total} rows.")
    assert set(cells(page, "block")) == {"nl:mode=gaussian"}
    choose(page, "channels", "2048")
    expect(count(page)).to_have_text(f"2 of {total} rows.")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.locator("#rows tbody")).to_have_text("No row fits what was chosen.")
    page.get_by_role("button", name="Clear").click()
    expect(count(page)).to_have_text(f"{total} rows.")
    choose(page, "status", "skipped")
    assert set(cells(page, "status")) == {"skipped"}
    names = [text.split("\n")[0] for text in page.locator("#rows form label").all_inner_texts()]
    assert [name.strip() for name in names] == ["Search", "block", "size", "channels", "mode", "kind", "status"]


def test_a_row_opens_by_keyboard_and_its_command_is_copied(seen: Visit) -> None:
    page = seen.page
    button = page.locator("#rows").get_by_role("button", name="gc", exact=True).first
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    detail = page.locator("tr.detail")
    expect(detail).to_contain_text("12 rounds, ended by interval")
    command = REPRO.format("gc", 32, 32, 256)
    expect(detail.locator("code")).to_have_text(command)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == command
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#rows > .said")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == command
    head(page, "size").click()
    expect(detail).to_have_count(1)
    button.click()
    expect(detail).to_have_count(0)


def test_without_a_clipboard_the_command_is_copied_all_the_same(seen: Visit) -> None:
    page = seen.page
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    page.get_by_role("searchbox").fill("mine")
    row_button = page.locator("#rows").get_by_role("button", name="mine", exact=True)
    row_button.click()
    expect(row_button).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="Copy the command").click()
    expect(page.locator("#rows > .said")).to_have_text("Copied.")
    assert page.evaluate("getSelection().toString()") == "rm -rf <b>nothing</b> && echo 'a  b'"


def test_text_is_never_markup(seen: Visit) -> None:
    page = seen.page
    page.get_by_role("searchbox").fill("mine")
    expect(page.locator("#rows tbody")).to_contain_text(EVIL)
    page.locator("#rows").get_by_role("button", name="mine", exact=True).click()
    assert page.locator("img, tr.detail b").count() == 0
    drawn(page, "size")
    assert page.evaluate("document.querySelectorAll('script').length") == 4


def test_plots_are_drawn_when_they_come_into_view(seen: Visit) -> None:
    page = seen.page
    assert page.evaluate("typeof window.Plotly") == "undefined"
    tradeoff, lines = drawn(page, "tradeoff"), drawn(page, "size")
    assert page.evaluate("typeof window.Plotly") == "object"
    expect(tradeoff.locator("g.trace:has(.errorbar)")).to_have_count(21)
    assert lines.locator(".trace").count() == 22
    colour = lines.evaluate("box => box.data.find(one => one.name === 'nl:mode=gaussian').line.color")
    names = [made for made in (line["name"] for line in lines.evaluate("box => box.data")) if made != "nl"]
    assert colour == assign(["nl", *names], ["nl"])["nl:mode=gaussian"].colour
    tradeoff.locator(".point").last.hover(force=True)
    expect(tradeoff.locator(".hoverlayer")).to_contain_text("peak MiB")


def test_choices_and_the_legend_redraw_the_plots(seen: Visit) -> None:
    page = seen.page
    lines = drawn(page, "size")
    first = lines.evaluate("box => box.data[1].y")
    choose(page, "mode", "train", "#plots > form")
    page.wait_for_function(
        "first => JSON.stringify(document.querySelector('[data-plot=size] .plot').data[1].y) !== JSON.stringify(first)",
        arg=first,
    )
    assert page.evaluate("document.activeElement.name") == "mode"
    expect(page.locator("#plots > .said")).to_contain_text("train")
    choose(page, "kind", "backbones", "#plots > form")
    expect(lines.locator(".trace")).to_have_count(5)
    name = page.locator(".legend").get_by_role("button", name="dilated", exact=True)
    name.press("Enter")
    expect(name).to_have_attribute("aria-pressed", "false")
    expect(lines.locator(".trace")).to_have_count(4)
    choose(page, "size-cost", "peak_mib", "#plots")
    expect(lines.locator(".ytitle")).to_have_text("peak MiB (traced)")


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_fits_any_width_in_both_schemes(browser: Browser, report: Path, width: int) -> None:
    with visit(browser, report, width, "dark") as seen:
        page = seen.page
        page.locator("#rows tbody button").first.click()
        drawn(page, "size")
        inner = page.locator("#rows .scroll")
        assert overflow(page) == 0
        wait_for_scheme(page, "size", dark=True)
        inner.evaluate("box => box.scrollLeft = 300")
        block, frame = page.locator("#rows tbody th[scope=row]").first.bounding_box(), inner.bounding_box()
        assert block is not None
        assert frame is not None
        assert abs(block["x"] - frame["x"]) < 3
        page.emulate_media(color_scheme="light")
        wait_for_scheme(page, "size", dark=False)
        assert overflow(page) == 0
        assert seen.errors == []


def test_the_skip_link_is_the_first_stop_and_the_focus_is_seen(seen: Visit) -> None:
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the table"
    assert page.locator(".skip").first.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "rows-title"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_thousands_of_rows_come_as_they_are_scrolled_to(browser: Browser, tmp_path: Path) -> None:
    once = sweep(("forward", "train"))
    rows = [{**made, "batch": many} for many in range(1, 14) for made in once]
    run = write_run(tmp_path / "many", [*rows[: MANY - 1], row("last")])
    with visit(browser, write_html(run)) as seen:
        page = seen.page
        expect(count(page)).to_have_text(f"{MANY} rows.")
        lines = page.locator("#rows tbody tr[data-row]")
        at_first = lines.count()
        assert at_first < 200
        page.locator("#rows .scroll").evaluate("box => box.scrollTop = box.scrollHeight")
        expect(lines.nth(at_first)).to_be_attached()
        head(page, "ms").click()
        expect(page.locator("#rows tbody th[scope=row]").first).to_have_text("identity")
        page.get_by_role("searchbox").fill("last")
        expect(count(page)).to_contain_text("1 of ")
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="Show all rows").click()
        expect(lines).to_have_count(MANY)
        assert seen.errors == []


def test_training_runs_have_their_table_and_their_plot(browser: Browser, tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "trained", [*study(2), failed("gc", 9)])
    write_run(folder / "cost", [row(name, 16, 16, 48, params=BLOCKS[name][4]) for name in ("gc", "nl", "apnb")])
    with visit(browser, write_html(folder), 400) as seen:
        page = seen.page
        head(page, "mIoU").click()
        head(page, "mIoU").click()
        assert cells(page, "block")[0] == "aspp"
        page.get_by_role("button", name="gc", exact=True).first.click()
        expect(page.locator("tr.detail")).to_contain_text("seed 9: diverged (the loss is nan)")
        expect(drawn(page, "accuracy").locator(".point")).to_have_count(3)
        assert overflow(page) == 0
        assert seen.errors == []
        assert seen.strangers == []


def test_print_is_black_on_white_and_whole(seen: Visit) -> None:
    page = seen.page
    total = int(count(page).inner_text().split()[0])
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#rows tbody tr[data-row]")).to_have_count(total)
    assert levels(page.evaluate("getComputedStyle(document.body).backgroundColor")) == [255, 255, 255]
    expect(page.locator("#rows form")).to_be_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_no_browser_skips_here_and_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(VARIABLE, "/somewhere/chromium")
    assert executable() == "/somewhere/chromium"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=NAMES[0]):
        executable()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=VARIABLE):
        executable()
