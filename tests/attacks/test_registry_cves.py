"""What went wrong in other registries, one test for each: the name of the advisory, then what must not happen here.

Forged tokens (CVE-2025-24976 and its like) are in test_registry_tokens.py.
"""

from __future__ import annotations

import ast
import contextlib
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from registry.errors import DryportError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from registry.server.routes import ROUTES, Permission
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import Users, user_line
from registry.store.store import Store
from tests.contracts.conftest import ITERATIONS, Wire, body, code
from tests.oci_samples import descriptor, image

ROOT = Path(__file__).parents[2]
USERS = {
    "admin": ["pull,push,delete:*"],
    "mine": ["pull,push,delete:mine/*"],
    "maker": ["pull,create:shared/*"],
    "second": ["pull,push,delete:*"],
}
SECRET = b"a layer that nobody outside theirs/ may know of"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = (user_line(name, f"pw-{name}", grants, iterations=ITERATIONS) for name, grants in USERS.items())
    (tmp_path / "users").write_text("\n".join(lines) + "\n")
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder / "store") as opened:
        yield opened


@pytest.fixture
def wire(folder: Path, store: Store) -> Iterator[Wire]:
    with Running(Settings(users=folder / "users"), store) as running:
        yield Wire(running.url)


@pytest.mark.parametrize("number", ["-1", "0", str(2**31), str(2**63), "1e400", "a"])
def test_cve_2023_2253_a_huge_page_size_takes_no_memory(wire: Wire, number: str) -> None:
    digest = wire.push_image("mine/app", image(), "1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in ("/v2/_catalog", "/v2/mine/app/tags/list", f"/v2/mine/app/referrers/{digest}"):
        answer = wire.ask("GET", f"{path}?n={number}")
        assert answer.status in (200, 400)
        assert len(answer.data) < 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        ('rules: [{repositories: ["*"], deletes: false}]', ["tag", "digest", "blob"]),
        ("read_only: true", ["tag", "digest", "blob"]),
        ('rules: [{repositories: ["*"], immutable_tags: ["*"]}]', ["tag", "digest", "blob"]),
    ],
)
def test_cve_2026_41888_what_must_stay_goes_by_no_way(
    wire: Wire, folder: Path, store: Store, policy: str, refused: list[str]
) -> None:
    digest = wire.push_image("mine/app", image(), "v1")
    ways = {"tag": "manifests/v1", "digest": f"manifests/{digest}", "blob": f"blobs/{Digest.of(image().layer)}"}
    (folder / "store/policy.yaml").write_text(policy + "\n")
    for way in refused:
        assert wire.ask("DELETE", f"/v2/mine/app/{ways[way]}").status in (403, 405), way
    with pytest.raises(DryportError):
        store.delete_tag("mine/app", "v1")
    assert wire.ask("GET", "/v2/mine/app/manifests/v1").data == image().manifest
    assert wire.ask("GET", f"/v2/mine/app/{ways['blob']}").data == image().layer


def test_distribution_5cda72868_what_was_deleted_is_served_by_no_process(wire: Wire, folder: Path) -> None:
    digest = wire.push_image("mine/app", image(), "v1")
    blob = f"/v2/mine/app/blobs/{Digest.of(image().layer)}"
    paths = (f"/v2/mine/app/manifests/{digest}", "/v2/mine/app/manifests/v1", blob)
    with Store.open(folder / "store") as other, Running(Settings(users=folder / "users"), other) as running:
        servers = (wire, Wire(running.url))
        for _ in range(2):  # whatever keeps answers in memory keeps them now
            assert [server.ask("GET", path).status for server in servers for path in paths] == [200] * 6
        assert wire.ask("DELETE", paths[0]).status == 202
        assert wire.ask("DELETE", blob).status == 202
        for server in servers:
            assert [server.ask(method, path).status for method in ("GET", "HEAD") for path in paths] == [404] * 6
            assert body(server.ask("GET", "/v2/mine/app/tags/list"))["tags"] == []


@pytest.mark.parametrize("name", ["x", "..", "a b", "0" * 32, "0" * 33, "f" * 31 + "\n", "-rf", ".dryport-", "ä", "\\"])
def test_distribution_4860_odd_names_in_the_folder_of_uploads_stop_nothing(folder: Path, name: str) -> None:
    with Store.open(folder / "store") as opened:
        incoming = opened.files.incoming
    if name != "..":
        (incoming / name).write_bytes(b"odd")
        os.utime(incoming / name, (0, 0))
    (incoming / f"{name[:20]}.folder").mkdir(exist_ok=True)
    with Store.open(folder / "store") as opened:
        opened.put_blob("mine/app", Digest.of(b"x"), [b"x"])
        assert opened.has_blob("mine/app", Digest.of(b"x"))


