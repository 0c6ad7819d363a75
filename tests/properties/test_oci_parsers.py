"""Parsers of what strangers send, fed with whatever comes: a value or a ValueError, in bounded time, nothing else."""

from __future__ import annotations

import fnmatch
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.glob import glob
from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest
from registry.oci.reference import NAME_BYTES, Reference, repository_name, tag_name
from registry.server import ranges
from registry.server.routes import match
from registry.server.upstream import origin

steady = settings(derandomize=True, deadline=None, max_examples=200)
TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
names = st.text(alphabet="ab0._-/%:@ A\x00é", max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(TYPES),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType",
             "digest", "size", "data", "platform", "urls"]
        )
        | st.text(max_size=3),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip
digests = st.binary(max_size=8).map(lambda data: str(Digest.of(data))) | st.text(max_size=10)
descriptors = st.fixed_dictionaries(
    {"mediaType": st.sampled_from([*TYPES, "a/b", "", None]), "digest": digests, "size": st.integers() | st.just("2")},
    optional={"data": st.text(max_size=8), "annotations": values, "platform": values, "artifactType": values},
)
manifests = st.fixed_dictionaries(
    {"schemaVersion": st.sampled_from([2, 2, 2, 1, "2"])},
    optional={
        "mediaType": st.sampled_from([*TYPES, "x", None]),
        "config": descriptors | values,
        "layers": st.lists(descriptors, max_size=3) | values,
        "manifests": st.lists(descriptors, max_size=3) | values,
        "subject": descriptors | values,
        "annotations": st.dictionaries(st.text(max_size=5), st.text(max_size=5)) | values,
        "artifactType": st.text(max_size=5) | values,
    },
)


@steady
@given(names)
def test_a_name_is_itself_or_none(text: str) -> None:
    try:
        name = repository_name(text)
    except ValueError:
        return
    assert name == text
    assert len(name) <= NAME_BYTES
    assert all(part.strip("._-") == part != "" for part in name.split("/"))
    assert name.isascii()
    assert name == name.lower()


@steady
@given(names)
def test_a_tag_is_itself_or_none(text: str) -> None:
    try:
        assert tag_name(text) == text
    except ValueError:
        return
    assert 1 <= len(text) <= 128
    assert text[0] not in ".-"
    assert not set(text) & set("/:@% \x00")


@steady
@given(st.text(alphabet="sha256:5012efg/.+A", max_size=140) | digests)
def test_a_digest_spells_itself_and_never_a_path(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except ValueError:
        return
    assert str(digest) == text
    assert set(digest.hex) <= set("0123456789abcdef")
    assert len(digest.hex) == {"sha256": 64, "sha512": 128}[digest.algorithm]


@steady
@given(names | st.text(max_size=60))
def test_a_reference_reads_what_it_wrote(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ValueError:
        return
    assert Reference.parse(str(reference)) == reference


@steady
@given(names, names)
def test_an_upstream_name_is_a_repository_or_nothing(namespace: str, name: str) -> None:
    found = origin(namespace, name)
    assert found is None or repository_name(found) == found


@steady
@given(st.text(alphabet="ab/*.", max_size=12), st.text(alphabet="ab/.", max_size=16))
def test_a_glob_stands_for_what_fnmatch_says(pattern: str, text: str) -> None:
    assert (glob(pattern).fullmatch(text) is not None) == fnmatch.fnmatchcase(text, pattern)


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*a*a*b", "*" * 100 + "b", "a*" * 100 + "b", "*ab" * 60 + "/"])
def test_no_name_takes_long_to_match_a_glob(pattern: str) -> None:
    begun = time.process_time()
    for text in ("a" * 255, "ab" * 127, "aab" * 85):
        assert glob(pattern).fullmatch(text) is None or text.endswith("b")
    assert time.process_time() - begun < 0.5


@steady
@given(st.text(alphabet="bytes=0123456789-, \tx", max_size=60) | st.text(max_size=20), st.integers(0, 3000))
def test_ranges_lie_within_the_content_ascend_and_are_never_more_than_it(header: str, size: int) -> None:
    try:
        found = ranges.parse(header, size)
    except ranges.UnsatisfiableError:
        return
    end = 0
    for first, behind in found:
        assert end <= first < behind <= size
        end = behind


@steady
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), min_size=2, max_size=8),
    st.integers(1, 50),
)
def test_a_multipart_body_is_the_same_however_it_is_read(spans: list[tuple[int, int]], step: int) -> None:
    class Bytes:
        size = 3000

        def read(self, offset: int, length: int) -> bytes:
            return bytes((offset + number) % 251 for number in range(min(length, self.size - offset)))

        def close(self) -> None:
            pass

    body = ranges.Multipart(Bytes(), [(first, first + length) for first, length in spans], "a/b")
    whole = body.read(0, body.size)
    assert len(whole) == body.size
    assert b"".join(body.read(offset, step) for offset in range(0, body.size, step)) == whole
    for first, length in spans:
        assert Bytes().read(first, length) in whole


