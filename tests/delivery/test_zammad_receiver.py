"""Decisions in a Zammad, and what agents make of them: nobody's word is written over."""

import json
import os
import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.delivery.interleavings import interleave
from tests.services.zammad import ANNA, BEN, CUSTOMER, OURS, SYSTEM, TOKEN
from ticket_assets.delivery.decisions import Decision, Intent
from ticket_assets.delivery.receivers import Outcome, ReceiverError
from ticket_assets.delivery.rest import RestApi
from ticket_assets.delivery.zammad_receiver import ZammadReceiver
from ticket_assets.mail.landing import IncomingMessage, LandingZone
from ticket_assets.system_names import SystemNames

INTERLEAVINGS = int(os.environ.get("TICKET_INTERLEAVINGS", "150"))
NAMES = SystemNames(
    category={
        "access": ("access",),
        "network": ("network", "network::vpn"),
        "printing": ("printing",),
    },
    priority={
        "low": ("1 low",),
        "normal": ("2 normal",),
        "high": ("3 high",),
        "urgent": ("3 high",),
    },
    queue={"identity": ("Identity",), "infrastructure": ("Infrastructure",)},
)
NOW = datetime(2026, 3, 2, 10)
DELIVERED = {"category": "network", "priority": "3 high", "group": "Infrastructure"}


@pytest.fixture
def landing(tmp_path):
    return LandingZone(tmp_path / "landing")


@pytest.fixture
def receiver(zammad, landing):
    made = a_receiver(zammad, landing)
    yield made
    made.close()


def a_receiver(zammad, landing, names=NAMES, token=TOKEN, timeout=20):
    headers = {"Authorization": f"Token token={token}"}
    api = RestApi(
        "Zammad", zammad.url, "TICKETS_ZAMMAD_URL", None, lambda: headers, timeout=timeout
    )
    return ZammadReceiver(api, names, landing)


@pytest.mark.parametrize("token", ["a-token\nof two lines", "a–token"])
def test_a_token_that_no_header_can_hold_is_told_without_it(zammad, landing, token):
    receiver = a_receiver(zammad, landing, token=token)

    with pytest.raises(ReceiverError, match="A token of Zammad is none: ") as error:
        tell(receiver, decision())

    assert error.value.is_refusal
    assert "token\nof" not in str(error.value)


def decision(message_id="<a@example.org>", **changes):
    fields = {
        "ticket_id": "0" * 20,
        "received_at": datetime(2026, 3, 2, 9),
        "message_id": message_id,
        "category": "network",
        "category_confidence": 0.99,
        "priority": "high",
        "priority_confidence": 0.97,
        "queue": "infrastructure",
        "decision": "auto",
        "decided_by": "model",
        "review_reason": None,
        "likely": (),
        "model_version": "1",
    }
    return Decision(**{**fields, **changes})


def tell(receiver, *decisions):
    return list(receiver.deliver(Intent("key", "batch", NOW, item) for item in decisions))


def test_a_decision_becomes_fields_of_the_ticket_of_its_mail(zammad, receiver):
    other = zammad.new_ticket(message_id="<b-a@example.org>")
    ticket = zammad.new_ticket(message_id="<a@example.org>")

    (receipt,) = tell(receiver, decision())

    assert (receipt.outcome, receipt.reference) == (Outcome.DELIVERED, str(ticket))
    assert zammad.fields(ticket=ticket) == DELIVERED
    assert zammad.fields(ticket=other)["category"] is None


def test_told_again_it_is_there_already_and_nothing_is_written(zammad, receiver):
    zammad.new_ticket(message_id="<a@example.org>")
    tell(receiver, decision())

    (again,) = tell(receiver, decision(category="access", queue="identity"))

    assert again.outcome is Outcome.ALREADY_THERE
    assert sum("PUT" in request for request in zammad.seen_requests()) == 1


