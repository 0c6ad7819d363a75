"""A registry, or somebody in its place, that lies: nothing false is kept, nothing is given away, nothing is endless."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.client.remote import RemoteRegistry
from registry.client.transport import Limits
from registry.errors import DryportError, RemoteError, UsageError
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_LAYER, OCI_MANIFEST, artifact
from registry.progress import Silent
from registry.store.store import Store
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.authority import Authority

BLOB = bytes(range(256)) * 16_384  # 4 MiB
LAYER = Descriptor(OCI_LAYER, Digest.of(BLOB), len(BLOB))
CONFIG = b"{}"
MANIFEST = artifact("application/x-test", [LAYER])
NAME = "team/app"
SECRET = "correct horse"
BASIC = "Basic " + base64.b64encode(f"pull:{SECRET}".encode()).decode()
QUICK = Limits(attempts=3, connect_seconds=2, read_seconds=2, first_pause=0.01, longest_pause=0.02)
Answer = Callable[[Request], None]
Serve = Callable[[Answer], ScriptedServer]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    running: list[ScriptedServer] = []

    def start(answer: Answer) -> ScriptedServer:
        server = ScriptedServer(authority.issue(), answer).__enter__()
        running.append(server)
        return server

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def remote(server: ScriptedServer, authority: Authority, *, user: str | None = None) -> RemoteRegistry:
    return RemoteRegistry(server.url, ca=authority.ca, user=user, password=SECRET if user else None, limits=QUICK)


def honest(request: Request, *, instead: dict[str, Answer] | None = None) -> None:
    """Serve one repository with one tag, but for the paths that `instead` names by their end."""
    for end, answer in (instead or {}).items():
        if request.path.endswith(end):
            answer(request)
            return
    if request.path == "/v2/_catalog":
        request.reply(200, json.dumps({"repositories": [NAME]}).encode())
    elif request.path.endswith("/tags/list"):
        request.reply(200, json.dumps({"name": NAME, "tags": ["1.0"]}).encode())
    elif request.path.endswith(("/manifests/1.0", f"/manifests/{Digest.of(MANIFEST)}")):
        request.reply(200, MANIFEST, Content_Type=OCI_MANIFEST, Docker_Content_Digest=str(Digest.of(MANIFEST)))
    elif request.path.endswith(str(LAYER.digest)):
        request.reply(200, BLOB)
    elif request.path.endswith(str(Digest.of(CONFIG))):
        request.reply(200, CONFIG)
    else:
        request.reply(404, b'{"errors":[]}')


def references(error: DryportError) -> set[str]:
    return {finding.reference for finding in error.findings} or {error.reference}


def test_an_honest_registry_is_copied_whole_and_not_again(serve: Serve, authority: Authority, store: Store) -> None:
    server = serve(honest)
    report = copy(remote(server, authority), StoreTarget(store), Silent())
    assert (report.blobs_copied, report.bytes_copied) == (2, len(BLOB) + 2)
    assert store.resolve(NAME, "1.0").digest == Digest.of(MANIFEST)
    before = len([path for path, _ in server.seen if "/blobs/" in path])
    assert copy(remote(server, authority), StoreTarget(store), Silent()).bytes_copied == 0
    assert len([path for path, _ in server.seen if "/blobs/" in path]) == before == 2


def test_a_blob_of_other_bytes_is_never_shown(serve: Serve, authority: Authority, store: Store) -> None:
    false = BLOB[:-1] + b"!"
    server = serve(lambda r: honest(r, instead={str(LAYER.digest): lambda r: r.reply(200, false)}))
    with pytest.raises(RemoteError) as caught:
        copy(remote(server, authority), StoreTarget(store), Silent())
    assert references(caught.value) == {"content-differs"}
    assert not store.has_blob(NAME, LAYER.digest)
    assert store.tags(NAME) == []
    # the server is mended: the same call goes on, with the one blob that is missing
    server.answer = honest
    assert copy(remote(server, authority), StoreTarget(store), Silent()).bytes_copied == len(BLOB)


def test_a_manifest_of_other_bytes_is_refused_by_tag_and_by_digest(
    serve: Serve, authority: Authority, store: Store
) -> None:
    false = MANIFEST.replace(b"x-test", b"x-evil")

    def lie(request: Request) -> None:
        request.reply(200, false, Content_Type=OCI_MANIFEST, Docker_Content_Digest=str(Digest.of(MANIFEST)))

    server = serve(lambda r: honest(r, instead={"/manifests/1.0": lie, str(Digest.of(MANIFEST)): lie}))
    with pytest.raises(RemoteError) as caught:
        copy(remote(server, authority), StoreTarget(store), Silent())
    assert caught.value.reference == "content-differs"
    with pytest.raises(RemoteError):
        remote(server, authority).manifest(NAME, Digest.of(MANIFEST))
    assert list(store.repositories()) == []


def test_a_body_shorter_than_announced_is_resumed_inside_and_then_given_up(
    serve: Serve, authority: Authority, store: Store
) -> None:
    half = len(BLOB) // 2
    server = serve(
        lambda r: honest(r, instead={str(LAYER.digest): lambda r: r.reply(200, BLOB[:half], length=len(BLOB))})
    )
    with pytest.raises(RemoteError) as caught:
        copy(remote(server, authority), StoreTarget(store), Silent())
    assert references(caught.value) == {"blob-broken-off"}
    ranges = [headers.get("range") for path, headers in server.seen if path.endswith(str(LAYER.digest))]
    assert ranges[:2] == [None, f"bytes={half}-"]
    assert len(ranges) < 10
    assert not store.has_blob(NAME, LAYER.digest)


def test_a_line_that_breaks_again_and_again_costs_no_byte_twice(
    serve: Serve, authority: Authority, store: Store
) -> None:
    sent = []

    def drop(request: Request) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        part = BLOB[start : start + 1_500_000]
        sent.append(len(part))
        extra = {"Content_Range": f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"} if start else {}
        request.reply(206 if start else 200, part, length=len(BLOB) - start, **extra)

    server = serve(lambda r: honest(r, instead={str(LAYER.digest): drop}))
    assert copy(remote(server, authority), StoreTarget(store), Silent()).bytes_copied == len(BLOB) + 2
    assert sum(sent) == len(BLOB)


def test_a_range_answered_with_the_whole_is_skipped_over(serve: Serve, authority: Authority, store: Store) -> None:
    asked = itertools.count()

    def ignore(request: Request) -> None:
        request.reply(200, BLOB if next(asked) else BLOB[:2_000_000], length=len(BLOB))

    server = serve(lambda r: honest(r, instead={str(LAYER.digest): ignore}))
    copy(remote(server, authority), StoreTarget(store), Silent())
    assert store.has_blob(NAME, LAYER.digest)


def test_a_range_answered_with_another_range_is_refused(serve: Serve, authority: Authority, store: Store) -> None:
    def shifted(request: Request) -> None:
        if "Range" in request.headers:
            request.reply(206, BLOB, Content_Range=f"bytes 0-{len(BLOB) - 1}/{len(BLOB)}")
        else:
            request.reply(200, BLOB[:1_500_000], length=len(BLOB))

    server = serve(lambda r: honest(r, instead={str(LAYER.digest): shifted}))
    with pytest.raises(RemoteError) as caught:
        copy(remote(server, authority), StoreTarget(store), Silent())
    assert references(caught.value) == {"registry-answer"}


def test_a_blob_of_another_size_is_refused_before_it_is_read(serve: Serve, authority: Authority, store: Store) -> None:
    server = serve(lambda r: honest(r, instead={str(LAYER.digest): lambda r: r.reply(200, BLOB + b"more")}))
    with pytest.raises(RemoteError) as caught:
        copy(remote(server, authority), StoreTarget(store), Silent())
    assert references(caught.value) == {"size-differs"}


@pytest.mark.parametrize("path", ["/v2/_catalog", "/tags/list", "/manifests/1.0", str(LAYER.digest)])
def test_an_endless_body_is_bounded(serve: Serve, authority: Authority, store: Store, path: str) -> None:
    server = serve(lambda r: honest(r, instead={path: lambda r: r.endless(b" " * 65_536)}))
    with pytest.raises(RemoteError) as caught:
        copy(remote(server, authority), StoreTarget(store), Silent())
    assert references(caught.value) <= {"registry-answer-large", "registry-answer"}
    assert server.endless_bytes < 20 << 20


def test_an_endless_error_body_is_bounded(serve: Serve, authority: Authority) -> None:
    def rage(request: Request) -> None:
        request.send_response(403)
        request.end_headers()
        request.close_connection = True
        while True:
            request.wfile.write(b"no! " * 10_000)

    with pytest.raises(RemoteError) as caught:
        list(remote(serve(rage), authority).repositories())
    assert caught.value.reference == "registry-denied"
    assert len(str(caught.value.seen)) < 500


def test_a_list_of_endless_pages_ends(serve: Serve, authority: Authority) -> None:
    def pages(request: Request) -> None:
        request.reply(200, b'{"repositories":["a"]}', Link=f'<{request.path}>; rel="next"')

    assert list(remote(serve(pages), authority).repositories()) == ["a"]


@pytest.mark.parametrize("url", ["", "https://[::1", "http://127.0.0.1", "https://127.0.0.1:99999"])
def test_a_next_page_on_another_server_is_not_asked(serve: Serve, authority: Authority, url: str) -> None:
    other = serve(honest)
    link = f'<{(url or other.url)}/v2/_catalog>; rel="next"'
    server = serve(lambda r: r.reply(200, b'{"repositories":[]}', Link=link))
    with pytest.raises(RemoteError, match="another server"):
        list(remote(server, authority, user="pull").repositories())
    assert other.seen == []


@pytest.mark.parametrize("names", [["../../etc"], ["A"], [7], ["a/" * 200 + "a"], "a", {"a": 1}, [None]])
def test_names_that_are_none_are_refused(serve: Serve, authority: Authority, names: object) -> None:
    server = serve(lambda r: r.reply(200, json.dumps({"repositories": names}).encode()))
    if isinstance(names, str | dict):
        list(remote(server, authority).repositories())  # letters and keys may be names; nothing worse can come of it
        return
    with pytest.raises(RemoteError):
        list(remote(server, authority).repositories())


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"repositories": NaN}', b"\xff\xfe", b"[]", b'{"a":1,"a":2}', b""])
def test_json_meant_to_hurt_is_refused(serve: Serve, authority: Authority, body: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        list(remote(serve(lambda r: r.reply(200, body)), authority).repositories())
    assert caught.value.reference == "registry-answer"


def test_a_redirect_to_another_server_carries_no_credentials(serve: Serve, authority: Authority, store: Store) -> None:
    elsewhere = serve(lambda r: r.reply(200, BLOB))

    def origin(request: Request) -> None:
        if request.headers.get("Authorization") != BASIC:
            request.reply(401, WWW_Authenticate='Basic realm="x"')
        elif request.path.endswith(str(LAYER.digest)):
            request.reply(307, Location=f"{elsewhere.url}/bucket/blob")
        else:
            honest(request)

    server = serve(origin)
    copy(remote(server, authority, user="pull"), StoreTarget(store), Silent())
    assert store.has_blob(NAME, LAYER.digest)
    assert BASIC in server.authorizations()
    assert list(elsewhere.authorizations()) == [None]


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/x", "file:///etc/passwd", "https://u:p@127.0.0.1/", "https://[::1"]
)
def test_a_redirect_away_from_https_is_refused(serve: Serve, authority: Authority, location: str) -> None:
    with pytest.raises(RemoteError) as caught:
        list(remote(serve(lambda r: r.reply(307, Location=location)), authority).repositories())
    assert caught.value.reference == "redirect-not-https"


def test_redirects_in_a_ring_end(serve: Serve, authority: Authority) -> None:
    server = serve(lambda r: r.reply(302, Location="/v2/_catalog"))
    with pytest.raises(RemoteError) as caught:
        list(remote(server, authority).repositories())
    assert caught.value.reference == "redirects-endless"
    assert len(server.seen) == QUICK.redirects + 1


def test_credentials_never_go_to_a_realm_elsewhere(serve: Serve, authority: Authority) -> None:
    thief = serve(lambda r: r.reply(200, b'{"token":"t"}'))
    server = serve(lambda r: r.reply(401, WWW_Authenticate=f'Bearer realm="{thief.url}/token",service="s"'))
    with pytest.raises(RemoteError) as caught:
        list(remote(server, authority, user="pull").repositories())
    assert caught.value.reference == "token-realm-elsewhere"
    assert thief.seen == []
    assert SECRET not in str(vars(caught.value))


@pytest.mark.parametrize(
    "realm", ["http://127.0.0.1:{port}/t", "https://127.0.0.1.:{port}/t", "https://x@127.0.0.1:{port}/t", "/t", ""]
)
def test_a_realm_that_only_looks_like_the_registry_is_refused(serve: Serve, authority: Authority, realm: str) -> None:
    server = serve(lambda r: r.reply(401, WWW_Authenticate=f'Bearer realm="{realm.format(port=r.server.server_port)}"'))
    with pytest.raises(RemoteError) as caught:
        list(remote(server, authority, user="pull").repositories())
    assert caught.value.reference == "token-realm-elsewhere"
    assert list(server.authorizations()) == [None]


def test_no_credentials_are_sent_before_the_registry_asks(serve: Serve, authority: Authority) -> None:
    server = serve(honest)
    list(remote(server, authority, user="pull").repositories())
    assert list(server.authorizations()) == [None]


def test_a_wrong_password_is_not_tried_again_and_again(serve: Serve, authority: Authority) -> None:
    server = serve(lambda r: r.reply(401, WWW_Authenticate='Basic realm="x"'))
    with pytest.raises(RemoteError) as caught:
        list(remote(server, authority, user="pull").repositories())
    assert caught.value.reference == "registry-denied"
    assert list(server.authorizations()) == [None, BASIC]
    assert SECRET not in str(vars(caught.value))


@pytest.mark.parametrize("token", [b'{"token":"a\\r\\nX: y"}', b"{}", b"[]", b'{"token":7}'])
def test_a_token_that_is_none_is_refused(serve: Serve, authority: Authority, token: bytes) -> None:
    def answer(request: Request) -> None:
        if request.path.startswith("/token"):
            request.reply(200, token)
        else:
            request.reply(401, WWW_Authenticate=f'Bearer realm="{request.server.url}/token"')

    with pytest.raises(RemoteError) as caught:
        list(remote(serve(answer), authority).repositories())
    assert caught.value.reference == "token-answer-invalid"


def test_a_certificate_of_an_unknown_authority_ends_it_at_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    stranger = Authority(tmp_path, "another authority")
    with pytest.raises(RemoteError) as caught:
        list(remote(server, stranger, user="pull").repositories())
    assert caught.value.reference == "registry-certificate"
    assert server.seen == []


def test_a_certificate_for_another_host_ends_it_at_once(authority: Authority) -> None:
    with (
        ScriptedServer(authority.issue("registry.example.org"), honest) as server,
        pytest.raises(RemoteError) as caught,
    ):
        list(remote(server, authority, user="pull").repositories())
    assert caught.value.reference == "registry-certificate"
    assert server.seen == []


def test_a_registry_that_is_overloaded_is_asked_again_a_few_times(serve: Serve, authority: Authority) -> None:
    busy = iter([503, 429])

    def answer(request: Request) -> None:
        status = next(busy, None)
        if status:
            request.reply(status, Retry_After="9999")
        else:
            honest(request)

    assert list(remote(serve(answer), authority).repositories()) == [NAME]
    always = serve(lambda r: r.reply(503))
    with pytest.raises(RemoteError):
        list(remote(always, authority).repositories())
    assert len(always.seen) == QUICK.attempts + 1


def test_a_proxy_in_the_environment_is_not_asked(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert list(remote(serve(honest), authority).repositories()) == [NAME]


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1", "127.0.0.1:5000", "https://u:secret@h", "https://h/path", "https://", "https://h:x"]
)
def test_an_address_that_is_no_https_origin_is_refused_without_repeating_a_secret(
    url: str, authority: Authority
) -> None:
    with pytest.raises(UsageError) as caught:
        RemoteRegistry(url, ca=authority.ca, user=None, password=None)
    assert "secret" not in caught.value.seen


def test_a_repository_of_endless_depth_ends(serve: Serve, authority: Authority, store: Store) -> None:
    chain = [MANIFEST]
    for _ in range(40):
        child = Descriptor(OCI_MANIFEST, Digest.of(chain[-1]), len(chain[-1]))
        chain.append(
            artifact("application/x-chain", []).replace(
                b'"config"', b'"subject":%s,"config"' % json.dumps(child.as_json()).encode()
            )
        )
    by_digest = {str(Digest.of(data)): data for data in chain}
    after = {str(Digest.of(a)): b for a, b in itertools.pairwise(chain)}

    def answer(request: Request) -> None:
        name = request.path.rpartition("/")[2]
        if "/referrers/" in request.path:
            listed = (
                [Descriptor(OCI_MANIFEST, Digest.of(after[name]), len(after[name])).as_json()] if name in after else []
            )
            request.reply(200, json.dumps({"schemaVersion": 2, "manifests": listed}).encode())
        elif name in by_digest and "/manifests/" in request.path:
            request.reply(200, by_digest[name], Content_Type=OCI_MANIFEST)
        else:
            honest(request)

    with pytest.raises(RemoteError) as caught:
        copy(remote(serve(answer), authority), StoreTarget(store), Silent())
    assert caught.value.reference == "repository-large"
