"""What the registry tells of itself: an audit line for each write and refusal, and counters for Prometheus."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.server.audit import entries, verify
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.contracts.conftest import ITERATIONS, Wire, code, write_users
from tests.oci_samples import image

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')


@dataclass
class Site:
    """A registry with an access folder."""

    wire: Wire
    folder: Path

    def lines(self, *names: str, least: int = 0) -> list[tuple[object, ...]]:
        deadline = time.monotonic() + 10  # a refusal's line follows its answer
        while len(found := list(entries(self.folder))) < least and time.monotonic() < deadline:
            time.sleep(0.02)
        return [tuple(line.get(name) for name in names) for line in found]

    def count(self, series: str) -> float:
        text = self.wire.as_user("meter").ask("GET", "/metrics").data.decode()
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(series)), 0.0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    users = write_users(tmp_path / "users")
    more = [("meter", ["metrics:*"]), ("creator", ["pull,create:shared/*"])]
    lines = (user_line(name, f"pw-{name}", grants, iterations=ITERATIONS) for name, grants in more)
    users.write_text(users.read_text() + "\n".join(lines) + "\n")
    settings = Settings(users=users, access=tmp_path / "access")
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        yield Site(Wire(running.url), tmp_path / "access/audit")


def test_every_write_has_its_line_before_its_answer(site: Site) -> None:
    sample = image()
    digest = site.wire.push_image("team/app", sample, "1.0")
    names = ("event", "user", "repository", "reference", "address")
    assert site.lines(*names)[-1] == ("manifest.put", "admin", "team/app", "1.0", "127.0.0.1")
    assert len(site.lines()) == len(sample.blobs) + 1
    assert site.wire.ask("DELETE", "/v2/team/app/manifests/1.0").status == 202
    assert site.lines("event", "reference")[-1] == ("manifest.delete", "1.0")
    layer = Digest.of(sample.layer)
    assert site.wire.ask("POST", f"/v2/team/other/blobs/uploads/?mount={layer}&from=team/app").status == 201
    assert site.lines("event", "repository", "digest")[-1] == ("blob.put", "team/other", str(layer))
    assert site.wire.ask("DELETE", f"/v2/team/app/manifests/{digest}").status == 202
    assert site.wire.ask("DELETE", f"/v2/team/other/blobs/{layer}").status == 202
    assert site.lines("event", "reference")[-1] == ("blob.delete", str(layer))
    assert verify(site.folder).sequence == len(site.lines())


def test_reading_and_what_failed_leave_no_line(site: Site) -> None:
    for path in ("/v2/", "/v2/_catalog", "/v2/team/app/tags/list", "/v2/team/app/manifests/1.0", "/livez"):
        site.wire.ask("GET", path)
    site.wire.as_user(None).ask("GET", "/v2/")  # a first knock, which every client does
    assert site.wire.ask("POST", "/v2/team/app/blobs/uploads/").status == 202
    assert site.wire.push_manifest("team/app", b"{}", "1.0").status == 400
    time.sleep(0.1)
    assert site.lines() == []


def test_who_is_turned_away_has_a_line(site: Site) -> None:
    site.wire.pool.request("GET", f"{site.wire.url}/v2/", headers=urllib3.make_headers(basic_auth="admin:guess"))
    site.wire.as_user("reader").ask("DELETE", "/v2/team/app/manifests/1.0")
    names = ("event", "user", "tried", "repository")
    seen = sorted(map(str, site.lines(*names, least=2)))
    assert seen == sorted(
        map(str, [("login.refused", None, "admin", None), ("access.denied", "reader", None, "team/app")])
    )
    assert all(b"guess" not in path.read_bytes() for path in site.folder.iterdir())


def test_who_may_create_moves_no_tag(site: Site) -> None:
    one, two = image(b"one"), image(b"two")
    creator = site.wire.as_user("creator")
    creator.push_image("shared/app", one, "1.0")
    assert creator.push_manifest("shared/app", one.manifest, "1.0").status == 201  # the same again
    for data in two.blobs.values():
        creator.push_blob("shared/app", data)
    digest = Digest.of(two.manifest)
    for reference in ("1.0", f"{digest}?tag=2.0&tag=1.0"):
        refused = creator.push_manifest("shared/app", two.manifest, reference)
        assert code(refused) == (403, "DENIED"), refused.data
    assert site.wire.ask("GET", "/v2/shared/app/manifests/1.0").data == one.manifest
    assert site.wire.ask("GET", "/v2/shared/app/manifests/2.0").status == 404
    assert creator.push_manifest("shared/app", two.manifest, "2.0").status == 201
    assert code(creator.ask("DELETE", "/v2/shared/app/manifests/2.0")) == (403, "DENIED")
    assert site.wire.push_manifest("shared/app", two.manifest, "1.0").status == 201


def test_counters_are_in_prometheus_form_and_count(site: Site) -> None:
    site.wire.push_blob("team/app", b"x" * 1000)
    site.wire.ask("GET", f"/v2/team/app/blobs/{Digest.of(b'x' * 1000)}")
    site.wire.ask("GET", f"/v2/team/app/blobs/{Digest.of(b'none')}")
    site.wire.pool.request("GET", f"{site.wire.url}/v2/", headers=urllib3.make_headers(basic_auth="admin:guess"))
    answer = site.wire.as_user("meter").ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.data.decode().splitlines()
    assert [line for line in lines if not line.startswith(("# HELP ", "# TYPE ")) and not LINE.fullmatch(line)] == []
    assert len({line.split()[2] for line in lines if line.startswith("# TYPE")}) == sum(
        "# TYPE" in line for line in lines
    )
    route = 'route="GET /v2/{name}/blobs/{digest}"'
    assert site.count(f'dryport_requests_total{{{route},status="200"}}') == 1
    assert site.count(f'dryport_requests_total{{{route},status="404"}}') == 1
    assert site.count(f'dryport_request_seconds_bucket{{{route},le="+Inf"}}') == 2
    assert site.count("dryport_logins_failed_total") == 1
    assert site.count("dryport_bytes_received_total") == 1000
    assert site.count("dryport_bytes_sent_total") >= 1000
    assert site.count("dryport_audit_lines_total") == 2
    assert site.count("dryport_audit_waiting") == 0
    assert site.count("process_resident_memory_bytes") > 1e6


def test_answers_from_memory_are_counted_too(site: Site) -> None:
    site.wire.push_image("team/app", image(), "1.0")
    for _ in range(4):
        assert site.wire.ask("GET", "/v2/team/app/manifests/1.0").status == 200
    ordinary = site.count('dryport_requests_total{route="GET /v2/{name}/manifests/{reference}",status="200"}')
    assert ordinary + site.count('dryport_requests_total{route="GET from memory",status="200"}') == 4


@pytest.mark.parametrize("user", ["admin", "reader", None])
def test_counters_have_a_permission_of_their_own(site: Site, user: str | None) -> None:
    assert site.wire.as_user(user).ask("GET", "/metrics").status == (403 if user else 401)
