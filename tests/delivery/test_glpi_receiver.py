"""Decisions in a GLPI, and what technicians make of them: nobody's word is written over."""

import json
import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.delivery.interleavings import interleave
from tests.delivery.test_zammad_receiver import decision, tell, values
from tests.services.glpi import ANNA, APP_TOKEN, BEN, CUSTOMER, OURS, RULE
from ticket_assets.delivery.glpi_receiver import configured
from ticket_assets.delivery.receivers import Outcome, ReceiverError
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.mail.sources import Poll, poll_sources
from ticket_assets.settings import Settings

INTERLEAVINGS = int(os.environ.get("TICKET_INTERLEAVINGS", "100"))
DELIVERED = {"itilcategories_id": 12, "priority": 4, "groups": [22]}


@pytest.fixture
def desk(glpi_settings, tmp_path):
    return Desk(Settings(data_dir=tmp_path / "data", **glpi_settings))


@pytest.fixture
def receiver(desk):
    made = configured(desk)
    yield made
    made.close()


def land(landing, *numbers):
    """Land tickets as an export has them, by their numbers in GLPI; returns their ticket ids."""
    at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    landing.land(
        IncomingMessage(f"{{{number}}}".encode(), "json", "export", at, "export", str(number))
        for number in numbers
    )
    known = landing.tickets_named({str(number) for number in numbers})
    return [next(iter(known[str(number)])) for number in numbers]


def test_a_decision_becomes_fields_and_a_group_of_the_ticket_of_its_number(glpi, receiver):
    ticket = glpi.new_ticket()

    (receipt,) = tell(receiver, decision(str(ticket)))

    assert (receipt.outcome, receipt.reference) == (Outcome.DELIVERED, str(ticket))
    assert glpi.fields(ticket=ticket) == DELIVERED


def test_told_again_it_is_there_already_and_nothing_is_written(glpi, receiver):
    ticket = glpi.new_ticket()
    tell(receiver, decision(str(ticket)))

    (again,) = tell(receiver, decision(str(ticket), category="access", queue="identity"))

    assert again.outcome is Outcome.ALREADY_THERE
    assert glpi.fields(ticket=ticket) == DELIVERED


@pytest.mark.parametrize("user", [ANNA, CUSTOMER, RULE])
def test_what_others_have_set_stays(user, glpi, receiver):
    ticket = glpi.new_ticket()
    glpi.set_fields(ticket=ticket, user=user, itilcategories_id=14)
    other = glpi.new_ticket()
    glpi.assign(ticket=other, user=user, group=23)

    category, group = tell(receiver, decision(str(ticket)), decision(str(other)))

    assert category.outcome is Outcome.TAKEN
    assert glpi.fields(ticket=ticket) == {"itilcategories_id": 14, "priority": 4, "groups": []}
    assert group.outcome is Outcome.DELIVERED
    assert glpi.fields(ticket=other) == {**DELIVERED, "groups": [23]}


def test_a_group_that_was_taken_off_is_not_assigned_again(glpi, receiver):
    ticket = glpi.new_ticket()
    tell(receiver, decision(str(ticket)))
    glpi.unassign(ticket=ticket, user=ANNA, group=22)

    tell(receiver, decision(str(ticket)))

    assert glpi.fields(ticket=ticket)["groups"] == []


def test_what_a_ticket_had_from_its_creation_stays_unless_it_is_a_default(glpi, receiver):
    by_rule = glpi.new_ticket(itilcategories_id=14)
    by_hand = glpi.new_ticket(recipient=ANNA, priority=5)

    tell(receiver, decision(str(by_rule)), decision(str(by_hand)))

    assert glpi.fields(ticket=by_rule)["itilcategories_id"] == 14
    assert glpi.fields(ticket=by_hand) == {**DELIVERED, "priority": 5}


@pytest.mark.parametrize("value", [14, 0])
def test_what_a_person_sets_between_our_look_and_our_write_is_put_back(value, glpi, receiver):
    ticket = glpi.new_ticket()
    for category in (11, value):
        glpi.meanwhile(method="set_fields", ticket=ticket, user=ANNA, itilcategories_id=category)

    (receipt,) = tell(receiver, decision(str(ticket)))

    assert receipt.outcome is Outcome.TAKEN
    assert glpi.fields(ticket=ticket)["itilcategories_id"] == value


def test_a_mail_without_a_number_there_and_a_number_of_no_ticket_wait(glpi, receiver):
    glpi.new_ticket()

    receipts = tell(receiver, decision("<a@example.org>"), decision("77"), decision(None))

    assert [receipt.outcome for receipt in receipts] == [Outcome.UNKNOWN] * 3


