"""What is on the pages: everything a person asks of a registry, all of it escaped, nothing of it from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from registry.server.catalogue.kinds import fallback_kind, kind
from registry.server.catalogue.repositories import version_order
from registry.server.catalogue.trail import trail
from registry.server.pages.markdown import as_html
from registry.server.pages.rendering import amount, lines
from registry.store.store import Store
from tests.people.conftest import Place, Visitor, blob, of, write_users
from tests.people_samples import GATEWAY, HOSTILE, push_image

PACK = "/ui/packs/spectro-packs/archive/ingress-gateway"
PAGES = [
    "/ui/",
    "/ui/packs",
    PACK,
    "/ui/repositories",
    f"/ui/repositories/{GATEWAY}",
    f"/ui/repositories/{GATEWAY}:2.1",
    "/ui/bundles",
    "/ui/storage",
    "/ui/audit",
    "/ui/users",
    "/ui/nothing",
    "/ui/login",
]


class Seen(HTMLParser):
    """What a page's markup loads, sends, and says outside of text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_of_its_own(visitor: Visitor, path: str) -> None:
    answer = visitor.by("admin").ask(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    seen = Seen(answer.data.decode())
    for tag, attributes in seen.tags:
        assert tag not in ("style", "iframe", "object", "embed", "base")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if tag in ("script", "img", "link", "form"):
            address = attributes.get("src") or attributes.get("href") or attributes.get("action") or ""
            assert address.startswith("/ui/"), (tag, attributes)
    assert all(attributes.get("src") for attributes in seen.all("script"))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_walked_through_by_ear_and_by_keyboard(visitor: Visitor, path: str) -> None:
    seen = Seen(visitor.by("admin").ask(path).data.decode())
    assert seen.all("html")[0]["lang"] == "en"
    assert len(seen.all("h1")) == 1
    assert len(seen.all("main")) == 1
    assert seen.all("a")[0]["href"] == "#main"
    labelled = {attributes.get("for") for attributes in seen.all("label")}
    for field in seen.all("input"):
        assert field.get("type") == "hidden" or field.get("id") in labelled
    assert all("alt" in attributes for attributes in seen.all("img"))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in (attributes for _, attributes in seen.tags if "aria-labelledby" in attributes):
        assert attributes["aria-labelledby"] in ids
    assert all(attributes.get("scope") for attributes in seen.all("th") if path != PACK)


def test_what_strangers_wrote_is_text(visitor: Visitor, place: Place) -> None:
    child = json.loads(visitor.by("admin").ask(f"/api/v1/manifests/{GATEWAY}:2.1").data)["platforms"][0]["digest"]
    for path in (PACK, f"/ui/repositories/{GATEWAY}@{child}"):
        text = visitor.by("admin").text(path)
        assert HOSTILE not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "javascript:" not in {link.get("href", "")[:11] for link in Seen(text).all("a") if link.get("href")}
    assert place.store.has_repository(GATEWAY)


def test_a_pack_shows_its_logo_readme_values_versions_and_images(visitor: Visitor) -> None:
    text = visitor.by("admin").text(PACK)
    logo = Seen(text).all("img")[1]["src"]
    picture = visitor.by("admin").ask(str(logo))
    assert picture.headers["Content-Type"] == "image/png"
    assert picture.data.startswith(b"\x89PNG")
    assert "sandbox" in picture.headers["Content-Security-Policy"]
    assert "<strong>services</strong>" in text
    assert '<span class="c"># one per host is enough for most sites</span>' in text
    assert text.index(">2.10.0<") < text.index(">2.10.0-rc1<") < text.index(">2.9.0<")
    assert f'href="/ui/repositories/{GATEWAY}:2.1">served' in text
    assert "not here" in text
    older = visitor.by("admin").text(f"{PACK}:2.9.0")
    assert '<span class="version">2.9.0</span>' in older


def test_an_image_shows_what_it_runs_and_who_spoke_of_it(visitor: Visitor) -> None:
    text = visitor.by("reader").ask(f"/ui/repositories/{GATEWAY}:2.1")
    assert text.status == 404
    index = visitor.by("admin").text(f"/ui/repositories/{GATEWAY}:2.1")
    for word in ("signature", "sbom", "linux/amd64", "linux/arm64", "not carried here"):
        assert word in index
    child = re.search(r'href="([^"]+@sha256:[0-9a-f]{64})">linux/amd64', index)
    assert child is not None
    image = visitor.by("admin").text(child[1])
    for word in (
        "/gateway",
        "--listen :8443",
        "MODE=edge",
        "65532",
        "8443/tcp",
        "COPY gateway /gateway",
        "2026-10-02 08:30:00",
    ):
        assert word in image


def test_fallback_tags_are_no_versions_but_signatures(visitor: Visitor, place: Place) -> None:
    digest = push_image(place.store, "team/signed", ["1.0"], b"signed")
    data, media_type = place.store.manifest("team/signed", digest) or (b"", "")
    place.store.put_manifest("team/signed", data, media_type, [f"sha256-{digest.hex}.sig"])
    assert ".sig" not in visitor.by("reader").text("/ui/repositories/team/signed")
    assert ">signature<" in visitor.by("reader").text("/ui/repositories/team/signed:1.0")


def test_a_bundle_shows_its_release_statement(visitor: Visitor) -> None:
    text = visitor.by("admin").text("/ui/bundles")
    for word in (
        "sample",
        "1.0.0",
        "Sequence",
        "Best before",
        "2031-09-09",
        "linux/amd64",
        "quickstart.tar",
        "sha256:",
    ):
        assert word in text


def test_storage_tells_quota_and_garbage(visitor: Visitor, place: Place) -> None:
    policy = place.store.folder / "policy.yaml"
    policy.write_text('rules: [{repositories: ["team/*"], quota_bytes: 1000000}]\n')
    place.store.put_blob("team/garbage", *blob(b"x" * 5000))
    place.store.delete_blob("team/garbage", blob(b"x" * 5000)[0])
    try:
        found = json.loads(visitor.by("admin").ask("/api/v1/storage").data)
        text = visitor.by("admin").text("/ui/storage")
    finally:
        policy.unlink()
    assert {row["quota"] for row in found["largest"] if row["name"].startswith("team/")} == {1_000_000}
    assert "of 977 KiB" in text
    assert (found["garbageContents"], found["garbageBytes"]) == (1, 5000)
    assert found["contents"] > found["repositories"] > 5
    assert 0 < found["bytes"] <= found["shownBytes"] + 5000


def test_lists_come_in_pages_and_narrow_by_words(visitor: Visitor) -> None:
    first = json.loads(visitor.by("admin").ask("/api/v1/repositories?size=3").data)
    last = json.loads(visitor.by("admin").ask(f"/api/v1/repositories?size=3&page={first['pages']}").data)
    beyond = json.loads(visitor.by("admin").ask(f"/api/v1/repositories?size=3&page={first['pages'] + 1}").data)
    assert len(first["rows"]) == 3
    assert 1 <= len(last["rows"]) <= 3
    assert beyond["rows"] == []
    narrowed = json.loads(visitor.by("admin").ask("/api/v1/repositories?q=API%20team").data)
    assert [row["name"] for row in narrowed["rows"]] == ["team/api"]
    for wrong in ("page=0", "page=x", "size=501", "size=1e400", f"q={'x' * 201}", f"page={2**63}"):
        assert visitor.by("admin").ask(f"/api/v1/repositories?{wrong}").status == 400
        assert visitor.by("admin").ask(f"/ui/repositories?{wrong}").status == (200 if "size" in wrong else 400)


def test_the_audit_page_shows_the_last_lines_first_and_tells_a_changed_one(visitor: Visitor, place: Place) -> None:
    for number in range(3):
        visitor.login("audited", f"guess{number}")
    viewer = of(place)
    end = time.monotonic() + 10
    while len((found := trail(viewer, "audited")).rows) < 3 and time.monotonic() < end:
        time.sleep(0.05)  # nobody waits for the line of a refusal
    assert [row.event for row in found.rows] == ["login.refused"] * 3
    assert found.is_whole
    assert [row.sequence for row in found.rows] == sorted((row.sequence for row in found.rows), reverse=True)
    assert "audited" in visitor.by("admin").text("/ui/audit?q=audited")


def test_a_long_audit_log_is_read_from_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "access" / "audit"
    folder.mkdir(parents=True)
    write_users(tmp_path / "users")
    previous, made = "0" * 64, []
    for number in range(1, 2001):
        made.append(
            json.dumps({"sequence": number, "previous": previous, "event": f"e{number}", "x": "y" * 150}).encode()
            + b"\n"
        )
        previous = hashlib.sha256(made[-1]).hexdigest()
    (folder / "000000000001.jsonl").write_bytes(b"".join(made[:1200]))
    (folder / "000000001201.jsonl").write_bytes(b"".join(made[1200:]) + b'{"half a li')
    with Store.open(tmp_path / "store") as store:
        viewer = of(Place(tmp_path, store))
        everything = trail(viewer, most=5000)
        assert [row.sequence for row in everything.rows] == list(range(2000, 0, -1))
        assert everything.is_whole
        assert [row.sequence for row in trail(viewer, most=3).rows] == [2000, 1999, 1998]
        made[1500] = made[1500].replace(b"yyy", b"yyz", 1)
        (folder / "000000001201.jsonl").write_bytes(b"".join(made[1200:]))
        assert not trail(viewer, most=5000).is_whole
        assert trail(viewer, most=3).is_whole


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("[a](javascript:alert(1))", "", "<a"),
        ("[a](JaVaScRiPt:alert(1))", "", "<a"),
        ("[a](data:text/html,x)", "", "<a"),
        ("[a](/v2/_catalog)", "", "<a"),
        ("[a](https://b.example)", 'rel="noreferrer noopener nofollow"', "<script"),
        ("![a<b](https://b.example/x.png)", "a&lt;b", "<img"),
        ("<b onclick=x>bold</b>", "&lt;b onclick", "<b "),
        ("# one\n## two", "<h3>one</h3>", "<h1"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "<table>", "|"),
        ("```html\n<script>\n```", "&lt;script&gt;", "<script>"),
        ("[" * 20_000, "[[[", "<a"),
        ("> " * 5_000 + "x", "</blockquote>", "<script"),
    ],
    ids=range(12),
)
def test_markdown_of_strangers_is_harmless(text: str, wanted: str, unwanted: str) -> None:
    found = str(as_html(text))
    assert wanted in found
    assert unwanted not in found


