"""What a store allows and keeps, by repository: one file, `policy.yaml` in the store's folder, read by all its users.

    read_only: false
    rules:                            # the first rule that names the repository counts, and it alone
      - repositories: ["releases/*"]
        immutable_tags: ["v*"]        # such a tag is set once; it, and all below it, cannot be taken away
        keep: [{tags: "v*", previous: 2}]   # retention: the tag set last, and two before it
        quota_bytes: 50000000000      # for each repository by itself
      - repositories: ["mirror/*"]
        sparse: [linux/amd64]         # an index needs its children of these platforms

A glob's `*` stands for any run of characters, slashes too, as in the users file. A repository that no rule names has
the defaults of `Rules`. A change of the file counts from the next request on.

>>> Policy().for_repository("team/app").quota_bytes is None
True
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.errors import SiteError
from registry.oci.glob import glob

NAME = "policy.yaml"
_MOST_GLOB = 255
Glob = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/*-]+$", max_length=_MOST_GLOB)]
Platform = Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$", max_length=100)]
Sparse = Literal["all", "indexes", "none"] | Annotated[tuple[Platform, ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Keep(_Section):
    """How many of the tags that a glob matches retention keeps: the one set last, and some before it."""

    tags: Glob
    """Which tags."""
    previous: int = Field(ge=0, le=100_000)
    """How many stay besides the one set last."""


class Rules(_Section):
    """What holds for a repository; these values hold where no rule names it."""

    sparse: Sparse = "indexes"
    """What may be absent: `all` (children of an index, blobs of a manifest), `indexes` (children alone), `none`, or
    children alone and only those of other platforms than the listed ones."""
    immutable_tags: tuple[Glob, ...] = ()
    """Such a tag is set once; it, and all below it, cannot be taken away."""
    deletes: bool = True
    """Whether tags, manifests and blobs can be taken away at all, by people or by retention."""
    quota_bytes: int | None = Field(default=None, ge=0)
    """The most that one repository may hold; content that several repositories show counts in each."""
    keep: tuple[Keep, ...] = ()
    """Retention; a tag that none of these names is kept. The first that names a tag counts."""
    untagged_days: float | None = Field(default=14, ge=0)
    """How long after its last use a manifest stays that nothing names (no tag, index or subject); null: for ever."""

    def is_immutable(self, tag: str) -> bool:
        """Say whether this tag, once set, stays."""
        return any(matches(glob, tag) for glob in self.immutable_tags)

    def may_lack_blobs(self) -> bool:
        """Say whether a manifest's blobs may be absent."""
        return self.sparse == "all"

    def may_lack_child(self, platform: Mapping[str, Any] | None) -> bool:
        """Say whether an index may be stored without its child of this platform."""
        if isinstance(self.sparse, str):
            return self.sparse != "none"
        system = [str((platform or {}).get(key, "")) for key in ("os", "architecture", "variant")]
        return platform is not None and not {"/".join(system[:2]), "/".join(system)} & set(self.sparse)


class Rule(Rules):
    """The rules of some repositories."""

    repositories: tuple[Glob, ...] = Field(min_length=1)
    """The repositories these rules are for."""


class Policy(_Section):
    """A store's whole policy, `policy.yaml` in its folder."""

    read_only: bool = False
    """Nothing is written, deleted or collected; pulls go on."""
    rules: tuple[Rule, ...] = ()
    """The first rule that names a repository counts, and it alone."""

    def for_repository(self, name: str) -> Rules:
        """Return the rules of one repository."""
        for rule in self.rules:
            if any(matches(glob, name) for glob in rule.repositories):
                return rule
        return _DEFAULTS

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Return the policy in a file, the default one if there is none. Raises SiteError with every finding."""
        from registry.declaration import findings, load  # noqa: PLC0415 - most stores have no such file

        try:
            return cls.model_validate(load(path) or {})
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            raise SiteError(
                "policy-invalid",
                f"{error.error_count()} finding(s) in the store's policy",
                where=str(path),
                findings=findings(error, SiteError, "policy-field"),
                hint="read_only and rules are what can be set",
            ) from error
        except (OSError, ValueError) as error:
            raise SiteError("policy-unreadable", str(error), where=str(path), hint="mend the YAML file") from error


_DEFAULTS = Rules()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `policy.yaml`, as published in docs/policy.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Policy.model_json_schema()}


def matches(pattern: str, text: str) -> bool:
    """Say whether a glob stands for a text."""
    return _compiled(pattern).fullmatch(text) is not None


_compiled = lru_cache(maxsize=4096)(glob)


_UNREAD = (-1, -1, -1)


class PolicyFile:
    """A policy that follows its file; each question looks whether it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = self._state()
        self._policy = Policy.read(path)

    @property
    def policy(self) -> Policy:
        """The policy that counts now. Raises SiteError if the file was changed to something that is none."""
        state = self._state()
        if state != self._seen:
            self._policy, self._seen = Policy.read(self._path), state
        return self._policy

    def reload(self) -> None:
        """Read the file anew, whatever its time says. Raises SiteError; then nothing is allowed until it is mended."""
        self._seen = _UNREAD
        _ = self.policy

    def _state(self) -> tuple[int, int, int] | None:
        try:
            seen = self._path.stat()
        except FileNotFoundError:
            return None
        return seen.st_mtime_ns, seen.st_size, seen.st_ino
