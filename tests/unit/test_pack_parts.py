"""The small languages of packs: versions and bounds, macros, formats, presets, references, YAML as Helm reads it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageError
from registry.packs.findings import Finding
from registry.packs.helm import Job
from registry.packs.macros import Context, MacroError, UnknownFunctionError, find, is_known
from registry.packs.patterns import Pattern
from registry.packs.place import Place, group_tag, is_derived, newest, parents, reference
from registry.packs.presets import enabled, merged, read, without
from registry.packs.references import Image, full_references
from registry.packs.scalars import dumped, plain
from registry.packs.schema import Format, Rule, SchemaFault, places, split_path
from registry.packs.tree import Tree
from registry.packs.versions import Range, Version, is_semantic
from tests.pack_samples import chart, ready

# -- versions


@pytest.mark.parametrize(
    ("low", "high", "inside", "outside"),
    [
        ("1.27", "", ["1.27.0", "v1.27.3", "2"], ["1.26.9", "1.27.0-rc.1"]),
        ("", "1.27", ["1.27.0", "1.27.99", "0.1.0"], ["1.28.0", "2.0.0"]),
        ("", "1", ["1.99.99", "0.9"], ["2.0.0"]),
        ("1.2.3", "1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4", "1.2.3-rc1"]),
        ("", "1.21.49", ["1.21.49"], ["1.21.50"]),
        ("", "2.0.0-rc.2", ["2.0.0-rc.1", "2.0.0-rc.2"], ["2.0.0-rc.10", "2.0.0"]),
        ("", "", ["0.0.0", "999.0.0"], []),
    ],
)
def test_both_ends_of_a_range_belong_to_it_and_a_short_upper_bound_is_wide(
    low: str, high: str, inside: list[str], outside: list[str]
) -> None:
    bound = Range.parse(low, high)
    assert [text for text in inside if not bound.holds(Version.read(text))] == []
    assert [text for text in outside if bound.holds(Version.read(text))] == []


def test_versions_are_ordered_as_semantic_versioning_says() -> None:
    # Semantic Versioning 2.0.0, clause 11, with its own example
    texts = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
    ]
    assert sorted(map(Version.read, reversed(texts))) == [Version.read(text) for text in texts]


@pytest.mark.parametrize("text", ["1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "", "1.0.0 "])
def test_what_is_nearly_a_version_is_no_semantic_one(text: str) -> None:
    assert not is_semantic(text)


@pytest.mark.parametrize("text", ["", "latest", "1.2.3.4", "1..2", "x1.0", "1" * 30, "1.0.0-" + "a" * 300])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Version.read(text)


# -- macros


def resolve(text: str, **values: str) -> str:
    return Context({f"spectro.{name.replace('__', '.')}": value for name, value in values.items()}.get).resolve(text)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("v{{ .spectro.system.kubernetes.version | substr 0 4 }}", "v1.33"),
        ("{{.spectro.var.NAME|upper}}-{{ .spectro.var.NAME | quote }}", 'EU-"eu"'),
        ('{{ default "us" .spectro.var.NONE }}', "us"),
        ('{{ .spectro.var.NONE | default "us" | upper }}', "US"),
        ("{{ upper (trunc 1 .spectro.var.NAME) }}", "E"),
        ("{{ .spectro.var.NAME | b64enc }}", "ZXU="),
        ('{{ .spectro.var.NAME | replace "e" "a" | trimSuffix "u" }}', "a"),
        ("{{- .spectro.var.NAME -}}", "eu"),
        ("{{ .Values.other }} stays", "{{ .Values.other }} stays"),
        ("{{ .spectro.var.NAME | trunc -1 }}", "u"),
        ("{{ .spectro.var.NAME | nindent 2 }}", "\n  eu"),
        ("{{ ternary .spectro.var.NAME `no` true }}", None),
        ("{{ add 1 .spectro.var.N }}", "4"),
        ("none", "none"),
    ],
)
def test_macros_are_resolved_like_sprig_does(text: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(MacroError):
            resolve(text, var__NAME="eu")
        return
    values = {"system__kubernetes__version": "1.33.4", "var__NAME": "eu", "var__N": "3"}
    assert resolve(text, **values) == result


@pytest.mark.parametrize(
    "name", ["env", "expandenv", "getHostByName", "readFile", "genCA", "now", "randAlphaNum", "include"]
)
def test_no_function_reads_files_environment_network_clock_or_chance(name: str) -> None:
    with pytest.raises(UnknownFunctionError):
        resolve("{{ .spectro.var.A | " + name + " }}")


@pytest.mark.parametrize(
    "text",
    ["{{ .spectro.var.A | }}", "{{ | upper .spectro.var.A }}", "{{ upper .spectro.var.A ) }}", "{{ (.spectro.var.A }}",
     '{{ "open .spectro.var.A }}', "{{ .spectro.var.A | upper lower }}", "{{ .spectro.var.A .spectro.var.B }}",
     "{{ trunc .spectro.var.A }}", "{{ .spectro.var.A | repeat 99999999999 }}"],
)  # fmt: skip
def test_an_expression_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(MacroError):
        resolve(text)


def test_unknown_macros_become_empty_and_are_named() -> None:
    context = Context({}.get)
    assert context.resolve("[{{ .spectro.var.A }}{{ .spectro.pack.web.x }}]") == "[]"
    assert list(context.unresolved) == ["spectro.var.A", "spectro.pack.web.x"]


@pytest.mark.parametrize(
    "text",
    ["{{" * 200_000 + ".spectro.", "{{ .spectro." + "a" * 4_000 + " }}", "{{.spectro.var.A}}" * 20_000,
     '{{ .spectro.var.A | replace "" "' + "x" * 4_000 + '" }}', "{{ .spectro.var.A | repeat 999999 | repeat 999999 }}",
     "{{ " + "(" * 3_000 + ".spectro.var.A }}", "{{ .spectro.var.A | indent 999999 | indent 999999 }}"],
)  # fmt: skip
def test_hostile_macros_cost_little(text: str) -> None:
    began = time.process_time()
    with suppress(MacroError):
        assert len(Context({"spectro.var.A": "a" * 1_000}.get).resolve(text)) <= max(len(text), 2 << 20)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("name", "known"),
    [("spectro.system.cluster.name", True), ("spectro.system.tenant", True), ("spectro.system.moon", False),
     ("spectro.var.A", True), ("spectro.var", False), ("spectro.pack.web.values.x", True), ("spectro.pack.web", False),
     ("spectro.other.x", False)],
)  # fmt: skip
def test_three_kinds_of_macros_are_known(name: str, known: bool) -> None:
    assert is_known(name) is known


def test_braces_without_spectro_are_helms() -> None:
    assert list(find('{{ .Values.a }} {{ include "x" . }}')) == []


# -- formats


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("${string}", ["a", "", 1, True], [["a"], {"a": 1}]),
        ("${number}", [1, -2.5, "3"], ["x", "1e3", True]),
        ("${number:[1-9]}", [1, 9, 4.5], [0, 10, "x"]),
        ("${boolean}", [True, "false"], ["yes", 1]),
        ("${password}", ["any thing"], [["x"]]),
        ("${list:[Delete,Retain]}", ["Delete", ["Retain", "Delete"]], ["delete", ["Retain", "x"]]),
        ("${ipv4}", ["10.0.0.1"], ["10.0.0.256", "10.0.0", "::1", "10.0.0.01"]),
        ("${ipv4} - ${ipv4}", ["10.0.0.1 - 10.0.0.9"], ["10.0.0.1-10.0.0.9", "10.0.0.1 -  10.0.0.9"]),
        ("${version}", ["1.33.4", "v1.2"], ["latest"]),
        ("${string:/^[a-z]{2,3}$/}", ["ab", "abc"], ["a", "abcd", "ab\n"]),
        ("https://${string:/[a-z.]+/}:${number:[1-65535]}", ["https://a.b:443"], ["http://a.b:443", "https://a.b:"]),
        ("${STRING}", ["a"], []),
        ("plain", ["plain"], ["other"]),
    ],
)
def test_values_fit_formats_or_do_not(form: str, good: list[Any], bad: list[Any]) -> None:
    parsed = Format.parse(form)
    assert [value for value in good if parsed.fault(value)] == []
    assert [value for value in bad if not parsed.fault(value)] == []


def test_a_secret_that_does_not_fit_is_not_shown() -> None:
    assert "hunter2" not in Format.parse("${password:/[0-9]+/}").fault("hunter2")


def test_no_pattern_takes_exponential_time() -> None:
    began = time.process_time()
    assert not Pattern.compile("(a+)+$").matches("a" * 500_000 + "b")
    assert Format.parse("${string:/(a|a)*(b|b)*c/}").fault("ab" * 100_000 + "c")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "(?<!a)b", "a{1,100000}", "[", "x" * 5_000])
def test_patterns_that_re2_does_not_know_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Pattern.compile(pattern)


def test_a_template_is_read_whole() -> None:
    rule = Rule.parse('{{ required | readonly | format "a \\"${string}\\"" | hints "one" "two | three" }}')
    assert (rule.required, rule.readonly, rule.hints) == (True, True, ("one", "two | three"))
    assert rule.form is not None
    assert rule.form.fault('a "b"') == ""


@pytest.mark.parametrize(
    "text",
    ["", "required", "{{ }}", "{{ | }}", "{{ required required }}", "{{ format }}", "{{ hints }}", "{{ 1 }}",
     '{{ format "${string" }}', '{{ format "${string:x}" }}', '{{ format "a" "b" }}'],
)  # fmt: skip
def test_a_template_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SchemaFault):
        Rule.parse(text)


def test_a_path_leads_through_lists_and_keys_with_dots() -> None:
    value = {"a": [{"b": 1}, {"b": 2}], "x.y": {"z": 3}}
    assert list(places(value, split_path("a$[].b"))) == [("a.0.b", 1), ("a.1.b", 2)]
    assert list(places(value, split_path("a.$[].b"))) == [("a.0.b", 1), ("a.1.b", 2)]
    assert list(places(value, split_path("x.y.z"))) == [("x.y.z", 3)]
    assert list(places(value, split_path("a.b"))) == []


# -- presets


def test_a_preset_takes_away_and_merges() -> None:
    (preset,), findings = read(b'presets: [{name: a, group: G, remove: [a.b, n.o], add: "a: {c: 2}\\nl: [9]"}]')
    assert findings == ()
    assert preset.apply({"a": {"b": 1, "k": 0}, "l": [1, 2]}) == {"a": {"k": 0, "c": 2}, "l": [9]}


def test_merging_keeps_a_null_so_that_helm_deletes_by_it() -> None:
    assert merged({"a": {"b": 1}}, {"a": {"b": None}}) == {"a": {"b": None}}
    assert without({"a.b": {"c": 1, "d": 2}}, ["a", "b", "c"]) == {"a.b": {"d": 2}}


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("# spectrocloud.com/enabled-presets: G:a", (("G", "a"),)),
        ("\n# other\n# spectrocloud.com/enabled-presets: IP mode:a, H:b\nx: 1", (("IP mode", "a"), ("H", "b"))),
        ("# spectrocloud.com/enabled-presets:\n", ()),
        ("x: 1\n# spectrocloud.com/enabled-presets: G:a", ()),
    ],
)
def test_the_choice_stands_before_the_first_key(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert enabled(text).pairs == pairs


# -- images


@pytest.mark.parametrize(
    ("text", "spelled"),
    [("nginx", "docker.io/library/nginx"), ("a/b:1", "docker.io/a/b:1"), ("index.docker.io/a/b", "docker.io/a/b"),
     ("localhost/a:1", "localhost/a:1"), ("reg:5000/a", "reg:5000/a")],
)  # fmt: skip
def test_short_names_are_spelled_out(text: str, spelled: str) -> None:
    assert Image.parse(text).spelled == spelled


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a", "docker.io/library/a:latest", True), ("a:1", "a:2", False), ("h.io/a:1", "g.io/a:1", False),
     (f"a:1@sha256:{'0' * 64}", f"a:2@sha256:{'0' * 64}", True), (f"a:1@sha256:{'0' * 64}", "a:1", True),
     (f"a@sha256:{'0' * 64}", "a:1", False), (f"a@sha256:{'0' * 64}", f"a@sha256:{'1' * 64}", False)],
)  # fmt: skip
def test_the_same_image_is_told_by_digest_or_else_by_tag(one: str, other: str, same: bool) -> None:
    assert Image.parse(one).is_same(Image.parse(other)) is same
    assert Image.parse(other).is_same(Image.parse(one)) is same


def test_free_text_names_images_only_with_host_path_and_version() -> None:
    text = (
        """
    see https://docs.example.com/a:1 and docs.example.com/page or 1.2.3/4:5, nginx:1, a/b:2
    3.6.0=quay.io/strimzi/kafka:0.40.0-kafka-3.6.0 "ghcr.io/a/b@sha256:"""
        + "a" * 64
        + """"
    docker.io/library/postgres:16 and example.com:8080/path has no tag
    """
    )
    assert list(full_references(text)) == [
        "quay.io/strimzi/kafka:0.40.0-kafka-3.6.0",
        "ghcr.io/a/b@sha256:" + "a" * 64,
        "docker.io/library/postgres:16",
    ]


