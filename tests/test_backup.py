"""A desk is copied while it works, lost, and brought back: on a folder and on a bucket."""

import dataclasses
import json
import multiprocessing
import shutil
import sqlite3
import tarfile
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from psycopg2.extensions import make_dsn

from tests.slow_cases import slow
from tests.warehouse_rows import append_rows, table_rows
from ticket_assets.backup import (
    BackupError,
    back_up,
    restore,
    snapshots,
    tell_backups,
)
from ticket_assets.desk import Desk
from ticket_assets.erasure import erase
from ticket_assets.half_restored import refuse_half_restored
from ticket_assets.mail.landing import DamagedOriginalError, IncomingMessage
from ticket_assets.mail.removal import list_purged, remove_purged
from ticket_assets.settings import Settings
from ticket_assets.storage.blobs import BlobStoreError

FORMER = Path(__file__).parent / "former" / "desk-0.1.0.tar.xz"
"""200 mails of 14 days in every store."""


@pytest.fixture(scope="module")
def former_desk(tmp_path_factory):
    """Its data folder with tables of the present schema, to be copied."""
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(FORMER) as archive:
        archive.extractall(folder, filter="data")
    data = folder / "data"
    cursors = data / "cursors"
    cursors.mkdir(exist_ok=True)
    (cursors / "imap.json").write_text('{"uid": 7}')
    dagster = data / "dagster" / "history"
    dagster.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(dagster / "runs.db")) as runs:
        runs.execute("create table runs (id integer)")
        runs.execute("insert into runs values (1)")
        runs.commit()
    with Desk(settings(data)).warehouse.transaction():
        pass  # brings the tables to the present schema
    row = {"ticket_id": "0" * 20, "received_at": datetime(2025, 3, 3), "label": "printing"}
    row |= {"receiver": "folder", "outcome": "delivered", "evidence": 20_000.0, "rank": 1}
    for table in ("delivered_tickets", "review_queue", "suspended_labels"):
        append_rows(settings(data), table, [row])
    return data


@pytest.fixture
def desk(former_desk, tmp_path):
    shutil.copytree(former_desk, tmp_path / "data")
    return Desk(settings(tmp_path / "data"))


@pytest.fixture(params=["folder", *slow("bucket")])
def target(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "backups")
    return request.getfixturevalue("s3").bucket() + "/desk"


@pytest.fixture(autouse=True)
def _access(request, monkeypatch):
    if "s3" in request.fixturenames or "bucket" in request.node.name:
        server = request.getfixturevalue("s3")
        monkeypatch.setenv("TICKETS_S3_ENDPOINT", server.endpoint)
        monkeypatch.setenv("TICKETS_S3_KEY_ID", "AKIDESK")
        monkeypatch.setenv("TICKETS_S3_SECRET", "secret")
        monkeypatch.setenv("TICKETS_S3_REGION", "eu-west-3")


def settings(folder):
    return Settings(_env_file=None, data_dir=folder, encoder="all-minilm-l6-v2")


def files(desk):
    """Everything but tables, collection and Dagster's history, by name."""
    return {
        blob.name: desk.files.read(blob.name)
        for folder in ("landing", "models", "reports", "cursors")
        for blob in desk.files.list(folder)
    }


def mail(number):
    return IncomingMessage(
        content=f"Subject: {number}\n\nThe printer {number} is on fire.\n".encode(),
        extension="eml",
        source="test",
        received_at=datetime(2026, 3, 30, 10, 0, number, tzinfo=UTC),
        received_at_source="date",
        message_id=f"{number}@example.net",
    )


@pytest.mark.slow
def test_a_lost_desk_is_the_same_again(desk, target, tmp_path):
    before, mail_before = table_rows(desk.warehouse), files(desk)
    made = back_up(desk, target, keep=7)
    shutil.rmtree(tmp_path / "data")

    restored = restore(Desk(settings(tmp_path / "data")), target)

    again = Desk(settings(tmp_path / "data"))
    assert restored.snapshot == made
    assert restored.messages == made.messages == 200
    assert table_rows(again.warehouse) == before
    assert files(again) == mail_before
    assert again.models.champion_name() == "b5a2f44ba86d"
    with closing(sqlite3.connect(tmp_path / "data/dagster/history/runs.db")) as runs:
        assert runs.execute("select * from runs").fetchall() == [(1,)]
    refuse_half_restored(again.files)


@pytest.mark.slow
def test_a_second_backup_copies_new_mail_alone_and_keeps_the_last_snapshots(desk, target, s3):
    first = back_up(desk, target, keep=2)
    desk.landing.land([mail(1)])
    shown = []
    back_up(desk, target, keep=2, on_progress=lambda *copied: shown.append(copied))
    third = back_up(desk, target, keep=2)

    assert max(done for what, done in shown if what == "messages") == 1
    kept = snapshots(desk, target)
    assert [one.messages for one in kept] == [201, 201]
    assert kept[-1] == third
    assert first.name not in {one.name for one in kept}