def test_a_session_that_has_ended_is_begun_anew(glpi, receiver):
    tickets = [glpi.new_ticket() for _ in range(2)]
    tell(receiver, decision(str(tickets[0])))
    glpi.end_sessions()

    (receipt,) = tell(receiver, decision(str(tickets[1])))

    assert receipt.outcome is Outcome.DELIVERED


@pytest.mark.parametrize("status", [401, 403])
def test_a_right_that_is_missing_for_one_ticket_stops_no_other(status, glpi, receiver):
    tickets = [glpi.new_ticket() for _ in range(2)]
    text = ["ERROR_RIGHT_MISSING", "You don't have permission"]
    glpi.fail(kind="status", status=status, part="Ticket/1", text=text)

    closed, other = tell(receiver, *(decision(str(ticket)) for ticket in tickets))

    assert (closed.outcome, other.outcome) == (Outcome.REFUSED, Outcome.DELIVERED)


def test_a_refused_change_is_told(glpi, desk):
    receiver = configured(desk)
    receiver.names = replace(receiver.names, category={"network": ("99",)})
    ticket = glpi.new_ticket()

    (receipt,) = tell(receiver, decision(str(ticket)))

    assert (receipt.outcome, "does not change ticket" in receipt.reason) == (
        Outcome.REFUSED,
        True,
    )


@pytest.mark.parametrize("part", ["Ticket/1", "Log", "Group_Ticket", "Ticket_User"])
@pytest.mark.parametrize("text", ["<html>Busy</html>", "[1]", "[{}]", "null", '{"id": "x"}', "0"])
def test_nonsense_writes_nothing_and_is_tried_again(text, part, glpi, receiver):
    ticket = glpi.new_ticket()
    glpi.fail(kind="nonsense", part=part, text=text)

    (receipt,) = tell(receiver, decision(str(ticket)))

    if receipt.outcome is not Outcome.DELIVERED:  # an answer may be harmless
        assert receipt.outcome is Outcome.FAILED
        assert glpi.fields(ticket=ticket)["itilcategories_id"] == 0
        assert tell(receiver, decision(str(ticket)))[0].outcome is Outcome.DELIVERED


@pytest.mark.parametrize("part", ["initSession", "getFullSession"])
@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "nonsense", "text": "[]"}])
def test_without_a_session_the_run_ends_and_nothing_is_lost(fault, part, glpi, receiver):
    ticket = glpi.new_ticket()
    glpi.fail(part=part, **fault)

    with pytest.raises(ReceiverError, match="GLPI"):
        tell(receiver, decision(str(ticket)))

    assert tell(receiver, decision(str(ticket)))[0].outcome is Outcome.DELIVERED


def test_a_refused_token_is_told_without_the_token(glpi_settings, tmp_path):
    (tmp_path / "user").write_text("wr0ng-and-secret")
    receiver = configured(Desk(Settings(data_dir=tmp_path / "data", **glpi_settings)))

    with pytest.raises(ReceiverError) as error:
        tell(receiver, decision("1"))

    assert error.value.is_refusal
    assert "wr0ng" not in str(error.value)
    assert APP_TOKEN not in str(error.value)


# What people make of it.


def test_what_a_technician_changes_is_read_and_what_we_wrote_never(glpi, receiver, desk):
    first, second = (glpi.new_ticket() for _ in range(2))
    a, _ = land(desk.landing, first, second)
    tell(receiver, decision(str(first)), decision(str(second)))
    ours = receiver.read_back(None)
    glpi.forward(seconds=60)
    glpi.set_fields(ticket=first, user=ANNA, itilcategories_id=13, priority=2)
    glpi.set_fields(ticket=first, user=BEN, itilcategories_id=14)
    glpi.set_fields(ticket=second, user=BEN, itilcategories_id=12, priority=4)  # confirms

    read = receiver.read_back(ours.cursor)

    assert (values(ours), ours.problems) == ([], ())
    assert values(read) == [(a, "printing", None, "Agent Ben"), (a, None, "low", "Agent Anna")]
    moments = {item.set_at for item in read.values}
    assert all(abs(at - datetime.now(UTC)) < timedelta(minutes=3) for at in moments)


@pytest.mark.parametrize("user", [OURS, RULE, CUSTOMER])
def test_what_others_than_technicians_set_is_no_label(user, glpi, receiver, desk):
    ticket = glpi.new_ticket()
    land(desk.landing, ticket)
    glpi.set_fields(ticket=ticket, user=user, itilcategories_id=14)

    assert receiver.read_back(None).values == ()


