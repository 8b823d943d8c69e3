"""What is erased is gone from every file, stays gone, and leaves the rest as it was."""

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from tests.traces import traces
from ticket_assets.cli.removal import print_erasure
from ticket_assets.desk import Desk
from ticket_assets.drift.store import REVIEW_QUEUE
from ticket_assets.erasure import ErasureError, erase, find_tickets
from ticket_assets.mail.back_off import FORGOTTEN, BackOff, read_back_off, write_back_off
from ticket_assets.mail.landing import IncomingMessage, Label, LandingError
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.mail.removal import removing
from ticket_assets.settings import Settings
from ticket_assets.storage.collection import TicketCollection
from ticket_assets.storage.set_aside import set_aside
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import ensure_table
from ticket_assets.text.cleaning import clean_tickets

pytestmark = pytest.mark.slow

DAYS = [date(2025, 3, 3), date(2025, 3, 4)]
SENDER = "zuzanna.quxhorn@example.net"
WORD = "Zwyrtalka"
MODEL = "an-encoder@1"


def mail(number, sender, subject, day=DAYS[0]):
    return (
        f"From: {sender}\nTo: desk@example.com\nMessage-ID: <{number}@example.net>\n"
        f"Date: {day:%a, %d %b %Y} 10:0{number}:00 +0000\nSubject: {subject}\n\n"
        f"The printer number {number} shows {subject} and nothing else.\n"
    ).encode()


MAILS = {
    "first": mail(1, f"Zuzanna <{SENDER}>", WORD),
    "shouted": mail(2, f'"Quxhorn, Zuzanna" <{SENDER.upper()}>', f"{WORD} again", DAYS[1]),
    "encoded": mail(3, f"=?utf-8?q?Zuzanna_Qux=C3=B4rn?= <{SENDER}>", "third", DAYS[1]),
    "colleague": mail(4, "Ann <ann@example.net>", "a jam"),
    "namesake": mail(5, f'"{SENDER}" <other@example.net>', "toner", DAYS[1]),
}
IDS = {name: hashlib.sha256(content).hexdigest()[:20] for name, content in MAILS.items()}
MESSAGE_IDS = {
    ticket_id: f"<{number}@example.net>" for number, ticket_id in enumerate(IDS.values(), 1)
}
HERS = {IDS["first"], IDS["shouted"], IDS["encoded"]}
OTHERS = {IDS["colleague"], IDS["namesake"]}


def landed(content, day, number):
    return IncomingMessage(
        content=content,
        extension="eml",
        source="test",
        received_at=datetime(day.year, day.month, day.day, 10, tzinfo=UTC),
        received_at_source="date",
        message_id=f"{number}@example.net",
    )


def messages():
    days = [DAYS[0], DAYS[1], DAYS[1], DAYS[0], DAYS[1]]
    return [
        landed(content, day, number)
        for number, (content, day) in enumerate(zip(MAILS.values(), days, strict=True), 1)
    ]


def label(category, **named):
    return Label(
        category=category,
        priority=None,
        labelled_at=datetime(2025, 4, 1, tzinfo=UTC),
        labelled_by="Anne",
        ticket_id=named.get("ticket_id"),
        message_id=named.get("message_id"),
    )


@pytest.fixture
def desk(tmp_path):
    """Five mails in every store, three of them from one person; a delivery was killed before its
    file had its name."""
    decisions = tmp_path / "decisions"
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", delivery_folder=decisions)
    landing = Desk(settings).landing
    landing.land(messages())
    landing.land_labels(
        [
            label("printing", ticket_id=IDS["first"]),
            label("printing", message_id="2@example.net"),
            label("paper", message_id="4@example.net"),
        ]
    )
    parsed = raw_tickets(landing, DAYS, max_message_bytes=10**6)
    clean = clean_tickets(
        parsed.tickets, languages=("en",), phone_regions=("FR",), mask_ip_addresses=True
    ).tickets
    write(settings, "raw_tickets", parsed.tickets)
    write(settings, "rejected_messages", parsed.rejected)
    write(settings, "clean_tickets", clean)
    write(settings, "ticket_labels", landing.resolve_labels().labels)
    near = {"similarity": 0.5, "category": "printing", "priority": None, "day": "2025-03-03"}
    write(
        settings,
        "ticket_predictions",
        pd.DataFrame(
            {
                "ticket_id": clean["ticket_id"],
                "received_at": clean["received_at"],
                "nearest": json.dumps(
                    [{"ticket_id": IDS[name], **near} for name in ("first", "colleague")]
                ),
            }
        ),
    )
    told = clean[["ticket_id", "received_at"]]
    write(settings, "review_queue", told.assign(rank=1))
    Desk(settings).reports.blobs.replace(REVIEW_QUEUE, told.to_csv(index=False).encode())
    outcomes = told.assign(outcome="delivered", message_id=clean["ticket_id"].map(MESSAGE_IDS))
    write(settings, "delivered_tickets", outcomes.assign(receiver="webhook"))
    write(settings, "delivered_tickets", outcomes.assign(receiver="folder", outcome="sending"))
    (decisions / ".ticket-assets").mkdir(parents=True)
    (decisions / ".ticket-assets" / "b1.csv").write_text(outcomes.to_csv(index=False))
    (decisions / ".ticket-assets" / "b1.published").touch()
    vectors = np.eye(8, dtype=np.float32)[: len(clean)]
    write(
        settings,
        "ticket_embeddings",
        clean[["ticket_id", "received_at", "text_hash"]].assign(model=MODEL, vector=list(vectors)),
        vector_length=8,
    )
    with TicketCollection.open(MODEL, folder=settings.collection_dir) as collection:
        rows = clean.assign(category=None, priority=None)
        collection.sync(rows, vectors, *DAYS)
    return Desk(settings)


