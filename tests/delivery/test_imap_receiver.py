"""Decided mail goes to its folder, and what people move to one is their label: on a real server."""

import pytest

from tests.delivery.test_zammad_receiver import decision, land, tell
from ticket_assets.delivery import imap_receiver
from ticket_assets.delivery.imap_receiver import ImapReceiver, configured, keyword_mark, mark
from ticket_assets.delivery.receivers import Outcome, ReceiverError
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import LandingZone
from ticket_assets.routing import RoutingError
from ticket_assets.settings import Settings
from ticket_assets.system_names import SystemNames

NAMES = SystemNames(category={"network": ("Réseau",), "printing": ("Printing",)})
KEYWORDS = SystemNames(
    category={"hardware": ("Hardware",)},
    keyword={"access": "$Access", "network": "Network", "printing": "printing"},
)
OURS = {"network", keyword_mark("Network").decode()}


@pytest.fixture
def landing(tmp_path):
    return LandingZone(tmp_path / "landing")


@pytest.fixture
def receiver(account, mailbox, landing):
    for folders in NAMES.category.values():
        mailbox.create_folder(folders[0])
    return ImapReceiver(account(), NAMES, landing)


@pytest.fixture
def flagging(account, mailbox, landing):
    mailbox.create_folder("Hardware")
    return ImapReceiver(account(), KEYWORDS, landing)


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


def flag(mailbox, name, keyword, folder="INBOX", *, off=False):
    mailbox.select_folder(folder)
    uids = mailbox.search(["HEADER", "MESSAGE-ID", f"<{name}@example.org>"])
    (mailbox.remove_flags if off else mailbox.add_flags)(uids, [keyword])


def keywords(mailbox, name, folder="INBOX"):
    """Those of a message, in small letters."""
    mailbox.select_folder(folder, readonly=True)
    uids = mailbox.search(["HEADER", "MESSAGE-ID", f"<{name}@example.org>"])
    flags = {flag.decode().lower() for given in mailbox.get_flags(uids).values() for flag in given}
    return {flag for flag in flags if not flag.startswith("\\")}


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_refused_login_is_told_as_one(account, landing):
    receiver = ImapReceiver(account(password="wr0ng-and-secret"), NAMES, landing)  # noqa: S106

    with pytest.raises(ReceiverError) as error:
        receiver.read_back(None)

    assert error.value.is_refusal
    assert "wr0ng" not in str(error.value)


@pytest.mark.parametrize(
    "cursor",
    ["", "[]", "{}", '{"moved": {"Printing": 1}, "flagged": {}}', '{"moved": {}, "flagged": [1]}'],
)
def test_a_damaged_cursor_is_as_good_as_none(cursor, receiver, mailbox, landing):
    land(landing, "a")
    deliver(mailbox, "a", folder="Printing")

    assert receiver.read_back(cursor).values == ()


# Keywords instead of folders.


def test_a_decided_mail_gets_its_keyword_and_no_other(flagging, mailbox):
    deliver(mailbox, "a", "b-a")

    (receipt,) = tell(flagging, decision())
    (again,) = tell(flagging, decision())

    assert (receipt.outcome, receipt.reference) == (Outcome.DELIVERED, "INBOX")
    assert again.outcome is Outcome.ALREADY_THERE
    assert (keywords(mailbox, "a"), keywords(mailbox, "b-a")) == (OURS, set())
    assert held(mailbox, "INBOX") == ["a", "b-a"]


@pytest.mark.parametrize("keyword", ["Printing", "NETWORK"])
@pytest.mark.parametrize("category", ["network", "hardware"])
def test_what_a_person_has_flagged_stays_as_it_is(category, keyword, flagging, mailbox):
    deliver(mailbox, "a")
    flag(mailbox, "a", keyword)

    (receipt,) = tell(flagging, decision(category=category))

    assert receipt.outcome is Outcome.TAKEN
    assert receipt.reason.lower() == f"others have given it {keyword.lower()!r}."
    assert keywords(mailbox, "a") == {keyword.lower()}
    assert held(mailbox, "INBOX") == ["a"]