@steady
@given(st.text(alphabet="/v2abtagslistmanifestsblobsuploads_.:%", max_size=80))
def test_any_path_has_one_route_or_none(text: str) -> None:
    for path in (text, f"/v2/{text}"):
        found = match(path)
        assert found is None or found.routes


@steady
@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_json_is_read_as_python_reads_it_or_not_at_all(data: bytes) -> None:
    try:
        value = strictjson.loads(data)
    except ValueError:
        return
    assert value == json.loads(data.decode())


@steady
@given(st.text(alphabet='[]{}",:\\a1', max_size=200))
def test_the_depth_is_what_counting_by_hand_gives(text: str) -> None:
    deep = "[" * 60 + text
    depth = deepest = 0
    is_quoted = is_escaped = False
    for char in deep:
        if is_quoted:
            is_quoted, is_escaped = char != '"' or is_escaped, char == "\\" and not is_escaped
        elif char == '"':
            is_quoted = True
        else:
            depth += (char in "[{") - (char in "]}")
            deepest = max(deepest, depth)
    seen = strictjson._depth(deep.encode())
    assert (seen > strictjson.MAX_DEPTH) == (deepest > strictjson.MAX_DEPTH)


@steady
@given(manifests | values, st.sampled_from(TYPES))
def test_a_manifest_is_read_or_refused_and_what_it_names_can_be_written(value: object, media_type: str) -> None:
    data = json.dumps(value).encode()
    try:
        manifest = Manifest.parse(data, media_type)
    except ValueError:
        return
    assert manifest.data == data
    assert not (manifest.blobs and manifest.children)
    json.dumps(manifest.descriptor.as_json()).encode()
    for item in (*manifest.blobs, *manifest.children):
        assert Descriptor.from_json(item.as_json()) == item
        assert 0 <= item.size < 2**63


good_digests = st.tuples(st.binary(max_size=8), st.sampled_from(["sha256", "sha512"])).map(lambda one: Digest.of(*one))
good_descriptors = st.builds(
    Descriptor,
    st.text(min_size=1, max_size=8),
    good_digests,
    st.integers(0, 2**53),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    st.none() | st.text(min_size=1, max_size=4),
    st.none() | st.fixed_dictionaries({"os": st.text(max_size=4), "architecture": st.text(max_size=4)}),
)
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
more = st.dictionaries(st.text(alphabet="xyz", min_size=1, max_size=3), plain | st.lists(plain, max_size=3), max_size=3)


@steady
@given(
    st.sampled_from(TYPES),
    good_descriptors,
    st.lists(good_descriptors, max_size=3),
    st.none() | good_descriptors,
    st.none() | st.text(min_size=1, max_size=4),
    more,
)
def test_a_manifest_of_the_specification_is_read_as_it_was_written(  # noqa: PLR0917
    media_type: str,
    config: Descriptor,
    items: list[Descriptor],
    subject: Descriptor | None,
    artifact_type: str | None,
    unknown: dict[str, object],
) -> None:
    is_index = media_type in (OCI_INDEX, DOCKER_LIST)
    listed = {"manifests" if is_index else "layers": [one.as_json() for one in items]}
    value = unknown | listed | {"schemaVersion": 2, "mediaType": media_type}
    value |= {} if is_index else {"config": config.as_json()}
    value |= {"subject": subject.as_json()} if subject else {}
    value |= {"artifactType": artifact_type} if artifact_type else {}
    manifest = Manifest.parse(json.dumps(value).encode(), media_type)
    assert (list(manifest.blobs), list(manifest.children)) == (([], items) if is_index else ([config, *items], []))
    assert manifest.subject == subject
    assert manifest.artifact_type == (artifact_type or (None if is_index else config.media_type))


@pytest.mark.parametrize(
    "data",
    [b"[" * (8 << 20), b"[" + b"[]," * (2 << 20) + b"[]]", b'"' * (8 << 20), b'["' + b'\\"' * (4 << 20),
     b"[]" * 100 + b'"' + b'\\"' * (4 << 20), b"[]" * 100 + b"\\" * (8 << 20), b'{"a":"' + b"x" * (8 << 20)],
    ids=["open", "flat", "quotes", "escapes", "unterminated", "backslashes", "long"],
)  # fmt: skip
def test_no_eight_mebibytes_are_slow_to_measure(data: bytes) -> None:
    began = time.process_time()
    strictjson._depth(data)
    assert time.process_time() - began < 4