@pytest.mark.slow
def test_what_was_erased_since_is_erased_again_where_everything_was_lost(desk, target, tmp_path):
    back_up(desk, target, keep=7)
    with desk.warehouse.connect() as connection:
        ((ticket, text),) = connection.execute(
            "select ticket_id, text from tickets.clean_tickets order by length(text) desc limit 1"
        ).fetchall()
    erase(desk, {ticket})
    assert list(tell_backups(desk, {ticket}).values()) == [None]
    left = table_rows(desk.warehouse)
    shutil.rmtree(tmp_path / "data")

    again = Desk(settings(tmp_path / "data"))
    restored = restore(again, target)

    assert restored.erased == 1
    assert again.landing.erased() == {ticket}
    assert table_rows(again.warehouse) == left
    held = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not [content for content in held if text.encode() in content]


@pytest.mark.slow
def test_tables_are_of_one_moment_while_runs_write(desk, target, tmp_path):
    """A writer puts a row into two tables in each transaction: no snapshot has one without the
    other."""
    with desk.warehouse.transaction() as connection:
        connection.execute("create table tickets.left_rows (i integer)")
        connection.execute("create table tickets.right_rows (i integer)")
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=write_pairs, args=(desk.warehouse, stop))
    writer.start()
    try:
        made = [back_up(desk, target, keep=7)]
        while made[-1].rows["left_rows"] < 20:
            made.append(back_up(desk, target, keep=7))
    finally:
        stop.set()
        writer.join()

    for snapshot in made:
        assert snapshot.rows["left_rows"] == snapshot.rows["right_rows"]
    again = Desk(settings(tmp_path / "again"))
    restore(again, target)
    restored = table_rows(again.warehouse)
    assert restored["left_rows"] == restored["right_rows"] != []


def write_pairs(warehouse, stop):
    number = 0
    while not stop.is_set():
        number += 1
        with warehouse.transaction() as connection:
            connection.execute("insert into tickets.left_rows values (?)", [number])
            connection.execute("insert into tickets.right_rows values (?)", [number])


@pytest.mark.slow
def test_a_restore_that_was_interrupted_goes_on_and_nothing_else_does(
    desk, target, tmp_path, monkeypatch
):
    before = table_rows(desk.warehouse)
    made = back_up(desk, target, keep=7)
    again = Desk(settings(tmp_path / "again"))
    with monkeypatch.context() as patch:
        patch.setattr("ticket_assets.backup._bring_tables", interrupted)
        with pytest.raises(KeyboardInterrupt):
            restore(again, target)

    with pytest.raises(BackupError, match=f"--snapshot {made.name}`"):
        again.require_same_settings()
    restore(Desk(settings(tmp_path / "again")), target)

    assert table_rows(Desk(settings(tmp_path / "again")).warehouse) == before
    Desk(settings(tmp_path / "again")).require_same_settings()