def test_a_readme_beyond_measure_is_shown_as_it_is() -> None:
    assert str(as_html("<b>" + "x" * 200_000)).startswith("<pre>&lt;b&gt;")


def test_values_are_marked_and_escaped() -> None:
    assert str(lines("a: <b>\n  # <c>\n- '<d>': 1")) == (
        '<span class="k">a</span>: &lt;b&gt;\n  <span class="c"># &lt;c&gt;</span>\n- &#39;&lt;d&gt;&#39;: 1'
    )


def test_versions_are_in_the_order_in_which_people_count() -> None:
    wanted = ["2.10.0", "2.10.0-rc1", "2.9", "v2.8.1", "2.8", "1.0", "latest", "edge"]
    assert sorted(sorted(wanted), key=version_order, reverse=True) == wanted


@pytest.mark.parametrize(
    ("artifact_type", "expected"),
    [
        ("application/vnd.oci.image.config.v1+json", "image"),
        ("application/vnd.docker.container.image.v1+json", "image"),
        ("application/vnd.cncf.helm.config.v1+json", "chart"),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", "signature"),
        ("application/vnd.cncf.notary.signature", "signature"),
        ("application/vnd.cyclonedx+json", "sbom"),
        ("application/vnd.in-toto+json", "attestation"),
        ("application/vnd.dryport.playbooks.v1", "playbooks"),
        ("application/x-unheard-of", "artifact"),
        (None, "artifact"),
    ],
)
def test_a_type_has_a_persons_word(artifact_type: str | None, expected: str) -> None:
    assert kind("a/b", "application/vnd.oci.image.manifest.v1+json", artifact_type) == expected


@pytest.mark.parametrize("tag", [f"sha256-{'a' * 64}.sig", f"sha256-{'a' * 64}", f"sha512-{'a' * 64}.att"])
def test_a_fallback_tag_is_known(tag: str) -> None:
    assert fallback_kind(tag)
    assert fallback_kind(f"x{tag}") is None


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (250 << 20, "250 MiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert amount(size) == text
