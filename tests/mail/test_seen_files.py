"""What was read of a folder is remembered, on a folder and in a bucket, and costs few requests."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.services.dying_blobs import DyingBlobs, Killed
from ticket_assets.mail import seen_files
from ticket_assets.mail.seen_files import FileVersion, Progress, SeenFiles

FOLDER = Path("/inbox")
FILES = [FileVersion(f"{number}.eml", 1000, number) for number in range(2500)]


def remembered(cursors):
    with SeenFiles(cursors, FOLDER) as seen:
        return seen.progress()


def test_what_is_remembered_is_read_again(file_store):
    undecodable = FileVersion("caf\udce9.eml", 3, 4)
    with SeenFiles(file_store, FOLDER) as seen:
        seen.remember(FILES[:2], done=True)
        seen.remember(FILES[2:3], 120, done=False)
        seen.refuse(undecodable, "Why", "reader")

    assert remembered(file_store) == {
        FILES[0]: Progress(0, True),
        FILES[1]: Progress(0, True),
        FILES[2]: Progress(120, False),
        undecodable: Progress(0, True, "Why", "reader"),
    }
    with SeenFiles(file_store, FOLDER) as seen:
        seen.forget([FILES[0], undecodable])
    assert remembered(file_store).keys() == {FILES[1], FILES[2]}
    with SeenFiles(file_store, Path("/other")) as seen:
        assert seen.progress() == {}


def test_what_has_landed_before_an_error_is_remembered(file_store):
    def fail():
        with SeenFiles(file_store, FOLDER) as seen:
            seen.remember(FILES[:1], done=True)
            raise Killed

    with pytest.raises(Killed):
        fail()

    assert remembered(file_store).keys() == {FILES[0]}


def test_thousands_of_files_cost_few_writes(file_store):
    cursors = DyingBlobs(file_store, 1)
    with SeenFiles(cursors, FOLDER) as seen:
        for start in range(0, len(FILES), 100):
            seen.remember(FILES[start : start + 100], done=True)

    assert len(remembered(file_store)) == len(FILES)


def test_a_long_look_is_remembered_now_and_then(file_store, monkeypatch):
    monkeypatch.setattr(seen_files, "SAVE_SECONDS", 0)
    with SeenFiles(file_store, FOLDER) as seen:
        seen.remember(FILES[:1], done=True)
        assert remembered(file_store).keys() == {FILES[0]}


def test_a_look_that_changes_nothing_writes_nothing(file_store):
    remembered(file_store)
    assert list(file_store.list()) == []
    with SeenFiles(file_store, FOLDER) as seen:
        seen.remember(FILES[:1], done=True)

    with SeenFiles(DyingBlobs(file_store, 0), FOLDER) as seen:
        seen.forget([])
        assert seen.progress().keys() == {FILES[0]}


def test_the_memory_is_the_database_that_former_releases_wrote(tmp_path, file_store):
    with SeenFiles(file_store, FOLDER) as seen:
        seen.remember(FILES[:1], 7, done=True)
    (blob,) = file_store.list()
    former = tmp_path / "former.sqlite"
    former.write_bytes(file_store.read(blob.name))

    with closing(sqlite3.connect(former)) as connection, connection:
        assert connection.execute("select name, messages from seen").fetchall() == [(b"0.eml", 7)]
        connection.execute("update seen set messages = 8")
    file_store.replace(blob.name, former.read_bytes())

    assert remembered(file_store) == {FILES[0]: Progress(8, True)}


@pytest.mark.parametrize("content", [b"", b"no database", b"no database" * 1000])
def test_a_damaged_memory_is_as_good_as_none(file_store, content):
    with SeenFiles(file_store, FOLDER) as seen:
        seen.remember(FILES[:1], done=True)
    (blob,) = file_store.list()
    file_store.replace(blob.name, content)

    assert remembered(file_store) == {}
    with SeenFiles(file_store, FOLDER) as seen:
        seen.remember(FILES[1:2], done=True)
    assert remembered(file_store).keys() == {FILES[1]}
