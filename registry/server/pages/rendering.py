"""From a view to HTML: the templates, the words and figures they use, and the headers every page carries."""

from __future__ import annotations

import hashlib
import urllib.parse
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from registry.server.pages.markdown import as_html
from registry.server.people import IDENTITY

FOLDER = Path(__file__).parent
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STEP = 1024
_SHORT = 12


def amount(size: float) -> str:
    """Return a size as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"  # noqa: PLR2004
        size /= _STEP
    return f"{size:.1f} TiB"


def short(digest: str) -> str:
    """Return the beginning of a digest, enough to tell two apart."""
    return digest.partition(":")[2][:_SHORT]


def day(moment: datetime) -> str:
    """Return a date."""
    return f"{moment:%Y-%m-%d}"


def place(*parts: object) -> str:
    """Return a path below the pages, each part quoted but for what names are made of."""
    return "/ui/" + "/".join(urllib.parse.quote(str(part), safe="/:@") for part in parts)


def lines(text: str) -> Markup:
    """Return YAML with its comments and keys marked, every character of it escaped."""
    marked = []
    for line in text.splitlines():
        body = line.lstrip(" -") if not line.startswith("#") else line
        indent = line[: len(line) - len(body)]
        key, colon, rest = body.partition(":")
        if body.startswith("#"):
            marked.append(Markup('{}<span class="c">{}</span>').format(indent, body))
        elif colon and (not rest or rest.startswith(" ")) and not key.startswith(("'", '"', "{", "[")):
            marked.append(Markup('{}<span class="k">{}</span>:{}').format(indent, key, rest))
        else:
            marked.append(Markup("{}").format(line))
    return Markup("\n").join(marked)


@lru_cache(maxsize=16)
def static(name: str) -> tuple[bytes, str]:
    """Return a static file's bytes and the mark by which browsers may keep it."""
    data = (FOLDER / "static" / name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:_SHORT]


def asset(name: str) -> str:
    """Return the address of a static file as it is now."""
    return f"/ui/static/{static(name)[1]}/{name}"


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401
    """Return a rendered page."""
    identity = request.scope.get(IDENTITY)
    shared = {"path": request.url.path, "identity": identity, "is_admin": bool(identity and identity.may("admin", ""))}
    return HTMLResponse(TEMPLATES.get_template(template).render(shared | values), status, HEADERS)


TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"amount": amount, "short": short, "day": day, "markdown": as_html, "yaml": lines}
TEMPLATES.globals |= {"place": place, "asset": asset}
