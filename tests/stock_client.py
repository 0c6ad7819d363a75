"""Two readers of the same bundles: python-tuf's ngclient with a folder of its own, and a site with dryport's rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from bundles.trust.verify import TrustState, follow_roots, judge
from registry.errors import TrustError
from tests.attacks.publisher import Publisher, Region

Stick = tuple[Region, bytes]


class StickFetcher(FetcherInterface):
    """Answers from a bundle's region, as a web server with these files would; remembers what it was asked for."""

    def __init__(self, region: Region, index: bytes) -> None:
        self.files = {**region, "targets/index.json": index}
        self.asked: set[str] = set()

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix("stick://")
        self.asked.add(name)
        data = self.files.get(name)
        if data is None:
            raise DownloadHTTPError(url, 404)
        return iter([data])


class Oracle:
    """One site that uses ngclient, with its own folder of remembered metadata."""

    def __init__(self, first_root: bytes, folder: Path) -> None:
        self.first_root, self.folder = first_root, folder
        self.targets = folder / "targets"
        self.targets.mkdir(parents=True)
        self.asked: set[str] = set()
        self.error: Exception | None = None

    def accepts(self, stick: Stick, now: datetime) -> bool:
        """Say whether ngclient takes the stick's index.json, at a time of our choosing; `error` says why not."""
        fetcher = StickFetcher(*stick)
        self.asked, self.error = fetcher.asked, None
        try:
            client = Updater(
                str(self.folder),
                "stick://metadata/",
                str(self.targets),
                "stick://targets/",
                fetcher,
                bootstrap=self.first_root,
            )
            client._trusted_set.reference_time = now
            client.refresh()
            target = client.get_targetinfo("index.json")
            assert target is not None
            client.download_target(target, str(self.targets / "fresh"))
        except (RepositoryError, DownloadError) as error:
            self.error = error
            return False
        return True

    def memory(self, role: str) -> bytes:
        """Return a role's metadata as it lies in the folder, empty for none."""
        path = self.folder / f"{role}.json"
        return path.read_bytes() if path.exists() else b""


class Site:
    """The same site with dryport's rules."""

    def __init__(self, publisher: Publisher) -> None:
        self.state: TrustState = publisher.begin()
        self.error: TrustError | None = None

    def accepts(self, stick: Stick, now: datetime) -> bool:
        """Say whether the site takes the stick; `error` says why not."""
        region, index = stick
        self.error = None
        try:
            self.state = follow_roots(region, self.state)
            self.state, _, _ = judge(region, index, self.state, now=now)
        except TrustError as error:
            self.error = error
            return False
        return True
