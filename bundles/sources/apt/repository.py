"""The repository a closure becomes: one suite `dryport` with one component `main`, its files by title.

    dists/dryport/Release                       unsigned; a site signs it when it takes the bundle in
    dists/dryport/main/binary-<arch>/Packages
    pool/<package>_<version>_<arch>.deb         byte for byte as Debian built and hashed them

Apt accepts the plain `Packages`. The release's date is the newest of its sources': a lock knows no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from bundles.sources.apt import stanza

SUITE = "dryport"
COMPONENT = "main"
# Fields by which packages are chosen and installed, in the order of apt's own lists. Left out: weaker hashes, tags,
# and addresses (Maintainer, Homepage), which mean nothing behind the gap.
_FIELDS = (
    "Package", "Source", "Version", "Architecture", "Essential", "Protected", "Important", "Multi-Arch", "Priority",
    "Section", "Installed-Size", "Provides", "Pre-Depends", "Depends", "Recommends", "Suggests",
    "Enhances", "Breaks", "Conflicts", "Replaces", "Built-Using", "Description", "Filename", "Size", "SHA256",
)  # fmt: skip


def pool_name(fields: stanza.Stanza) -> str:
    """Return a package's path in the repository; as in Debian's pool, an epoch is not part of it."""
    version = fields["Version"].rpartition(":")[2]
    return f"pool/{fields['Package']}_{version}_{fields['Architecture']}.deb"


def packages_file(packages: Sequence[stanza.Stanza]) -> str:
    """Return the text of `Packages`, in the given order."""
    placed = [{**fields, "Filename": pool_name(fields)} for fields in packages]
    return "".join(stanza.render({name: fields[name] for name in _FIELDS if name in fields}) for fields in placed)


def packages_path(architecture: str) -> str:
    """Return where `Packages` lies below the suite."""
    return f"{COMPONENT}/binary-{architecture}/Packages"


def release_file(architecture: str, packages: str, date: datetime) -> str:
    """Return the text of the unsigned `Release` that vouches for `packages`."""
    data = packages.encode()
    return stanza.render(
        {
            "Origin": "dryport",
            "Label": "dryport",
            "Suite": SUITE,
            "Codename": SUITE,
            "Date": format_datetime(date.astimezone(UTC)).replace("+0000", "UTC"),
            "Architectures": architecture,
            "Components": COMPONENT,
            "Acquire-By-Hash": "no",
            "SHA256": f"\n {hashlib.sha256(data).hexdigest()} {len(data)} {packages_path(architecture)}",
        }
    ).removesuffix("\n")
