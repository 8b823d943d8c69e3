"""The landing zone keeps every message exactly once, whole, under its day, whatever happens."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import pandas as pd
import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.s3 import KEY_ID, SECRET
from tests.slow_cases import slow
from ticket_assets.mail.landing import (
    DamagedOriginalError,
    IncomingMessage,
    Label,
    LandingError,
    LandingZone,
)
from ticket_assets.mail.removal import bury, mark_purged
from ticket_assets.storage.blobs import BlobStoreError
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.s3_access import S3Access

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)


def message(text="x", received_at=NOON, message_id=None, extension="eml"):
    return IncomingMessage(
        content=text.encode(),
        extension=extension,
        source="test",
        received_at=received_at,
        received_at_source="date" if received_at else "landed",
        message_id=message_id,
    )


def label(category=None, priority=None, *, day=1, ticket_id=None, message_id=None, by="Anne"):
    return Label(
        category=category,
        priority=priority,
        labelled_at=datetime(2025, 4, day, tzinfo=UTC),
        labelled_by=by,
        ticket_id=ticket_id,
        message_id=message_id,
    )


@pytest.fixture(params=["folder", *slow("bucket")])
def landing(request, tmp_path):
    if request.param == "folder":
        return LandingZone(FolderBlobs(tmp_path / "landing"))
    s3 = request.getfixturevalue("s3")
    access = S3Access(s3.endpoint, "eu-west-1", KEY_ID, SECRET)
    return LandingZone(BucketBlobs(f"{s3.bucket()}/landing", access))


def test_an_empty_zone_has_nothing(landing):
    assert landing.days() == []
    assert list(landing.messages(NOON.date())) == []
    assert landing.counts([NOON.date()]) == {NOON.date(): 0}
    assert list(landing.labels()) == []
    assert landing.first_day() is None


def test_a_message_is_its_bytes_under_its_utc_day(landing):
    late_evening_in_montreal = datetime.fromisoformat("2025-03-03T22:00:00-05:00")

    report = landing.land([message("Bonjour", late_evening_in_montreal, "1@x")])

    (landed,) = landing.messages(date(2025, 3, 4))
    content_hash = hashlib.sha256(b"Bonjour").hexdigest()
    assert (report.landed, report.already_there, report.days) == (1, 0, (date(2025, 3, 4),))
    assert landed.name == f"2025-03-04/{content_hash}.eml"
    assert landing.read(landed) == b"Bonjour"
    assert (landed.content_hash, landed.ticket_id) == (content_hash, content_hash[:20])
    assert landed.received_at == datetime(2025, 3, 4, 3, tzinfo=UTC)
    assert (landed.source, landed.received_at_source, landed.size_bytes) == ("test", "date", 7)


def test_the_manifest_names_every_message_of_its_batch(landing):
    landing.land([message("a", message_id="1@x"), message("b")])

    (manifest,) = landing.files.list("2025-03-03/_manifests")
    lines = [json.loads(line) for line in landing.files.read(manifest.name).splitlines()]
    assert [line["message_id"] for line in lines] == ["1@x", None]
    assert lines[0]["sha256"] == hashlib.sha256(b"a").hexdigest()
    assert lines[0]["received_at"] == "2025-03-03T12:00:00+00:00"


def test_messages_come_by_received_time_then_hash(landing):
    later = message("tard", NOON + timedelta(hours=1))
    same_time = [message(str(number)) for number in range(5)]

    landing.land([later, *same_time])

    messages = list(landing.messages(NOON.date()))
    assert [landed.content_hash for landed in messages[:-1]] == sorted(
        hashlib.sha256(landed.content).hexdigest() for landed in same_time
    )
    assert landing.read(messages[-1]) == b"tard"


def test_landing_the_same_again_changes_nothing(landing):
    messages = [message("a"), message("b"), message("a")]

    first = landing.land(messages)
    before = list(landing.files.list())
    second = landing.land(messages)

    assert (first.landed, first.already_there) == (2, 1)
    assert (second.landed, second.already_there, second.days) == (0, 3, ())
    assert list(landing.files.list()) == before


@pytest.mark.parametrize("content", [b"Bonjour", b"", b"x" * 100], ids=["altered", "cut", "longer"])
def test_landing_the_same_mail_heals_a_damaged_original(landing, content):
    landing.land([message("bonjour"), message("other")])
    before = [blob.name for blob in landing.files.list("2025-03-03")]
    (damaged,) = (m for m in landing.messages(NOON.date()) if landing.read(m) == b"bonjour")
    landing.files.replace(damaged.name, content)

    with pytest.raises(DamagedOriginalError, match=damaged.name):
        landing.read(damaged)
    report = landing.land([message("bonjour"), message("other")])

    assert (report.landed, report.healed, report.already_there) == (0, 1, 1)
    assert landing.read(damaged) == b"bonjour"
    assert [blob.name for blob in landing.files.list("2025-03-03")] == before


@pytest.mark.parametrize("received_at", [NOON, None], ids=["dated", "undated"])
@pytest.mark.parametrize("is_set_aside", [True, False], ids=["set aside", "in its place"])
def test_what_heals_keeps_its_day_and_its_time(landing, received_at, is_set_aside):
    week_ago = datetime.now(UTC) - timedelta(days=7)
    with time_machine.travel(week_ago, tick=False):
        landing.land([message("x", received_at)])
    (day,) = landing.days()
    (before,) = landing.messages(day)
    landing.files.replace(before.name, b"y")
    if is_set_aside:
        landing.set_aside([before.name])
        assert landing.days() == []

    report = landing.land([message("x", received_at)])

    assert (report.landed, report.healed) == (0, 1)
    assert landing.days() == [day]
    assert list(landing.messages(day)) == [before]
    assert not list(landing.files.list("damaged"))


def test_what_was_erased_does_not_heal(landing):
    landing.land([message("x")])
    (erased,) = landing.messages(NOON.date())
    landing.files.replace(erased.name, b"y")
    landing.set_aside([erased.name])
    bury(landing, [erased.ticket_id])

    report = landing.land([message("x")])

    assert (report.landed, report.healed, report.erased_before) == (0, 0, 1)


@pytest.mark.parametrize(
    "altered",
    [
        lambda line: line[:40],
        lambda line: line.replace(b"12:00", b"13:00"),
        lambda line: line.replace(b"sha256", b"sha265"),
        lambda line: b"\xff" + line[1:],
        lambda _: b"[]\n",
    ],
    ids=["cut", "another time", "another name", "no text", "another kind"],
)
def test_a_line_of_a_manifest_that_was_altered_is_as_if_there_was_none(landing, altered):
    landing.land([message("a", message_id="1@x"), message("b", message_id="2@x")])
    (manifest,) = landing.files.list("2025-03-03/_manifests")
    first, second = landing.files.read(manifest.name).splitlines(keepends=True)
    landing.files.replace(manifest.name, altered(first).rstrip(b"\n") + b"\n" + second)

    messages = list(landing.messages(NOON.date()))

    assert sorted(landed.source for landed in messages) == ["test", "unknown"]
    assert [line["message_id"] for line in landing.manifest_lines(["2025-03-03"])] == ["2@x"]


def test_a_line_of_a_manifest_of_an_earlier_version_has_no_checksum(landing):
    landing.land([message("a", message_id="1@x")])
    (manifest,) = landing.files.list("2025-03-03/_manifests")
    line = json.loads(landing.files.read(manifest.name))
    line.pop("crc32")
    landing.files.replace(manifest.name, json.dumps(line).encode())

    assert [line["message_id"] for line in landing.manifest_lines(["2025-03-03"])] == ["1@x"]


@pytest.mark.parametrize("name", ["labels", "erased"])
def test_a_line_that_nothing_can_stand_for_is_refused_by_its_file(landing, name):
    landing.files.replace(f"{name}/a.jsonl", b'{"ticket_id": "0123456789')

    with pytest.raises(LandingError, match=rf"{name}/a.jsonl, line 1 was cut or altered"):
        list(landing.labels()) if name == "labels" else landing.erased()


def test_a_message_without_a_date_lands_today_and_only_once(landing):
    landing.land([message("x", received_at=None)])
    (today,) = landing.days()
    # As if it had landed a week ago.
    (landed,) = landing.messages(today)
    week_ago = today - timedelta(days=7)
    with landing.changing([today, week_ago]):
        name = landed.name.replace(today.isoformat(), week_ago.isoformat())
        landing.files.replace(name, landing.read(landed))
        landing.files.delete([landed.name])

    again = landing.land([message("x", received_at=None)])

    assert abs(datetime.now(UTC).date() - today) <= timedelta(days=1)
    assert (again.landed, again.already_there) == (0, 1)
    assert landing.days() == [today - timedelta(days=7)]


def test_a_message_whose_date_was_still_to_come_is_not_landed_again_once_it_has_passed(landing):
    landing.land([message("x", received_at=None)])
    in_a_week = datetime.now(UTC) + timedelta(days=7)

    # The same bytes, read when their date is believed.
    again = landing.land([message("x", in_a_week), message("y", in_a_week)])

    assert (again.landed, again.already_there) == (1, 1)
    assert [len(list(landing.messages(day))) for day in landing.days()] == [1, 1]


def test_messages_without_a_date_are_counted(landing):
    report = landing.land([message("x", received_at=None), message("y")])

    assert (report.landed, report.undated) == (2, 1)


def test_a_day_with_a_manifest_alone_holds_nothing(landing):
    landing.land([message("x"), message("y", NOON - timedelta(days=1))])
    (left,) = landing.messages(date(2025, 3, 2))
    with landing.changing([date(2025, 3, 2)]):
        landing.files.delete([left.name])

    assert landing.days() == [NOON.date()]


def test_a_file_without_a_manifest_line_still_counts(landing):
    dated = b"Date: Mon, 3 Mar 2025 10:00:00 +0100\n\nx"
    landing.files.replace(f"2025-03-03/{hashlib.sha256(dated).hexdigest()}.eml", dated)
    other_day = b"Date: Mon, 10 Mar 2025 10:00:00 +0100\n\nx"
    landing.files.replace(f"2025-03-03/{hashlib.sha256(other_day).hexdigest()}.eml", other_day)

    start, at_nine = landing.messages(date(2025, 3, 3))

    assert (start.received_at, start.received_at_source, start.source) == (
        datetime(2025, 3, 3, tzinfo=UTC),
        "landed",
        "unknown",
    )
    assert (at_nine.received_at, at_nine.received_at_source) == (
        datetime(2025, 3, 3, 9, tzinfo=UTC),
        "date",
    )


def test_temporary_and_foreign_files_are_not_messages(tmp_path):
    landing = LandingZone(FolderBlobs(tmp_path))
    landing.land([message("x")])
    folder = landing.files.folder / "2025-03-03"
    (folder / f".{'0' * 64}.eml.1234.tmp").write_bytes(b"half")
    (folder / "_manifests" / ".batch.jsonl.1234.tmp").write_bytes(b'{"sha')
    (folder / "note.txt").write_text("x")
    (landing.files.folder / "2025-99-99").mkdir()

    assert [landing.read(landed) for landed in landing.messages(NOON.date())] == [b"x"]
    assert landing.counts([NOON.date()]) == {NOON.date(): 1}
    assert landing.days() == [NOON.date()]


def test_each_message_is_announced_once_it_is_on_disk(landing):
    announced = []

    def on_message(each):
        assert [landing.read(landed) for landed in landing.messages(NOON.date())] == [b"x"]
        announced.append(each.content)

    landing.land([message("x")], on_message)
    landing.land([message("x")], on_message)

    assert announced == [b"x", b"x"]


def test_the_first_day_is_that_of_the_first_import_without_wild_dates(landing):
    wild = message("wild", datetime(1995, 1, 1, tzinfo=UTC))
    oldest = message("old", datetime(2023, 6, 1, tzinfo=UTC))

    first = landing.land([message("new"), wild, oldest])
    second = landing.land([message("older", datetime(2023, 5, 31, tzinfo=UTC)), message("newer")])

    assert landing.first_day() == date(2023, 6, 1)
    assert landing.files.read("first_day") == b"2023-06-01\n"
    assert (first.older, second.older) == (1, 1)


def test_a_first_day_that_the_user_has_set_decides_what_is_older(landing):
    report = landing.land([message("x")], first_day=date(2025, 3, 4))

    assert report.older == 1


def test_what_is_being_erased_is_neither_read_nor_landed_nor_labelled(landing):
    landing.land([message("x", message_id="1@x"), message("y")])
    landing.land_labels([label("vpn", message_id="1@x")])
    bury(landing, [hashlib.sha256(b"x").hexdigest()[:20]])

    again = landing.land([message("x"), message("z"), message("x", received_at=None)])

    assert (again.landed, again.already_there, again.erased_before) == (1, 0, 2)
    assert sorted(landing.read(landed) for landed in landing.messages(NOON.date())) == [b"y", b"z"]
    assert landing.counts([NOON.date()]) == {NOON.date(): 2}
    assert landing.resolve_labels().labels.empty


def test_days_until_the_last_purged_one_are_not_processed_any_more(landing):
    landing.land([message("x")])
    assert landing.first_unpurged_day(date(2025, 3, 1)) == date(2025, 3, 1)

    mark_purged(landing, date(2025, 3, 2))

    assert landing.first_unpurged_day(date(2025, 3, 1)) == date(2025, 3, 3)
    assert landing.first_unpurged_day(date(2025, 3, 9)) == date(2025, 3, 9)
    assert landing.land([message("old", NOON - timedelta(days=1))]).older == 1


def test_a_first_day_that_is_not_a_date_is_explained(landing):
    landing.land([message("x")])
    landing.files.replace("first_day", b"hier\n")

    with pytest.raises(LandingError, match="'hier': write the first day as YYYY-MM-DD"):
        landing.first_day()


def test_labels_come_back_as_they_were_given_and_land_once(landing):
    labels = [label("accès", "high", message_id="1@x"), label("vpn", ticket_id="0" * 20)]

    assert landing.land_labels(labels) == 2
    assert landing.land_labels(labels) == 0
    assert sorted(landing.labels(), key=lambda landed: landed.category) == labels


def test_the_latest_label_wins_for_each_target_in_whatever_order_they_land(landing):
    landing.land_labels([label(priority="high", day=3, ticket_id="t", by="Bob")])
    landing.land_labels([label("network", "low", day=2, ticket_id="t")])
    landing.land_labels([label("email", "urgent", day=1, ticket_id="t")])

    pd.testing.assert_frame_equal(
        landing.resolve_labels().labels,
        pd.DataFrame(
            {
                "ticket_id": ["t"],
                "category": ["network"],
                "priority": ["high"],
                "labelled_at": pd.Series([datetime(2025, 4, 3)], dtype="datetime64[us]"),
                "labelled_by": ["Bob"],
            }
        ),
    )


def test_a_message_id_names_every_ticket_that_has_it(landing):
    landing.land([message("a", message_id="1@x"), message("b", message_id="1@x"), message("c")])

    landing.land_labels([label("vpn", message_id="<1@x>"), label("vpn", message_id="9@x")])
    resolved = landing.resolve_labels()

    assert set(resolved.labels["ticket_id"]) == {
        hashlib.sha256(text).hexdigest()[:20] for text in (b"a", b"b")
    }
    assert resolved.unresolved == 1


def test_no_labels_are_an_empty_frame_of_the_same_types(landing):
    labels = landing.resolve_labels().labels

    assert labels.empty
    assert labels.dtypes.astype(str).to_dict() == {
        "ticket_id": "object",
        "category": "object",
        "priority": "object",
        "labelled_at": "datetime64[us]",
        "labelled_by": "object",
    }


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=30), st.sampled_from(["date", "received", "landed"]))
def test_any_two_imports_hold_each_message_once(tmp_path_factory, numbers, source):
    landing = LandingZone(FolderBlobs(tmp_path_factory.mktemp("landing")))
    # A date header is part of the content; a delivery date may differ at each import.
    messages = [
        IncomingMessage(
            content=str(number).encode(),
            extension="eml",
            source="test",
            received_at=None
            if source == "landed"
            else NOON + timedelta(days=number if source == "date" else place),
            received_at_source=source,
            message_id=None,
        )
        for place, number in enumerate(numbers)
    ]

    reports = [landing.land(messages[: len(messages) // 2]), landing.land(reversed(messages))]

    kept = [int(landing.read(landed)) for day in landing.days() for landed in landing.messages(day)]
    assert sorted(kept) == sorted(set(numbers))
    assert sum(report.landed for report in reports) == len(kept)


LAND_FOREVER = """
import pickle
import sys
from datetime import UTC, datetime, timedelta
from ticket_assets.mail.landing import IncomingMessage, LandingZone

