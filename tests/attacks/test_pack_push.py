"""A registry that lies to whoever pushes: credentials stay home, nothing leads elsewhere, what is lost is noticed."""

from __future__ import annotations

import base64
import io
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from registry.client.remote import RemoteRegistry
from registry.errors import DefinitionError, RemoteError
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST
from registry.packs.artifact import pack_archive
from registry.packs.oras_client import Oras
from registry.packs.place import Place
from registry.packs.pushing import Built, Push
from registry.packs.reading import read_folder
from registry.packs.shelf import Shelf
from registry.packs.unpacking import unpack
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.authority import Authority
from tests.pack_samples import make_pack

SECRET = "correct horse"
BASIC = "Basic " + base64.b64encode(f"ci:{SECRET}".encode()).decode()
REPOSITORY = "spectro-packs/archive/web"
Answer = Callable[["Pushing"], None]
Serve = Callable[[Answer], ScriptedServer]


class Pushing(Request):
    """A request of any kind, with its body read."""

    body = b""

    def _any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_HEAD = do_POST = do_PUT = _any  # noqa: N815 - the standard library's names


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    running: list[ScriptedServer] = []

    def start(answer: Answer) -> ScriptedServer:
        server = ScriptedServer(authority.issue(), answer)  # type: ignore[arg-type]
        server.RequestHandlerClass = Pushing
        running.append(server.__enter__())
        return server

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def built(tmp_path: Path) -> Built:
    folder = make_pack(tmp_path / "web-1.0.0")
    return Built.of(read_folder(folder).metadata, pack_archive(folder))


def push(server: ScriptedServer, authority: Authority, built: Built, *, ca: Path | None = None) -> None:
    options = {"ca": ca or authority.ca, "user": "ci", "password": SECRET}
    with (
        RemoteRegistry(server.url, **options) as remote,  # type: ignore[arg-type]
        Oras(server.url, repository=REPOSITORY, **options) as oras,  # type: ignore[arg-type]
    ):
        Push(Shelf(remote, Place()), oras).put(built)


class Honest:
    """A registry in memory; `instead` answers first and says whether it did."""

    def __init__(self, instead: Callable[[Pushing], bool] = lambda _: False) -> None:
        self.instead, self.blobs, self.tags = instead, dict[str, bytes](), dict[str, bytes]()

    def __call__(self, request: Pushing) -> None:
        if self.instead(request):
            return
        path, _, query = request.path.partition("?")
        last = path.rpartition("/")[2]
        if request.command == "PUT" and "/manifests/" in path:
            self.tags[last] = self.tags[str(Digest.of(request.body))] = request.body
            request.reply(201)
        elif request.command == "POST":
            request.reply(202, Location=f"/v2/{REPOSITORY}/blobs/uploads/1")
        elif request.command == "PUT":
            self.blobs[query.partition("digest=")[2].replace("%3A", ":")] = request.body
            request.reply(201)
        elif "/blobs/" in path and last in self.blobs:
            body = self.blobs[last]
            request.reply(200, b"" if request.command == "HEAD" else body)
        elif "/manifests/" in path and last in self.tags:
            request.reply(200, self.tags[last], Content_Type=OCI_MANIFEST)
        elif path.endswith("/tags/list"):
            names = ", ".join(f'"{tag}"' for tag in self.tags if ":" not in tag)
            request.reply(200, f'{{"name": "x", "tags": [{names}]}}'.encode())
        else:
            request.reply(404, b"{}")


def failing(match: Callable[[Pushing], bool], answer: Callable[[Pushing], None]) -> Callable[[Pushing], bool]:
    def instead(request: Pushing) -> bool:
        if not match(request):
            return False
        answer(request)
        return True

    return instead


def test_an_honest_registry_is_pushed_to(serve: Serve, authority: Authority, built: Built) -> None:
    registry = Honest()
    push(serve(registry), authority, built)
    assert registry.tags["1.0.0"] == registry.tags["1.x"] == built.manifest
    assert set(registry.blobs.values()) == {built.archive, EMPTY_BYTES}


def test_the_password_goes_to_no_realm_elsewhere(serve: Serve, authority: Authority, built: Built) -> None:
    thief = serve(lambda request: request.reply(200, b'{"token": "x"}'))
    challenge = f'Bearer realm="{thief.url}/token",service="x"'
    server = serve(
        Honest(failing(lambda one: one.command == "HEAD", lambda one: one.reply(401, WWW_Authenticate=challenge)))
    )
    with pytest.raises(RemoteError) as caught:
        push(server, authority, built)
    assert caught.value.reference == "token-realm-elsewhere"
    assert thief.seen == []


@pytest.mark.parametrize("command", ["HEAD", "POST"])
def test_no_redirect_is_followed(command: str, serve: Serve, authority: Authority, built: Built) -> None:
    thief = serve(lambda request: request.reply(200))
    away = failing(lambda one: one.command == command, lambda one: one.reply(307, Location=f"{thief.url}/x"))
    server = serve(Honest(away))
    with pytest.raises(RemoteError) if command == "POST" else nullcontext():
        push(server, authority, built)
    assert thief.seen == []