def test_what_a_person_flags_between_our_look_and_our_write_stays_alone(proxy, mailbox, landing):
    deliver(mailbox, "a")
    waiting = ["a"]

    def on_request(sent):
        if b"UID STORE" in sent and waiting:
            flag(mailbox, waiting.pop(), "printing")

    receiver = ImapReceiver(proxy(on_request=on_request).account, KEYWORDS, landing)

    (receipt,) = tell(receiver, decision())

    assert (receipt.outcome, waiting) == (Outcome.TAKEN, [])
    assert keywords(mailbox, "a") == {"printing"}


def test_a_keyword_that_a_person_has_taken_off_is_not_given_again(flagging, mailbox):
    deliver(mailbox, "a")
    tell(flagging, decision())
    flag(mailbox, "a", "Network", off=True)

    (receipt,) = tell(flagging, decision())

    assert (receipt.outcome, receipt.reason) == (
        Outcome.TAKEN,
        "Others have taken 'Network' off.",
    )
    assert "network" not in keywords(mailbox, "a")


def test_a_mail_that_a_person_has_moved_to_a_folder_gets_no_keyword(flagging, mailbox):
    deliver(mailbox, "a")
    move(mailbox, "a", "INBOX", "Hardware")

    (receipt,) = tell(flagging, decision())

    assert receipt.outcome is Outcome.TAKEN
    assert keywords(mailbox, "a", "Hardware") == set()


@pytest.mark.parametrize("category", ["network", "hardware"])
def test_an_account_that_keeps_no_keywords_is_told_and_nothing_is_done(
    category, proxy, mailbox, landing
):
    mailbox.create_folder("Hardware")
    deliver(mailbox, "a")
    account = proxy(hidden=rb"\*").account
    receiver = ImapReceiver(account, KEYWORDS, landing)

    with pytest.raises(ReceiverError) as error:
        tell(receiver, decision(category=category))

    assert str(error.value) == (
        f"{account.address} keeps no keywords in 'INBOX', by which decided mail is known."
    )
    assert error.value.is_refusal
    assert (held(mailbox, "INBOX"), keywords(mailbox, "a")) == (["a"], set())


@pytest.mark.slow
def test_what_a_person_flags_is_a_label_and_what_we_flagged_is_none(flagging, mailbox, landing):
    a, b, c, d = land(landing, "a", "b", "c", "d")
    deliver(mailbox, "a", "b", "c", "d", "unknown", "before")
    flag(mailbox, "before", "printing")
    cursor = flagging.read_back(None).cursor
    tell(flagging, decision("<a@example.org>"), decision("<b@example.org>"))
    tell(flagging, decision("<d@example.org>", category="hardware"))
    flag(mailbox, "c", "$access")
    flag(mailbox, "unknown", "printing")

    first = flagging.read_back(cursor)
    flag(mailbox, "a", "printing")  # beside ours
    flag(mailbox, "b", "Network", off=True)
    flag(mailbox, "b", "Network")  # confirms
    flag(mailbox, "c", "\\Seen")
    flag(mailbox, "d", "printing", "Hardware")
    second = flagging.read_back(first.cursor)

    assert values(first) == [(c, "access")]
    assert values(second) == [(a, "printing"), (d, "printing")]
    assert keywords(mailbox, "a") == {*OURS, "printing"}
    assert b not in {ticket for ticket, _ in values(second)}
    assert (first.problems, second.problems) == ((), ())
    assert values(flagging.read_back(second.cursor)) == []


@pytest.mark.slow
def test_a_keyword_given_once_more_is_a_label_once_more(flagging, mailbox, landing):
    (a,) = land(landing, "a")
    deliver(mailbox, "a")
    cursor = flagging.read_back(None).cursor
    looks = []
    for keyword, off in [("printing", False), ("printing", True), ("printing", False)]:
        flag(mailbox, "a", keyword, off=off)
        looks.append(flagging.read_back(cursor))
        cursor = looks[-1].cursor

    assert [values(look) for look in looks] == [[(a, "printing")], [], [(a, "printing")]]


