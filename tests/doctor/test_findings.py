"""Each damage to a desk is found by name, repaired where it can be, and then found no more."""

import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.slow_cases import slow
from ticket_assets.desk import Desk
from ticket_assets.doctor.collection import examine_collection
from ticket_assets.doctor.cursors import examine_cursors
from ticket_assets.doctor.findings import Finding, examine
from ticket_assets.doctor.landing import examine_lists, examine_manifests, examine_originals
from ticket_assets.doctor.models import examine_encoder, examine_models
from ticket_assets.doctor.places import examine_places, examine_record, examine_remains
from ticket_assets.doctor.sources import examine_sources
from ticket_assets.doctor.tables import examine_tables
from ticket_assets.embedding.conversion import RECORD, folder_of
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.mail.removal import bury, list_purged, mark_purged
from ticket_assets.settings import Settings
from ticket_assets.storage.day_origins import Origin, replace_origins

FORMER = Path(__file__).parent.parent / "former" / "desk-0.1.0.tar.xz"
"""200 mails of 14 days in every store."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The data folder of a desk on which all is well."""
    folder = tmp_path_factory.mktemp("sound")
    with tarfile.open(FORMER) as archive:
        archive.extractall(folder, filter="data")
    desk = Desk(Settings(_env_file=None, data_dir=folder / "data"))
    with desk.warehouse.transaction():
        pass  # brings the tables to the present schema
    days = desk.landing.days()
    for table in ("ticket_embeddings", "ticket_collection"):
        replace_origins(desk.warehouse, table, days, dict.fromkeys(days, Origin("mail", "recipe")))
    for name, content in (("0" * 20 + ".json", '{"uid_validity": 1, "uid": 7}'), ("x.json", "{}")):
        desk.cursors.replace(name, content.encode())
    return folder / "data"


@pytest.fixture
def data(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "data"))


@pytest.fixture
def desk(data):
    return Desk(Settings(_env_file=None, data_dir=data))


def found(desk, examination):
    return list(examination(desk, repair=False))


def repaired(desk, examination):
    """What a repair finds; afterwards only what it could not repair is left."""
    before = _contents(desk.folder)
    (first, *others) = found(desk, examination)
    assert _contents(desk.folder) == before
    assert not any(finding.is_repaired for finding in (first, *others))
    findings = list(examination(desk, repair=True))
    left = found(Desk(desk.settings), examination)
    assert [f.where for f in left] == [f.where for f in findings if not f.is_repaired]
    return findings


