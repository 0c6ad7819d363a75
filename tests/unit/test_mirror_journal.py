"""The journal of a copy: what it keeps, what it forgets, and who may use it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from registry.client.uploads import Resumable
from registry.errors import SiteError
from registry.mirror.journal import Journal
from registry.oci.digest import Digest

DIGEST = Digest.of(b"x")
HERE, FURTHER = Resumable("https://r.example.org/u/1", 0), Resumable("https://r.example.org/u/1", 500)


def interrupted(journal: Journal) -> None:
    with contextlib.suppress(RuntimeError), journal.upload("team/app", DIGEST) as kept:
        assert kept.session is None
        kept.keep(HERE)
        kept.keep(FURTHER)
        raise RuntimeError


def test_an_upload_that_did_not_end_is_there_next_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        interrupted(journal)
    with Journal(path) as journal:
        with journal.upload("team/app", DIGEST) as kept:
            assert kept.session
            assert kept.session.location == HERE.location
        with journal.upload("team/other", DIGEST) as kept:
            assert kept.session is None


def test_nothing_is_left_of_what_arrived(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        with journal.upload("team/app", DIGEST) as kept:
            kept.keep(HERE)
        with journal.upload("team/app", DIGEST) as kept:
            assert kept.session is None
    assert not path.exists()


def test_two_copies_with_one_journal_exclude_each_other(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(SiteError) as caught:
        Journal(tmp_path / "j")
    assert caught.value.reference == "copy-under-way"
    with Journal(tmp_path / "j"):
        pass


def test_a_journal_that_is_kept_nowhere_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal.none() as journal, journal.upload("a", DIGEST) as kept:
        kept.keep(HERE)
    assert list(tmp_path.iterdir()) == []
