"""The pages in a real browser: Chromium opens them from disk as a reader would, presses, types, points and looks.

Needs Playwright (``pip install 'fnbench[browser-test]'``) and Debian's Chromium; skipped with a reason without them.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright", reason="needs Playwright: pip install 'fnbench[browser-test]'")

from playwright.sync_api import expect, sync_playwright

from fnbench.evaluate import evaluate
from fnbench.metrics import angular_error
from fnbench.report.board import write_leaderboard
from fnbench.report.gallery import chosen
from fnbench.report.page import report, write_report
from fnbench.report.planes import normal_planes
from fnbench.report.serve import address, server
from fnbench.report.sources import running
from pictures.screenshot import CHROMIUM, QUIET
from tests.results import Turned, sphere_store

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
SIZE = 40
PHONE = {"width": 390, "height": 844}

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"needs Chromium ({CHROMIUM} is absent)")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with sphere_store(tmp_path_factory.mktemp("browser") / "spheres.h5", 12, 2, SIZE) as opened:
        yield opened


@pytest.fixture(scope="module")
def models():
    return {"turned": Turned(12.0, 0.7, "turned"), HOSTILE: Turned(9.0, 0.4, HOSTILE), "far": Turned(50.0, 0.9, "far")}


@pytest.fixture(scope="module")
def records(store, models):
    return [evaluate(model, store) for model in models.values()]


@pytest.fixture(scope="module")
def files(tmp_path_factory, store, models, records):
    """The report of three models, the report of two, and the leaderboard with reported rows, as files."""
    folder = tmp_path_factory.mktemp("pages")
    predict = {name: running(model, store) for name, model in models.items()}
    write_report(folder / "spheres.html", report(records, store, predict).page)
    write_report(folder / "pair.html", report(records[:2]).page)
    (folder / "reported").mkdir()
    (folder / "reported" / "spheres.csv").write_text(
        "dataset,method,year,mean,std,acc20,acc25,acc30,finetuned_on_dataset,source,caveat,median,acc5,acc11_25,acc22_5\n"
        "spheres,Theirs,2020,22.0,6.5,49.0,,,no,a paper,reprint,,,,\n"
    )
    write_leaderboard(records, folder, reported=folder / "reported")
    return folder


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens an address; fails the test when the page complained, or asked for anything but itself."""
    contexts, complaints, requests = [], [], []

    def opened(where, allowed="", **settings):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        target = where if isinstance(where, str) else where.as_uri()
        page.on(
            "request",
            lambda request: (
                None
                if request.url == target
                or request.url.startswith(("data:", "blob:"))
                or (allowed and request.url.startswith(allowed))
                else requests.append(request.url)
            ),
        )
        page.goto(target)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert requests == []


def models_shown(page, selector="#headline"):
    return page.locator(f"{selector} tbody tr:not([hidden])").evaluate_all(
        "rows => rows.map((row) => row.dataset.model)"
    )


