"""What a stranger's browser, or a stranger with a browser's headers, can do at the pages and the administration API."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.server.admin import VIEWS
from registry.server.pages.routes import ROUTES
from registry.server.people import cookie
from registry.server.serve import Running
from registry.server.sessions import COOKIE
from registry.store.store import Store
from tests.oci_samples import descriptor
from tests.people.conftest import Place, Visitor, blob, place, visitor  # noqa: F401 - fixtures
from tests.people.test_pages import Seen
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


def hostile_image(store: Store, repository: str, word: str) -> None:
    """Push an image, an index over it and a word about it, with a stranger's word wherever one may stand."""
    config = strictjson.canonical(
        {
            "architecture": word,
            "os": word,
            "created": word,
            "config": {
                "User": word,
                "WorkingDir": word,
                "Entrypoint": [word],
                "Cmd": [word],
                "Env": [word],
                "ExposedPorts": {word: {}},
                "Volumes": {word: {}},
                "Labels": {word: word},
            },
            "history": [{"created_by": word}],
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    )
    layer = word.encode()
    for data in (config, layer):
        store.put_blob(repository, *blob(data))
    named = Descriptor(word, Digest.of(layer), len(layer), annotations={"org.opencontainers.image.title": word})
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, "application/vnd.oci.image.config.v1+json").as_json(),
        "layers": [named.as_json()],
        "annotations": {word: word, "org.opencontainers.image.created": word},
    }
    image = strictjson.canonical(manifest)
    child = descriptor(image, OCI_MANIFEST).as_json()
    child["platform"] = {"os": word, "architecture": word, "variant": word}
    index = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]})
    about = strictjson.canonical({**manifest, "artifactType": word, "subject": descriptor(index, OCI_INDEX).as_json()})
    store.put_manifest(repository, image, OCI_MANIFEST, ["image"])
    store.put_manifest(repository, index, OCI_INDEX, ["index"])
    store.put_manifest(repository, about, OCI_MANIFEST, ["about"])


def shape(text: str) -> list[tuple[str, frozenset[str]]]:
    """Return what a page is made of, without its words."""
    return [(tag, frozenset(attributes)) for tag, attributes in Seen(text).tags]


@pytest.mark.parametrize(
    "word",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</title></main><b>",
     "{{ 7 * 7 }}{% raw %}", "javascript:alert(1)", "<!--", "&lt;b&gt;&#60;b>", "]]><svg/onload=alert(1)>",
     "\u2028\u202e<b>"],
)  # fmt: skip
def test_whatever_strangers_write_the_page_is_made_of_the_same(place: Place, visitor: Visitor, word: str) -> None:  # noqa: F811
    names = [f"odd/{Digest.of(word.encode()).hex[:12]}{kind}" for kind in ("", "-plain")]
    plain = "x" * len(word)
    for name, said in zip(names, (word, plain), strict=True):
        hostile_image(place.store, name, said)
    admin = visitor.by("admin")
    for tag in (":image", ":index", ":about", ""):
        odd, even = (admin.text(f"/ui/repositories/{name}{tag}") for name in names)
        assert shape(odd) == shape(even)
        assert plain in even or not tag  # the word is really shown
        assert json.loads(admin.text(f"/api/v1/{'manifests' if tag else 'repositories'}/{names[0]}{tag}"))
