"""Parsers of packs and profiles: any bytes give a value or one kind of error, and what holds, holds for all values."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from registry.errors import DefinitionError
from registry.packs import manifests, presets
from registry.packs.charts import Chart, ChartFault, Limits
from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.lint import metadata
from registry.packs.lint.report import lint
from registry.packs.macros import Context, MacroError, find
from registry.packs.model import Dependency, PackMetadata
from registry.packs.reading import PackFiles, read_stream
from registry.packs.references import Image, full_references
from registry.packs.rendering import with_macros
from registry.packs.scalars import dumped, plain
from registry.packs.schema import Format, Rule, SchemaFault, split_path
from registry.packs.tree import Tree
from registry.packs.versions import Range, Version
from registry.profiles.dependencies import Has, problems, proposal
from tests.pack_samples import METADATA, archive, chart

TEXT = some.text(max_size=40)
YAML_TEXT = some.text(alphabet="{}[]:,-?&*!|>'\"#% \n\tab01.~<=y", max_size=60)
SCALARS = some.none() | some.booleans() | some.integers(-(2**62), 2**62) | TEXT
VALUES = some.recursive(
    SCALARS,
    lambda below: some.lists(below, max_size=4) | some.dictionaries(TEXT, below, max_size=4),
    max_leaves=12,
)
MAPS = some.dictionaries(TEXT, VALUES, max_size=5)
METADATA_LIKE = some.dictionaries(
    some.sampled_from([*METADATA, "constraints", "eol", "group", "kubeManifests", "cloudType"]), VALUES, max_size=8
)


def files(**contents: bytes) -> PackFiles:
    named = {name.replace("__", "."): data for name, data in contents.items()}
    return PackFiles("here", "", frozenset(named), named)


@given(some.binary(max_size=400) | TEXT.map(str.encode) | METADATA_LIKE.map(lambda value: json.dumps(value).encode()))
def test_any_pack_json_is_read_or_refused_and_always_judged(data: bytes) -> None:
    with suppress(DefinitionError):
        PackMetadata.parse(data, "here")
    for finding in metadata.judge(files(pack__json=data)):
        assert finding.file == "pack.json"


@given(METADATA_LIKE)
def test_what_the_model_refuses_has_a_finding(value: dict[str, Any]) -> None:
    data = json.dumps({**METADATA, **value}).encode()
    findings = list(metadata.judge(files(pack__json=data)))
    try:
        PackMetadata.parse(data, "here")
    except DefinitionError:
        assert any(one.severity == "error" for one in findings)


@settings(max_examples=60)
@given(MAPS, some.binary(max_size=200) | YAML_TEXT.map(str.encode), YAML_TEXT, YAML_TEXT)
def test_any_pack_is_linted(values: dict[str, Any], data: bytes, schema: str, choice: str) -> None:
    whole = {
        "pack": values,
        "charts": {"web": values},
        "readinessCheck": {"v1beta1": [values, 1]},
        "manifests": values,
    }
    pack = PackFiles(
        "here",
        "x",
        frozenset({"pack.json", "values.yaml", "charts/web-1.0.0.tgz", "schema.yaml", "presets.yaml"}),
        {
            "pack.json": json.dumps(METADATA).encode(),
            "values.yaml": dumped(whole).encode() if len(data) % 2 else data,
            "charts/web-1.0.0.tgz": chart(),
            "schema.yaml": schema.encode(),
            "presets.yaml": f"presets:\n- {{name: a, group: b, add: {json.dumps(choice)}}}".encode(),
        },
    )
    assert lint(pack, None).findings
    PackContent.of(pack)


@given(some.binary(max_size=300) | YAML_TEXT.map(str.encode))
def test_any_yaml_is_a_tree_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        tree = Tree.parse(data)
        assert isinstance(tree.value(), dict)
        assert list(tree.scalars()) is not None
        assert list(tree.twice()) is not None
    with suppress(ValueError):
        manifests.parse(data.decode("utf-8", "replace"))
    presets.read(data)
    presets.enabled(data.decode("utf-8", "replace"))


@given(MAPS)
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    text = dumped(value)
    assert Tree.parse(text.encode()).value() == value
    assert dumped(Tree.parse(text.encode()).value()) == text


@given(some.text(alphabet="0123456789+-._eExXobBynYNtrufalsTRUE~:", max_size=12))
def test_a_plain_scalar_has_a_value(text: str) -> None:
    with suppress(ValueError):
        value = plain(text)
        assert value is None or isinstance(value, bool | int | float | str)


@given(some.text(alphabet='{}|()"`.\\ spectrovarAb-1defaulttrunc', max_size=80))
def test_any_macro_resolves_or_is_refused_and_leaves_the_rest(text: str) -> None:
    spans = [(macro.start, macro.end) for macro in find(text)]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    with suppress(MacroError):
        result = Context({}.get, lambda _: "").resolve(f"<{text}>")
        if not spans:
            assert result == f"<{text}>"


@given(TEXT, TEXT, TEXT)
def test_a_macros_value_is_put_in_as_it_is(before: str, value: str, after: str) -> None:
    context = Context({"spectro.var.A": value}.get)
    text = before.replace("{", "") + "{{ .spectro.var.A }}" + after.replace("}", "").replace("{", "")
    assert context.resolve(text) == text.replace("{{ .spectro.var.A }}", value)


@given(MAPS)
def test_values_without_macros_stay(value: dict[str, Any]) -> None:
    assert with_macros(value, Context({}.get)) == value


@given(some.text(alphabet='${}[]:/,"|-0123 abformtreqid\\', max_size=60), VALUES)
def test_any_format_judges_any_value(source: str, value: Any) -> None:  # noqa: ANN401
    with suppress(SchemaFault):
        assert isinstance(Format.parse(source).fault(value), str)
    with suppress(SchemaFault):
        Rule.parse("{{" + source + "}}")
    with suppress(SchemaFault):
        assert all(split_path(source))


@given(some.text(alphabet="${}", max_size=20), some.text(alphabet="ab -", max_size=10))
def test_literal_text_fits_itself_alone(noise: str, text: str) -> None:
    if "${" not in text + noise:
        assert Format.parse(text + noise).fault(text + noise) == ""
        assert Format.parse(text + noise).fault(text + noise + "x")


NUMBER = some.integers(0, 10**6)
VERSION = some.builds(
    lambda parts, pre: ".".join(map(str, parts)) + (f"-{pre}" if pre else ""),
    some.lists(NUMBER, min_size=1, max_size=3),
    some.sampled_from(["", "rc.1", "rc.10", "alpha", "1"]),
)


@given(some.lists(VERSION, min_size=3, max_size=3))
def test_versions_are_ordered_totally(texts: list[str]) -> None:
    a, b, c = map(Version.read, texts)
    assert (a < b) + (b < a) + (a == b) == 1
    if a <= b <= c:
        assert a <= c
    assert Version.read(str(a)) == a
    assert Version.read(f"v{a}") == a


@given(VERSION, VERSION, VERSION)
def test_a_range_holds_its_bounds_and_nothing_beyond_them(low: str, high: str, text: str) -> None:
    bound, version = Range.parse(low, high), Version.read(text)
    if not bound.is_crossed:
        assert bound.holds(Version.read(low))
        assert bound.holds(Version.read(high)) or Version.read(high) < Version.read(low)
    if bound.holds(version):
        assert version >= Version.read(low)
        assert version.numbers[: Version.read(high).given] <= Version.read(high).numbers[: Version.read(high).given]


@given(some.text(max_size=60))
def test_any_text_is_a_version_or_none(text: str) -> None:
    with suppress(ValueError):
        Version.read(text)


@given(some.text(alphabet="abz019./:-_@sha256", max_size=90))
def test_any_text_is_an_image_or_none(text: str) -> None:
    with suppress(ValueError):
        image = Image.parse(text)
        assert image.is_same(image)
        assert Image.parse(image.spelled).spelled == image.spelled
    for found in full_references(text):
        assert found in text


@given(some.binary(max_size=300))
def test_any_bytes_are_a_chart_or_a_fault(data: bytes) -> None:
    with suppress(ChartFault):
        Chart.read(data)
    with suppress(DefinitionError):
        read_stream(io.BytesIO(data), "here")


@settings(max_examples=60)
@given(some.integers(0, 4_000), some.binary(min_size=1, max_size=20))
def test_a_damaged_archive_is_a_chart_or_a_fault(place: int, patch: bytes) -> None:
    whole = bytearray(chart(dependencies=[{"name": "db"}], files={"charts/db.tgz": chart("db")}))
    whole[place % len(whole) : place % len(whole) + len(patch)] = patch
    with suppress(ChartFault):
        Chart.read(bytes(whole))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\b", "a\0b"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE])
def test_members_that_lead_anywhere_are_refused(name: str, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ChartFault):
        Chart.read(buffer.getvalue())


def test_limits_hold_at_their_edges() -> None:
    data = archive({"web/Chart.yaml": b"name: web\nversion: 1.0.0\n", "web/a": b"x", "web/b": b"x"})
    size = len(b"name: web\nversion: 1.0.0\n") + 2
    assert Chart.read(data, Limits(members=3, unpacked_bytes=size)).name == "web"
    for limits in (Limits(members=2), Limits(unpacked_bytes=size - 1)):
        with pytest.raises(ChartFault, match="too"):
            Chart.read(data, limits)


NAMES = ("a", "b", "c")
BOUND = some.sampled_from(["", "1", "2", "3"])
ASKS = some.lists(
    some.builds(
        lambda name, kind, low, high: Dependency(
            packName=name, type=kind, layer="addon", minVersion=low, maxVersion=high
        ),
        some.sampled_from(NAMES),
        some.sampled_from(["required", "optional", "notSupported"]),
        BOUND,
        BOUND,
    ),
    max_size=2,
)
LIBRARY = some.fixed_dictionaries(
    {name: some.dictionaries(some.sampled_from(["1.0.0", "2.0.0", "3.0.0"]), ASKS, min_size=1) for name in NAMES}
)


@settings(max_examples=300)
@given(LIBRARY, some.data())
def test_the_proposal_mends_everything_and_nothing_smaller_does(library: Any, data: Any) -> None:  # noqa: ANN401
    chosen = {name: data.draw(some.sampled_from([None, *sorted(library[name])])) for name in NAMES}
    packs = {name: version for name, version in chosen.items() if version}

    def needs(name: str, version: str) -> Any:  # noqa: ANN401
        return [one for one in library[name].get(version, ()) if one.pack != name] if name in library else None

    def versions(name: str) -> list[str]:
        return sorted(library.get(name, ()), reverse=True)

    def is_open(state: dict[str, str]) -> bool:
        return any(one.can_be_solved for one in problems(state, needs, Has()))

    best = None
    for state in itertools.product(
        *([chosen[name], *(v for v in library[name] if v != chosen[name])] for name in NAMES)
    ):
        full = {name: version for name, version in zip(NAMES, state, strict=True) if version}
        cost = sum(full.get(name) != packs.get(name) for name in NAMES)
        if not is_open(full) and (best is None or cost < best):
            best = cost
    found = proposal(packs, needs, versions, Has())
    if best is None or (best == 0 and not is_open(packs)):
        assert not found
        return
    assert found is not None
    assert len(found) == best
    assert not is_open({**packs, **{change.pack: change.after for change in found}})


def test_findings_are_made_of_text() -> None:
    assert json.dumps(Finding("image-latest", "x", "f", 1).as_json())
