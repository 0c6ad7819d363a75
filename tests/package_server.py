"""A Debian package server on loopback, as real as apt demands: packages built by dpkg-deb, signed lists, HTTP.

>>> server = PackageServer.start(folder)
>>> server.add("tool", "1.0", depends="library (>= 2)"); server.add("library", "2.1"); server.publish()
>>> monkeypatch.setenv("APT_CONFIG", str(server.machine()))      # what "this machine" is configured to ask
"""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from pysequoia import Profile, SignatureMode, Tsk, sign

DATE = "Sat, 01 Nov 2025 10:00:00 UTC"


@dataclass(slots=True)
class PackageServer:
    folder: Path
    http: http.server.ThreadingHTTPServer
    key: Tsk = field(default_factory=lambda: Tsk.generate(user_id="Packages <p@example.org>", profile=Profile.RFC4880))
    stanzas: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    asked: list[str] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next answers from the pool break off; later ones are whole."""
    ranges: bool = True
    status: int = 200
    """Answer for the pool; anything but 200 is given without a body."""

    @classmethod
    def start(cls, folder: Path) -> PackageServer:
        folder.mkdir(parents=True)
        server = cls(folder, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        server.http.packages = server  # type: ignore[attr-defined]
        threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/debian"

    def add(self, name: str, version: str, *, suite: str = "stable", hashes: str = "SHA256", **fields: str) -> Path:
        """Build a package, put it into the pool and into the suite's list; publish() makes that visible."""
        control = {"Package": name, "Version": version, "Architecture": "amd64", "Maintainer": "T <t@example.org>"}
        control |= {key.replace("_", "-").title(): value for key, value in fields.items()}
        text = "".join(f"{key}: {value}\n" for key, value in control.items()) + "Description: made for a test\n"
        tree = self.folder.parent / "build" / f"{name}-{version}-{control['Architecture']}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(text)
        (tree / "payload").write_bytes(hashlib.sha256(text.encode()).digest() * 20_000)
        path = f"pool/main/{name}_{version.rpartition(':')[2]}_{control['Architecture']}.deb"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(self.folder / path)]
        subprocess.run(command, check=True, capture_output=True)
        data = (self.folder / path).read_bytes()
        digest = hashlib.new(hashes.removesuffix("sum").lower(), data).hexdigest()
        self.stanzas[suite].append(f"{text}Filename: {path}\nSize: {len(data)}\n{hashes}: {digest}\n")
        return self.folder / path

    def publish(self, *, key: Tsk | None = None) -> None:
        """Write the lists of all suites, signed."""
        for suite, stanzas in self.stanzas.items():
            architectures = sorted({"amd64", *re.findall(r"^Architecture: (\S+)", "\n".join(stanzas), re.MULTILINE)})
            release = f"Origin: T\nSuite: {suite}\nCodename: {suite}\nDate: {DATE}\n"
            release += f"Architectures: {' '.join(architectures)}\nComponents: main\nSHA256:\n"
            for one in architectures:
                packages = "\n".join(text for text in stanzas if f"\nArchitecture: {one}\n" in text).encode()
                lists = self.folder / "dists" / suite / f"main/binary-{one}"
                lists.mkdir(parents=True, exist_ok=True)
                (lists / "Packages").write_bytes(packages)
                release += f" {hashlib.sha256(packages).hexdigest()} {len(packages)} main/binary-{one}/Packages\n"
            signed = sign((key or self.key).signer(), release.encode(), mode=SignatureMode.CLEAR)
            (self.folder / "dists" / suite / "InRelease").write_bytes(signed)

    def machine(self, *, uri: str = "", suites: str = "", settings: str = "") -> Path:
        """Return the apt configuration of a machine whose one source is this server."""
        etc = self.folder.parent / "etc"
        for name in ("sources.list.d", "apt.conf.d", "preferences.d"):
            (etc / name).mkdir(parents=True, exist_ok=True)
        keyring = etc / "packages.asc"
        keyring.write_text(str(self.key.extract_certificate()))
        (etc / "sources.list.d/test.sources").write_text(
            f"Types: deb deb-src\nURIs: {uri or self.url}\nSuites: {suites or ' '.join(self.stanzas)}\n"
            f"Components: main\nSigned-By: {keyring}\n"
        )
        (etc / "apt.conf").write_text(f'Dir::Etc "{etc}";\n{settings}\n')
        return etc / "apt.conf"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever asked may hang up
            super().handle()

    def do_GET(self) -> None:
        packages: PackageServer = self.server.packages  # type: ignore[attr-defined]
        packages.asked.append(self.path)
        path = packages.folder / unquote(self.path).removeprefix("/debian/")
        in_pool = "/pool/" in self.path
        if in_pool and packages.status != 200:
            return self.answer(packages.status, b"")
        if not path.is_file():
            return self.answer(404, b"")
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if packages.ranges else None
        start = int(wanted[1]) if wanted else 0
        return self.answer(
            206 if wanted else 200, data[start:], packages.cuts.pop(0) if in_pool and packages.cuts else 0
        )

    def answer(self, status: int, body: bytes, cut_after: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut_after] if cut_after else body)
        if cut_after and len(body) > cut_after:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
