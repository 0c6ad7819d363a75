"""Platforms, as indexes and image configurations state them (OCI image-spec 1.1, "Image Index", "Image Configuration").

>>> spelled({"os": "linux", "architecture": "arm64", "variant": "v8"})
'linux/arm64'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USUAL = frozenset({("arm64", "v8"), ("amd64", "v1")})
"""Variants that every machine of their architecture has; containerd takes them for none, and so do all its users."""


def spelled(value: Mapping[str, Any]) -> str:
    """Return `os/architecture[/variant]`, empty if nothing of it is stated."""
    system, architecture, variant = (value.get(name) for name in ("os", "architecture", "variant"))
    if (architecture, variant) in USUAL:
        variant = None
    return "/".join(part for part in (system, architecture, variant) if isinstance(part, str) and part)