def messages():
    for number in range(int(sys.argv[2])):
        moment = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=number % 72)
        content = b"%d\\n" % number + b"x" * 20000
        yield IncomingMessage(content, "eml", "test", moment, "date", f"{number}@x")

print("started", flush=True)
LandingZone(pickle.loads(bytes.fromhex(sys.argv[1]))).land(messages())
"""


def land_in_a_process(landing, count):
    blobs = pickle.dumps(landing.files).hex()
    command = [sys.executable, "-c", LAND_FOREVER, blobs, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def many(landing):
    """So many messages that another process meets their landing; the test's S3 server is slow."""
    return 1200 if isinstance(landing.files, FolderBlobs) else 200


def landed_numbers(landing):
    messages = (message for day in landing.days() for message in landing.messages(day))
    return sorted(int(landing.read(message).split(b"\n")[0]) for message in messages)


@pytest.mark.slow
@pytest.mark.parametrize("files_before_the_kill", [1, 60])
def test_a_landing_that_is_killed_leaves_no_torn_file_and_is_completed_by_the_next(
    landing, files_before_the_kill
):
    count = many(landing)
    process = land_in_a_process(landing, count)
    assert process.stdout.readline() == "started\n"
    while sum(blob.name.endswith(".eml") for blob in landing.files.list()) < files_before_the_kill:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()

    after_the_kill = [landed for day in landing.days() for landed in landing.messages(day)]
    assert files_before_the_kill <= len(after_the_kill) < count
    assert all(
        hashlib.sha256(landing.read(landed)).hexdigest() == landed.content_hash
        for landed in after_the_kill
    )
    assert {landed.source for landed in after_the_kill} == {"test"}

    assert land_in_a_process(landing, count).wait() == 0
    completed = [landed for day in landing.days() for landed in landing.messages(day)]
    assert sorted(int(landing.read(landed).split(b"\n")[0]) for landed in completed) == list(
        range(count)
    )