def test_cve_2021_41190_bytes_are_one_kind_of_manifest(wire: Wire) -> None:
    wire.push_blob("mine/app", b"{}")
    config = descriptor(b"{}", OCI_EMPTY).as_json()
    both = {"schemaVersion": 2, "config": config, "layers": [], "manifests": []}
    for data, media_type in (
        (both, OCI_MANIFEST),
        (both, OCI_INDEX),
        (both | {"mediaType": OCI_INDEX}, OCI_MANIFEST),
        ({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}, OCI_INDEX),
    ):
        answer = wire.push_manifest("mine/app", strictjson.canonical(data), "1", media_type)
        assert code(answer) == (400, "MANIFEST_INVALID")


def test_cve_2024_39897_nothing_reveals_or_links_a_blob_of_others_but_its_bytes(wire: Wire, store: Store) -> None:
    digest = wire.push_blob("theirs/app", SECRET)
    me, absent = wire.as_user("mine"), Digest.of(b"nobody has this")
    me.push_blob("mine/app", b"{}")
    begin = "/v2/mine/app/blobs/uploads/"

    def tries(wanted: Digest) -> Iterator[tuple[int, bytes]]:
        layer = {"mediaType": "a/b", "digest": str(wanted), "size": len(SECRET)}
        config = descriptor(b"{}", OCI_EMPTY).as_json()
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
        for method, path, data in (
            ("HEAD", f"/v2/mine/app/blobs/{wanted}", None),
            ("GET", f"/v2/mine/app/blobs/{wanted}", None),
            ("GET", f"/v2/theirs/app/blobs/{wanted}", None),
            ("HEAD", f"/v2/theirs/app/blobs/{wanted}", None),
            ("POST", f"{begin}?mount={wanted}&from=theirs/app", None),
            ("POST", f"{begin}?mount={wanted}", None),
            ("POST", f"{begin}?digest={wanted}", b""),
            ("PUT", f"{me.ask('POST', begin).headers['Location']}?digest={wanted}", b""),
        ):
            answer = me.ask(method, path, data)
            yield answer.status, answer.data.replace(str(wanted).encode(), b"")
        answer = me.push_manifest("mine/app", strictjson.canonical(manifest), "1")
        yield answer.status, answer.data.replace(str(wanted).encode(), b"")

    seen, unseen = list(tries(digest)), list(tries(absent))
    assert seen == unseen
    assert all(status in (202, 400, 403, 404) for status, _ in seen)
    assert not store.has_blob("mine/app", digest)
    assert me.push_blob("mine/app", SECRET) == digest  # who has the bytes may have them here


def test_cve_2026_31801_who_may_only_create_moves_no_tag(wire: Wire) -> None:
    first, second = image(b"first"), image(b"second")
    maker = wire.as_user("maker")
    digest = maker.push_image("shared/app", first, "latest")
    for data in second.blobs.values():
        maker.push_blob("shared/app", data)
    other = Digest.of(second.manifest)
    for reference in ("latest", f"{other}?tag=latest", f"{other}?tag=new&tag=latest"):
        assert code(maker.push_manifest("shared/app", second.manifest, reference)) == (403, "DENIED")
    assert body(wire.ask("GET", "/v2/shared/app/tags/list"))["tags"] == ["latest"]
    assert wire.ask("HEAD", "/v2/shared/app/manifests/latest").headers["Docker-Content-Digest"] == str(digest)
    assert maker.ask("DELETE", "/v2/shared/app/manifests/latest").status == 403
    assert maker.push_manifest("shared/app", second.manifest, "new").status == 201

    def race(sample: bytes) -> int:
        return maker.push_manifest("shared/app", sample, "race").status

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(race, (first.manifest, second.manifest))) == [201, 403]


def test_zot_3977_a_body_without_end_is_cut_before_it_is_kept(wire: Wire) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (1 << 20)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(urllib3.exceptions.ProtocolError):  # a server that closes early may be seen so
        answer = wire.ask("PUT", "/v2/mine/app/manifests/1", endless(), Content_Type=OCI_MANIFEST)  # type: ignore[arg-type]
        assert answer.status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 96 << 10
    assert wire.ask("GET", "/v2/").status == 200


