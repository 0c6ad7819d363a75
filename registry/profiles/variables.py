"""Variables of a profile: whether their values are there and fit.

>>> judged(profile, {"REGION": "eu"})
({'REGION': 'eu'}, [])
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

from registry.packs.findings import Finding
from registry.packs.patterns import Pattern
from registry.packs.scalars import Value
from registry.packs.schema import spelled
from registry.packs.versions import is_semantic
from registry.profiles.model import Profile, Variable

_NUMBER = re.compile(r"[-+]?[0-9]{1,300}(\.[0-9]{1,300})?")


def judged(profile: Profile, given: Mapping[str, Value]) -> tuple[dict[str, str], list[Finding]]:
    """Return the value of every variable that has one, as text, and what is wrong."""
    values: dict[str, str] = {}
    findings: list[Finding] = []
    declared = {variable.name: variable for variable in profile.variables}
    for name in given:
        if name not in declared:
            findings.append(Finding("variable-unknown", f"{name} is no variable of the profile"))
        elif declared[name].read_only:
            findings.append(Finding("variable-read-only", f"{name} may not be given"))
    for variable in profile.variables:
        value = variable.default if variable.read_only else given.get(variable.name, variable.default)
        if value in (None, ""):
            if variable.required:
                findings.append(Finding("variable-missing", f"{variable.name} is required and has no value"))
            else:
                values[variable.name] = ""
            continue
        if isinstance(value, (list, dict)):
            findings.append(Finding("variable-refused", f"{variable.name} is no single value"))
            continue
        text = spelled(value)
        faults = list(_faults(variable, text))
        findings += [Finding("variable-refused", f"{variable.name}: {fault}") for fault in faults]
        if not faults:
            values[variable.name] = text
    return values, findings


def _faults(variable: Variable, text: str) -> Iterator[str]:
    shown = "the value" if variable.masked else repr(text)[:80]
    if not _fits(variable.format, text):
        yield f"{shown} is no {variable.format}"
    if variable.pattern and not Pattern.compile(variable.pattern).matches(text):
        yield f"{shown} does not fit {variable.pattern}"
    if variable.options and text not in {spelled(option) for option in variable.options}:
        yield f"{shown} is none of the options"


def _fits(form: str, text: str) -> bool:
    try:
        match form:
            case "number":
                return _NUMBER.fullmatch(text) is not None
            case "boolean":
                return text in {"true", "false"}
            case "version":
                return is_semantic(text.removeprefix("v"))
            case "ipv4":
                ipaddress.IPv4Address(text)
            case "ipv6":
                ipaddress.IPv6Address(text)
            case "cidr":
                return "/" in text and bool(ipaddress.ip_network(text, strict=False))
            case _:
                return True
    except ValueError:
        return False
    return True