@pytest.mark.slow
def test_processes_that_land_the_same_at_once_leave_each_message_once(landing):
    processes = [land_in_a_process(landing, 150) for _ in range(3)]

    assert [process.wait() for process in processes] == [0, 0, 0]
    completed = [landed for day in landing.days() for landed in landing.messages(day)]
    assert sorted(int(landing.read(landed).split(b"\n")[0]) for landed in completed) == list(
        range(150)
    )


@pytest.mark.slow
def test_a_reader_sees_whole_messages_with_their_source_while_another_process_lands(landing):
    process = land_in_a_process(landing, many(landing))
    seen = 0
    while process.poll() is None:
        for day in landing.days():
            for landed in landing.messages(day):
                assert hashlib.sha256(landing.read(landed)).hexdigest() == landed.content_hash
                assert landed.source == "test"
                seen += 1

    assert process.returncode == 0
    assert seen > 0


def test_a_zone_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "landing").write_text("a file where the folder should be")

    with pytest.raises(BlobStoreError, match=r"Cannot write .*landing.*: "):
        LandingZone(FolderBlobs(tmp_path / "landing")).land([message()])
    with pytest.raises(BlobStoreError, match=r"Cannot write .*landing.*: "):
        LandingZone(FolderBlobs(tmp_path / "landing")).land_labels([label("vpn", ticket_id="t")])


@pytest.mark.slow
def test_three_landings_at_once_report_each_what_it_has_landed(tmp_path):
    labels = [Label("a", None, NOON, "x", f"{number:020x}", None) for number in range(9)]
    start = Barrier(3)

    def land():
        zone = LandingZone(FolderBlobs(tmp_path / "landing"))
        start.wait()
        report = zone.land(message(f"Subject: {number}\n\nx") for number in range(600))
        return report, zone.land_labels(labels)

    with ThreadPoolExecutor(3) as landings:
        reports = [landing.result() for landing in [landings.submit(land) for _ in range(3)]]

    assert sum(report.landed for report, _ in reports) == 600
    assert sum(report.already_there for report, _ in reports) == 1200
    assert sum(labels for _, labels in reports) == 9
