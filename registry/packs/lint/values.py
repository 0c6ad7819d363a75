"""Findings about what a pack's own section of the values says: namespaces, labels, release names, priority, checks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from registry.packs.content import DEFAULT_NAMESPACE, PackContent, additional, stems
from registry.packs.findings import Finding

FILE = "values.yaml"
PRIORITY = "spectrocloud.com/install-priority"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RELEASE = re.compile(r"(?=.{1,53}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_KEY = re.compile(
    r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_PIECE = re.compile(r"\{\{[^{}]*\}\}|,|[^,{]+|\{")
_INTEGER = re.compile(r"[-+]?[0-9]{1,9}")


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about the section `pack` and the readiness checks."""
    for path, line in content.tree.twice():
        yield Finding("values-key-twice", f"{path} stands twice", FILE, line)
    section = content.section
    namespace = section.get("namespace")
    if content.installs and not namespace:
        yield Finding("namespace-missing", "it goes to the namespace default", FILE, _line(content))
    yield from _namespaces(content)
    here = {namespace if isinstance(namespace, str) and namespace else DEFAULT_NAMESPACE, *additional(section)}
    for key, form in (
        ("namespaceLabels", "namespace-labels-form"),
        ("namespaceAnnotations", "namespace-annotations-form"),
    ):
        yield from _labels(content, key, form, here)
    yield from _releases(content)
    priority = section.get(PRIORITY)
    if priority is not None and (isinstance(priority, bool) or not _INTEGER.fullmatch(str(priority).strip())):
        yield Finding("install-priority-invalid", f"{priority!r} is no whole number", FILE, _line(content, PRIORITY))
    yield from _checks(content)


def pairs(text: str) -> list[tuple[str, str, str]]:
    """Return key, `=` and value of each label in a text with commas; commas inside a macro do not count."""
    parts: list[list[str]] = [[]]
    for piece in _PIECE.findall(text):
        if piece == ",":
            parts.append([])
        else:
            parts[-1].append(piece)
    return [label.partition("=") for part in parts if (label := "".join(part).strip())]


def _namespaces(content: PackContent) -> Iterator[Finding]:
    more = content.section.get("additionalNamespaces")
    if more is not None and not isinstance(more, str | dict):
        line = _line(content, "additionalNamespaces")
        yield Finding("additional-namespaces-form", "it is neither text nor map", FILE, line)
    named = content.section.get("namespace")
    for key, name in [("namespace", named), *(("additionalNamespaces", one) for one in additional(content.section))]:
        if name and "{{" not in str(name) and not (isinstance(name, str) and _NAMESPACE.fullmatch(name)):
            yield Finding("namespace-invalid", f"{name!r} is no name of a namespace", FILE, _line(content, key))


def _labels(content: PackContent, key: str, form: str, here: set[str]) -> Iterator[Finding]:
    value = content.section.get(key)
    if value is None:
        return
    if not isinstance(value, dict):
        yield Finding(form, f"{key} is no map", FILE, _line(content, key))
        return
    for namespace, text in value.items():
        line = _line(content, key, namespace)
        if "{{" not in namespace and namespace not in here and not any("{{" in one for one in here):
            yield Finding("namespace-labels-elsewhere", f"{key} for {namespace}, which it does not make", FILE, line)
        if not isinstance(text, str):
            yield Finding(form, f"{key} has no text for {namespace}", FILE, line)
            continue
        for name, equals, word in pairs(text):
            is_named = bool(equals) and ("{{" in name or _KEY.fullmatch(name) is not None)
            is_annotation = key != "namespaceLabels"
            if not is_named or not (is_annotation or "{{" in word or _VALUE.fullmatch(word)):
                yield Finding("namespace-label-invalid", f"{namespace}: {name}{equals}{word}", FILE, line)


def _releases(content: PackContent) -> Iterator[Finding]:
    override = content.section.get("releaseNameOverride")
    if not isinstance(override, dict):
        return
    known = {name for chart in content.charts for name in (chart.name, *stems(chart.path))}
    for key, value in override.items():
        line = _line(content, "releaseNameOverride", key)
        if key not in known:
            yield Finding("release-name-unknown", f"{key} is none of its charts", FILE, line)
        is_open = isinstance(value, str) and "{{" in value
        if value is not None and not is_open and not (isinstance(value, str) and _RELEASE.fullmatch(value)):
            yield Finding("release-name-invalid", f"{value!r} is no name of a release", FILE, line)


def _checks(content: PackContent) -> Iterator[Finding]:
    section = content.values.get("readinessCheck")
    checks = section.get("v1beta1") if isinstance(section, dict) else None
    for number, check in enumerate(checks if isinstance(checks, list) else ()):
        line = content.tree.line("readinessCheck", "v1beta1", str(number))
        if not isinstance(check, dict):
            yield Finding("readiness-check-form", f"check {number + 1} is no map", FILE, line)
            continue
        lacking = [key for key in ("name", "kind", "version", "keysToCheck") if not check.get(key)]
        keys = check.get("keysToCheck")
        for one in keys if isinstance(keys, list) else ():
            inner = one if isinstance(one, dict) else {}
            lacking += [key for key in ("keyToCheck", "expectedValue") if inner.get(key) in {None, ""}]
        if lacking:
            yield Finding("readiness-check-form", f"check {number + 1} lacks {', '.join(lacking)}", FILE, line)


def _line(content: PackContent, *path: str) -> int:
    return content.tree.line("pack", *path)
