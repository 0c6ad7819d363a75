from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from installer.flows.begin import begin
from installer.site.home import Home
from installer.site.journal import Journal
from installer.site.secrets import MASK, Secret, masked
from registry.errors import SiteError
from tests.site_samples import SITE, declare, sample


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_making_a_home_twice_changes_nothing(tmp_path: Path) -> None:
    declared = declare(tmp_path)
    assert begin(declared, declared.home()).changed
    before = everything_in(declared.home())
    assert not begin(declared, declared.home()).changed
    assert everything_in(declared.home()) == before


def test_what_is_missing_in_a_home_is_made_again_and_the_rest_stays(tmp_path: Path) -> None:
    declared = declare(tmp_path)
    home = begin(declared, declared.home()).home
    before = everything_in(home.path)
    (home.pki / "operator.pem").unlink()
    assert begin(declared, home.path).changed
    changed = {name for name, data in everything_in(home.path).items() if before.get(name) != data}
    assert {Path(name).name for name in changed} == {"operator.pem", "journal.jsonl"}


def test_nobody_else_can_read_a_secret(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    secret = [*(home.path / "secrets").iterdir(), *home.pki.glob("*.key"), home.apt_key, home.journal]
    assert len(secret) > 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_a_home_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    home.path.chmod(0o755)
    with pytest.raises(SiteError) as caught:
        Home.open(home.path)
    assert caught.value.reference == "home-not-private"
    assert f"chmod 700 {home.path}" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_home_of_somebody_else_names_whom_to_run_as(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    os.chown(home.path, 65534, 65534)
    with pytest.raises(SiteError) as caught:
        Home.open(home.path)
    assert caught.value.hint.startswith("run it as user 65534")


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    (home.path / "secrets/plan-key").chmod(0o644)
    with pytest.raises(SiteError) as caught:
        home.secrets.read("plan-key")
    assert caught.value.reference == "secret-exposed"


def test_a_home_of_another_site_is_not_taken_over(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    other = declare(tmp_path, SITE.replace("name: alpha", "name: beta"))
    with pytest.raises(SiteError) as caught:
        begin(other, home.path)
    assert (caught.value.reference, caught.value.seen) == ("home-of-another-site", "alpha")


def test_a_home_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="no site home") as caught:
        Home.open(tmp_path / "nowhere")
    assert "site init" in caught.value.hint


def test_a_second_process_is_refused_and_told_who_works(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    with home.locked(), pytest.raises(SiteError) as caught, home.locked():
        pass
    assert caught.value.reference == "home-locked"
    assert re.search(rf"process {os.getpid()} on ", caught.value.seen)
    with home.locked():
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with home.locked():
            os.write(writer, b"!")
            os.kill(os.getpid(), 9)
    assert os.read(reader, 1) == b"!"
    os.waitpid(child, 0)
    with home.locked():
        pass


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("correct-horse-battery")
    assert f"{secret} {secret!r} {[secret]}" == f"{MASK} {MASK} [{MASK}]"
    assert masked("said correct-horse-battery!", [secret]) == f"said {MASK}!"


def test_a_line_of_a_key_is_masked_too_and_innocent_words_are_not() -> None:
    key = Secret("-----BEGIN\nMHcCAQEEIFaRZ4jc2\n}\n-----END\n")
    assert masked("x MHcCAQEEIFaRZ4jc2 } y", [key]) == f"x {MASK} }} y"


def test_init_is_journaled(tmp_path: Path) -> None:
    home = sample(tmp_path).home
    assert [entry.event for entry in Journal.open(home.journal).entries] == ["site-init"]
