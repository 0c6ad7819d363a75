"""What the pages show of strangers' words, whatever the words are: read back by a parser of somebody else."""

from __future__ import annotations

import html
import re
import urllib.parse
from html.parser import HTMLParser

from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.server.catalogue.repositories import version_order
from registry.server.catalogue.viewer import Name, NotVisibleError
from registry.server.pages.login import _inward
from registry.server.pages.markdown import as_html
from registry.server.pages.rendering import lines, place
from tests.properties.test_registry_requests import digests, plain, repositories, tags, text

steady = settings(derandomize=True, deadline=None, max_examples=200)
TAGS = {
    *("p", "h3", "h4", "h5", "h6", "em", "strong", "code", "pre", "blockquote", "ul", "ol", "li", "hr", "br", "a"),
    *("span", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    "a": {"href", "title", "rel"},
    "code": {"class"},
    "ol": {"start"},
    "span": {"class"},
    "td": {"style"},
    "th": {"style"},
}
PIECES = [
    "[a](", "javascript:x", "data:text/html,x", "https://x", ")", "<script>", "![x](", "`", "\n", "|", "<https://x>",
    "<b onclick=1>", "[a]: ", "&#106;avascript:", " ", "\\", '"', "](", "vbscript:x", "JaVaScRiPt:x", "\x00", "<!--",
    "java\nscript:x",
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@settings(steady, max_examples=400)
@given(
    st.text(alphabet="[](){}<>!#*_`~-+.:/\\\"'&;=\n\t |ax1javscript", max_size=80)
    | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
)
def test_markdown_of_strangers_makes_nothing_but_text_links_and_tables(markdown: str) -> None:
    for tag, attributes in Tags(str(as_html(markdown))).found:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES.get(tag, set())
        if tag == "a":
            address = str(attributes["href"]).lower()
            assert address.startswith(("https://", "http://", "mailto:", "#")) or not address
            assert attributes["rel"] == "noreferrer noopener nofollow"
        assert re.fullmatch(r"text-align:(left|right|center)", str(attributes.get("style", "text-align:left")))


@steady
@given(plain | st.text(alphabet="a: -#<&\"'\n", max_size=60))
def test_values_are_shown_to_the_letter(values: str) -> None:
    shown = str(lines(values))
    assert {tag for tag, _ in Tags(shown).found} <= {"span"}
    assert html.unescape(re.sub(r"<[^>]*>", "", shown)) == "\n".join(values.splitlines())


@steady
@given(st.lists(text, min_size=1, max_size=3))
def test_a_place_on_the_pages_stays_there(named: list[str]) -> None:
    found = urllib.parse.urlsplit(urllib.parse.urljoin("https://registry.example.org/ui/packs", place(*named)))
    assert (found.netloc, found.query, found.fragment) == ("registry.example.org", "", "")
    assert urllib.parse.unquote(place(*named), errors="strict").removeprefix("/ui/") == "/".join(named)


@steady
@given(text | st.text(alphabet="/ui.\\:@?#%\t\nevl", max_size=30).map(lambda rest: f"/ui/{rest}"))
@example("/ui//evil.example/")
@example("//evil.example/ui/")
@example("/ui/\t//evil.example")
def test_a_login_never_leads_to_another_server(after: str) -> None:
    assert _inward(after).startswith("/ui/")
    for base in ("https://registry.example.org/ui/login", "http://127.0.0.1:5000/ui/login"):
        found = urllib.parse.urlsplit(urllib.parse.urljoin(base, _inward(after)))
        assert (found.scheme, found.netloc) == urllib.parse.urlsplit(base)[:2]


@steady
@given(st.text(alphabet="ab/:@.sha256-A", max_size=40) | st.tuples(repositories, digests).map("@".join))
def test_a_name_on_the_pages_spells_itself_or_is_none(spelled: str) -> None:
    try:
        name = Name.parse(spelled)
    except NotVisibleError:
        return
    assert str(name) == spelled


@steady
@given(st.lists(tags, max_size=8))
def test_versions_have_an_order(found: list[str]) -> None:
    once = sorted(found, key=version_order)
    assert all(version_order(one) <= version_order(other) for at, one in enumerate(once) for other in once[at:])
