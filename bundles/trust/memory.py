"""What a site remembers, on disk: `trust.json`, written durably, checked against its own digest when read.

A file that is damaged, cut off or empty is an error and never a fresh start: whoever could make a site forget could
sell it an old release as new. Only a file that is not there at all means "nothing remembered", and whether that is
believable is the caller's to judge by the site's other signs of life. Saving never lets a site forget.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundles.trust.statement import moment, spell
from bundles.trust.verify import TrustState
from registry.errors import SiteError, TrustError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.store import durable

MEMORY_BYTES = 160 << 20  # 256 roots of the largest size, and what is around them
_HINT = "bring back a copy of the site's trust.json from a host or a backup; never delete it to go on"


class _Accepted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    sequence: int = Field(ge=1)
    index: str


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    roots: list[str] = Field(min_length=1)
    floor: str
    accepted: dict[str, _Accepted]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815 - the field's own spelling in every file of ours
    kind: Literal["TrustMemory"] = "TrustMemory"
    body: _Body
    check: str
    """sha256 of the body's canonical bytes."""


def load(path: Path) -> TrustState | None:
    """Return what is remembered, or None if there is no file. Raises TrustError `trust-memory-damaged`."""
    try:
        with path.open("rb") as file:
            data = file.read(MEMORY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SiteError(
            "trust-memory-unreadable",
            error.strerror or str(error),
            where=str(path),
            hint="run it as the user whom the home belongs to",
        ) from error
    try:
        stored = _File.model_validate(strictjson.loads(data, limit=MEMORY_BYTES))
        seen = Digest.of(strictjson.canonical(stored.body.model_dump()))
        if str(seen) != stored.check:
            raise ValueError(f"its content has {seen}, but says {stored.check:.80}")  # noqa: TRY301
        return _state(stored.body)
    except (ValueError, ValidationError) as error:
        raise TrustError(
            "trust-memory-damaged",
            "what this site remembers of its trust is damaged",
            where=str(path),
            expected="a trust memory that matches its own digest",
            seen=f"{len(data)} bytes; {error}"[:300],
            hint=_HINT,
        ) from error


def save(path: Path, state: TrustState) -> None:
    """Make `state` what the site remembers. Raises TrustError if the file is damaged or remembers more."""
    before = load(path)
    if before is not None:
        _require_growth(path, before, state)
    body = _Body(
        roots=[root.decode() for root in state.roots],
        floor=spell(state.floor),
        accepted={
            product: _Accepted(sequence=sequence, index=str(index))
            for product, (sequence, index) in state.accepted.items()
        },
    )
    check = str(Digest.of(strictjson.canonical(body.model_dump())))
    durable.replace(path, strictjson.canonical(_File(body=body, check=check).model_dump()), 0o600)


def _state(body: _Body) -> TrustState:
    floor: datetime = moment(body.floor)
    accepted = {product: (entry.sequence, Digest.parse(entry.index)) for product, entry in body.accepted.items()}
    return TrustState(tuple(root.encode() for root in body.roots), floor, accepted)


def _require_growth(path: Path, before: TrustState, after: TrustState) -> None:
    forgotten = [
        f"{product} {sequence}"
        for product, (sequence, _) in before.accepted.items()
        if after.accepted.get(product, (0, None))[0] < sequence
    ]
    if forgotten or after.floor < before.floor or after.roots[: len(before.roots)] != before.roots:
        raise TrustError(
            "trust-memory-behind",
            "the site already remembers more than what would be written",
            where=str(path),
            expected=f"all {len(before.roots)} root(s) kept, no time before {spell(before.floor)}, no lower sequence",
            seen=f"{len(after.roots)} root(s), {spell(after.floor)}, lower or absent: {', '.join(forgotten) or 'none'}",
            hint="another dryport worked on this site meanwhile; run the same command again",
        )