def _contents(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    # Chroma's client writes to its own database when it is opened.
    return {p: p.read_bytes() for p in paths if "collection" not in p.parts}


@pytest.mark.parametrize(
    "examination",
    [
        examine_places,
        examine_remains,
        examine_record,
        examine_sources,
        examine_tables,
        examine_lists,
        examine_originals,
        examine_manifests,
        examine_cursors,
        examine_models,
        *slow(examine_collection),
    ],
)
def test_a_sound_desk_and_an_empty_one_have_no_findings(desk, tmp_path, examination):
    assert found(desk, examination) == []
    assert list(examination(desk, repair=True)) == []

    empty = Desk(Settings(_env_file=None, data_dir=tmp_path / "empty"))
    assert found(empty, examination) == []
    assert not (tmp_path / "empty").exists()


def test_a_part_that_cannot_be_looked_at_is_a_finding_and_no_traceback(desk):
    def examination(_desk, *, repair):
        yield Finding("this", "here", "so")
        raise MemoryError

    first, second = examine(desk, "tables", examination, repair=False)

    assert first == Finding("this", "here", "so")
    assert second.what.startswith("cannot be judged: There is not enough memory.")
    assert second.where == "tables"


@pytest.mark.parametrize(
    ("place", "is_folder"),
    [
        ("cursors/x.json", True),
        ("desk.json", True),
        ("landing/first_day", True),
        ("warehouse.duckdb", True),
        ("models/champion.json", True),
        ("cursors", False),
        ("collection", False),
        ("reports", False),
    ],
)
def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(desk, data, place, is_folder):
    path = data / place
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if is_folder:
        (path / "inside").mkdir(parents=True)
    else:
        path.write_text("a note")

    (finding,) = repaired(desk, examine_places)

    assert finding.where == str(path)
    assert not path.exists()
    (moved,) = data.glob(f"set_aside/*/{place}")
    assert moved.is_dir() == is_folder


def test_what_a_dead_writer_left(desk, data):
    remains = data / "landing" / f".mail.eml.{'0' * 32}.tmp"
    remains.write_text("half a mail")

    (finding,) = repaired(desk, examine_remains)

    assert finding.where == str(remains)
    assert not remains.exists()


def test_a_restore_that_has_not_ended_is_left_to_be_completed(desk, data):
    (data / "restoring.json").write_text('{"target": "/mnt/backups", "snapshot": "S"}')

    (finding,) = repaired(desk, examine_record)

    assert "tickets restore /mnt/backups --snapshot S" in finding.repair
    (data / "restoring.json").write_text("cut")
    (finding,) = repaired(desk, examine_record)
    assert "Restore again, to an empty folder" in finding.repair


def test_a_record_that_cannot_be_read(desk, data):
    (data / "desk.json").write_text('{"queues": ')

    (finding,) = repaired(desk, examine_record)

    assert finding.where == f"{data}/desk.json"
    assert not (data / "desk.json").exists()


def test_damaged_originals_are_set_aside_and_heal_when_their_mail_lands_again(desk, data):
    day = desk.landing.days()[3]
    messages = list(desk.landing.messages(day))[:2]
    contents = {message.name: desk.landing.read(message) for message in messages}
    altered, cut = sorted(contents)
    desk.landing.files.replace(altered, contents[altered].replace(b"e", b"3"))
    desk.landing.files.replace(cut, b"")

    (finding,) = repaired(desk, examine_originals)

    assert finding.what == "2 originals altered or cut, and set aside"
    assert finding.where == f"{data}/landing/damaged/{altered} and 1 more"
    assert not finding.is_repaired
    # The sources are read anew, other cursors stay.
    assert sorted(desk.cursors.names()) == ["x.json"]
    desk.landing.land(
        IncomingMessage(content, "eml", "mbox", message.received_at, "date", None)
        for message in messages
        for content in [contents[message.name]]
    )
    assert found(desk, examine_originals) == []
    assert {message.name: desk.landing.read(message) for message in messages} == contents


def test_originals_that_are_gone_are_named_by_their_day(desk, data):
    day = desk.landing.days()[3]
    count = len(list(desk.landing.messages(day)))
    shutil.rmtree(data / "landing" / str(day))

    (finding,) = repaired(desk, examine_originals)

    assert finding.what == f"{count} originals of which the tables know gone"
    assert finding.where.endswith(f"/landing/{day}" + " and 0 more" * 0)
    assert f"tickets run --from {day} --to {day}" in finding.repair


def test_what_was_purged_or_erased_is_not_missing(desk, data):
    first, second, *_ = desk.landing.days()
    list_purged(desk.landing, first, list(desk.landing.messages(first)))
    mark_purged(desk.landing, first)
    (erased, *_) = desk.landing.messages(second)
    bury(desk.landing, [erased.ticket_id])
    desk.landing.files.delete([erased.name])
    for path in (data / "landing" / str(first)).glob("*.eml"):
        path.unlink()

    assert found(desk, examine_originals) == []


@pytest.mark.parametrize("tables", [True, False], ids=["with tables", "without tables"])
def test_a_manifest_is_made_anew_from_the_tables_and_the_mail(desk, data, tables):
    day = desk.landing.days()[3]
    before = list(desk.landing.messages(day))
    ids = {line["sha256"]: line["message_id"] for line in desk.landing.manifest_lines([str(day)])}
    for manifest in desk.landing.manifests([str(day)]):
        content = desk.landing.files.read(manifest)
        desk.landing.files.replace(manifest, content[: len(content) // 2])
    if not tables:
        (data / "warehouse.duckdb").unlink()

    cut, unnamed = repaired(desk, examine_manifests)

    assert "lines that were cut" in cut.what
    assert "in no manifest" in unnamed.what
    assert ("is lost" in unnamed.repair) != tables
    lines = {line["sha256"]: line for line in desk.landing.manifest_lines([str(day)])}
    assert {name: line["message_id"] for name, line in lines.items()} == ids
    after = list(desk.landing.messages(day))
    assert [m.received_at for m in after] == [m.received_at for m in before]
    assert [m.received_at_source for m in after] == [m.received_at_source for m in before]
    assert ([m.source for m in after] == [m.source for m in before]) == tables


def test_a_list_of_labels_that_was_cut_keeps_the_others_and_takes_the_same_again(desk):
    labels = list(desk.landing.labels())
    (name, *_) = desk.landing.label_files()
    content = desk.landing.files.read(f"labels/{name}")
    desk.landing.files.replace(f"labels/{name}", content[:-10])

    (finding,) = repaired(desk, examine_lists)

    assert "import the same labels again" in finding.repair
    kept = list(desk.landing.labels())
    assert len(kept) == len(labels) - 1
    assert set(kept) < set(labels)
    assert not desk.landing.files.exists(f"labels/{name}")


def test_a_list_of_erased_tickets_that_was_cut_still_names_all_that_can_be_read(desk):
    bury(desk.landing, ["0" * 20, "1" * 20, "2" * 20])
    (name,) = desk.landing.files.names("erased")
    content = desk.landing.files.read(f"erased/{name}")
    desk.landing.files.replace(f"erased/{name}", content[:-2])  # the last line has lost its end

    (finding,) = repaired(Desk(desk.settings), examine_lists)

    assert "erase the persons of that day again" in finding.repair
    assert Desk(desk.settings).landing.erased() == {"0" * 20, "1" * 20, "2" * 20}


@pytest.mark.parametrize("content", ["", "20?6-01-01"])
def test_marks_are_made_anew_from_what_has_landed(desk, data, content):
    first = desk.landing.first_day()
    for number in (0, 1):
        day = desk.landing.days()[number]
        list_purged(desk.landing, day, list(desk.landing.messages(day)))
    mark_purged(desk.landing, day)
    (data / "landing" / "purged_until").write_text(content)
    (data / "landing" / "first_day").write_text(content)

    repaired(desk, examine_lists)

    assert desk.landing.purged_until() == day
    assert desk.landing.first_day() == first


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("0" * 20 + ".json", b'{"uid": '),
        ("alerts.json", b"\xff\xfe"),
        ("0" * 20 + ".sqlite", b"SQLite format 3\0" + b"?" * 5000),
        (
            "source-" + "0" * 20 + ".json",
            json.dumps({"next_try": str(datetime.now(UTC) + timedelta(days=900))}).encode(),
        ),
    ],
    ids=["cut", "no text", "no database", "of a clock that was wrong"],
)
def test_a_cursor_that_cannot_be_used_is_removed(desk, data, name, content):
    (data / "cursors" / name).write_bytes(content)

    (finding,) = repaired(desk, examine_cursors)

    assert finding.where == f"{data}/cursors/{name}"
    assert not (data / "cursors" / name).exists()


def test_the_memory_of_files_that_were_read_is_a_sound_cursor(desk, data):
    with closing(sqlite3.connect(data / "cursors" / ("0" * 20 + ".sqlite"))) as memory:
        memory.execute("create table seen (name)")

    assert found(desk, examine_cursors) == []


@pytest.mark.parametrize("damage", ["altered", "cut", "no database"])
def test_a_damaged_warehouse_is_set_aside(desk, data, damage):
    path = data / "warehouse.duckdb"
    content = bytearray(path.read_bytes())
    if damage == "altered":
        start = content.find(b"VPN")
        content[start : start + 3] = b"???"
    path.write_bytes(
        {"cut": content[: len(content) // 2], "no database": b"x"}.get(damage, content)
    )

    (finding,) = repaired(desk, examine_tables)

    assert "`tickets run` makes all tables anew" in finding.repair
    assert not path.exists()
    assert list(data.glob("set_aside/*/warehouse.duckdb"))


def test_a_damaged_warehouse_with_rows_of_purged_mail_stays_where_it_is(desk, data):
    mark_purged(desk.landing, desk.landing.days()[0])
    (data / "warehouse.duckdb").write_bytes(b"x")

    (finding,) = repaired(desk, examine_tables)

    assert finding.repair.startswith("restore a backup")


def test_a_warehouse_that_another_process_writes_to_is_not_judged(desk):
    with desk.warehouse.transaction():
        busy = Desk(desk.settings, patience=0)
        (finding,) = examine(busy, "tables", examine_tables, repair=True)

    assert "is in use by another process" in finding.what
    assert desk.warehouse.exists


def test_a_model_that_is_half_written_is_removed_and_the_champion_trained_anew(desk, data):
    champion = desk.models.champion_name()
    (data / "models" / champion / "model.skops").write_bytes(b"damaged")
    half = data / "models" / "0123456789ab"
    half.mkdir()
    (half / "model_card.md").write_text("half")

    other, of_champion = sorted(repaired(desk, examine_models), key=lambda f: "champion" in f.what)

    assert (other.is_repaired, of_champion.is_repaired) == (True, True)
    assert other.where == str(half)
    assert of_champion.where == f"{data}/models/{champion}"
    assert "`tickets run` trains one anew" in of_champion.repair
    assert desk.models.names() == []
    # With labels that have come in since, what is trained is another version, compared with none.
    assert desk.models.champion() is None


def test_a_name_of_the_champion_that_cannot_be_read(desk, data):
    (data / "models" / "champion.json").write_text('{"champion": ')

    (finding,) = repaired(desk, examine_models)

    assert "`tickets run` chooses a champion anew" in finding.repair


@pytest.mark.slow
def test_a_damaged_encoder_is_found_and_so_is_the_one_that_reads_passwords(data, tmp_path):
    settings = Settings(
        _env_file=None, data_dir=data, encoder="all-minilm-l6-v2", encoders_dir=tmp_path
    )
    desk = Desk(settings)
    vectors, passwords = folder_of(desk.encoder.model, "fp32"), desk.secrets_in_context.converted
    for folder in (vectors, passwords):
        folder.mkdir(parents=True)
        (folder / RECORD).write_text("{}")

    findings = repaired(desk, examine_encoder)

    assert {finding.where for finding in findings} == {str(vectors), str(passwords)}
    without = Desk(settings.model_copy(update={"secrets_in_context": False}))
    passwords.mkdir()
    assert found(without, examine_encoder) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["lost", "emptied", "index"])
def test_a_collection_that_does_not_hold_the_tables_is_made_anew(desk, data, damage):
    collection = data / "collection"
    if damage == "lost":
        shutil.rmtree(collection)
    elif damage == "emptied":
        with closing(sqlite3.connect(collection / "chroma.sqlite3")) as database:
            database.execute("delete from embeddings")
            database.execute("delete from embeddings_queue")
            database.commit()
    else:
        (collection / "chroma.sqlite3").write_bytes(b"x" * 10_000)

    (finding,) = repaired(desk, examine_collection)

    assert finding.where == str(collection)
    assert finding.is_repaired


def test_a_folder_that_is_fetched_and_that_of_a_category_is_found_by_name(data, tmp_path):
    routing = tmp_path / "routing.yaml"
    routing.write_text(
        "categories: {network: {queue: it, imap: INBOX}, printing: it}\npriorities: [low, high]\n"
    )
    account = {"imap_host": "127.0.0.1", "imap_user": "desk", "imap_password": "x"}
    desk = Desk(Settings(_env_file=None, data_dir=data, routing=routing, **account))

    (finding,) = repaired(desk, examine_sources)

    assert finding == Finding(
        "it cannot be known what people change in imap",
        str(routing),
        "Mail is fetched from INBOX, which the routing file names as the folder of a category. Take"
        " it out of TICKETS_IMAP_FOLDERS or of the routing file.",
    )
