"""What the store refuses, one class per cause, so that a server can answer each with its own code.

All are `MediaError`s: whoever brought the content has to act.
"""

from __future__ import annotations

from registry.errors import MediaError
from registry.oci.digest import Digest


class DigestMismatchError(MediaError):
    """The bytes are not those that their digest promises."""

    def __init__(self, expected: Digest, seen: Digest) -> None:
        super().__init__(
            "digest-mismatch",
            "content does not have the digest it was announced with",
            expected=str(expected),
            seen=str(seen),
            hint="send the content again from its origin",
        )


class ManifestInvalidError(MediaError):
    """The bytes are not a manifest or index that may be stored."""

    def __init__(self, message: str) -> None:
        super().__init__("manifest-invalid", message)


class BlobMissingError(MediaError):
    """A manifest names content that its repository does not hold."""

    def __init__(self, repository: str, digest: Digest) -> None:
        super().__init__(
            "manifest-blob-unknown",
            "the manifest names content that is not in its repository",
            where=repository,
            expected=str(digest),
            hint="store the content first, then the manifest",
        )
        self.digest = digest


class UploadUnknownError(MediaError):
    """No such upload: never begun, finished, cancelled, expired, or begun by somebody else."""

    def __init__(self) -> None:
        super().__init__("upload-unknown", "there is no such upload", hint="begin the upload again")


class UploadBusyError(MediaError):
    """The upload is being written by another request."""

    def __init__(self) -> None:
        super().__init__("upload-busy", "another request is writing this upload", hint="ask for its status first")
