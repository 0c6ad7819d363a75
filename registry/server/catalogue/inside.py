"""The server's inside, for administrators: what the store holds, and who may do what. Never a secret, never a path."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from registry.server.auth import Access
from registry.server.catalogue.viewer import Shown, Viewer
from registry.store.usage import usage


class RepositoryUse(Shown):
    """What one repository holds; content that several show counts in each."""

    name: str
    bytes: int
    quota: int | None


class StorageView(Shown):
    """The store's sizes in bytes; all zero where only bundles are served."""

    has_store: bool
    is_read_only: bool
    repositories: int = 0
    contents: int = 0
    bytes: int = 0
    shown_bytes: int = 0
    """What the repositories show together; more than `bytes` where they share."""
    garbage_contents: int = 0
    garbage_bytes: int = 0
    uploads: int = 0
    upload_bytes: int = 0
    disk_bytes: int = 0
    disk_free: int = 0
    largest: Sequence[RepositoryUse] = ()


class UserRow(Shown):
    """A user or robot."""

    name: str
    grants: Sequence[str]
    login: str
    """password, certificate, secret, or nothing."""
    expires: str = ""


def storage(viewer: Viewer) -> StorageView:
    """Return what the store holds."""
    store, settings = viewer.registry.store, viewer.registry.settings
    if store is None:
        return StorageView(has_store=False, is_read_only=True)
    policy = store.policy
    found, disk = usage(store.database), shutil.disk_usage(store.folder)
    return StorageView(
        has_store=True,
        is_read_only=settings.read_only or policy.read_only,
        repositories=found.repositories,
        contents=found.contents,
        bytes=found.size,
        shown_bytes=found.shown,
        garbage_contents=found.garbage,
        garbage_bytes=found.garbage_size,
        uploads=found.uploads,
        upload_bytes=found.uploads_size,
        disk_bytes=disk.total,
        disk_free=disk.free,
        largest=[
            RepositoryUse(name=name, bytes=size, quota=policy.for_repository(name).quota_bytes)
            for name, size in found.largest
        ],
    )


def users(access: Access) -> list[UserRow]:
    """Return everybody whom the registry knows, users first."""
    users, robots = access.everyone()
    rows = [
        UserRow(
            name=user.name,
            grants=[str(grant) for grant in user.grants],
            login="certificate" if user.is_known_by_certificate else "password",
        )
        for user in users
    ]
    if access.is_open:
        rows.insert(0, UserRow(name="anybody", grants=[str(grant) for grant in access.everybody], login="nothing"))
    return rows + [
        UserRow(
            name=robot.name,
            grants=[str(grant) for grant in robot.grants],
            login="secret",
            expires=f"{robot.expires:%Y-%m-%d %H:%M}",
        )
        for robot in robots
    ]