def pixels(page, selector):
    """(H, W, 4) uint8 of a canvas."""
    found = page.locator(selector).evaluate(
        "c => [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)


def opened_inspector(page):
    """The dialog on the first of the worst samples."""
    page.locator(".card:not([hidden]) header button").first.click()
    dialog = page.locator("#inspector")
    expect(dialog).to_be_visible()
    expect(dialog).to_have_attribute("data-ready", re.compile(r"\d+ \d+"))
    return dialog


@pytest.mark.parametrize("name", ["spheres.html", "pair.html", "index.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_every_width_in_both_themes_and_draws(open_page, files, name, scheme):
    page = open_page(files / name, color_scheme=scheme)
    assert page.locator("html").get_attribute("data-theme") == scheme
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (np.mean([int(v) for v in re.findall(r"\d+", paper)]) > 128) == (scheme == "light")
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == ("dark" if scheme == "light" else "light")
    for width in (1200, PHONE["width"], 320):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        switch = page.locator("#theme").bounding_box()
        assert switch["x"] + switch["width"] <= width  # a long bar scrolls beneath it
    for host in page.locator("[data-chart]").all():
        expect(host.locator("svg")).to_have_count(1)


def test_a_hostile_name_is_shown_as_text(open_page, files):
    for name in ("spheres.html", "pair.html", "index.html"):
        page = open_page(files / name)
        assert page.locator("img[src=x]").count() == 0
        assert page.locator("[onerror]").count() == 0
        assert HOSTILE in page.locator("body").inner_text()
        assert page.title() != "broken"
    page = open_page(files / "spheres.html")
    page.locator("[data-chart=curve] svg").scroll_into_view_if_needed()
    box = page.locator("[data-chart=curve] svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert HOSTILE in page.locator("#curve .tip").inner_text()  # a name that a script puts into the page


@pytest.mark.parametrize(("name", "selector"), [("spheres.html", "#headline"), ("index.html", "table.measured")])
def test_sorting_changes_the_order_with_mouse_and_keyboard(open_page, files, name, selector):
    page = open_page(files / name)
    ranked = [HOSTILE, "turned", "far"]
    assert models_shown(page, selector) == ranked
    heading = page.locator(f"{selector} thead button", has_text="mean_px")
    heading.click()
    assert models_shown(page, selector) == ranked
    heading.click()
    assert models_shown(page, selector) == ranked[::-1]
    assert heading.locator("xpath=..").get_attribute("aria-sort") == "descending"
    by_name = page.locator(f"{selector} thead button", has_text="model")
    by_name.focus()
    page.keyboard.press("Enter")
    assert models_shown(page, selector) == sorted(ranked)
    assert page.locator(f"{selector} [aria-sort]").count() == 1


def test_filters_leave_the_rows_that_fit(open_page, files):
    page = open_page(files / "index.html")
    page.locator("#f-model").fill("TURN")
    assert models_shown(page, "table.measured") == ["turned"]
    assert page.locator("#f-count").inner_text() == "1 of 3 measured"
    assert not page.locator(".reported").is_visible()
    page.locator("#f-model").fill("")
    expect(page.locator(".reported")).to_be_visible()
    page.locator("#f-reported").uncheck()
    assert not page.locator(".reported").is_visible()
    page.locator("#f-protocol").select_option("fnbench-1 v1")
    page.locator("#f-training").select_option("none")
    assert len(models_shown(page, "table.measured")) == 3
    page.locator("#f-model").fill("nobody")
    expect(page.locator("#none")).to_be_visible()
    assert page.locator(".board").is_hidden()


def test_hover_shows_what_is_in_the_file(open_page, files, store, models, records):
    page = open_page(files / "spheres.html")
    best = min(records, key=lambda record: record.metrics["mean_sub"])
    name = chosen(best)["worst"][0]
    card = page.locator(".card:not([hidden])").first
    assert card.locator("header button").inner_text() == name
    card.scroll_into_view_if_needed()
    known = store[store.ids.index(name)]
    (predicted,) = models[best.model].predict(known.image[None] / np.float32(255))
    errors = angular_error(predicted, known.target.normals)
    target = normal_planes(known.target.normals, known.target.mask)
    inside = np.argwhere(known.target.mask & (known.region > 0))
    for row, column in (inside[len(inside) // 3], inside[len(inside) // 2]):
        for kind in ("target", "error"):
            box = card.locator(f"canvas[data-kind={kind}]").bounding_box()
            page.mouse.move(
                box["x"] + (column + 0.5) * box["width"] / SIZE, box["y"] + (row + 0.5) * box["height"] / SIZE
            )
            reading = card.locator(".reading")
            expect(reading).to_contain_text(f"{column}, {row}")
            text = reading.inner_text().replace("\u2212", "-")
            vector = ", ".join(f"{value / 1000:.3f}" for value in target[:, row, column])
            assert f"target ({vector})" in text
            assert f"error {errors[row, column]:.1f}°" in text
    page.mouse.move(5, 5)
    expect(card.locator(".reading")).to_be_hidden()


def test_the_slider_moves_the_edge_between_target_and_predicted(open_page, files):
    page = open_page(files / "spheres.html")
    dialog = opened_inspector(page)
    target, predicted = (
        pixels(page, f"#inspector .panels canvas[data-kind={kind}]") for kind in ("target", "predicted")
    )
    slider = dialog.locator("[data-part=split]")
    slider.focus()
    shown = {}
    for key in ("Home", "End"):
        page.keyboard.press(key)
        shown[key] = pixels(page, "#inspector [data-part=compare]")
    np.testing.assert_array_equal(shown["End"], target)
    np.testing.assert_array_equal(shown["Home"], predicted)
    assert (target != predicted).any()
    box = dialog.locator("[data-part=compare]").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20, steps=3)
    page.mouse.up()
    half = pixels(page, "#inspector [data-part=compare]")
    np.testing.assert_array_equal(half[:, : SIZE // 2 - 1], target[:, : SIZE // 2 - 1])
    np.testing.assert_array_equal(half[:, SIZE // 2 + 1 :], predicted[:, SIZE // 2 + 1 :])
    assert slider.get_attribute("aria-valuetext") == "50 % target"


def test_the_light_falls_from_where_it_stands(open_page, files):
    page = open_page(files / "spheres.html")
    dialog = opened_inspector(page)

    def sides():
        page.wait_for_timeout(60)  # the light is drawn in the next frame
        found = []
        for kind in ("target", "predicted"):
            grey = pixels(page, f"#inspector .relief canvas[data-kind={kind}]")[..., 0].astype(float)
            found.append(
                (
                    grey[:, : SIZE // 2].sum(),
                    grey[:, SIZE // 2 :].sum(),
                    grey[: SIZE // 2].sum(),
                    grey[SIZE // 2 :].sum(),
                )
            )
        return found

    for light, bright, dark in (("left", 0, 1), ("right", 1, 0), ("above", 2, 3), ("below", 3, 2)):
        dialog.locator(f"[data-light={light}]").click()
        for amounts in sides():
            assert amounts[bright] > 1.2 * amounts[dark], (light, amounts)
    dialog.locator("[data-light=front]").click()
    before = sides()
    dialog.locator("[data-part=relief]").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    after = sides()
    assert after[0][1] > before[0][1] - 1 > 0
    assert after[0][0] < before[0][0]
    assert re.fullmatch(r"light \d+° right, 0° above", dialog.locator("[data-part=light-text]").inner_text())


def test_everything_can_be_done_with_the_keyboard(open_page, files):
    page = open_page(files / "spheres.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.locator("input[name=group][value=worst]").focus()
    first = page.locator(".card:not([hidden]) header button").first.inner_text()
    page.keyboard.press("ArrowRight")  # radio buttons: the best samples
    best = page.locator(".card:not([hidden]) header button")
    assert best.first.inner_text() != first
    assert page.locator(".card:not([hidden])").count() == 6
    best.first.focus()
    name, following = best.nth(0).inner_text(), best.nth(1).inner_text()
    page.keyboard.press("Enter")
    dialog = page.locator("#inspector")
    expect(dialog.locator("h2")).to_have_text(name)
    page.keyboard.press("PageDown")
    expect(dialog.locator("h2")).to_have_text(following)
    page.keyboard.press("PageUp")
    expect(dialog.locator("h2")).to_have_text(name)
    dialog.locator("[data-part=maps]").focus()
    page.keyboard.press("ArrowDown")
    assert dialog.locator("[data-part=at-pixel]").inner_text() == f"{SIZE // 2}, {SIZE // 2 + 1}"
    page.keyboard.press("Shift+ArrowLeft")
    assert dialog.locator("[data-part=at-pixel]").inner_text() == f"{SIZE // 2 - 10}, {SIZE // 2 + 1}"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == name  # the focus goes back to where it was


def test_another_model_changes_maps_means_and_breakdown(open_page, files):
    page = open_page(files / "spheres.html")
    card = page.locator(".card:not([hidden])").first
    card.scroll_into_view_if_needed()
    expect(card).to_have_attribute("data-drawn", re.compile(r"\d"))
    place = card.get_attribute("data-sample")
    before = pixels(page, f"[data-sample='{place}'] canvas[data-kind=error]"), card.locator(".mean").inner_text()
    page.locator("input[name=model][value='2']").check(force=True)
    expect(card).to_have_attribute("data-drawn", "2")
    after = pixels(page, f"[data-sample='{place}'] canvas[data-kind=error]"), card.locator(".mean").inner_text()
    assert (before[0] != after[0]).any()
    assert float(after[1].rstrip("°")) > float(before[1].rstrip("°")) + 30
    page.locator("input[name=heat-model][value='2']").check(force=True)
    assert page.locator("[data-heat='2']").is_visible()
    assert page.locator("[data-heat='0']").is_hidden()


def test_the_viewer_walks_through_a_file_and_asks_nobody_else(open_page, store):
    running_server = server(store)
    thread = threading.Thread(target=running_server.serve_forever, daemon=True)
    thread.start()
    try:
        where = address(running_server)
        page = open_page(where, allowed=where)
        expect(page.locator("body")).to_have_attribute("data-shown", "0")
        assert page.locator("#title").inner_text() == store.ids[0]
        page.locator("#next").click()
        expect(page.locator("#title")).to_have_text(store.ids[1])
        page.locator("body").press("ArrowRight")
        expect(page.locator("#title")).to_have_text(store.ids[2])
        expect(page.locator("body")).to_have_attribute("data-shown", "2")
        known = store[2]
        row, column = np.argwhere(known.target.mask)[len(np.argwhere(known.target.mask)) // 2]
        box = page.locator("#normals").bounding_box()
        page.mouse.move(box["x"] + (column + 0.5) * box["width"] / SIZE, box["y"] + (row + 0.5) * box["height"] / SIZE)
        vector = ", ".join(
            f"{v / 1000:.3f}" for v in normal_planes(known.target.normals, known.target.mask)[:, row, column]
        )
        expect(page.locator("#at-pixel")).to_have_text(f"{column}, {row}")
        assert page.locator("#at-target").inner_text().replace("\u2212", "-") == f"({vector})"
        page.locator("#find").fill(store.ids[5])
        expect(page.locator("#title")).to_have_text(store.ids[5])
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    finally:
        running_server.shutdown()
        running_server.server_close()
        thread.join()