def write(settings, table, rows, vector_length=None):
    with duckdb.connect(str(settings.warehouse_path)) as connection:
        connection.execute("set force_compression = 'uncompressed'")  # for tests.traces
        ensure_table(connection, TABLES[table], vector_length)
        rows = rows.reindex(columns=TABLES[table].column_names)
        connection.from_df(rows).insert_into(f"{SCHEMA}.{table}")


def kept(desk):
    """Ticket ids by table, in the collection, and in the landing zone."""
    warehouse, landing = desk.warehouse, desk.landing
    with desk.collection(MODEL) as collection:
        collected = collection.ids()
    return {
        "collection": collected,
        "landing": {
            message.ticket_id for day in landing.days() for message in landing.messages(day)
        },
        **{table: set(warehouse.frame(f"from {table}")["ticket_id"]) for table in TABLES_OF_ALL},
    }


TABLES_OF_ALL = (
    *("raw_tickets", "clean_tickets", "ticket_embeddings", "ticket_predictions"),
    *("review_queue", "delivered_tickets"),
)
NAMESAKE = {"landing", "warehouse.duckdb"}
"""Where the mail of another is kept, who has the address as a name."""


def left_of_her(desk, *texts):
    """The texts that stand in a file, by the first folder of its path; ids that are remembered, so
    that nothing lands again, are left out."""
    found = {}
    folders = desk.folder, desk.settings.delivery_folder
    for name, stands in traces([WORD, "zuzanna", SENDER, *HERS, *texts], *folders).items():
        path = Path(name).relative_to(desk.folder.parent)
        path = path.relative_to("data") if path.is_relative_to("data") else path
        remembered = HERS if path.parts[:2] == ("landing", "erased") else set()
        found.setdefault(path.parts[0], set()).update(stands - remembered)
    return {place: stands for place, stands in found.items() if stands}


def assert_erased(desk):
    """Nothing is left of her, in any byte, but what stands in the namesake's own mail."""
    left = left_of_her(desk)
    assert left.keys() <= NAMESAKE
    assert set().union(*left.values()) <= {SENDER, "zuzanna"}
    senders = desk.warehouse.frame("select sender from raw_tickets")["sender"]
    assert set(senders) <= {"ann@example.net", "other@example.net"}
    assert [path.name for path in desk.folder.iterdir() if path.name.startswith(".")] == []


def test_a_person_is_found_by_address_in_any_case_and_not_by_a_name_that_looks_like_it(desk):
    assert find_tickets(desk, [SENDER.title()], []) == HERS


def test_mail_that_no_run_has_read_is_found(tmp_path):
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    row = json.dumps({"sender": f"Zuzanna <{SENDER}>", "subject": "x", "body": "y"}).encode()
    export = IncomingMessage(row, "json", "csv", datetime(2025, 3, 3, tzinfo=UTC), "export", None)
    bare_returns = MAILS["first"].replace(b"\n", b"\r")
    long_head = b"Received: " + b"x" * 40_000 + b"\n" + MAILS["first"]
    Desk(settings).landing.land(
        [export, landed(bare_returns, DAYS[0], 7), landed(long_head, DAYS[0], 8)]
    )

    tickets = find_tickets(Desk(settings), [SENDER], [])

    assert tickets == {
        hashlib.sha256(content).hexdigest()[:20] for content in (row, bare_returns, long_head)
    }


