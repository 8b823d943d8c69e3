"""Decided mail goes to its folder, and what people move to one is their label: on a real server."""

import pytest

from tests.delivery.test_zammad_receiver import decision, land, tell
from ticket_assets.delivery.imap_receiver import ImapReceiver, configured, mark
from ticket_assets.delivery.receivers import Outcome, ReceiverError
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import LandingZone
from ticket_assets.routing import RoutingError
from ticket_assets.settings import Settings
from ticket_assets.system_names import SystemNames

NAMES = SystemNames(category={"network": ("Réseau",), "printing": ("Printing",)})


@pytest.fixture
def landing(tmp_path):
    return LandingZone(tmp_path / "landing")


@pytest.fixture
def receiver(account, mailbox, landing):
    for folders in NAMES.category.values():
        mailbox.create_folder(folders[0])
    return ImapReceiver(account(), NAMES, landing)


def deliver(mailbox, *names, folder="INBOX"):
    for name in names:
        mailbox.append(folder, f"Message-ID: <{name}@example.org>\r\n\r\n{name}\r\n".encode())


def held(mailbox, folder):
    """The ids of the messages in a folder."""
    mailbox.select_folder(folder, readonly=True)
    answers = mailbox.fetch(mailbox.search(), ["BODY.PEEK[]"]).values()
    return sorted(answer[b"BODY[]"].split(b"<")[1].split(b"@")[0].decode() for answer in answers)


def move(mailbox, name, source, target):
    mailbox.select_folder(source)
    mailbox.move(mailbox.search(["HEADER", "MESSAGE-ID", f"<{name}@example.org>"]), target)


def values(read):
    return [(item.ticket_id, item.category) for item in read.values]


def test_a_decided_mail_is_moved_and_no_other(receiver, mailbox):
    deliver(mailbox, "a", "b-a", "c")

    (receipt,) = tell(receiver, decision())
    (again,) = tell(receiver, decision(category="printing"))

    assert (receipt.outcome, again.outcome) == (Outcome.DELIVERED, Outcome.ALREADY_THERE)
    assert held(mailbox, "Réseau") == ["a"]
    assert held(mailbox, "INBOX") == ["b-a", "c"]


def test_what_a_person_has_moved_stays(receiver, mailbox):
    deliver(mailbox, "a")
    move(mailbox, "a", "INBOX", "Printing")

    (receipt,) = tell(receiver, decision())

    assert (receipt.outcome, receipt.reason) == (
        Outcome.TAKEN,
        "Others have moved it to 'Printing'.",
    )
    assert held(mailbox, "Printing") == ["a"]


def test_a_kill_between_keyword_and_move_is_made_up_for(receiver, mailbox, landing):
    land(landing, "a")
    cursor = receiver.read_back(None).cursor
    deliver(mailbox, "a")
    mailbox.select_folder("INBOX")
    mailbox.add_flags(mailbox.search(), [mark("Réseau")])

    (receipt,) = tell(receiver, decision())

    assert receipt.outcome is Outcome.DELIVERED
    assert receiver.read_back(cursor).values == ()


def test_what_waits_for_a_person_or_has_no_folder_stays(receiver, mailbox):
    deliver(mailbox, "a")

    receipts = tell(
        receiver,
        decision(category=None, decision="review"),
        decision(category="access"),
        decision(None),
        decision("<elsewhere@example.org>"),
    )

    assert [receipt.outcome for receipt in receipts] == [
        *(Outcome.ALREADY_THERE, Outcome.REFUSED, Outcome.REFUSED, Outcome.UNKNOWN),
    ]
    assert held(mailbox, "INBOX") == ["a"]


def test_what_a_person_moves_is_a_label_and_what_we_moved_is_none(receiver, mailbox, landing):
    a, b, c = land(landing, "a", "b", "c")
    deliver(mailbox, "a", "b", "c", "unknown")
    deliver(mailbox, "before", folder="Printing")
    cursor = receiver.read_back(None).cursor
    tell(receiver, decision("<a@example.org>"), decision("<b@example.org>"))
    move(mailbox, "c", "INBOX", "Printing")
    move(mailbox, "unknown", "INBOX", "Printing")

    first = receiver.read_back(cursor)
    move(mailbox, "a", "Réseau", "Printing")  # corrects
    move(mailbox, "b", "Réseau", "INBOX")
    move(mailbox, "b", "INBOX", "Réseau")  # back where we had put it
    second = receiver.read_back(first.cursor)

    assert values(first) == [(c, "printing")]
    assert values(second) == [(a, "printing")]
    assert values(receiver.read_back(second.cursor)) == []
    assert b not in {ticket for ticket, _ in values(second)}


def test_a_folder_that_is_not_there_is_told(account, mailbox, landing):
    receiver = ImapReceiver(account(), NAMES, landing)

    for look in (lambda: receiver.read_back(None), lambda: tell(receiver, decision())):
        with pytest.raises(ReceiverError, match="Réseau"):
            look()


def test_a_refused_login_is_told_as_one(account, landing):
    receiver = ImapReceiver(account(password="wr0ng-and-secret"), NAMES, landing)  # noqa: S106

    with pytest.raises(ReceiverError) as error:
        receiver.read_back(None)

    assert error.value.is_refusal
    assert "wr0ng" not in str(error.value)


@pytest.mark.parametrize("cursor", ["", "[]", '{"Printing": 1}', '{"Printing": ["x", 1]}'])
def test_a_damaged_cursor_is_as_good_as_none(cursor, receiver, mailbox, landing):
    land(landing, "a")
    deliver(mailbox, "a", folder="Printing")

    assert receiver.read_back(cursor).values == ()


def test_folders_stand_in_the_routing_file(tmp_path):
    routing = tmp_path / "routing.yaml"
    routing.write_text(
        "categories: {network: {queue: it, imap: Réseau}, printing: it}\npriorities: [low, high]\n"
    )
    given = {"data_dir": tmp_path, "routing": routing, "imap_host": "mail", "imap_user": "desk"}
    settings = Settings(**given, imap_password="x")  # noqa: S106

    assert configured(Desk(settings)) is not None
    assert configured(Desk(settings.model_copy(update={"routing": None}))) is None
    with pytest.raises(RoutingError, match="Mail is fetched from Réseau"):
        configured(Desk(settings.model_copy(update={"imap_folders": ("INBOX", "Réseau")})))