@pytest.mark.slow
def test_two_keywords_of_people_are_told_once_and_no_label_until_one_is_gone(
    flagging, mailbox, landing
):
    (a,) = land(landing, "a")
    deliver(mailbox, "a")
    cursor = flagging.read_back(None).cursor
    flag(mailbox, "a", "printing")
    flag(mailbox, "a", "$Access")
    both = flagging.read_back(cursor)
    again = flagging.read_back(both.cursor)
    flag(mailbox, "a", "$Access", off=True)

    one = flagging.read_back(again.cursor)

    assert (both.values, again.values, again.problems) == ((), (), ())
    assert both.problems == (
        "The mail 'a@example.org' in 'INBOX' bears the keywords of 'access' and 'printing'. Take"
        " off what does not hold.",
    )
    assert (values(one), one.problems) == ([(a, "printing")], ())


@pytest.mark.slow
def test_a_flagged_mail_that_is_moved_to_a_folder_is_labelled_by_the_folder(
    flagging, mailbox, landing
):
    (a,) = land(landing, "a")
    deliver(mailbox, "a")
    cursor = flagging.read_back(None).cursor
    flag(mailbox, "a", "printing")
    flagged = flagging.read_back(cursor)
    move(mailbox, "a", "INBOX", "Hardware")

    moved = flagging.read_back(flagged.cursor)

    assert (values(flagged), values(moved)) == ([(a, "printing")], [(a, "hardware")])
    assert values(flagging.read_back(moved.cursor)) == []


@pytest.mark.slow
def test_more_flags_than_one_look_takes_are_read_by_the_next(
    flagging, mailbox, landing, monkeypatch
):
    monkeypatch.setattr(imap_receiver, "MOST_MESSAGES", 2)
    tickets = land(landing, "a", "b", "c")
    deliver(mailbox, "a", "b", "c")
    looks = [flagging.read_back(None)]
    for name in ("a", "b", "c"):
        flag(mailbox, name, "printing")

    looks += [flagging.read_back(looks[-1].cursor)]
    looks += [flagging.read_back(looks[-1].cursor)]

    assert [len(look.values) for look in looks] == [0, 2, 1]
    assert {item.ticket_id for look in looks for item in look.values} == set(tickets)


@pytest.mark.slow
def test_keywords_that_stand_when_the_routing_file_gets_them_count_for_nothing(
    account, mailbox, landing
):
    _, b = land(landing, "a", "b")
    deliver(mailbox, "a", "b")
    former = ImapReceiver(account(), SystemNames(keyword={"network": "Network"}), landing)
    flag(mailbox, "a", "printing")
    cursor = former.read_back(None).cursor
    receiver = ImapReceiver(
        account(), SystemNames(keyword={"lan": "Network", "printing": "printing"}), landing
    )

    first = receiver.read_back(cursor)
    flag(mailbox, "b", "printing")

    assert first.values == ()
    assert values(receiver.read_back(first.cursor)) == [(b, "printing")]


def test_folders_stand_in_the_routing_file(tmp_path):
    routing = tmp_path / "routing.yaml"
    routing.write_text(
        "categories: {network: {queue: it, imap: Réseau}, printing: it}\npriorities: [low, high]\n"
    )
    given = {"data_dir": tmp_path, "routing": routing, "imap_host": "mail", "imap_user": "desk"}
    settings = Settings(**given, imap_password="x")  # noqa: S106

    assert configured(Desk(settings)) is not None
    assert configured(Desk(settings.model_copy(update={"routing": None}))) is None
    flags = tmp_path / "flags.yaml"
    flags.write_text(routing.read_text().replace("imap: Réseau", "imap: {keyword: lan}"))
    assert configured(Desk(settings.model_copy(update={"routing": flags}))) is not None
    with pytest.raises(RoutingError, match="Mail is fetched from Réseau"):
        configured(Desk(settings.model_copy(update={"imap_folders": ("INBOX", "Réseau")})))