# -- places


def test_a_flavour_has_a_base_of_its_own() -> None:
    assert Place.of("", "").repository("web") == "spectro-packs/archive/web"
    assert Place.of("/team/", "fips").repository("web") == "team/fips/spectro-packs/archive/web"
    assert Place.of("a").name("a/spectro-packs/archive/web") == "web"
    assert Place.of("a").name("spectro-packs/archive/web") == ""


@pytest.mark.parametrize("base", ["spectro-packs", "a/spectro-packs", "UP", "a//b", "../x"])
def test_a_base_that_no_repository_can_have_is_refused(base: str) -> None:
    with pytest.raises(UsageError):
        Place.of(base)


def test_parents_follow_releases_and_not_prereleases() -> None:
    assert parents("14.4.3") == ("14.4.x", "14.x")
    assert parents("26.02.1") == ("26.02.x", "26.x")
    assert parents("1.5") == ("1.x",)
    assert parents("2.1.0-up.2") == parents("latest") == parents("3") == ()
    assert newest(["14.4.3", "14.4.10", "14.5.0", "14.4.11-rc1"], "14.4.x") == "14.4.10"
    assert is_derived("14.x")
    assert is_derived("lts__14.4.3")
    assert not is_derived("14.4.3")
    assert group_tag(" LTS Long ", "1.0.0") == "lts-long__1.0.0"