def test_a_decision_for_review_moves_the_ticket_to_the_review_queue_alone(zammad, landing):
    names = SystemNames(NAMES.category, NAMES.priority, {"triage": ("Users",)})
    receiver = a_receiver(zammad, landing, names)
    ticket = zammad.new_ticket(message_id="<a@example.org>", group="Identity")

    (receipt,) = tell(
        receiver, decision(category=None, priority=None, queue="triage", decision="review")
    )

    assert receipt.outcome is Outcome.DELIVERED
    assert zammad.fields(ticket=ticket) == {
        "category": None,
        "priority": "2 normal",
        "group": "Users",
    }


def test_a_decision_for_review_stays_where_it_is_without_a_group_for_it(zammad, landing):
    receiver = a_receiver(zammad, landing, SystemNames(NAMES.category))
    ticket = zammad.new_ticket(message_id="<a@example.org>", group="Identity")

    (receipt,) = tell(
        receiver, decision(category=None, priority=None, queue="triage", decision="review")
    )

    assert receipt.outcome is Outcome.ALREADY_THERE
    assert zammad.fields(ticket=ticket)["group"] == "Identity"


@pytest.mark.parametrize("user", [ANNA, SYSTEM, CUSTOMER])
def test_what_others_have_set_stays(user, zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.set_fields(ticket=ticket, user=user, category="printing")

    (receipt,) = tell(receiver, decision())

    # The priority is nobody's; the queue would be that of another category.
    assert (receipt.outcome, receipt.reason) == (Outcome.TAKEN, "Others have set the category.")
    assert zammad.fields(ticket=ticket) == {
        "category": "printing",
        "priority": "3 high",
        "group": "Users",
    }


def test_what_a_person_has_emptied_stays_empty(zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.set_fields(ticket=ticket, user=ANNA, category="printing")
    zammad.set_fields(ticket=ticket, user=ANNA, category=None)

    assert tell(receiver, decision())[0].outcome is Outcome.TAKEN
    assert zammad.fields(ticket=ticket)["category"] is None


@pytest.mark.parametrize(
    ("creator", "fields", "outcome"),
    [
        (ANNA, {"group": "Workstations"}, Outcome.DELIVERED),
        (ANNA, {"category": "printing"}, Outcome.TAKEN),
        (CUSTOMER, {"category": "printing"}, Outcome.TAKEN),
        (CUSTOMER, {"group": "Workstations"}, Outcome.DELIVERED),
    ],
)
def test_what_a_ticket_had_from_its_creation_stays_unless_it_is_a_default(
    creator, fields, outcome, zammad, receiver
):
    ticket = zammad.new_ticket(message_id="<a@example.org>", creator=creator, **fields)

    (receipt,) = tell(receiver, decision())

    assert receipt.outcome is outcome
    by_default = creator == CUSTOMER and "group" in fields
    stays = {} if by_default else fields
    assert zammad.fields(ticket=ticket).items() >= stays.items()


@pytest.mark.parametrize("value", ["printing", None])
def test_what_a_person_sets_between_our_look_and_our_write_is_put_back(value, zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    for category in ("access", value):
        zammad.meanwhile(method="set_fields", ticket=ticket, user=ANNA, category=category)

    (receipt,) = tell(receiver, decision())

    assert receipt.outcome is Outcome.TAKEN
    assert zammad.fields(ticket=ticket)["category"] == value


def test_what_cannot_be_put_back_is_tried_again(zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.meanwhile(method="set_fields", ticket=ticket, user=ANNA, category="printing")
    for kind in ("none", "none", "none", "status"):  # look, write, look, write
        zammad.fail(kind=kind, part=f"/tickets/{ticket}", status=422, text="No")

    (receipt,) = tell(receiver, decision())

    assert receipt.outcome is Outcome.FAILED
    assert tell(receiver, decision())[0].outcome is Outcome.TAKEN
    assert zammad.fields(ticket=ticket)["category"] == "printing"


def test_after_a_kill_behind_the_write_a_persons_value_is_put_back_as_well(zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.meanwhile(method="set_fields", ticket=ticket, user=ANNA, category="printing")
    zammad.fail(kind="late", part=f"tickets/{ticket}")  # the look
    with pytest.raises(ReceiverError, match="does not answer"):
        tell(receiver, decision())
    zammad.fail(kind="none", part=f"tickets/{ticket}")
    zammad.fail(kind="late", part=f"tickets/{ticket}")  # the write
    with pytest.raises(ReceiverError, match="does not answer"):
        tell(receiver, decision())
    assert zammad.fields(ticket=ticket)["category"] == "network"

    (receipt,) = tell(receiver, decision())

    assert receipt.outcome is Outcome.TAKEN
    assert zammad.fields(ticket=ticket)["category"] == "printing"


def test_a_label_without_a_name_there_is_told_and_the_others_are_written(zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")

    (receipt,) = tell(receiver, decision(category="onboarding", queue="services"))
    (nothing,) = tell(receiver, decision(category="onboarding", priority=None, queue="services"))

    assert (receipt.outcome, receipt.reason) == (
        Outcome.DELIVERED,
        "The routing file gives the category 'onboarding' and the queue 'services' no name in"
        " zammad.",
    )
    assert nothing.outcome is Outcome.REFUSED
    assert zammad.fields(ticket=ticket) == {**DELIVERED, "category": None, "group": "Users"}


def test_an_unknown_ticket_waits_and_one_closed_to_us_is_refused(zammad, receiver):
    zammad.new_ticket(message_id="<z@example.org>")
    (unknown,) = tell(receiver, decision())
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.new_article(ticket=ticket, message_id="<reply@example.org>")
    (reply,) = tell(receiver, decision("<reply@example.org>"))
    zammad.fail(kind="none", part="by_ticket")
    zammad.fail(kind="status", status=403, part=f"tickets/{ticket}", text={"error": "No right"})
    (closed,) = tell(receiver, decision())
    (nameless,) = tell(receiver, decision(None))

    assert [unknown.outcome, reply.outcome, nameless.outcome] == [Outcome.UNKNOWN] * 3
    assert (closed.outcome, closed.reason) == (
        Outcome.REFUSED,
        'Zammad answers 403: {"error": "No right"}.',
    )


def test_two_tickets_of_one_message_are_told_and_neither_is_written(zammad, receiver):
    for _ in range(2):
        zammad.new_ticket(message_id="<a@example.org>")

    (receipt,) = tell(receiver, decision())

    assert (receipt.outcome, receipt.reason) == (
        Outcome.UNKNOWN,
        "Zammad has several tickets of this message: 1, 2.",
    )
    assert zammad.fields(ticket=1) == zammad.fields(ticket=2)


def test_a_value_that_zammad_does_not_know_is_refused_with_its_words(zammad, landing):
    receiver = a_receiver(zammad, landing, SystemNames(category={"network": ("net",)}))
    zammad.new_ticket(message_id="<a@example.org>")

    (receipt,) = tell(receiver, decision())

    assert (receipt.outcome, "No lookup value found" in receipt.reason) == (Outcome.REFUSED, True)


@pytest.mark.parametrize(
    ("fault", "message", "is_refusal"),
    [
        ({"kind": "drop"}, "Zammad at http://127.0.0.1", False),
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "7"}}, "a pause", False),
        ({"kind": "status", "status": 302, "headers": {"Location": "/x"}}, "elsewhere", True),
        ({"kind": "slow", "seconds": 1.5}, "does not answer: timed out", False),
    ],
)
def test_a_zammad_that_is_away_stops_the_run_and_nothing_is_lost(
    fault, message, is_refusal, zammad, landing
):
    receiver = a_receiver(zammad, landing, timeout=0.5)
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.fail(**fault)

    with pytest.raises(ReceiverError, match=message) as error:
        tell(receiver, decision())

    assert error.value.is_refusal is is_refusal
    if "headers" in fault and "Retry-After" in fault["headers"]:
        assert error.value.retry_after == timedelta(seconds=7)
    assert tell(receiver, decision())[0].outcome is Outcome.DELIVERED
    assert zammad.fields(ticket=ticket) == DELIVERED


@pytest.mark.parametrize("part", ["search", "by_ticket", "tickets/1", "ticket_history", "users/me"])
@pytest.mark.parametrize(
    "text", ["<html>Busy</html>", "[1]", '{"history": [{}]}', "null", '{"id": "x"}', "NaN"]
)
def test_nonsense_writes_nothing_and_is_tried_again(text, part, zammad, receiver):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.fail(kind="nonsense", part=part, text=text)

    (receipt,) = tell(receiver, decision())

    if receipt.outcome is not Outcome.DELIVERED:  # an answer may be harmless
        assert receipt.outcome in {Outcome.FAILED, Outcome.UNKNOWN}
        assert zammad.fields(ticket=ticket)["category"] is None
        assert tell(receiver, decision())[0].outcome is Outcome.DELIVERED


def test_a_refused_token_is_told_without_the_token(zammad, landing):
    receiver = a_receiver(zammad, landing, token="wr0ng-and-secret")  # noqa: S106

    with pytest.raises(ReceiverError) as error:
        tell(receiver, decision())

    assert error.value.is_refusal
    assert "wr0ng" not in str(error.value)


def test_without_elasticsearch_it_says_so(zammad, receiver):
    zammad.new_ticket(message_id="<a@example.org>")
    zammad.lose_search()

    for look in (lambda: tell(receiver, decision()), lambda: receiver.read_back(None)):
        with pytest.raises(ReceiverError, match="needs Elasticsearch"):
            look()


# What people make of it.


def land(landing, *names):
    """Land a mail of each name; their ticket ids."""
    landing.land(
        [
            IncomingMessage(
                f"Subject: {name}\n\n".encode(),
                "eml",
                "test",
                datetime(2026, 3, 2, 9, tzinfo=UTC),
                "date_header",
                f"{name}@example.org",
            )
            for name in names
        ]
    )
    known = landing.tickets_named({f"{name}@example.org" for name in names})
    return [next(iter(known[f"{name}@example.org"])) for name in names]


def values(read):
    return [(item.ticket_id, item.category, item.priority, item.set_by) for item in read.values]


def test_what_an_agent_changes_is_read_once_and_what_we_wrote_never(zammad, receiver, landing):
    a, b = land(landing, "a", "b")
    first, second = (zammad.new_ticket(message_id=f"<{name}@example.org>") for name in "ab")
    tell(receiver, decision(), decision("<b@example.org>"))
    ours = receiver.read_back(None)
    zammad.set_fields(ticket=first, user=ANNA, category="network::vpn", priority="1 low")
    zammad.set_fields(ticket=first, user=BEN, category="printing")
    zammad.set_fields(ticket=second, user=BEN, **DELIVERED)  # confirms

    read = receiver.read_back(ours.cursor)
    again = receiver.read_back(read.cursor)

    assert (values(ours), ours.problems) == ([], ())
    assert values(read) == [
        (a, "printing", None, "Ben Agent"),
        (a, None, "low", "Anna Agent"),
    ]
    assert values(again) == []
    assert b not in {ticket for ticket, *_ in values(read)}


@pytest.mark.parametrize("user", [OURS, SYSTEM, CUSTOMER])
def test_what_others_than_agents_set_is_no_label(user, zammad, receiver, landing):
    land(landing, "a")
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.set_fields(ticket=ticket, user=user, category="printing")

    assert receiver.read_back(None).values == ()


def test_a_value_that_means_none_here_is_told_once_by_name(zammad, landing):
    land(landing, "a", "b")
    receiver = a_receiver(zammad, landing, SystemNames(category={"network": ("network",)}))
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    other = zammad.new_ticket(message_id="<b@example.org>")
    zammad.set_fields(ticket=ticket, user=ANNA, category="printing", priority="3 high")
    zammad.set_fields(ticket=other, user=ANNA, category="network")

    read = receiver.read_back(None)

    assert [item.category for item in read.values] == ["network"]
    assert read.problems == (
        "Zammad's ticket 22001: Anna Agent has set the category 'printing', which is the name of"
        " none in the routing file.",
    )
    assert receiver.read_back(read.cursor).problems == ()
    # What the routing file says now counts also for what was read by what it said before.
    corrected = a_receiver(zammad, landing).read_back(read.cursor)
    assert sorted(item.category or item.priority for item in corrected.values) == [
        *("high", "network", "printing"),
    ]


def test_tickets_that_did_not_come_by_mail_here_are_passed_over(zammad, receiver, landing):
    zammad.new_ticket(message_id=None)
    ticket = zammad.new_ticket(message_id="<elsewhere@example.org>")
    zammad.set_fields(ticket=ticket, user=ANNA, category="printing")

    read = receiver.read_back(None)

    assert (read.values, read.problems) == ((), ())
    assert not [request for request in zammad.seen_requests() if "history" in request]


def test_a_change_before_the_mail_has_landed_here_is_read_when_it_has(zammad, receiver, landing):
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.set_fields(ticket=ticket, user=ANNA, category="printing")
    early = receiver.read_back(None)
    zammad.forward(seconds=3600)
    zammad.new_ticket(message_id="<b@example.org>")
    later = receiver.read_back(early.cursor)
    (a,) = land(landing, "a")

    landed = receiver.read_back(later.cursor)

    assert (early.values, later.values) == ((), ())
    assert values(landed) == [(a, "printing", None, "Anna Agent")]
    assert receiver.read_back(landed.cursor).values == ()


def test_a_look_puts_back_what_a_killed_process_wrote_over(zammad, receiver, landing):
    (a,) = land(landing, "a")
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.meanwhile(method="set_fields", ticket=ticket, user=ANNA, category="printing")
    zammad.fail(kind="none", part=f"tickets/{ticket}")  # the look of the delivery
    zammad.fail(kind="late", part=f"tickets/{ticket}")  # its write
    with pytest.raises(ReceiverError, match="does not answer"):
        tell(receiver, decision())
    assert zammad.fields(ticket=ticket)["category"] == "network"

    read = receiver.read_back(None)

    assert zammad.fields(ticket=ticket) == {**DELIVERED, "category": "printing"}
    assert values(read) == [(a, "printing", None, "Anna Agent")]
    receiver.read_back(read.cursor)
    writes = [request for request in zammad.seen_requests() if request.startswith("PUT")]
    assert len(writes) == 2  # the killed one, and one that puts back


@pytest.mark.slow
def test_a_look_that_is_interrupted_loses_no_change(zammad, receiver, landing):
    names = [f"m{number:03}" for number in range(120)]
    tickets = land(landing, *names)
    for name in names:
        number = zammad.new_ticket(message_id=f"<{name}@example.org>")
        zammad.set_fields(ticket=number, user=ANNA, category="printing")
    draw = random.Random(7)  # noqa: S311
    cursor, seen = None, set()

    for _ in range(60):
        fault = draw.choice(["drop", "status", "nonsense", "none", "none"])
        zammad.fail(
            kind=fault, status=500, text="?", part=draw.choice(["history", "search", "by_ticket"])
        )
        try:
            read = receiver.read_back(cursor)
        except ReceiverError:
            continue
        seen |= {ticket for ticket, *_ in values(read)}
        cursor = read.cursor
        if seen == set(tickets):
            break

    assert seen == set(tickets)


def test_a_ticket_that_stays_unreadable_keeps_no_other_back(zammad, receiver, landing):
    a, b = land(landing, "a", "b")
    first, second = (zammad.new_ticket(message_id=f"<{name}@example.org>") for name in "ab")
    zammad.set_fields(ticket=first, user=ANNA, category="printing")
    zammad.set_fields(ticket=second, user=ANNA, category="printing")
    zammad.fail(kind="status", status=500, part=f"ticket_history/{first}", text="Oh", times=3)

    cursor = None
    looks = []
    for _ in range(4):
        looks.append(receiver.read_back(cursor))
        cursor = looks[-1].cursor

    assert [values(look) for look in looks] == [
        [(b, "printing", None, "Anna Agent")],
        [],
        [],
        [(a, "printing", None, "Anna Agent")],
    ]
    assert looks[0].problems == ("Zammad's ticket 22001 cannot be read: Zammad answers 500: Oh.",)


@pytest.mark.parametrize("cursor", ["", "{}", "[1]", '{"begin": "soon", "seen": {}}', "\x00"])
def test_a_damaged_cursor_costs_a_second_reading(cursor, zammad, receiver, landing):
    land(landing, "a")
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.set_fields(ticket=ticket, user=ANNA, category="printing")

    assert len(receiver.read_back(cursor).values) == 1


@pytest.mark.slow
def test_more_changes_than_one_search_gives_are_read_in_several_looks(
    zammad, receiver, landing, monkeypatch
):
    monkeypatch.setattr(ZammadReceiver, "pages", 2)
    names = [f"m{number:03}" for number in range(130)]
    tickets = land(landing, *names)
    for name in names:
        number = zammad.new_ticket(message_id=f"<{name}@example.org>")
        zammad.set_fields(ticket=number, user=ANNA, category="printing")

    first = receiver.read_back(None)
    second = receiver.read_back(first.cursor)

    assert len(first.values) == 100
    assert {item.ticket_id for item in (*first.values, *second.values)} == set(tickets)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_persons_value_is_never_lost_however_the_two_interleave(zammad, landing):
    draw = random.Random(11)  # noqa: S311
    overwritten = told = restored = 0
    receiver = a_receiver(zammad, landing)
    for number in range(INTERLEAVINGS):
        if number % 500 == 0:  # a search looks at all of them
            zammad.reset()
        name = f"<{number}@example.org>"
        ticket = zammad.new_ticket(message_id=name)
        told += interleave(
            draw,
            zammad,
            ticket,
            tell=lambda name=name: tell(receiver, decision(name)),
            change=a_change,
            people=[ANNA, BEN],
            paths=[f"tickets/{ticket}", "history"],
        )
        is_lost, was_restored = story(zammad, ticket)
        overwritten += is_lost
        restored += was_restored

    assert (overwritten, told) == (0, INTERLEAVINGS)
    assert restored > INTERLEAVINGS / 20  # it came to that


def story(zammad, ticket):
    """Whether a person's last word does not stand, and whether one was put back."""
    last, was_restored = {}, False
    for entry in zammad.entries_of(ticket=ticket):
        if entry["type"] != "updated":
            continue
        if entry["created_by_id"] == OURS:
            was_restored |= entry["attribute"] in last
        else:
            last[entry["attribute"]] = entry["value_to"]
    fields = zammad.fields(ticket=ticket)
    return any((fields[name] or "") != value for name, value in last.items()), was_restored


def a_change(draw):
    choices = {
        "category": ["access", "network", "network::vpn", "printing", None],
        "priority": ["1 low", "2 normal", "3 high"],
        "group": ["Users", "Identity", "Infrastructure", "Workstations"],
    }
    names = draw.sample(sorted(choices), draw.choice([1, 1, 2, 3]))
    return {name: draw.choice(choices[name]) for name in names}


def test_the_cursor_is_small(zammad, receiver, landing):
    for number in range(30):
        zammad.new_ticket(message_id=f"<{number}@example.org>")
    zammad.forward(seconds=3600)
    zammad.new_ticket(message_id="<late@example.org>")

    read = receiver.read_back(None)

    assert len(json.loads(read.cursor)["seen"]) == 1