@pytest.mark.parametrize(
    ("senders", "tickets", "line"),
    [
        (["Zuzanna"], [], "'Zuzanna' is no address of e-mail, like anne@example.org"),
        ([], ["0" * 20], "There is no ticket 00000000000000000000"),
    ],
)
def test_what_is_not_known_is_refused(desk, senders, tickets, line):
    with pytest.raises(ErasureError, match=line):
        find_tickets(desk, senders, tickets)


def test_a_person_of_whom_nothing_is_kept_is_told(desk):
    unknown = []

    assert find_tickets(desk, [SENDER, "no@x.fr"], [], on_unknown=unknown.append) == HERS
    erase(desk, HERS)
    assert find_tickets(desk, [SENDER], [], on_unknown=unknown.append) == set()

    assert unknown == ["no@x.fr", SENDER]


def test_what_a_server_quoted_when_it_failed_is_removed_and_the_wait_stays(desk):
    now = datetime.now(UTC)
    quoted = f"It answers 503: cannot take {MESSAGE_IDS[IDS['first']]} of {SENDER}."
    failed = BackOff().failed(now, "login", quoted, b"secret")
    write_back_off(desk.cursors, "delivery webhook", failed)

    erase(desk, HERS)

    assert_erased(desk)
    kept_back_off = read_back_off(desk.cursors, "delivery webhook")
    assert kept_back_off == replace(failed, error=FORGOTTEN)


def whole_landing(desk):
    files = desk.landing.files
    return dict(files.read_many(blob.name for blob in files.list()))


def test_a_dry_run_counts_what_the_erasure_removes_and_removes_nothing(desk):
    before = whole_landing(desk)

    planned = erase(desk, HERS, dry_run=True)

    assert kept(desk) == dict.fromkeys(kept(desk), HERS | OTHERS)
    assert whole_landing(desk) == before
    assert erase(desk, HERS) == planned
    assert (planned.tickets, planned.messages, planned.manifest_lines) == (3, 3, 3)
    assert (planned.label_lines, planned.vectors, planned.references) == (2, 3, 2)
    assert planned.rows == {
        "raw_tickets": 3,
        "rejected_messages": 0,
        "clean_tickets": 3,
        "ticket_labels": 2,
        "ticket_embeddings": 3,
        "ticket_predictions": 3,
        "review_queue": 3,
        "delivered_tickets": 6,
    }
    assert planned.reports == [REVIEW_QUEUE]
    assert planned.delivered == {"folder": 3, "webhook": 3}
    assert planned.unpublished == 1


def test_an_erased_person_stands_in_no_file_and_the_others_are_as_before(desk):
    places = {place for place, stands in left_of_her(desk).items() if stands & HERS}
    assert places == {"collection", "decisions", "landing", "reports", "warehouse.duckdb"}

    erase(desk, HERS)

    assert kept(desk) == dict.fromkeys(kept(desk), OTHERS)
    assert_erased(desk)
    assert [label.category for label in desk.landing.labels()] == ["paper"]


def test_predictions_no_longer_name_an_erased_neighbour(desk):
    erase(desk, HERS)

    nearest = desk.warehouse.frame("select nearest from ticket_predictions")
    named = [[near["ticket_id"] for near in json.loads(row)] for row in nearest["nearest"]]
    assert named == [[IDS["colleague"]]] * 2


def test_the_vectors_of_the_others_still_find_themselves(desk):
    vectors = desk.warehouse.frame(
        "select ticket_id, vector from ticket_embeddings order by ticket_id"
    )
    erase(desk, HERS)

    with TicketCollection.open(MODEL, folder=desk.settings.collection_dir) as collection:
        for row in vectors[vectors["ticket_id"].isin(OTHERS)].itertuples():
            ((nearest,),) = collection.nearest(np.array([row.vector], np.float32), 1)
            assert (nearest.ticket_id, round(nearest.similarity, 4)) == (row.ticket_id, 1.0)


def test_what_was_about_to_be_handed_over_of_others_still_is(desk):
    hidden = desk.settings.delivery_folder / ".ticket-assets"

    erase(desk, HERS)

    # The mark without its file would say that all of it was handed over.
    assert list(hidden.iterdir()) == []
    outcomes = desk.warehouse.rows(
        "select ticket_id, outcome from delivered_tickets where receiver = 'folder'"
    )
    assert dict(outcomes) == dict.fromkeys(OTHERS, "sending")


