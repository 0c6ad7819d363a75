"""Ansible collections for the playbooks, from the tarballs that `ansible-galaxy collection build` makes.

A collection proves itself: MANIFEST.json holds the digest of FILES.json, and that holds those of all other files. What
is not listed there, or is another file than listed, is refused. Nothing is unpacked; dotfiles are left out, as they
are of every archive here.

>>> [held.name for held in read(Path("acme-tools-1.2.0.tar.gz"), "acme-tools-1.2.0.tar.gz")]
['collections/ansible_collections/acme/tools/FILES.json', ...]
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundles.definition import Location
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.oci.targz import Held

COLLECTION_BYTES = 64 << 20
"""All files of one collection, unpacked; they are held in memory."""
FILES = 5_000
"""And no more, since a site takes no more files of all playbooks; it asks for such names, too."""
_TOP = "collections/ansible_collections"
_PART = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]{0,99}")
_DEPTH = 7
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_LISTS = ("MANIFEST.json", "FILES.json")


def resolve(locations: Sequence[Location], inputs: Inputs) -> list[Held]:
    """Return the files of all collections, named as below the playbooks. Raises DefinitionError."""
    found: dict[str, Held] = {}
    for location in locations:
        for held in read(inputs.file(location), spelled(location)):
            if held.name in found:
                raise _refused(spelled(location), "each collection once", f"{held.name} a second time")
            found[held.name] = held
    return [found[name] for name in sorted(found)]


def read(path: Path, named: str) -> list[Held]:
    """Return the proven files of one collection; `named` is what messages call it. Raises DefinitionError."""
    try:
        files = _unpacked(path, named)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise _refused(named, "a tar.gz that can be read", str(error)) from error
    for name in _LISTS:
        if name not in files:
            raise _refused(named, "MANIFEST.json and FILES.json at the top", f"no {name}")
    manifest, listing = (_object(files[name].data, name, named) for name in _LISTS)
    _same(_mapping(manifest.get("file_manifest_file")).get("chksum_sha256"), files["FILES.json"], named)
    _prove(listing, files, named)
    info = _mapping(manifest.get("collection_info"))
    namespace, own = info.get("namespace"), info.get("name")
    for word in (namespace, own):
        if not isinstance(word, str) or not _NAME.fullmatch(word):
            raise _refused(named, "a namespace and a name of a-z, 0-9 and _", repr(word))
    top = f"{_TOP}/{namespace}/{own}"
    carried = [one for one in files.values() if not any(part.startswith(".") for part in one.name.split("/"))]
    return sorted(Held(f"{top}/{one.name}", one.data, one.is_executable) for one in carried)


def _unpacked(path: Path, named: str) -> dict[str, Held]:
    files: dict[str, Held] = {}
    left = COLLECTION_BYTES
    with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for count, info in enumerate(archive):
            left -= info.size
            if left < 0 or count >= FILES:
                raise _refused(named, f"at most {COLLECTION_BYTES >> 20} MiB in {FILES} files", "more")
            name = info.name.removeprefix("./")
            if info.isdir():
                continue
            parts = name.split("/")
            is_plain = all(map(_PART.fullmatch, parts)) and len(parts) <= _DEPTH and not {".", ".."} & set(parts)
            if not info.isreg() or not is_plain or name in files:
                raise _refused(named, "plain files, each once, named below the top", ascii(info.name))
            stream = archive.extractfile(info)
            files[name] = Held(name, stream.read() if stream else b"", bool(info.mode & 0o100))
        # To the very end: only there gzip's checksum, which alone covers MANIFEST.json, is compared.
        while rest := plain.read(1 << 20):
            left -= len(rest)
            if left < 0:
                raise _refused(named, f"at most {COLLECTION_BYTES >> 20} MiB", "more behind the archive's end")
    return files


def _prove(listing: Mapping[str, object], files: Mapping[str, Held], named: str) -> None:
    rows = listing.get("files")
    listed = set(_LISTS)
    for row in map(_mapping, rows if isinstance(rows, list) else []):
        name = row.get("name")
        if row.get("ftype") != "file":
            continue
        if not isinstance(name, str) or name not in files:
            raise _refused(named, f"the file {name!a} that FILES.json lists", "no such file")
        _same(row.get("chksum_sha256"), files[name], named)
        listed.add(name)
    if more := sorted(files.keys() - listed):
        raise _refused(named, "only files that FILES.json lists", more[0])


def _same(digest: object, held: Held, named: str) -> None:
    seen = hashlib.sha256(held.data).hexdigest()
    if digest != seen:
        raise _refused(named, f"{held.name} with sha256 {digest}", f"sha256 {seen}")


def _object(data: bytes, name: str, named: str) -> Mapping[str, object]:
    try:
        return _mapping(strictjson.loads(data, limit=COLLECTION_BYTES))
    except ValueError as error:
        raise _refused(named, f"JSON in {name}", str(error)) from error


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _refused(named: str, expected: str, seen: str) -> DefinitionError:
    return DefinitionError(
        "collection-refused",
        "this is no Ansible collection as it was built",
        where=named,
        expected=expected,
        seen=seen,
        hint="get it again, or build it: ansible-galaxy collection build",
    )