@pytest.mark.parametrize("text", ["web", "web:", "WEB:1", "web:a b", "../x:1", ":1"])
def test_a_pack_is_named_by_name_and_version(text: str) -> None:
    assert reference("web:1.0.0+a") == ("web", "1.0.0_a")
    with pytest.raises(UsageError):
        reference(text)


# -- YAML as Helm reads it

SCALARS = """\
a: [y, Y, n, N, yes, yEs, no, on, Off, true, TRUE, tRue, ~, null, NULL, nUll, '', "", 0, 00, 0644, 0o644, 0x1F, 0b101,
    1_000, 1e3, 1.5e3, 1., .5, +1, -1, +.5, 12:30, 12:30:45, 1e400, 9223372036854775807, 08, 0x, 1__0, _1, 0.1_0, 1E3,
    0777_7, 0b, -0b11, -0x1f, -0644, 0X1F, 2001-01-01, 2001-12-14t21:59:43.10-05:00, =, !!str 5, !!int "5",
    !!binary aGk=,
    !!float 3, .a, 1.2.3, 1-2, "\\u00e9", "a\\tb", !foo bar, '{{ x }}', "yes", 'on']
1: x
1.5: z
true: w
e:
d: &d {q: 1, r: 2}
f: {<<: *d, r: 3}
g: |
  text
h: >-
  folded
  more
"""


