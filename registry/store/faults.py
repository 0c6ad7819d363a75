"""What the store refuses, one class per cause, so that a server can answer each with its own code.

`MediaError`s are for whoever brought the content; what the store's policy forbids is a `PolicyError`, and only who
writes the policy can change that.
"""

from __future__ import annotations

from registry.errors import MediaError, SiteError
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
        super().__init__(
            "manifest-invalid", message, hint="push it again with a client that writes OCI or Docker schema 2"
        )


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


class PolicyError(SiteError):
    """The store's policy forbids it. Its subclasses say what; `message` may go out to any client."""


class ReadOnlyError(PolicyError):
    """The store takes nothing at present."""

    def __init__(self) -> None:
        super().__init__("store-read-only", "this registry is read-only", hint="set read_only: false in policy.yaml")


class ImmutableTagError(PolicyError):
    """A tag that must stay as it is would be moved or taken away, or something below it."""

    def __init__(self, repository: str, tag: str) -> None:
        super().__init__(
            "tag-immutable",
            f"the tag {tag} stays as it is, with all that it names",
            where=f"{repository}:{tag}",
            hint="use another tag, or change immutable_tags in policy.yaml",
        )


class TagExistsError(PolicyError):
    """Who may only make new tags named one that is there."""

    def __init__(self, repository: str, tag: str) -> None:
        super().__init__(
            "tag-exists",
            f"the tag {tag} is there already",
            where=f"{repository}:{tag}",
            hint="push under another tag; to move tags the user needs the grant push, not create alone",
        )


class DeletesForbiddenError(PolicyError):
    """Nothing of this repository may be taken away."""

    def __init__(self, repository: str) -> None:
        super().__init__(
            "deletes-forbidden",
            "nothing of this repository may be deleted",
            where=repository,
            hint="set deletes: true for it in policy.yaml",
        )


class UploadsOpenError(PolicyError):
    """One subject has as many uploads open as anybody may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            "uploads-open",
            f"{most} of your uploads are open already",
            hint="end some of them; what nobody goes on with can make room after an hour",
        )


class QuotaExceededError(PolicyError):
    """The repository would hold more than it may."""

    def __init__(self, repository: str, quota: int, wanted: int) -> None:
        super().__init__(
            "quota-exceeded",
            f"the repository may hold {quota} bytes; with this it would be {wanted}",
            where=repository,
            expected=f"at most {quota} bytes",
            seen=f"{wanted} bytes",
            hint="delete what is not needed, or raise quota_bytes in policy.yaml",
        )
