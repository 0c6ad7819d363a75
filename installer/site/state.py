"""What the site runs, as the last finished apply left it (`state.json`).

It is written once, whole, at the end of an apply: until then a plan made against the older state stays good, so that a
killed apply can be resumed with the plan it began with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from registry.errors import SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.store import durable


class Frozen(BaseModel):
    """Base of the state's parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Installed(Frozen):
    """A release that was applied wholly."""

    product: str
    version: str
    sequence: int
    index: str
    """Digest of the bundle's index.json: with product and sequence it is the release's identity."""
    issued: str
    best_before: str
    kit: str = ""
    packs: list[str] = []
    hosts: list[str]
    applied: str
    """When the apply ended."""


class State(Frozen):
    """A whole `state.json`."""

    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815
    kind: Literal["SiteState"] = "SiteState"
    release: Installed | None = None
    plan: str = ""
    """The plan that led here."""

    @classmethod
    def load(cls, path: Path) -> State:
        """Return the state in a file, or the empty one of a new site. Raises SiteError."""
        if not path.exists():
            return cls()
        try:
            return cls.model_validate(strictjson.loads(path.read_bytes()))
        except (ValueError, ValidationError) as error:
            raise SiteError(
                "state-damaged", str(error), where=str(path), hint="restore the home from a backup"
            ) from error

    def save(self, path: Path) -> None:
        """Write the state, all or nothing."""
        durable.replace(path, strictjson.canonical(self.model_dump()), 0o600)

    @property
    def digest(self) -> Digest:
        """What a plan is bound to."""
        return Digest.of(strictjson.canonical(self.model_dump()))