def test_a_second_change_in_the_same_second_is_read_as_well(glpi, receiver, desk):
    ticket = glpi.new_ticket()
    land(desk.landing, ticket)
    glpi.set_fields(ticket=ticket, user=ANNA, itilcategories_id=11)
    first = receiver.read_back(None)
    glpi.set_fields(ticket=ticket, user=ANNA, itilcategories_id=14)

    assert [item.category for item in first.values] == ["access"]
    assert [item.category for item in receiver.read_back(first.cursor).values] == ["printing"]


def test_a_look_puts_back_what_a_killed_process_wrote_over(glpi, receiver, desk):
    ticket = glpi.new_ticket()
    (a,) = land(desk.landing, ticket)
    glpi.meanwhile(method="set_fields", ticket=ticket, user=ANNA, itilcategories_id=14)
    looks = ["Ticket/1", "Ticket/1", "Group_Ticket", "Ticket_User", "Log"]
    for part in looks:  # of the delivery
        glpi.fail(kind="none", part=part)
    glpi.fail(kind="late", part="Ticket/1")  # its write
    with pytest.raises(ReceiverError, match="does not answer"):
        tell(receiver, decision(str(ticket)))
    assert glpi.fields(ticket=ticket)["itilcategories_id"] == 12

    read = receiver.read_back(None)

    assert glpi.fields(ticket=ticket) == {"itilcategories_id": 14, "priority": 4, "groups": []}
    assert values(read) == [(a, "printing", None, "Agent Anna")]
    receiver.read_back(read.cursor)
    writes = [request for request in glpi.seen_requests() if request.startswith("PUT")]
    assert len(writes) == 2  # the killed one, and one that puts back


@pytest.mark.slow
def test_many_changes_are_read_page_by_page(glpi, receiver, desk):
    tickets = [glpi.new_ticket() for _ in range(120)]
    known = land(desk.landing, *tickets)
    for ticket in tickets:
        glpi.set_fields(ticket=ticket, user=ANNA, itilcategories_id=14)

    assert {item.ticket_id for item in receiver.read_back(None).values} == set(known)


def test_old_changes_are_seen_once(glpi, receiver, desk):
    ticket = glpi.new_ticket()
    land(desk.landing, ticket)
    glpi.set_fields(ticket=ticket, user=ANNA, itilcategories_id=14)
    state = json.loads(receiver.read_back(None).cursor)
    state["seen"] = {str(ticket): "2000-01-01T00:00:00+00:00"}

    again = receiver.read_back(json.dumps(state))

    assert len(again.values) == 1  # changed since


def test_a_correction_is_a_label_after_one_look_and_what_we_wrote_is_none(glpi, desk):
    first, second = (glpi.new_ticket() for _ in range(2))
    a, _ = land(desk.landing, first, second)
    tell(configured(desk), decision(str(first)), decision(str(second)))
    glpi.set_fields(ticket=first, user=ANNA, itilcategories_id=14)

    for _ in range(2):
        poll_sources(desk.sources, Poll(desk.landing, desk.cursors, desk.leases))

    labels = desk.landing.resolve_labels(desk.routing.categories).labels
    assert list(zip(labels["ticket_id"], labels["category"], strict=True)) == [(a, "printing")]
    assert len(list(desk.landing.labels())) == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_persons_value_is_never_lost_however_the_two_interleave(glpi, receiver):
    draw = random.Random(13)  # noqa: S311
    overwritten = told = restored = 0
    for _ in range(INTERLEAVINGS):
        ticket = glpi.new_ticket()
        told += interleave(
            draw,
            glpi,
            ticket,
            tell=lambda number=str(ticket): tell(receiver, decision(number)),
            change=a_change,
            people=[ANNA, BEN],
            paths=[f"Ticket/{ticket}", "Log"],
        )
        is_lost, was_restored = story(glpi, ticket)
        overwritten += is_lost
        restored += was_restored

    assert (overwritten, told) == (0, INTERLEAVINGS)
    assert restored > INTERLEAVINGS / 20  # it came to that


def story(glpi, ticket):
    """Whether a person's last word does not stand, and whether one was put back."""
    last, was_restored = {}, False
    names = {7: "itilcategories_id", 3: "priority"}
    for entry in glpi.entries_of(ticket=ticket):
        if entry["id_search_option"] not in names:
            continue
        name = names[entry["id_search_option"]]
        if entry["user_name"] == f"ticket-assets ({OURS})":
            was_restored |= name in last
        else:
            last[name] = int(entry["new_value"].rpartition("(")[2].strip(" )"))
    fields = glpi.fields(ticket=ticket)
    return any(fields[name] != value for name, value in last.items()), was_restored


def a_change(draw):
    choices = {"itilcategories_id": [0, 11, 12, 13, 14], "priority": [1, 2, 3, 4, 5]}
    names = draw.sample(sorted(choices), draw.choice([1, 1, 2]))
    return {name: draw.choice(choices[name]) for name in names}