def test_an_upload_is_sent_to_no_other_server(serve: Serve, authority: Authority, built: Built) -> None:
    thief = serve(lambda request: request.reply(201))
    away = failing(lambda one: one.command == "POST", lambda one: one.reply(202, Location=f"{thief.url}/upload"))
    with pytest.raises(RemoteError) as caught:
        push(serve(Honest(away)), authority, built)
    assert caught.value.reference == "upload-elsewhere"
    assert thief.seen == []


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/x", "https://user@127.0.0.1/x", "httpx://a"])
def test_an_upload_stays_on_https(location: str, serve: Serve, authority: Authority, built: Built) -> None:
    away = failing(lambda one: one.command == "POST", lambda one: one.reply(202, Location=location))
    with pytest.raises(RemoteError):
        push(serve(Honest(away)), authority, built)


def test_an_authority_that_was_not_given_is_not_believed(serve: Serve, built: Built, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    server = serve(Honest())
    with (
        pytest.raises(RemoteError) as caught,
        Oras(server.url, ca=other.ca, user="ci", password=SECRET, repository=REPOSITORY) as oras,
    ):
        oras.put_manifest("1.0.0", built.manifest)
    assert caught.value.reference == "registry-certificate"
    assert server.seen == []


def test_a_wrong_password_is_told_at_once(serve: Serve, authority: Authority, built: Built) -> None:
    denied = failing(lambda one: one.command == "HEAD", lambda one: one.reply(401, WWW_Authenticate='Basic realm="x"'))
    began = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        push(serve(Honest(denied)), authority, built)
    assert caught.value.reference == "registry-denied"
    assert time.monotonic() - began < 5


def test_the_machines_own_settings_and_logins_are_not_used(
    serve: Serve, authority: Authority, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".docker").mkdir()
    server = serve(Honest())
    host = server.url.partition("://")[2]
    stolen = base64.b64encode(b"somebody:else").decode()
    (tmp_path / ".docker/config.json").write_text(
        f'{{"auths": {{"{host}": {{"auth": "{stolen}"}}}}, "credsStore": "x"}}'
    )
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    for name, value in {
        "HOME": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "REQUESTS_CA_BUNDLE": "/none",
    }.items():
        monkeypatch.setenv(name, value)
    push(server, authority, built)
    assert set(server.authorizations()) == {None}


def test_credentials_are_given_when_they_are_asked_for(serve: Serve, authority: Authority, built: Built) -> None:
    def closed(request: Pushing) -> bool:
        if request.headers.get("Authorization") == BASIC:
            return False
        request.reply(401, b"{}", WWW_Authenticate='Basic realm="x"')
        return True

    registry = Honest(closed)
    push(serve(registry), authority, built)
    assert registry.tags["1.0.0"] == built.manifest


@pytest.mark.parametrize("what", ["manifest", "blob"])
def test_a_registry_that_keeps_something_else_is_found_out(
    what: str, serve: Serve, authority: Authority, built: Built
) -> None:
    registry = Honest()

    def spoil(request: Pushing) -> bool:
        if request.command == "PUT" and "/manifests/" in request.path:
            registry.tags["1.0.0"] = built.manifest.replace(b"web", b"bad") if what == "manifest" else built.manifest
            registry.tags[str(built.digest)] = registry.tags["1.0.0"]
            if what == "blob":
                registry.blobs[str(built.layer.digest)] = bytes(built.layer.size)
            request.reply(201)
            return True
        return False

    registry.instead = spoil
    with pytest.raises(RemoteError) as caught:
        push(serve(registry), authority, built)
    assert caught.value.reference in {"push-differs", "content-differs"}


def test_a_busy_registry_is_asked_again_and_a_broken_one_not_for_ever(
    serve: Serve, authority: Authority, built: Built
) -> None:
    answers = iter([503, 429])
    busy = failing(
        lambda one: (
            one.command == "POST" and (status := next(answers, 0)) > 0 and setattr(one, "status", status) is None
        ),
        lambda one: one.reply(getattr(one, "status", 503)),
    )
    registry = Honest(busy)
    push(serve(registry), authority, built)
    assert registry.tags["1.0.0"] == built.manifest
    with pytest.raises(RemoteError) as caught:
        push(serve(Honest(failing(lambda one: one.command == "POST", lambda one: one.reply(500)))), authority, built)
    assert caught.value.reference == "registry-refuses"


def test_what_a_server_says_is_not_printed_by_the_library(
    serve: Serve, authority: Authority, built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    said = b'{"errors": [{"message": "\\u001b]0;owned\\u0007"}]}'
    with pytest.raises(RemoteError):
        push(
            serve(Honest(failing(lambda one: one.command == "POST", lambda one: one.reply(400, said)))),
            authority,
            built,
        )
    assert capsys.readouterr() == ("", "")


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def packed(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for one in members:
            tar.addfile(one)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [member("w/../../x")],
        [member("/w/x")],
        [member("w/.."), member("w/x")],
        [member("w/a\\b")],
        [member("w/a\nb")],
        [member("w/" + "x" * 256)],
        [member("w/a", tarfile.SYMTYPE)],
        [member("w/a", tarfile.LNKTYPE)],
        [member("w/a", tarfile.FIFOTYPE)],
        [member("w/a"), member("w/a")],
        [member("w/a"), member("w/A")],
        [member("w/a"), member("w/a/b")],
        [member("w/a/b"), member("w/A")],
        [member("top-level")],
    ],
)
def test_an_archive_that_would_lay_out_anything_odd_leaves_nothing(
    members: list[tarfile.TarInfo], tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError) as caught:
        unpack(packed(member("w/fine"), *members), tmp_path / "pack")
    assert caught.value.reference == "pack-archive-invalid"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "pack").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        unpack(packed(member("w/a")), tmp_path / "pack")
    assert not (tmp_path / "elsewhere").exists()