def test_what_a_receiver_has_of_an_erased_person_is_told_and_stays_there(desk, capsys):
    file = desk.settings.delivery_folder / "decisions-b0.csv"
    file.write_text(f"ticket_id\n{IDS['first']}\n")

    print_erasure(erase(desk, HERS), 0)

    assert file.exists()
    assert "delivered: 3 to folder, 3 to webhook." in " ".join(capsys.readouterr().err.split())


def test_an_erased_message_does_not_land_again(desk):
    erase(desk, HERS)
    announced = []

    report = desk.landing.land(messages(), announced.append)

    assert (report.landed, report.already_there, report.erased_before) == (0, 2, 3)
    assert len(announced) == 5, "a source may forget an erased message too"
    assert kept(desk)["landing"] == OTHERS


def test_a_ticket_whose_label_another_copy_shares_leaves_the_label_there(desk):
    landing = desk.landing
    copy = landed(MAILS["colleague"] + b"\nSent twice.\n", DAYS[1], 4)
    landing.land([copy])

    erase(desk, {IDS["colleague"]})

    assert "paper" in {label.category for label in landing.labels()}


def test_an_erased_ticket_can_be_named_again(desk):
    erase(desk, {IDS["first"]})

    tickets = find_tickets(desk, [], [IDS["first"]])

    assert tickets == {IDS["first"]}
    again = erase(desk, tickets)
    assert again.messages == again.manifest_lines == again.label_lines == 0
    assert again.references == again.vectors == 0
    assert not again.reports
    assert not any(again.rows.values())


def test_what_was_written_again_of_an_erased_ticket_goes_with_the_next_erasure(desk):
    rows = {
        table: desk.warehouse.frame(f"from {table} where ticket_id = '{IDS['first']}'")
        for table in ("raw_tickets", "clean_tickets")
    }
    erase(desk, HERS)
    for table, of_her in rows.items():
        write(desk.settings, table, of_her)

    again = erase(desk, set())

    assert (again.tickets, again.rows["raw_tickets"], again.rows["clean_tickets"]) == (0, 1, 1)
    assert_erased(desk)


KILLED_RUN = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("set force_compression = 'uncompressed'")
connection.begin()
connection.execute("insert into tickets.raw_tickets by name select 'Zwyrtalka ' || i as subject"
    " from range(300000) r(i)")
os.kill(os.getpid(), 9)
"""
KILLED_IMPORT = """
import os, signal, sys
from pathlib import Path
from ticket_assets.storage import whole_file
from ticket_assets.storage.folder_blobs import FolderBlobs

whole_file.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
FolderBlobs(Path(sys.argv[1])).write([("2025-03-03/a.eml", b"Zwyrtalka"), ("b.eml", b"Zwyrtalka")])
"""


def test_what_killed_processes_have_left_of_the_person_goes_too(desk):
    for code, place in ((KILLED_RUN, "warehouse.duckdb"), (KILLED_IMPORT, "landing")):
        subprocess.run([sys.executable, "-c", code, desk.folder / place], check=False)
    assert len(list(desk.folder.rglob(".*.tmp"))) == 2
    set_aside(desk.folder, desk.folder / "reports")
    (desk.folder / "set_aside" / "old.duckdb").write_text(WORD)

    erase(desk, HERS)

    assert_erased(desk)


def test_two_erasures_at_once_are_refused(desk):
    with (
        removing(desk.landing, desk.leases),
        pytest.raises(LandingError, match="under way"),
    ):
        erase(desk, HERS)


ERASE_AND_DIE = """
import os, sys
from pathlib import Path
from ticket_assets.desk import Desk
from ticket_assets.erasure import erase
from ticket_assets.settings import Settings

left = int(sys.argv[2])

def die(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

settings = Settings(_env_file=None, data_dir=Path(sys.argv[1]))
import ticket_assets.storage.collection, ticket_assets.storage.warehouse, chromadb
sys.addaudithook(die)
erase(Desk(settings), sys.argv[3:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("changes", [1, 4, 7, 9, 14])
def test_an_erasure_that_is_killed_is_completed_by_the_same_again(desk, changes):
    died = subprocess.run(
        [sys.executable, "-c", ERASE_AND_DIE, str(desk.folder), str(changes), *HERS],
        check=False,
    )
    assert died.returncode == -signal.SIGKILL

    erase(desk, find_tickets(desk, [SENDER], []))

    assert kept(desk) == dict.fromkeys(kept(desk), OTHERS)
    assert_erased(desk)
