"""Every path of the API and of the pages against every role; and that what is hidden looks like what is not there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from registry.oci.digest import Digest
from registry.server.admin import VIEWS, View
from registry.server.pages.routes import ROUTES as PAGES
from registry.server.pages.routes import PageRoute
from registry.server.serve import Running
from registry.store.store import Store
from tests.people.conftest import Place, Visitor
from tests.people_samples import GATEWAY

NAMES = {
    "repositories/{name:path}": "repositories/team/api",
    "manifests/{name:path}": "manifests/team/api:1.0",
    "packs/{name:path}": "packs/spectro-packs/archive/local-storage",
    "logos/{name:path}": "logos/spectro-packs/archive/local-storage@",
    "static/{mark}/{name}": "static/0/pages.css",
}
GUARDED = [route for route in PAGES if not route.is_open and route.method == "GET"]


def path_of(row: View | PageRoute, visitor: Visitor) -> str:
    path = ("/api/v1/" if isinstance(row, View) else "/ui/") + NAMES.get(row.path, row.path)
    assert "{" not in path
    return path + logo_digest(visitor) if path.endswith("@") else path


def logo_digest(visitor: Visitor) -> str:
    found = json.loads(visitor.by("admin").ask("/api/v1/packs/spectro-packs/archive/local-storage").data)
    return str(found["row"]["logo"])


def identify(row: View | PageRoute) -> str:
    return f"{'api' if isinstance(row, View) else 'page'} {row.path or 'front'}"


@pytest.mark.parametrize("row", [*VIEWS, *GUARDED], ids=identify)
@pytest.mark.parametrize("user", ["admin", "reader", "writer", "counter", "nothing"])
def test_the_inside_is_for_administrators_and_the_rest_for_who_may_pull_it(
    visitor: Visitor, row: View | PageRoute, user: str
) -> None:
    path = path_of(row, visitor)
    names_something = ":path}" in row.path
    expected = {"admin": 200, "reader": 403 if row.is_inside else 200}.get(
        user, 403 if row.is_inside else 404 if names_something else 200
    )
    for method in ("GET", "HEAD"):
        assert visitor.by(user).ask(path, method).status == expected, (user, path)


@pytest.mark.parametrize("view", VIEWS, ids=identify)
def test_the_api_asks_for_credentials(visitor: Visitor, view: View) -> None:
    path = path_of(view, visitor)
    for given in ({}, {"Authorization": "Basic bm9ib2R5Ong="}, {"Authorization": "Bearer x"}, {"Cookie": "x=y"}):
        answer = visitor.ask(path, **given)
        assert answer.status == 401
        assert json.loads(answer.data)["errors"][0]["code"] == "UNAUTHORIZED"
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("route", GUARDED, ids=identify)
def test_a_page_leads_to_the_form_and_back(visitor: Visitor, route: PageRoute) -> None:
    path = path_of(route, visitor)
    answer = visitor.ask(f"{path}?q=a%20b")
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/ui/login?next=%2Fui%2F")
    form = visitor.text(answer.headers["Location"])
    assert f'value="{path}?q=a+b"' in form.replace("&#64;", "@")


@pytest.mark.parametrize("path", ["/ui/x", "/ui/static/0/x", "/ui/static/0/..%2froutes.py", "/api/v1/", "/api/v1/x"])
def test_what_is_in_no_table_does_not_exist(visitor: Visitor, path: str) -> None:
    assert visitor.by("admin").ask(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_api_changes_nothing(visitor: Visitor, method: str) -> None:
    answer = visitor.by("admin").ask("/api/v1/repositories", method)
    assert answer.status == 405
    assert json.loads(answer.data)["errors"][0]["code"] == "UNSUPPORTED"


@pytest.mark.parametrize(
    ("hidden", "missing"),
    [
        (
            "/api/v1/repositories/registry.example.org/edge/gateway",
            "/api/v1/repositories/registry.example.org/edge/none",
        ),
        (
            "/api/v1/manifests/registry.example.org/edge/gateway:2.1",
            "/api/v1/manifests/registry.example.org/edge/none:2.1",
        ),
        ("/ui/repositories/registry.example.org/edge/gateway", "/ui/repositories/registry.example.org/edge/none"),
        ("/ui/repositories/registry.example.org/edge/gateway:2.1", "/ui/repositories/registry.example.org/edge/none:1"),
        ("/ui/packs/spectro-packs/archive/local-storage", "/ui/packs/spectro-packs/archive/none"),
    ],
)
def test_what_is_hidden_looks_like_what_is_not_there(visitor: Visitor, hidden: str, missing: str) -> None:
    user = visitor.by("nothing")
    there, none = user.ask(hidden), user.ask(missing)
    assert (there.status, there.data) == (none.status, none.data)
    assert there.status == 404
    assert visitor.by("admin").ask(hidden).status == 200


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/repositories", "/ui/packs", "/ui/bundles", "/api/v1/repositories", "/api/v1/bundles"]
)
def test_lists_name_only_what_the_caller_may_pull(visitor: Visitor, path: str) -> None:
    text = visitor.by("reader").text(path)
    assert "edge/gateway" not in text
    assert "quickstart" not in text
    assert "team/private/ledger" in visitor.by("reader").text("/ui/repositories")
    assert "team/" not in visitor.by("nothing").text(path)


def test_a_pack_does_not_tell_whether_images_that_are_hidden_are_here(visitor: Visitor) -> None:
    path = "/api/v1/packs/spectro-packs/archive/ingress-gateway"
    images = {user: json.loads(visitor.by(user).ask(path).data)["images"] for user in ("admin", "reader")}
    assert images["admin"][0] == {"reference": f"{GATEWAY}:2.1", "servedAt": f"{GATEWAY}:2.1"}
    assert [image["servedAt"] for image in images["reader"]] == ["", ""]


def test_naming_anothers_archive_in_a_sparse_manifest_shows_nothing_of_it(visitor: Visitor, place: Place) -> None:
    known = json.loads(visitor.by("admin").ask("/api/v1/packs/spectro-packs/archive/local-storage").data)
    store: Store = place.store
    manifest = store.manifest("spectro-packs/archive/local-storage", Digest.parse(known["digest"]))
    assert manifest is not None
    (store.folder / "policy.yaml").write_text('rules: [{repositories: ["team/*"], sparse: all}]\n')
    try:
        store.put_manifest("team/spectro-packs/archive/thief", *manifest, ["1.0"])
    finally:
        (store.folder / "policy.yaml").unlink()
    reader = visitor.by("reader")
    assert reader.ask("/ui/packs/team/spectro-packs/archive/thief:1.0").status == 404
    assert reader.ask(f"/ui/logos/team/spectro-packs/archive/thief@{known['archive']}").status == 404
    assert "the archive is not here" in reader.text("/ui/packs?q=thief")


def test_anybody_may_look_where_anybody_may_pull(place: Place) -> None:
    with Running(replace(place.settings, anonymous_pull=True), place.store) as running:
        nobody = Visitor(running.url)
        assert "edge/gateway" in nobody.text("/ui/repositories")
        assert "Log in" in nobody.text("/ui/")
        assert nobody.ask("/ui/users").status == 403
        assert nobody.ask("/api/v1/storage").status == 403


def test_users_are_listed_without_a_word_that_lets_anybody_in(visitor: Visitor, place: Place) -> None:
    for path in ("/api/v1/users", "/ui/users"):
        text = visitor.by("admin").text(path)
        assert "pull:team/*" in text
        assert "pbkdf2" not in text
        assert all(line.split("$")[-1].split(":")[0] not in text for line in place.users.read_text().splitlines())


def test_no_answer_names_a_path_of_the_server(visitor: Visitor, place: Place) -> None:
    for row in [*VIEWS, *GUARDED]:
        assert str(place.folder).encode() not in visitor.by("admin").ask(path_of(row, visitor)).data
