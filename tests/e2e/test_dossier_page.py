"""The dossier in a real browser, as its readers use it: by sight, by keyboard, in the dark, on a narrow screen."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dossier_case import OVERRIDE, write_case

from pipeline.dossiers.page import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: it cannot be had as root, and the page is our own. The others keep the browser from calling home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LEAST_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3
INTERACTIVE = "a[href], input, summary, button, [tabindex='0']"
VISIBLE = f'[...document.querySelectorAll("{INTERACTIVE}")].filter((each) => each.checkVisibility())'
# The contrast of each text with what lies behind it; colours are read off a canvas, so that any notation counts.
FAINT = """(least) => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const over = (top, below) => [0, 1, 2].map((at) => (top[at] * top[3] + below[at] * (255 - top[3])) / 255);
  const light = (rgb) => {
    const [r, g, b] = [...rgb].map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 255 ? [...own].slice(0, 3) : over(own, behind(element.parentElement));
  };
  const faint = [];
  let seen = 0;
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!text || !element.checkVisibility() || element.tagName === "SCRIPT") continue;
    const style = getComputedStyle(element), back = behind(element);
    const front = over(rgba(element.ownerSVGElement ? style.fill : style.color), back);
    const [bright, dark] = [light(front), light(back)].sort((one, other) => other - one);
    seen += 1;
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < least) faint.push([element.outerHTML.slice(0, 80), contrast]);
  }
  return [seen, faint];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium of the system."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"There is none of {', '.join(BROWSERS)} on PATH: run `make browser`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dossier with everything in it: a champion, an override, changed images, doubts."""
    root = tmp_path_factory.mktemp("case")
    page = root / "dossier.html"
    page.write_text(build(dataclasses.replace(write_case(root), log=[OVERRIDE])), encoding="utf-8")
    return page


@pytest.fixture
def opened(browser: "Browser", file: Path) -> Iterator[Callable[..., "Page"]]:
    """Opens the dossier: `opened(width=400, color_scheme="dark")`. What it said or asked for is in `page.heard`."""
    contexts = []

    def open_page(width: int = 1280, **options: Any) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url))
        page.goto(file.as_uri())
        page.evaluate("Promise.all([...document.images].map((each) => each.decode()))")
        page.heard = [each for each in heard if each != file.as_uri() and not each.startswith("data:")]
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_it_loads_without_a_complaint_or_a_request(opened: Callable[..., "Page"], file: Path) -> None:
    """Nothing on the console, nothing asked of the network, every picture decoded, under 5 MB."""
    page = opened()
    assert page.heard == []
    widths = page.evaluate("[...document.images].map((each) => each.naturalWidth)")
    assert len(widths) > 10
    assert all(widths)
    assert file.stat().st_size < 5_000_000


def test_the_slider_wipes_by_keyboard(opened: Callable[..., "Page"]) -> None:
    """Arrow keys, Home and End move the cut between champion and candidate, and a screen reader is told."""
    page = opened()
    slider, upper = page.locator(".wipe input").first, page.locator(".stage img").nth(1)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "51"
    assert slider.get_attribute("aria-valuetext") == "51% champion, 49% candidate"
    cuts = []
    for key in ("Home", "End"):
        page.keyboard.press(key)
        cuts.append(upper.evaluate("(each) => getComputedStyle(each).clipPath"))
    assert "100%" in cuts[0]
    assert cuts[0] != cuts[1]


def test_the_slider_shows_champion_over_candidate(opened: Callable[..., "Page"]) -> None:
    """The two stacked pictures are those of the panels beside them."""
    page = opened()
    figure = page.locator("figure").first
    shown = figure.locator(".stage img").evaluate_all("(all) => all.map((each) => each.src)")
    titles = figure.locator(".panel:not(.wipe) > span").all_text_contents()
    panels = figure.locator(".panel:not(.wipe) img").evaluate_all("(all) => all.map((each) => each.src)")
    assert shown == [panels[titles.index("candidate")], panels[titles.index("champion")]]


def test_everything_is_reached_by_tab_with_a_visible_focus(opened: Callable[..., "Page"]) -> None:
    """Tab goes through every link, slider, box, fold and scrolling table, and each shows that it has the focus."""
    page = opened()
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    wanted = page.evaluate(f"{VISIBLE}.length")
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        place = page.evaluate(f"{VISIBLE}.indexOf(document.activeElement)")
        outline = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        reached.add(place)
        assert outline >= 2
    assert reached == set(range(wanted))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(opened: Callable[..., "Page"], scheme: str) -> None:
    """Every text has a contrast of at least 4.5 to 1, shaded cells and marked rows included."""
    page = opened(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    seen, faint = page.evaluate(FAINT, LEAST_CONTRAST)
    assert seen > 200
    assert faint == []


def test_every_shade_is_legible(opened: Callable[..., "Page"]) -> None:
    """So it is in the strongest shades, which these matrices may not have."""
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        page.evaluate(
            """[...document.querySelectorAll(".matrix td")].forEach((each, at) => {
              each.className = ["h", "up", "dn"][at % 3] + (at % 10 + 1);
            })"""
        )
        assert page.evaluate(FAINT, LEAST_CONTRAST)[1] == []


def test_dark_mode_is_dark(opened: Callable[..., "Page"]) -> None:
    """The page follows the reader's theme."""
    paper = "getComputedStyle(document.body).backgroundColor"
    assert opened(color_scheme="light").evaluate(paper) == "rgb(255, 255, 255)"
    assert opened(color_scheme="dark").evaluate(paper) != "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_override_is_red_and_in_sight(opened: Callable[..., "Page"], scheme: str) -> None:
    """Before anything is scrolled, in either theme, the override stands on red across the page."""
    banner = opened(color_scheme=scheme).locator(".alarm")
    red, green, blue = banner.evaluate("(each) => getComputedStyle(each).backgroundColor.match(/\\d+/g).map(Number)")
    assert red > 3 * max(green, blue)
    box = banner.bounding_box()
    assert box is not None
    assert box["y"] < 100
    assert box["width"] > 1000


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_scrolls_sideways(opened: Callable[..., "Page"], width: int) -> None:
    """The page is as wide as the window; what is wider scrolls within itself."""
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    edges = page.locator("h1, h2, figure, .cards li, input[type=range]").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect().right)"
    )
    assert max(edges) <= width


def test_without_scripts_everything_but_the_slider_is_there(opened: Callable[..., "Page"]) -> None:
    """A reader that runs no scripts sees the panels, and no dead slider."""
    page = opened(java_script_enabled=False)
    assert page.locator(".panel:not(.wipe) img").first.is_visible()
    assert not page.locator(".wipe input").first.is_visible()
