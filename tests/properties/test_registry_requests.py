"""What the registry reads in a request, fed with whatever comes, and judged by somebody who reads it another way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, TypeVar

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from registry.client.credentials import challenges
from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name
from registry.server import files, listings, login, ranges, uploads
from registry.server.auth import Access, _basic
from registry.server.blobs import is_known
from registry.server.clientcerts import names
from registry.server.exchange import Request
from registry.server.limits import Limits, address_of
from registry.server.routes import ROUTES, Route, match
from registry.server.sessions import Sessions
from registry.server.threads import Threads
from registry.server.wire import Refusal, warning

T = TypeVar("T")
steady = settings(derandomize=True, deadline=None, max_examples=200)
text = st.text(max_size=60)
plain = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
latin = st.text(alphabet=st.characters(codec="latin-1"), max_size=20)
parts = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*", fullmatch=True)
words = parts | st.sampled_from(["blobs", "manifests", "tags", "list", "uploads", "referrers", "v2"])
repositories = st.lists(words, min_size=1, max_size=4).map("/".join).filter(lambda name: len(name) < 200)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", fullmatch=True)
digests = st.binary(max_size=4).map(lambda data: str(Digest.of(data)))
titles = st.lists(st.text(alphabet="ab.%+ é~", min_size=1, max_size=6), min_size=1, max_size=4)
addresses = st.ip_addresses().map(str)


def attempt(read: Callable[[], T]) -> tuple[T | None, Refusal]:
    """Return what was read, or how it was refused; whatever else is raised is a fault."""
    try:
        return read(), Refusal("UNSUPPORTED", "not refused", status=200)
    except Refusal as refusal:
        return None, refusal


# Paths and queries


@steady
@given(repositories, tags | digests, st.sampled_from([route for route in ROUTES if "{name}" in route.path]))
def test_every_path_that_can_be_written_is_read_as_it_was_meant(name: str, last: str, route: Route) -> None:
    path = re.sub(r"\{(digest|reference|id)\}", last, route.path.replace("{name}", name))
    found = match(path)
    assert found is not None
    assert route in found.routes.values()
    assert found.repository == name
    assert found.argument == ("" if route.path.endswith(("list", "/")) else last)


@steady
@given(st.binary(max_size=80) | st.text(alphabet="ab=&%2;+?#", max_size=60).map(str.encode))
def test_a_query_is_read_as_the_standard_library_reads_it_or_refused(query: bytes) -> None:
    scope = {"method": "GET", "path": "/v2/", "raw_path": b"/v2/", "query_string": query, "headers": []}
    request, refusal = attempt(lambda: Request.of(scope, None))  # type: ignore[arg-type]
    try:
        wanted = urllib.parse.parse_qs(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        assert refusal.status == 400
    else:
        assert request is not None
        assert request.query == wanted


@steady
@given(st.text(alphabet="0123456789+-_ .e\u0661\u00b2", max_size=14) | st.integers().map(str))
def test_a_number_of_entries_is_a_number_or_refused(n: str) -> None:
    call: Any = SimpleNamespace(request=SimpleNamespace(asked=lambda _: n))
    most, refusal = attempt(lambda: listings._most(call))
    if re.fullmatch(r"[0-9]+", n, re.ASCII):
        assert most == min(int(n), listings.PAGE)
    else:
        assert refusal.status == 400


@steady
@given(repositories, tags | digests, titles)
def test_a_file_is_found_however_its_name_is_quoted(name: str, reference: str, title: list[str]) -> None:
    path = "/".join([name, reference, *(urllib.parse.quote(part) for part in title)])
    wanted = Digest.parse(reference) if ":" in reference else reference
    assert (name, wanted, "/".join(title)) in list(files._splits(path))


@steady
@given(st.text(alphabet="ab/%2f.:", max_size=60))
def test_what_a_files_path_may_mean_is_a_repository_a_reference_and_a_title(path: str) -> None:
    for repository, reference, title in files._splits(path):
        assert repository_name(repository) == repository
        assert isinstance(reference, Digest) or tag_name(reference) == reference
        assert urllib.parse.unquote(path) == f"{repository}/{reference}/{title}"


# Headers


@steady
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: f"{pair[0]}-{pair[1]}")
        | st.integers(0, 40).map(lambda first: f"{first}-")
        | st.integers(0, 40).map(lambda last: f"-{last}"),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 30),
)
def test_ranges_are_the_bytes_that_rfc_9110_says(asked: list[str], size: int) -> None:
    wanted: list[set[int]] = []
    for one in asked:
        first, _, last = one.partition("-")
        if first:
            wanted.append({at for at in range(size) if at >= int(first) and (not last or at <= int(last))})
        else:
            wanted.append(set(range(size)[-int(last) :]) if int(last) else set())
    satisfiable = [one for one in wanted if one]
    try:
        found = ranges.parse(f"bytes={', '.join(asked)}", size)
    except ranges.UnsatisfiableError:
        assert not satisfiable
        return
    assert satisfiable
    if found:
        assert [set(range(*span)) for span in found] == satisfiable
    else:  # the whole is given: they overlap, or do not ascend
        assert any(max(one) >= min(other) for one, other in pairwise(satisfiable))


@steady
@given(
    st.text(alphabet="bytes =0123456789-/*", max_size=30)
    | st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.integers(0, 50),
    st.none() | st.integers(0, 60),
)
def test_a_chunk_is_what_comes_next_and_as_long_as_it_says(header: str, start: int, length: int | None) -> None:
    request = SimpleNamespace(headers={"content-range": header}, length=length)
    call: Any = SimpleNamespace(request=request, repository="a", argument="0" * 32)
    writer: Any = SimpleNamespace(start=start)
    expected, refusal = attempt(lambda: uploads._expected(call, writer))
    found = re.fullmatch(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\*|\d{1,19}))?", header.strip(" "), re.ASCII)
    if not found:
        assert refusal.status == 400
        return
    first, last = int(found[1]), int(found[2])
    if first != start or last < first:
        assert (refusal.status, refusal.headers["X-Upload-Offset"]) == (416, str(start))
    elif length not in (None, last - first + 1):
        assert refusal.code == "SIZE_INVALID"
    else:
        assert expected == last - first + 1


@steady
@given(st.lists(st.tuples(digests, st.booleans()), max_size=4), digests)
def test_what_a_client_says_it_has_is_compared_whole(had: list[tuple[str, bool]], digest: str) -> None:
    header = ", ".join(f'{"W/" if is_weak else ""}"{one}"' for one, is_weak in had)
    assert is_known(header, f'"{digest}"') == (digest in dict(had))
    assert is_known("*", f'"{digest}"')
    assert not is_known(None, f'"{digest}"')


@steady
@given(plain.filter(lambda name: ":" not in name), plain)
def test_basic_credentials_are_read_as_they_were_written(name: str, password: str) -> None:
    assert _basic("Basic", base64.b64encode(f"{name}:{password}".encode()).decode()) == (name, password)


@steady
@given(text | st.just("Basic"), text | st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode()))
def test_whatever_stands_in_place_of_credentials_is_refused_or_read(scheme: str, value: str) -> None:
    found, refusal = attempt(lambda: _basic(scheme, value))
    if found is None:
        assert (refusal.status, set(refusal.headers)) == (401, {"WWW-Authenticate"})
    else:
        assert scheme.lower() == "basic"
        assert base64.b64decode(value.strip()).decode() in (":".join(found), found[0])


@steady
@given(text | addresses, text | addresses | st.none(), st.booleans())
@example("fe80::1%eth0", None, True)
@example("::ffff:10.0.0.1", "::1", False)
def test_a_request_counts_for_an_address_a_network_or_nobody(peer: str, forwarded: str | None, loopback: bool) -> None:
    found = address_of(peer, forwarded, Limits(limits_loopback=loopback, proxies=frozenset({"10.0.0.1"})))
    if found:
        ipaddress.ip_network(found)
        return
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return
    assert not loopback
    assert address.is_loopback or not forwarded


@steady
@given(
    st.sampled_from(["Bearer", "Basic", "Digest"]),
    st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), latin, min_size=1),
)
def test_a_challenge_is_read_as_it_was_written(scheme: str, parameters: Mapping[str, str]) -> None:
    quoted = {name: re.sub(r'(["\\])', r"\\\1", value) for name, value in parameters.items()}
    header = f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in quoted.items())
    (found,) = challenges(header)
    assert (found.scheme, dict(found.parameters)) == (scheme.lower(), dict(parameters))
    assert [one.scheme for one in challenges(f'{header}, Basic realm="x"')] == [scheme.lower(), "basic"]


@steady
@given(st.text(alphabet='Bearer =,"\\ab\t', max_size=80) | text)
def test_any_challenge_header_ends_in_a_list(header: str) -> None:
    for one in challenges(header):
        assert one.scheme == one.scheme.lower() != ""
        assert all(one.parameters)


@steady
@given(repositories, st.sampled_from(["pull", "pull,push", "delete"]))
def test_our_challenge_says_to_a_client_what_it_has_to_ask_for(name: str, actions: str) -> None:
    access = Access(None, Threads())
    access._realm = "https://registry.example.org/token"
    (found,) = challenges(access.challenge(f"repository:{name}:{actions}", "insufficient_scope")["WWW-Authenticate"])
    assert found.parameters["scope"] == f"repository:{name}:{actions}"
    assert found.parameters["realm"] == "https://registry.example.org/token"


@steady
@given(st.text(max_size=600))
def test_a_warning_is_one_header_of_plain_text(said: str) -> None:
    (value,) = warning(said).values()
    assert re.fullmatch(r'299 - "[ -!#-\[\]-~]{0,512}"', value)


# Bodies, sessions, certificates


@steady
@given(st.binary(max_size=80) | st.dictionaries(latin, latin).map(lambda form: urllib.parse.urlencode(form).encode()))
def test_a_form_is_read_as_the_standard_library_reads_it_or_refused(data: bytes) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": data, "more_body": False}

    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    call: Any = SimpleNamespace(request=Request("POST", "/token", {}, headers, receive))
    form, refusal = attempt(lambda: asyncio.run(login._form(call)))
    try:
        wanted = urllib.parse.parse_qs(data.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        assert refusal.status == 400
    else:
        assert form == wanted


class Ann:
    name, mark, grants = "ann", "1", ()

    def has_password(self, _: str) -> bool:
        return False


KNOWN: Any = {"ann": Ann()}


@steady
@given(text | st.from_regex(r"[A-Za-z0-9_-]{0,8}\.[0-9]{0,12}\.[A-Za-z0-9_-]{0,44}", fullmatch=True))
def test_no_text_is_a_session(value: str) -> None:
    assert Sessions(b"k" * 32).user(value, 1000, KNOWN.get) is None


@steady
@given(st.integers(0, 200), st.characters(codec="latin-1"))
def test_no_session_with_one_character_changed_is_one(where: int, char: str) -> None:
    sessions = Sessions(b"k" * 32)
    value = sessions.begin(KNOWN["ann"], 1000)
    at = where % (len(value) - 1)  # the last one has bits to spare, in base64
    assume(value[at] != char)
    assert sessions.user(value[:at] + char + value[at + 1 :], 1000, KNOWN.get) is None


@steady
@given(st.binary(max_size=400))
def test_any_certificate_has_its_fingerprint_at_least(data: bytes) -> None:
    assert names(data)[0] == f"sha256:{hashlib.sha256(data).hexdigest()}"