def test_yaml_means_what_helm_takes_it_for(tmp_path: Path) -> None:
    template = "given: {{ .Values | toJson | quote }}"
    (tmp_path / "values.yaml").write_text(SCALARS)
    (tmp_path / "chart.tgz").write_bytes(chart(templates={"a.yaml": template}, values={}))
    with ready() as helm:
        ours = helm.render(Job({"a": template}, Tree.parse(SCALARS.encode()).value(), "web", "web"))
        # Here Helm reads the very text by itself.
        theirs = helm._run(["template", "-f", "values.yaml", "--", "web", "chart.tgz"], tmp_path)
    assert given(ours) == given(theirs)


def given(manifest: str) -> Any:  # noqa: ANN401 - any JSON
    value = Tree.parse(manifest.partition("---")[2].encode()).value()
    return json.loads(value["given"])


def test_what_is_written_is_read_as_it_was_meant() -> None:
    odd = [
        "y",
        "on",
        "1e3",
        "0o7",
        "012",
        "12:30",
        "",
        " x",
        "a\nb\n",
        "\n",
        "~",
        "\u2028",
        "\x85",
        "\x7f",
        "a\t",
        "{{ x }}",
        "é",
    ]
    value = {"a": odd, "y": {"1e3": True}, "n": None, "i": 5, "f": 0.5}
    assert Tree.parse(dumped(value).encode()).value() == value


@pytest.mark.parametrize(
    "data",
    [
        b"- a",
        b"a: 1\n---\nb: 1",
        b"a: .inf",
        b"? [a]\n: b",
        b"{{ x }}: 1",
        b"a: {{ .spectro.x }}",
        b"a: [",
        b"\xff",
        b"? ~\n: 1",
    ],
)
def test_yaml_that_is_no_map_of_values_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Tree.parse(data)


def test_a_bomb_of_aliases_runs_into_a_bound() -> None:
    lines = ["a0: &a0 [1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    merging = ["a0: &a0 {}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]
    for text in ("\n".join(lines), "\n".join(merging)):
        began = time.process_time()
        with pytest.raises(ValueError, match="unfold"):
            Tree.parse(text.encode())
        assert time.process_time() - began < 20


def test_keys_that_stand_twice_are_found_with_their_lines() -> None:
    assert list(Tree.parse(b"a: 1\nb: {c: 1,\n c: 2}\na: 2\n").twice()) == [("b.c", 3), ("a", 4)]


def test_plain_numbers_have_an_end() -> None:
    assert plain("1" * 1_000) == "1" * 1_000
    assert plain("9" * 30) == 1e30


def test_findings_of_presets_name_their_line() -> None:
    assert read(b"presets:\n- {name: a, group: G}\n- {group: H}\n")[1] == (
        Finding("presets-invalid", "a preset without a name", "presets.yaml", 3),
    )
