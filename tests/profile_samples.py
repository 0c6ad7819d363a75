"""Profiles over small packs, made on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from registry.packs.helm import Helm
from registry.profiles.check import Given, Report, check
from registry.profiles.library import Library
from registry.profiles.model import Profile
from tests.pack_samples import VALUES, make_pack


def pack(
    folder: Path,
    name: str,
    version: str = "1.0.0",
    *,
    needs: Sequence[Mapping[str, Any]] = (),
    resources: Sequence[Mapping[str, Any]] = (),
    values: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes | str | None] | None = None,
    **metadata: object,
) -> Path:
    """Write a pack into a folder of packs."""
    constraints = {"dependencies": list(needs), "resources": list(resources)}
    about = {"name": name, "version": version, "constraints": constraints, **metadata}
    return make_pack(
        folder / f"{name}-{version}", metadata=about, values=VALUES if values is None else values, files=files
    )


def require(name: str, low: str = "", high: str = "", kind: str = "required", layer: str = "addon") -> dict[str, Any]:
    return {"packName": name, "layer": layer, "type": kind, "minVersion": low, "maxVersion": high}


def write(folder: Path, packs: Sequence[Any], **more: Any) -> Path:  # noqa: ANN401 - as YAML has it
    """Write a profile; a pack may be `NAME VERSION`."""
    entries = [
        dict(zip(("pack", "version"), one.split(), strict=True)) if isinstance(one, str) else one for one in packs
    ]
    value = {"apiVersion": "dryport/v1", "kind": "Profile", "name": "p", "type": "add-on", "packs": entries, **more}
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


def judged(folder: Path, packs: Sequence[Any], helm: Helm | None = None, **more: Any) -> Report:  # noqa: ANN401
    """Check a profile over the packs in a folder; `given` and `before` are the command's."""
    given = Given(more.pop("given", {}), more.pop("before", None))
    profile = Profile.load(write(folder, packs, **more))
    return check(profile, Library(folder, [folder]), given, helm)


def names(report: Report) -> list[str]:
    """Return the findings but that there is no Helm."""
    return [one.reference for one in report.findings if one.reference != "images-static"]
