"""A support bundle: what is in it, what is missing and said so, and no secret anywhere."""

from __future__ import annotations

import base64
import json
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.flows.support import Collected, collect, parts_of
from installer.hosts.ssh import Answer
from installer.site.home import Home
from installer.site.redaction import Redaction
from installer.site.secrets import Secret
from installer.targets.base import Host
from registry.errors import HostError
from tests.site_samples import Sample, sample

NOW = datetime(2026, 11, 25, tzinfo=UTC)
CANARY = "canary-4f0c9b7e6a1d"


def here(_: Host, script: str) -> Answer:
    """This machine in a host's place."""
    done = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, timeout=120, check=False)
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def silent(host: Host, _: str) -> Answer:
    raise HostError("host-unreachable", f"{host.name} does not answer")


@pytest.fixture
def site(tmp_path: Path) -> Sample:
    made = sample(tmp_path)
    made.home.secrets.ensure("canary", lambda: CANARY)
    return made


def files_of(done: Collected) -> dict[str, bytes]:
    with tarfile.open(done.path) as tar:
        found = {}
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            found[member.name.partition("/")[2]] = stream.read()
        return found


def test_it_holds_what_every_host_tells_and_a_list_of_it(site: Sample, tmp_path: Path) -> None:
    done = collect(site.declared, site.home, tmp_path / "support.tar.gz", ask=here, now=NOW, since="1 hour ago")
    found = files_of(done)
    for part in ("system/uname", "storage/free", "network/addresses", "packages/list"):
        assert found[f"hosts/n1/{part}.txt"].strip()
        assert f"hosts/n2/{part}.txt" in found
    assert found["site/site.yaml"] == site.declared.path.read_bytes()
    listed = {one["name"] for one in json.loads(found["CONTENTS.json"])["files"]}
    assert listed == found.keys() - {"CONTENTS.json", "MISSING.txt"}
    assert len(listed) == done.files
    assert done.path.stat().st_mode & 0o777 == 0o600


def test_a_host_that_is_silent_or_broken_off_is_said_to_be_missing_and_the_rest_is_there(
    site: Sample, tmp_path: Path
) -> None:
    def ask(host: Host, script: str) -> Answer:
        if host.name == "n1":
            return silent(host, script)
        whole = here(host, script)
        return Answer(255, whole.output[: len(whole.output) // 2], "")

    done = collect(site.declared, site.home, tmp_path / "s.tar.gz", ask=ask, now=NOW, since="1 hour ago")
    assert "host n1: n1 does not answer" in done.missing
    assert "host n2: broken off, what came before is here" in done.missing
    found = files_of(done)
    assert "hosts/n2/system/uname.txt" in found
    assert b"n1 does not answer" in found["MISSING.txt"]


def test_no_secret_of_the_home_leaves_wherever_it_stands(site: Sample, tmp_path: Path) -> None:
    said = f"user {CANARY} {base64.b64encode(CANARY.encode()).decode()} https://me:{CANARY}@host/"
    site.home.logs.mkdir(exist_ok=True)
    (site.home.logs / "step.txt").write_text(f"it was {CANARY}\n")

    def ask(_: Host, script: str) -> Answer:
        mark = script.partition("MARK=")[2].split("\n")[0].strip("'")
        return Answer(0, f"{mark} logs/registry\n{said}\n{mark} end\n", "")

    done = collect(site.declared, site.home, tmp_path / "s.tar.gz", ask=ask, now=NOW)
    everything = b"".join(files_of(done).values())
    assert CANARY.encode() not in everything
    assert base64.b64encode(CANARY.encode()).rstrip(b"=") not in everything
    keys = [line for key in site.home.pki.glob("*.key") for line in key.read_bytes().splitlines() if len(line) > 20]
    assert keys
    assert not [line for line in keys if b"PRIVATE" not in line and line in everything]
    assert "PRIVATE KEY" not in everything.decode(errors="replace")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password=hunter2hunter", "password=***"),
        ('"auth": "dXNlcjpwYXNz"', '"auth": "***"'),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ("https://me:pass@registry.example/", "https://me:***@registry.example/"),
        ("admin:$2y$10$abcdefghijklmnopqrstuv", "admin:***"),
        ("-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nmore", "***\nmore"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "***"),
        ("nothing to hide here", "nothing to hide here"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out_though_nobody_knows_it(text: str, left: str) -> None:
    assert Redaction([]).of_text(text) == left


@given(st.binary(max_size=300), st.text(min_size=12, max_size=40, alphabet="abcdefXYZ0123456789+/_-"))
def test_a_secret_in_any_surroundings_is_blotted_out(around: bytes, secret: str) -> None:
    found = Redaction([Secret(secret)]).of_bytes(around + secret.encode() + around)
    assert secret.encode() not in found


def test_a_host_cannot_name_a_file_outside_its_folder() -> None:
    def ask(_: Host, script: str) -> Answer:
        mark = script.partition("MARK=")[2].split("\n")[0].strip("'")
        return Answer(0, f"{mark} ../../etc/passwd\nx\n{mark} system/uname\nLinux\n{mark} end\n", "")

    found = parts_of(Host("n1", "10.0.0.1", 22, "root", Path("k")), ask, "now")
    assert dict(found) == {"system/uname": "Linux", "end": ""}


def test_a_home_that_has_no_logs_yet_is_no_trouble(site: Sample, tmp_path: Path) -> None:
    assert isinstance(site.home, Home)
    done = collect(site.declared, site.home, tmp_path / "s.tar.gz", ask=silent, now=NOW)
    assert len(done.missing) == 2