@pytest.mark.slow
@pytest.mark.parametrize("stores", ["file", "lake"])
def test_a_restore_that_fails_among_the_tables_brings_all_of_them_the_next_time(
    desk, tmp_path, monkeypatch, request, stores
):
    before, target = table_rows(desk.warehouse), str(tmp_path / "backups")
    back_up(desk, target, keep=7)
    shared = {}
    if stores == "lake":
        database = request.getfixturevalue("postgres").database()
        shared = {
            "warehouse": f"ducklake:postgres:{make_dsn(**database)}",
            "warehouse_data": str(tmp_path / "rows"),
        }
    again = Settings(
        _env_file=None, data_dir=tmp_path / "again", encoder="all-minilm-l6-v2", **shared
    )
    with monkeypatch.context() as patch:
        patch.setattr("ticket_assets.storage.table_files.migrate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            restore(Desk(again), target)

    restore(Desk(again), target)

    restored = table_rows(Desk(again).warehouse)
    assert {name: restored[name] for name in before} == before


@pytest.mark.slow
def test_messages_that_were_purged_go_from_the_backup_and_others_stay(desk, target, tmp_path):
    back_up(desk, target, keep=7)
    first, *_ = desk.landing.days()
    purged = list(desk.landing.messages(first))
    list_purged(desk.landing, first, purged)
    remove_purged(desk.landing)

    assert back_up(desk, target, keep=7).messages == 200 - len(purged)
    again = Desk(settings(tmp_path / "again"))
    restore(again, target)
    assert again.landing.days() == desk.landing.days()


@pytest.mark.slow
def test_a_damaged_original_is_left_out_and_named_until_it_is_healed(desk, target, tmp_path):
    desk.landing.land([mail(1), mail(2)])
    day = mail(1).received_at.date()
    damaged, *others = desk.landing.messages(day)
    whole = desk.landing.read(damaged)
    desk.landing.files.replace(damaged.name, b"altered")

    with pytest.raises(DamagedOriginalError, match=damaged.name):
        back_up(desk, target, keep=7)

    again = Desk(settings(tmp_path / "again"))
    assert restore(again, target).messages == 201
    assert list(again.landing.messages(day)) == others
    desk.landing.files.replace(damaged.name, whole)
    assert back_up(desk, target, keep=7).messages == 202


@pytest.mark.slow
def test_a_whole_copy_in_the_backup_outlives_the_damage(desk, target, tmp_path):
    back_up(desk, target, keep=7)
    day, *_ = desk.landing.days()
    (damaged, *_) = desk.landing.messages(day)
    content = desk.landing.read(damaged)
    desk.landing.files.replace(damaged.name, b"altered")

    with suppress(DamagedOriginalError):
        back_up(desk, target, keep=1)

    again = Desk(settings(tmp_path / "again"))
    restore(again, target)
    assert again.landing.read(damaged) == content


@pytest.mark.slow
def test_a_backup_without_news_asks_the_bucket_little(desk, s3):
    target = f"{s3.bucket()}/desk"
    back_up(desk, target, keep=7)
    before = len(s3.requests())

    written = len(back_up(desk, target, keep=7).files)

    requests = s3.requests()[before:]
    assert len(requests) < written + 30
    assert len([line for line in requests if line.startswith("GET")]) < 15


def test_an_erasure_on_a_desk_without_backups_writes_nothing_about_them(desk):
    assert tell_backups(desk, {"0" * 20}) == {}
    assert not desk.files.exists("backups.json")


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_desk_that_holds_something_is_not_overwritten(desk, target, tmp_path):
    back_up(desk, target, keep=7)
    before = table_rows(desk.warehouse), files(desk)

    with pytest.raises(BackupError, match="holds a desk already"):
        restore(desk, target)

    assert (table_rows(desk.warehouse), files(desk)) == before


def test_a_target_takes_one_desk(desk, target, tmp_path):
    back_up(desk, target, keep=7)
    other = Desk(settings(tmp_path / "other"))
    other.landing.land([mail(1)])

    with pytest.raises(BackupError, match="holds the backups of another desk"):
        back_up(other, target, keep=7)


@pytest.mark.slow
def test_a_desk_that_lost_its_mail_does_not_take_it_from_the_backup(desk, target, tmp_path):
    back_up(desk, target, keep=7)
    shutil.rmtree(tmp_path / "data" / "landing" / "2026-03-30")

    assert back_up(desk, target, keep=7).messages == 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["damaged", "missing"])
def test_a_backup_that_is_not_whole_is_one_line(desk, tmp_path, kind):
    made = back_up(desk, str(tmp_path / "backups"), keep=7)
    path = tmp_path / "backups" / "snapshots" / made.name / "files/models/champion.json"
    path.write_text("{}") if kind == "damaged" else path.unlink()

    with pytest.raises(BackupError) as refusal:
        restore(Desk(settings(tmp_path / "again")), str(tmp_path / "backups"))

    expected = {
        "damaged": "files/models/champion.json in",
        "missing": f"{path.parents[2]} lacks 1 files of the backup, files/models/champion.json",
    }
    assert str(refusal.value).startswith(expected[kind])


@pytest.mark.slow
def test_a_snapshot_that_was_not_completed_is_none(desk, tmp_path):
    first = back_up(desk, str(tmp_path / "backups"), keep=7)
    half = tmp_path / "backups" / "snapshots" / "29991231T000000Z"
    shutil.copytree(tmp_path / "backups" / "snapshots" / first.name, half)
    (half / "snapshot.json").unlink()

    assert snapshots(desk, str(tmp_path / "backups")) == [first]


@pytest.mark.slow
def test_a_snapshot_of_a_newer_version_is_refused(desk, tmp_path):
    made = back_up(desk, str(tmp_path / "backups"), keep=7)
    described = tmp_path / "backups" / "snapshots" / made.name / "snapshot.json"
    described.write_text(json.dumps({**dataclasses.asdict(made), "format": 99}))

    with pytest.raises(BackupError, match="made by a newer version"):
        restore(Desk(settings(tmp_path / "again")), str(tmp_path / "backups"))
    assert not (tmp_path / "again").exists()


def test_a_bucket_that_is_not_there_is_one_line(desk, s3):
    with pytest.raises(BlobStoreError, match=r"^There is no bucket nowhere at http://127"):
        back_up(desk, "s3://nowhere/desk", keep=7)


@pytest.mark.slow
def test_the_parquet_files_can_be_read_by_anything(desk, tmp_path):
    made = back_up(desk, str(tmp_path / "backups"), keep=7)
    folder = tmp_path / "backups" / "snapshots" / made.name / "tables" / "clean_tickets"

    (rows,) = duckdb.sql(f"select count(*) from '{folder}/*.parquet'").fetchall()[0]  # noqa: S608

    assert rows == made.rows["clean_tickets"] == 197
