"""The pages in a real Chromium: with JavaScript and without, by keyboard, light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import ENTER, TAB, Browser
from tests.conftest import need
from tests.people.conftest import Visitor
from tests.people_samples import GATEWAY

pytestmark = pytest.mark.interop
PACK = "/ui/packs/spectro-packs/archive/ingress-gateway"
PAGES = [
    "/ui/",
    "/ui/packs",
    PACK,
    "/ui/repositories",
    f"/ui/repositories/{GATEWAY}",
    f"/ui/repositories/{GATEWAY}:2.1",
]
INSIDE = ["/ui/bundles", "/ui/storage", "/ui/audit", "/ui/users"]


def login(browser: Browser, visitor: Visitor, path: str = "/ui/", name: str = "admin") -> None:
    browser.open(f"{visitor.url}{path}")
    browser.type("#name", name)
    browser.type("#password", f"pw-{name}{ENTER}")
    browser.wait(lambda: browser.address == f"{visitor.url}{path}")


@pytest.fixture(scope="module")
def browser(visitor: Visitor) -> Iterator[Browser]:
    need("chromium", "chromedriver")
    with Browser() as opened:
        login(opened, visitor, "/ui/packs?q=gateway")
        yield opened


@pytest.mark.parametrize("path", [*PAGES, *INSIDE])
def test_a_page_fits_a_phone_and_a_desk_and_the_browser_has_no_complaint(
    browser: Browser, visitor: Visitor, path: str
) -> None:
    for width, dark in ((360, False), (390, True), (1100, False), (1100, True)):
        browser.device(width, 800, dark=dark)
        browser.open(visitor.url + path)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        ground = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 3 * 128) is dark
    assert browser.complaints() == []


@pytest.mark.parametrize("path", [*PAGES, *INSIDE])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_stands_out_from_its_ground(browser: Browser, visitor: Visitor, path: str, dark: bool) -> None:
    browser.device(1100, 800, dark=dark)
    browser.open(visitor.url + path)
    weak = browser.run(CONTRAST)
    assert weak == []  # WCAG 2.2, 1.4.3: 4.5 to 1


def test_typing_narrows_the_list_at_once_and_enter_asks_the_server(browser: Browser, visitor: Visitor) -> None:
    browser.device(1100, 800)
    browser.open(f"{visitor.url}/ui/repositories")
    everything = browser.shown("#rows tbody tr")
    browser.press("/")
    browser.press("team api")
    assert browser.run("return document.activeElement.id") == "q"
    assert (everything > 5, browser.shown("#rows tbody tr")) == (True, 1)
    assert "1 on this page" in browser.text
    browser.press(ENTER)
    browser.wait(lambda: browser.address.endswith("?q=team+api"))
    assert browser.count("#rows tbody tr") == 1


def test_the_keyboard_reaches_everything(browser: Browser, visitor: Visitor) -> None:
    browser.device(1100, 800)
    browser.open(f"{visitor.url}/ui/repositories")
    reached = []
    for _ in range(60):
        browser.press(TAB)
        name, outline = browser.run(
            "const e = document.activeElement; return [e.getAttribute('href') || e.id || e.textContent,"
            " getComputedStyle(e).outlineStyle]"
        )
        if browser.run("return document.activeElement === document.body"):
            break  # behind the last one
        assert outline != "none", name
        reached.append(name)
    assert reached[:3] == ["#main", "/ui/", "/ui/packs"]
    for place in ("q", "Log out", f"/ui/repositories/{GATEWAY}"):
        assert place in reached


def test_the_skip_link_leads_to_the_content(browser: Browser, visitor: Visitor) -> None:
    browser.open(f"{visitor.url}/ui/repositories")
    browser.press(TAB)
    browser.press(ENTER)
    assert browser.run("return document.activeElement.id") == "main"


def test_a_hostile_readme_runs_nothing_and_fetches_nothing(browser: Browser, visitor: Visitor) -> None:
    browser.open(visitor.url + PACK)
    assert "<script>alert(1)</script>" in browser.text
    fetched = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in fetched if not name.startswith(visitor.url)] == []
    assert browser.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_the_cookie_is_out_of_reach_of_scripts(browser: Browser, visitor: Visitor) -> None:
    browser.open(f"{visitor.url}/ui/")
    (cookie,) = browser.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/ui/")
    assert browser.run("return document.cookie") == ""


def test_without_javascript_everything_is_there(visitor: Visitor) -> None:
    need("chromium", "chromedriver")
    with Browser(scripts=False) as browser:
        login(browser, visitor, "/ui/repositories", "reader")
        assert "team/private/ledger" in browser.text
        assert GATEWAY not in browser.text
        browser.type("#q", f"worker{ENTER}")
        browser.wait(lambda: browser.address.endswith("?q=worker"))
        assert browser.count("#rows tbody tr") == 1
        browser.click("#rows tbody a")
        browser.wait(lambda: browser.title.startswith("team/worker"))
        browser.click("#rows tbody a")
        browser.wait(lambda: "linux/amd64" in browser.text)
        browser.open(visitor.url + PACK)
        assert "It needs no network beyond the site." in browser.text
        browser.open(f"{visitor.url}/ui/users")
        assert "Not for you" in browser.text
        browser.click(".who button")
        browser.wait(lambda: browser.title.startswith("Log in"))
        browser.open(f"{visitor.url}/ui/packs")
        assert browser.title.startswith("Log in")


CONTRAST = """
const weak = [];
const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('script, .skip')) continue;
  let ground = element;
  while (ground && (parse(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(ground ?? document.body).backgroundColor]
    .map((text) => light(parse(text).slice(0, 3)));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) weak.push([walker.currentNode.data.trim().slice(0, 30), ratio.toFixed(2)]);
}
return weak;
"""
