"""What is erased or purged is in no file of a folder and in no object of a bucket."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from ticket_assets.mail.landing import (
    ARRIVALS,
    BATCH_MESSAGES,
    ErasureUnderWayError,
    IncomingMessage,
    Label,
    LandingError,
    LandingZone,
)
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.removal import (
    HEAD_BYTES,
    bury,
    landed_tickets,
    list_purged,
    mark_purged,
    no_arrivals,
    remove_labels,
    remove_messages,
    remove_purged,
    tickets_sent_by,
)
from ticket_assets.storage.leases import FileLeases

MONDAY = date(2025, 3, 3)
TUESDAY = date(2025, 3, 4)


@pytest.fixture
def landing(file_store):
    return LandingZone(file_store.under("landing"))


def mail(sender, text, day=MONDAY, header=""):
    lines = [f"{header}From: {sender}", f"Date: {day:%a, %d %b %Y} 09:00:00 +0000"]
    return mail_message("\r\n".join([*lines, f"Message-ID: <{text}@x>", "", text]).encode(), "test")


def row(sender, text):
    moment = datetime(2025, 3, 4, 9, tzinfo=UTC)
    content = f'{{"sender": "{sender}", "body": "{text}{"." * HEAD_BYTES}"}}'.encode()
    return IncomingMessage(content, "json", "test", moment, "export", f"{text}@x")


def everything(landing):
    return b"".join(content for _, content in landing.files.read_many(names(landing)))


def names(landing):
    return [blob.name for blob in landing.files.list()]


def texts(landing):
    messages = (message for day in landing.days() for message in landing.messages(day))
    return [landing.read(message) for message in messages]


def test_the_tickets_of_a_sender_are_told_by_headers_however_long(landing):
    long_header = "".join(f"X-{number}: {'x' * 70}\r\n" for number in range(HEAD_BYTES // 70))
    landing.land(
        [
            mail("Anne <anne@example.org>", "short"),
            mail("ANNE@example.org", "long", TUESDAY, long_header),
            mail("bob@example.org", "anne@example.org is in the text"),
            row("anne@example.org", "exported"),
            row('", "sender_name": "Anne <anne@example.org>', "named"),
        ]
    )
    progress = []

    (sent,) = tickets_sent_by(
        landing, ["anne@example.org"], lambda *done: progress.append(done)
    ).values()

    assert len(sent) == 4
    assert progress == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert landed_tickets(landing, sent | {"0" * 20}) == sent


def test_an_erasure_reaches_originals_that_were_set_aside_and_lines_that_were_cut(landing):
    landing.land([mail("anne@example.org", "secret"), mail("bob@example.org", "other")])
    landing.land_labels(
        Label("vpn", None, datetime(2025, 3, 5, tzinfo=UTC), "Bob", None, f"{text}@x")
        for text in ("secret", "other")
    )
    (hers,) = tickets_sent_by(landing, ["anne@example.org"])["anne@example.org"]
    (original,) = (name for name in names(landing) if hers in name)
    landing.files.replace(original, landing.files.read(original)[:-1] + b"?")
    landing.set_aside([original])
    (manifest,) = landing.manifests([str(MONDAY)])
    line = next(line for line in landing.files.read(manifest).splitlines() if b"secret" in line)
    others = landing.files.read(manifest).replace(line, line[30:])
    landing.files.replace(manifest, others)
    (labels,) = (name for name in names(landing) if name.startswith("labels/"))
    landing.files.replace(
        labels, landing.files.read(labels).replace(b'{"category', b'"category', 1)
    )

    assert tickets_sent_by(landing, ["anne@example.org"]) == {"anne@example.org": {hers}}
    bury(landing, [hers])
    remove_labels(landing, [hers])
    removed = remove_messages(landing, [hers])

    assert (removed.messages, removed.manifest_lines) == (1, 1)
    assert b"secret" not in everything(landing)
    assert b"other" in everything(landing)


def test_a_purge_reaches_originals_that_were_set_aside(landing):
    landing.land([mail("anne@example.org", "secret"), mail("bob@example.org", "other", TUESDAY)])
    damaged = [name for name in names(landing) if name.endswith(".eml")]
    landing.files.write((name, b"secret") for name in damaged)
    landing.set_aside(damaged)

    mark_purged(landing, MONDAY)

    assert remove_purged(landing) == 1
    assert [blob.name for blob in landing.files.list("damaged")] == [
        f"damaged/{name}" for name in damaged if name.startswith(str(TUESDAY))
    ]


@pytest.mark.parametrize("spelling", ['"anne"@x.fr', "'anne@x.fr'", "anne@x.fr.", "ANNE＠x.fr"])
def test_a_sender_is_told_however_the_address_is_written(landing, spelling):
    landing.land(
        [
            mail(spelling, "bare"),
            mail(f"Anne <{spelling}>", "named"),
            row(spelling.replace('"', '\\"'), "exported"),
            mail("jo.anne@x.fr", "other"),
        ]
    )

    (sent,) = tickets_sent_by(landing, ["anne@x.fr"]).values()
    (as_written,) = tickets_sent_by(landing, [spelling]).values()

    assert len(sent) == 3
    assert as_written == sent


@pytest.mark.slow
def test_no_mail_lands_while_an_erasure_looks_for_it_and_what_lands_now_ends_before(
    file_store, tmp_path
):
    leases = FileLeases(tmp_path / "leases")
    landing = LandingZone(file_store.under("landing"), leases)
    half_landed, erasing = threading.Event(), threading.Event()

    def export():
        for number in range(BATCH_MESSAGES):
            yield mail("anne@x.fr", f"text-{number}")
        half_landed.set()
        erasing.wait(60)
        yield mail("anne@x.fr", "the last")

    with ThreadPoolExecutor(1) as importer:
        landed = importer.submit(landing.land, export())
        half_landed.wait(60)
        with no_arrivals(leases, 60, lambda _: erasing.set()):
            hers = tickets_sent_by(landing, ["anne@x.fr"])["anne@x.fr"]
            with pytest.raises(ErasureUnderWayError, match="An erasure is under way"):
                landing.land([mail("anne@x.fr", "another")])
        assert landed.result().landed == BATCH_MESSAGES + 1

    assert len(hers) == BATCH_MESSAGES + 1
    assert landing.land([mail("anne@x.fr", "another")]).landed == 1


def test_an_erasure_gives_up_where_mail_lands_for_ever(landing, tmp_path):
    leases = FileLeases(tmp_path / "leases")
    told = []

    with (
        leases.hold(ARRIVALS, shared=True),
        pytest.raises(LandingError, match="An import or a fetch is at work"),
        no_arrivals(leases, 0, told.append),
    ):
        pytest.fail("it had to wait")

    assert told == []


def test_erased_messages_labels_and_lines_leave_no_byte(landing):
    landing.land([mail("anne@example.org", "secret"), mail("bob@example.org", "other")])
    landing.land_labels(
        Label("vpn", None, datetime(2025, 3, 5, tzinfo=UTC), "Bob", None, f"{text}@x")
        for text in ("secret", "other")
    )
    (hers,) = tickets_sent_by(landing, ["anne@example.org"])["anne@example.org"]

    bury(landing, [hers])
    labels = remove_labels(landing, [hers])
    removed = remove_messages(landing, [hers])

    assert (labels, removed.messages, removed.manifest_lines) == (1, 1, 1)
    assert b"secret" not in everything(landing)
    assert b"other" in everything(landing)
    assert landing.land([mail("anne@example.org", "secret")]).erased_before == 1
    assert b"secret" not in everything(landing)


def test_a_message_that_was_landing_when_it_was_erased_does_not_stay(landing):
    landing.land([mail("anne@example.org", "secret")])
    (hers,) = tickets_sent_by(landing, ["anne@example.org"])["anne@example.org"]
    remove_messages(landing, [hers])
    write = landing.files.write

    def erased_meanwhile(blobs):
        if not landing.erased():
            bury(landing, [hers])
            remove_messages(landing, [hers])
        write(blobs)

    landing.files.write = erased_meanwhile
    landing.land([mail("anne@example.org", "secret"), mail("bob@example.org", "other")])

    assert b"secret" not in everything(landing)
    assert [b"other" in text for text in texts(landing)] == [True]


def test_a_purge_leaves_the_lines_of_what_it_removes_and_is_completed_by_the_next(landing):
    landing.land([mail("anne@example.org", "old"), mail("bob@example.org", "new", TUESDAY)])
    list_purged(landing, MONDAY, list(landing.messages(MONDAY)))
    mark_purged(landing, MONDAY)

    assert remove_purged(landing) == 1
    assert remove_purged(landing) == 0

    assert landing.days() == [TUESDAY]
    assert [b"new" in text for text in texts(landing)] == [True]
    assert landing.land([mail("anne@example.org", "old")]).landed == 0
    assert landing.first_unpurged_day(MONDAY) == MONDAY + timedelta(days=1)
