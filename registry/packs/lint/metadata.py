"""Findings about `pack.json` itself. It is judged as JSON, before any model: what the model refuses is named here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.packs.findings import Finding
from registry.packs.model import PACK_JSON_BYTES, PackMetadata
from registry.packs.reading import PackFiles
from registry.packs.tree import Tree
from registry.packs.versions import is_semantic

FILE = "pack.json"
KNOWN = frozenset(
    {"name", "displayName", "version", "layer", "cloudTypes", "cloudType", "addonType", "addonSubType", "group", "eol"}
    | {"annotations", "charts", "kubeManifests", "KubeManifests", "ansibleRoles", "constraints"}
)
CLOUDS = frozenset(
    {"all", "aws", "azure", "gcp", "vsphere", "openstack", "baremetal", "maas", "aks", "eks", "tke", "tencent"}
    | {"edge", "libvirt", "edge-native", "coxedge", "custom"}
)
_NEEDED = ("name", "displayName", "version", "layer")


def judge(files: PackFiles) -> Iterator[Finding]:
    """Yield what is odd about a pack's `pack.json`."""
    data = files.contents.get(FILE)
    if data is None:
        yield Finding("pack-json-invalid", "there is no pack.json", FILE)
        return
    try:
        value = strictjson.loads(data.removeprefix(b"\xef\xbb\xbf"), limit=PACK_JSON_BYTES)
    except (ValueError, RecursionError) as error:
        yield Finding("pack-json-invalid", str(error) or type(error).__name__, FILE, getattr(error, "lineno", 0))
        return
    if not isinstance(value, dict):
        yield Finding("pack-json-invalid", "a JSON object was expected", FILE)
        return
    lines = Tree.positions(data)
    missing = [key for key in _NEEDED if value.get(key) in {None, ""}] if _is_flat(value) else []
    yield from (Finding("field-missing", f"{key} is missing", FILE, lines.line(key)) for key in missing)
    for key in value:
        if key not in KNOWN:
            yield Finding("field-unknown", f"{key} is no key of the format", FILE, lines.line(key))
    for fault in _refused(data):
        if fault.where not in missing:
            line = lines.line(*fault.where.split("."))
            yield Finding("field-invalid", f"{fault.where}: {fault.message}", FILE, line)
    yield from _annotations(value.get("annotations"), lines)
    yield from _clouds(value, lines)
    if value.get("layer") == "addon" and not value.get("addonType"):
        yield Finding("addon-type-missing", "an add-on says of which type it is", FILE, lines.line("layer"))
    version = value.get("version")
    if isinstance(version, str) and version and not is_semantic(version):
        yield Finding("version-not-semver", f"{version} is no semantic version", FILE, lines.line("version"))
    yield from _end_of_life(value.get("eol"), lines.line("eol"))


def _is_flat(value: dict[str, Any]) -> bool:
    return all(not isinstance(value.get(key), (list, dict)) for key in _NEEDED)


def _refused(data: bytes) -> tuple[DefinitionError, ...]:
    """Return what the model refuses, one error for each field."""
    try:
        PackMetadata.parse(data, FILE)
    except DefinitionError as error:
        return tuple(one for one in error.findings if isinstance(one, DefinitionError))
    return ()


def _annotations(value: object, lines: Tree) -> Iterator[Finding]:
    if isinstance(value, list):
        yield Finding("annotation-not-text", "annotations are a list", FILE, lines.line("annotations"))
        return
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if not isinstance(item, str):
            yield Finding("annotation-not-text", f"{key} is no text", FILE, lines.line("annotations", key))
    states = {"deprecated": "pack-deprecated", "deleted": "pack-deleted"}
    state = value.get("system_state")
    if isinstance(state, str) and state in states:
        line = lines.line("annotations", "system_state")
        yield Finding(states[state], f"its author calls this version {state}", FILE, line)
    if _is(value.get("disabled"), "true"):
        yield Finding("pack-disabled", "its author switched it off", FILE, lines.line("annotations", "disabled"))
    if _is(value.get("airgap"), "false"):
        line = lines.line("annotations", "airgap")
        yield Finding("airgap-unsupported", "its author says that it does not work without internet", FILE, line)


def _is(value: object, word: str) -> bool:
    return str(value).lower() == word


def _clouds(value: dict[str, Any], lines: Tree) -> Iterator[Finding]:
    named = value.get("cloudTypes") or ([value["cloudType"]] if value.get("cloudType") else [])
    if not named:
        yield Finding("cloud-types-missing", "it names no cloud type", FILE, lines.line("cloudTypes"))
    key = "cloudTypes" if value.get("cloudTypes") else "cloudType"
    for cloud in named if isinstance(named, list) else []:
        if isinstance(cloud, str) and cloud not in CLOUDS:
            yield Finding("cloud-type-unknown", f"{cloud} is no cloud type", FILE, lines.line(key))


def _end_of_life(value: object, line: int) -> Iterator[Finding]:
    if not isinstance(value, str) or not value:
        return
    yield Finding("pack-end-of-life", f"supported until {value}", FILE, line)
    try:
        date.fromisoformat(value)
    except ValueError:
        yield Finding("eol-invalid", f"{value} is no date", FILE, line)