def test_zot_3980_no_other_site_in_a_browser_may_read_an_answer(wire: Wire) -> None:
    for method in ("GET", "OPTIONS"):
        answer = wire.ask(method, "/v2/_catalog", Origin="https://evil.example.org")
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "tag", ["sha256-.sig", "sha256-zz.sig", f"sha256-{'0' * 63}.sig", f"sha256-{'0' * 64}", "-.sig"]
)
def test_zot_4204_a_malformed_tag_of_a_signature_breaks_nothing(wire: Wire, tag: str) -> None:
    digest = wire.push_image("mine/app", image(), "1")
    assert wire.push_manifest("mine/app", image().manifest, tag).status in (201, 400)
    for path in (f"referrers/{digest}", f"referrers/sha256:{'0' * 64}", f"manifests/{tag}", "tags/list"):
        assert wire.ask("GET", f"/v2/mine/app/{path}").status in (200, 400, 404)


def test_cve_2022_31669_what_belongs_to_others_answers_to_no_verb(wire: Wire) -> None:
    digest = wire.push_image("theirs/app", image(), "1")
    begun = wire.ask("POST", "/v2/theirs/app/blobs/uploads/").headers["Location"].rpartition("/")[2]
    values = {"{name}": "theirs/app", "{reference}": "1", "{digest}": str(digest), "{id}": begun}
    for route in ROUTES:
        if "{name}" not in route.path:
            continue
        path = route.path
        for part, value in values.items():
            path = path.replace(part, value)
        assert code(wire.as_user("mine").ask(route.method, path, b"{}")) == (403, "DENIED"), route
    assert wire.ask("GET", "/v2/theirs/app/manifests/1").data == image().manifest


def test_harbors_default_password_there_is_no_user_that_nobody_made(folder: Path) -> None:
    with Store.open(folder / "store") as store, Running(Settings(), store) as running:
        for name, password in (("admin", "Harbor12345"), ("admin", "admin"), ("admin", ""), ("", "")):
            wire = Wire(running.url, None)
            answer = wire.pool.request("GET", f"{running.url}/v2/", headers=basic(name, password))
            assert answer.status == 401
    assert Users.parse("").find("admin") is None
    with pytest.raises(DryportError):
        user_line("admin", "", ["pull:*"])


def basic(name: str, password: str) -> dict[str, str]:
    return dict(urllib3.make_headers(basic_auth=f"{name}:{password}"))


@pytest.mark.parametrize("verb", ["PATCH", "PUT", "GET", "DELETE"])
def test_cve_2026_32589_an_upload_of_another_user_or_repository_is_not_there(wire: Wire, verb: str) -> None:
    location = wire.ask("POST", "/v2/mine/app/blobs/uploads/").headers["Location"]
    query = f"?digest={Digest.of(b'x')}" if verb == "PUT" else ""
    for who, place in (("second", location), ("mine", location), ("admin", location.replace("app", "other"))):
        assert code(wire.as_user(who).ask(verb, place + query, b"x")) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert wire.ask("GET", location).headers["X-Upload-Offset"] == "0"


def test_cve_2026_32590_nothing_of_ours_runs_what_it_reads() -> None:
    wrong = []
    for package in ("registry", "bundles", "installer"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if {"pickle", "marshal", "shelve", "dill"} & {name.split(".")[0] for name in names}:
                    wrong.append(f"{path}: imports {names}")
                is_safe = called == "yaml.load" and "yaml.SafeLoader)" in path.read_text()  # a class of ours below it
                if called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec") and not is_safe:
                    wrong.append(f"{path}: {called}")
    assert wrong == []


def test_cve_2026_27771_private_is_private_on_every_route(wire: Wire) -> None:
    digest = wire.push_image("theirs/app", image(), "1")
    nobody = wire.as_user(None)
    for route in ROUTES:
        if route.permission is Permission.NONE:
            continue
        path = route.path.replace("{name}", "theirs/app").replace("{reference}", "1").replace("{digest}", str(digest))
        path = path.replace("{id}", "0" * 32).replace("{path}", "theirs/app/1/x")
        assert nobody.ask(route.method, path, b"x").status == 401, route


def test_pulps_mount_needs_a_pull_of_the_source(wire: Wire) -> None:
    digest = wire.push_blob("theirs/app", SECRET)
    answer = wire.as_user("mine").ask("POST", f"/v2/mine/app/blobs/uploads/?mount={digest}&from=theirs/app")
    assert answer.status == 202
    assert wire.ask("HEAD", f"/v2/mine/app/blobs/{digest}").status == 404


@pytest.mark.parametrize(
    "text", ["sha256:../../etc/passwd", "sha256:..", "sha256:/" + "0" * 63, "../sha256:" + "0" * 64]
)
def test_oras_py_a_digest_never_becomes_a_path_before_it_is_one(text: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        Digest.parse(text)
