"""What a stranger's browser, or a stranger with a browser's headers, can do at the pages and the administration API."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.server.admin import VIEWS
from registry.server.pages.routes import ROUTES
from registry.server.people import cookie
from registry.server.serve import Running
from registry.server.sessions import COOKIE
from tests.people.conftest import Place, Visitor, place, visitor  # noqa: F401 - fixtures
from tests.people.test_who_sees_what import path_of

steady = settings(derandomize=True, deadline=None, max_examples=200)


@pytest.mark.parametrize("text", [f'{COOKIE}="' + "\\\\" * 60_000 + '"', "a=" * 60_000, ";" * 120_000, 'a="' * 40_000])
def test_no_cookie_header_takes_long_to_read(text: str) -> None:
    begun = time.process_time()
    cookie(text)
    assert time.process_time() - begun < 0.2


@steady
@given(
    st.lists(st.tuples(st.text(alphabet="ab-_", min_size=1), st.text(alphabet='ab1._-"\\ é')), max_size=5),
    st.none() | st.text(alphabet="ab1._-", min_size=1),
)
def test_the_sessions_cookie_is_found_among_others(others: list[tuple[str, str]], value: str | None) -> None:
    parts = [f"{name}={text}" for name, text in others if name != COOKIE]
    if value is not None:
        parts.insert(len(parts) // 2, f"{COOKIE}={value}")
    assert cookie("; ".join(parts)) == (value or "")


@steady
@given(st.text(max_size=80))
def test_any_cookie_header_has_a_session_or_none(text: str) -> None:
    assert isinstance(cookie(text), str)


@pytest.mark.parametrize("path", ["/ui/login/", "/ui/repositories/", "/ui/packs/", "/api/v1/caller/", "/api/v1/packs/"])
def test_no_answer_leads_to_the_host_that_a_client_names(visitor: Visitor, path: str) -> None:  # noqa: F811
    for header in ("Host", "X_Forwarded_Host", "Forwarded"):
        answer = visitor.by("admin").ask(path, **{header: "evil.example"})
        assert answer.status == 404
        assert "evil.example" not in f"{answer.headers} {answer.data!r}"


@pytest.mark.parametrize("row", [*VIEWS, *(one for one in ROUTES if one.method == "GET")], ids=lambda row: row.path)
def test_every_answer_is_kept_by_nobody_and_taken_for_nothing_else(visitor: Visitor, row: object) -> None:  # noqa: F811
    path = path_of(row, visitor)  # type: ignore[arg-type]
    for who in (visitor.by("admin"), visitor.by("nothing"), visitor):
        answer = who.ask(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        kept = answer.headers.get("Cache-Control", "no-store" if answer.status == 401 else "")
        assert "static/" in path or kept in ("no-store", "private, max-age=86400")


@pytest.mark.parametrize(
    ("url", "is_secure"), [("https://registry.example.org", True), ("http://127.0.0.1:5000", False)]
)
def test_behind_a_proxy_that_speaks_tls_the_cookie_goes_over_tls_alone(
    place: Place,  # noqa: F811
    url: str,
    is_secure: bool,
) -> None:
    with Running(replace(place.settings, external_url=url), place.store) as running:
        for answer in (
            Visitor(running.url).login("reader"),
            Visitor(running.url).logged_in("reader").ask("/ui/logout", "POST"),
        ):
            assert ("; Secure" in answer.headers["Set-Cookie"]) == is_secure
