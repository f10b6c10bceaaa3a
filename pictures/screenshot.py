"""Takes a picture of a page as a reader sees it in Chromium.

python pictures/screenshot.py PAGE.html OUT.png [--width W] [--height H] [--dark] [--at SELECTOR] [--press SELECTOR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def screenshot(page: Path, out: Path, *, width: int, height: int, dark: bool, at: str, press: list[str]) -> None:
    """Open a page, press what is to be pressed, scroll to an element, and save what is seen.

    width, height: of the window.  at: selector of the element at the top.  press: selectors, in order.
    """
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        shown = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            device_scale_factor=1.0,
        )
        shown.goto(page.resolve().as_uri())
        if at:
            shown.locator(at).evaluate("each => each.scrollIntoView({ block: 'start', behavior: 'instant' })")
        for selector in press:
            shown.locator(selector).first.click()
        shown.wait_for_timeout(1500)  # maps are drawn as they come into view
        shown.screenshot(path=out)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--at", default="")
    parser.add_argument("--press", action="append", default=[])
    given = parser.parse_args()
    screenshot(**vars(given))


if __name__ == "__main__":
    main()
