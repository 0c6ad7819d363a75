"""Whatever a registry writes into its headers, the client reads it as something bounded, or not at all."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict

from registry.client.address import is_loopback, origin, origin_of, redirected, registry_origin
from registry.client.answer import Reply
from registry.client.capabilities import Capabilities
from registry.client.challenges import challenges
from registry.client.pace import retry_after
from registry.client.upload_state import Resumable
from registry.client.uploads import reported_offset
from registry.errors import RemoteError, UsageError

PIECES = st.sampled_from(['"', "\\", ",", "=", " ", "Bearer", "Basic", "realm", "scope", "x", "\t", "é", "\x00", "a=b"])
HEADERS = st.text(max_size=200) | st.lists(PIECES, max_size=60).map("".join)
HOSTS = st.sampled_from(
    ["h", "127.0.0.1", "localhost", "[::1]", "[fe80::1]", "10.0.0.1", "", "u:p@h", "h:x", "h:99999"]
)
URLS = st.builds(
    lambda scheme, host, path: f"{scheme}{host}{path}",
    st.sampled_from(["https://", "http://", "//", "file://", "", "HTTPS://", "javascript:"]),
    HOSTS,
    st.sampled_from(["", "/", "/x?y=1", "/../..", "?q", "#f", ":443", ":80"]),
) | st.text(max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(header=HEADERS)
def test_any_challenge_is_read_and_its_words_are_the_headers_own(header: str) -> None:
    for challenge in challenges(header):
        assert challenge.scheme == challenge.scheme.lower()
        assert challenge.scheme in header.lower()


@pytest.mark.parametrize("unit", ['a="', "a=", "\\", '"', ",", " ", "a ", 'a="\\'])
def test_a_challenge_meant_to_hurt_is_read_in_no_time(unit: str) -> None:
    began = time.monotonic()
    challenges("Bearer " + unit * 100_000)
    assert time.monotonic() - began < 2


@given(header=HEADERS | st.integers().map(str))
def test_any_retry_after_is_a_wait_or_nothing(header: str) -> None:
    seconds = retry_after(header)
    assert seconds is None or 0 <= seconds < 1e12


@given(text=HEADERS | st.from_regex(r"(bytes=)?0-\d{1,30}", fullmatch=True), exact=HEADERS | st.integers().map(str))
def test_any_status_of_an_upload_is_a_number_of_bytes_or_nothing(text: str, exact: str) -> None:
    reply = Reply(204, HTTPHeaderDict({"Range": text, "X-Upload-Offset": exact}), b"", "https://h/")
    offset = reported_offset(reply)
    assert offset is None or 0 <= offset < 1 << 64


@given(base=st.sampled_from(["https://h/v2/", "http://127.0.0.1:5000/v2/"]), location=URLS)
def test_any_redirect_stays_on_https_or_on_this_machine(base: str, location: str) -> None:
    try:
        target = urlsplit(redirected(base, location))
    except RemoteError:
        return
    assert target.username is None
    assert target.scheme == "https" or (base.startswith("http:") and is_loopback(target.hostname))


@given(url=URLS)
def test_any_address_is_an_origin_that_stays_itself_or_a_refusal(url: str) -> None:
    try:
        found = registry_origin(url)
    except UsageError as error:
        told = error.seen
    else:
        told = found
        parts = urlsplit(found)
        assert registry_origin(found) == found == origin_of(found) == origin(parts.scheme, parts.hostname, parts.port)
        assert parts.scheme == "https" or is_loopback(parts.hostname)
    assert "u:p" not in told


@given(value=st.dictionaries(st.sampled_from(["registry", "repository", "date", "capabilities", "mount"]), VALUES))
def test_any_json_is_what_a_probe_found_or_a_refusal(value: dict[str, object]) -> None:
    try:
        found = Capabilities.from_json(value)
    except ValueError:
        return
    assert Capabilities.from_json(found.as_json()) == found


@given(value=st.dictionaries(st.sampled_from(["location", "offset", "x"]), VALUES))
def test_any_json_is_the_state_of_an_upload_or_a_refusal(value: dict[str, object]) -> None:
    try:
        state = Resumable.from_json(value)
    except ValueError:
        return
    assert state.offset >= 0
    assert Resumable.from_json(state.as_json()) == state
