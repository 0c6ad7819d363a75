"""The next root from the command line: keys rotated and revoked, signed by the people of both roots in turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles.trust.chain import follow
from registry.errors import TrustError
from tests.unit.test_trust_ceremony import init, run


@pytest.fixture
def rooted(tmp_path: Path) -> Path:
    for name in ("alice", "bob", "carol", "dave", "release", "fresh"):
        assert run("key", "new", name, "--out", tmp_path) == 0
    assert init(tmp_path) == 0
    for name in ("alice", "bob"):
        assert run("key", "sign-root", tmp_path / "1.root.json", "--key", tmp_path / f"{name}.pem") == 0
    return tmp_path


def shown(path: Path, capsys: pytest.CaptureFixture[str], *options: str | Path) -> dict[str, object]:
    capsys.readouterr()
    assert run("key", "show", path, *options, "--json") == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


def release_keys(value: dict[str, object]) -> list[str]:
    roles = value["roles"]
    assert isinstance(roles, list)
    return next(list(role["keyIds"]) for role in roles if role["role"] == "targets")


def chain(folder: Path) -> int:
    """Return the newest root that a site at root 1 follows from the folder."""
    region = {f"metadata/{path.name}": path.read_bytes() for path in folder.glob("*.root.json")}
    roles = ("timestamp.json", "snapshot.json", "targets.json")
    signed = {f"metadata/{name}": b"" for name in (*roles, "index.json.sig", "index.json.sigstore.json")}
    return follow(region | signed, [(folder / "1.root.json").read_bytes()])[1].version


def test_a_rotated_root_counts_when_the_people_of_both_roots_have_signed_it(
    rooted: Path, capsys: pytest.CaptureFixture[str]
):
    second = rooted / "2.root.json"
    keys = [part for name in ("bob", "carol", "dave") for part in ("--root", rooted / f"{name}.pub")]
    assert run("key", "rotate", rooted / "1.root.json", *keys, "--expires", "3650", "--out", second) == 0
    assert release_keys(shown(second, capsys)) == release_keys(shown(rooted / "1.root.json", capsys))
    for name in ("carol", "dave"):
        assert run("key", "sign-root", second, "--key", rooted / f"{name}.pem") == 0
    halfway = shown(second, capsys)
    assert halfway["complete"] is False
    assert [one["missing"] for one in halfway["signatures"]] == [1, 0]  # type: ignore[attr-defined]
    with pytest.raises(TrustError, match="not signed by enough keys"):
        chain(rooted)
    assert run("key", "sign-root", second, "--key", rooted / "alice.pem") == 0
    assert shown(second, capsys)["complete"] is True
    assert chain(rooted) == 2


def test_a_revoked_release_key_is_replaced_and_the_threshold_stays(rooted: Path, capsys: pytest.CaptureFixture[str]):
    second = rooted / "2.root.json"
    old = release_keys(shown(rooted / "1.root.json", capsys))
    revoke = ("key", "revoke", rooted / "1.root.json", "--expires", "3650", "--out", second)
    assert run(*revoke, "release", "--release", rooted / "fresh.pub") == 0
    new = release_keys(shown(second, capsys))
    assert len(new) == 1
    assert new != old
    for name in ("alice", "bob"):
        assert run("key", "sign-root", second, "--key", rooted / f"{name}.pem") == 0
    assert chain(rooted) == 2


@pytest.mark.parametrize(
    ("asked", "reference"),
    [
        (["release"], "threshold-unreachable"),
        (["alice", "bob"], "threshold-unreachable"),
        (["mallory"], "key-not-named"),
        (["release", "--release", "release.pub"], "key-revoked"),
        (["alice", "--release", "bob.pub"], "key-given-twice"),
    ],
)
def test_a_revocation_that_would_leave_too_few_keys_is_refused_and_writes_nothing(
    asked: list[str], reference: str, rooted: Path, capsys: pytest.CaptureFixture[str]
):
    words = [rooted / word if word.endswith(".pub") else word for word in asked]
    assert run("key", "revoke", rooted / "1.root.json", *words, "--expires", "9", "--out", rooted / "2.root.json") == 2
    assert reference in capsys.readouterr().err
    assert not (rooted / "2.root.json").exists()


def test_a_later_root_alone_is_never_shown_as_complete(rooted: Path, capsys: pytest.CaptureFixture[str]):
    second = rooted / "2.root.json"
    assert run("key", "rotate", rooted / "1.root.json", "--expires", "3650", "--out", second) == 0
    for name in ("alice", "bob"):
        assert run("key", "sign-root", second, "--key", rooted / f"{name}.pem") == 0
    assert shown(second, capsys)["complete"] is True
    alone = rooted / "alone"
    alone.mkdir()
    (alone / "2.root.json").write_bytes(second.read_bytes())
    assert shown(alone / "2.root.json", capsys)["complete"] is False
    assert shown(alone / "2.root.json", capsys, "--previous", rooted / "1.root.json")["complete"] is True
    assert run("key", "show", second, "--previous", second) == 2
    assert "root-not-next" in capsys.readouterr().err
