"""Every landed message is either a ticket or rejected with a reason, in fixed columns and types."""

import hashlib
import json
from datetime import UTC, date, datetime

import pytest

from ticket_assets.mail.landing import DamagedOriginalError, IncomingMessage, LandingZone
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.tables import TABLES

DAY = date(2025, 3, 3)
MAIL = (
    "Message-ID: <1@x>\r\nDate: Mon, 3 Mar 2025 10:00:00 +0100\r\n"
    "From: Hélène <h@exemple.fr>\r\nTo: support@exemple.fr\r\nSubject: Écran noir\r\n\r\n"
    "Depuis hier"
).encode()


@pytest.fixture
def landing(tmp_path):
    zone = LandingZone(FolderBlobs(tmp_path))
    moment = datetime(2025, 3, 3, 9, tzinfo=UTC)
    zone.land(
        IncomingMessage(content, "eml", "mbox:a", moment, "date", None)
        for content in (MAIL, b"\x89PNG", b"Subject: x\n\n" + b"x" * 5000)
    )
    return zone


def test_a_mail_becomes_a_row_of_the_contract(landing):
    (row,) = raw_tickets(landing, [DAY], max_message_bytes=4096).tickets.to_dict("records")

    assert list(row) == list(TABLES["raw_tickets"].column_names)
    assert row == {
        "ticket_id": hashlib.sha256(MAIL).hexdigest()[:20],
        "message_id": "1@x",
        "in_reply_to": None,
        "thread_id": "1@x",
        "reference": "1@x",
        "received_at": datetime(2025, 3, 3, 9),
        "received_at_source": "date",
        "sender": "h@exemple.fr",
        "sender_name": "Hélène",
        "recipients": '["support@exemple.fr"]',
        "subject": "Écran noir",
        "body_text": "Depuis hier",
        "body_html": None,
        "attachments": "[]",
        "kind": "request",
        "source": "mbox:a",
        "size_bytes": len(MAIL),
    }


def test_a_day_with_damaged_originals_is_refused_by_name(landing):
    first, second, _ = sorted(
        blob.name for blob in landing.files.list(str(DAY)) if ".eml" in blob.name
    )
    landing.files.write([(first, b"Subject: forged\n\nx"), (second, b"")])

    with pytest.raises(DamagedOriginalError) as error:
        raw_tickets(landing, [DAY], max_message_bytes=10_000)

    assert str(error.value) == (
        f"{landing.files.location}/{first} holds other bytes than those that landed, as do 1 more"
        " originals. Import that mail again, which heals it. `tickets doctor` names every damaged"
        " original, and with --repair sets them aside: their days are then processed without them."
    )


def test_what_is_unreadable_or_too_large_is_rejected_with_its_reason_and_path(landing):
    rejected = raw_tickets(landing, [DAY], max_message_bytes=4096).rejected

    reasons = dict(zip(rejected["size_bytes"], rejected["reason"], strict=True))
    assert list(rejected.columns) == list(TABLES["rejected_messages"].column_names)
    assert reasons == {
        4: "no header lines: this is not an e-mail",
        5012: "too large: 0.00478 MB, the limit is 0.00391 MB (TICKETS_MAX_MESSAGE_MB)",
    }
    for row in rejected.to_dict("records"):
        content = (landing.files.folder / row["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["content_hash"]


def test_a_day_without_mail_is_empty_frames_of_the_same_types(landing):
    full = raw_tickets(landing, [DAY], max_message_bytes=4096)
    empty = raw_tickets(landing, [date(2025, 3, 4)], max_message_bytes=4096)

    assert empty.tickets.empty
    assert empty.rejected.empty
    assert empty.tickets.dtypes.equals(full.tickets.dtypes)
    assert empty.rejected.dtypes.equals(full.rejected.dtypes)
    assert str(empty.tickets["received_at"].dtype) == "datetime64[us]"
    assert str(empty.tickets["size_bytes"].dtype) == "int64"


def test_a_row_of_an_export_becomes_a_ticket(tmp_path):
    row = json.dumps({"subject": "VPN", "body": "coupé", "original": {"État": "clos"}}).encode()
    moment = datetime(2025, 3, 3, 9, tzinfo=UTC)
    landing = LandingZone(FolderBlobs(tmp_path))
    landing.land([IncomingMessage(row, "json", "csv:a.csv", moment, "export", None)])

    tickets = raw_tickets(landing, [DAY], max_message_bytes=4096).tickets

    assert tickets[["subject", "body_text", "received_at_source"]].to_numpy().tolist() == [
        ["VPN", "coupé", "export"]
    ]
