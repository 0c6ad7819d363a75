"""Markdown of strangers as HTML: no HTML of theirs, no picture from elsewhere, no address but http, https and mail.

Headings begin below those of the page. A text that is too large, or that cannot be read in time, is shown as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

MOST_CHARACTERS = 128 << 10
_BELOW = {"h1": "h3", "h2": "h4", "h3": "h5"}


def as_html(text: str) -> Markup:
    """Return the text as HTML that is safe to show."""
    if len(text) > MOST_CHARACTERS:
        return Markup("<pre>{}</pre>").format(text)
    return Markup(_READER.render(text))  # noqa: S704 - the reader escapes all that is not its own


class _Reader(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the parent's name
        """Say whether an address may be a link."""
        return url.lower().startswith(("https://", "http://", "mailto:", "#"))


def _reader() -> MarkdownIt:
    reader = _Reader("commonmark", {"html": False, "linkify": False, "maxNesting": 20}).enable("table")
    reader.add_render_rule("image", _image)
    reader.add_render_rule("link_open", _link)
    for rule in ("heading_open", "heading_close"):
        reader.add_render_rule(rule, _heading)
    return reader


def _image(_: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    """Show what a picture is of: it lies elsewhere, and here nothing is fetched from elsewhere."""
    del options, env
    return str(Markup('<span class="picture">{}</span>').format(tokens[at].content or "picture"))


def _link(self: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    tokens[at].attrSet("rel", "noreferrer noopener nofollow")
    return self.renderToken(tokens, at, options, env)


def _heading(self: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    tokens[at].tag = _BELOW.get(tokens[at].tag, "h6")
    return self.renderToken(tokens, at, options, env)


_READER = _reader()
