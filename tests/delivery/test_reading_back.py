"""What people change in a desk's own system is their label within one look at the sources."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.days import now
from tests.delivery.decided import decided_desk, ticket
from tests.delivery.test_zammad_receiver import decision, land, tell
from tests.services.zammad import ANNA, TOKEN
from tests.warehouse_rows import append_rows
from ticket_assets.delivery import zammad_receiver
from ticket_assets.delivery.handover import hand_over
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import Label
from ticket_assets.mail.sources import Poll, poll_sources
from ticket_assets.settings import Settings, SettingsError


@pytest.fixture
def desk(zammad_settings, tmp_path):
    return Desk(Settings(data_dir=tmp_path / "data", **zammad_settings))


def look(desk):
    (report,) = poll_sources(
        desk.sources, Poll(desk.landing, desk.cursors, desk.leases), at_once=("outage", "login")
    )
    return report


def labels(desk):
    rows = desk.landing.resolve_labels(desk.routing.categories).labels
    return {row.ticket_id: (row.category, row.priority) for row in rows.itertuples()}


def test_a_correction_is_a_label_after_one_look_and_what_we_wrote_is_none(desk, zammad):
    a, b = land(desk.landing, "a", "b")
    first, second = (zammad.new_ticket(message_id=f"<{name}@example.org>") for name in "ab")
    tell(zammad_receiver.configured(desk), decision(), decision("<b@example.org>"))
    assert (look(desk).labels, labels(desk)) == (0, {})
    zammad.set_fields(ticket=first, user=ANNA, category="printing", priority="1 low")
    zammad.set_fields(ticket=second, user=ANNA, category="network", group="Users")

    assert (look(desk).labels, labels(desk)) == (2, {a: ("printing", "low")})
    assert b not in labels(desk)
    (one, _) = desk.landing.labels()
    assert one.labelled_by == "Anna Agent in zammad"


def test_a_look_that_died_before_its_cursor_was_kept_lands_nothing_twice(desk, zammad):
    (a,) = land(desk.landing, "a")
    zammad.set_fields(
        ticket=zammad.new_ticket(message_id="<a@example.org>"), user=ANNA, category="printing"
    )
    look(desk)
    desk.cursors.delete(["read-back-zammad.json"])

    assert look(desk).labels == 0
    assert labels(desk) == {a: ("printing", None)}


def test_a_later_word_here_is_not_taken_back_by_an_earlier_one_there(desk, zammad):
    (a,) = land(desk.landing, "a")
    ticket = zammad.new_ticket(message_id="<a@example.org>")
    zammad.set_fields(ticket=ticket, user=ANNA, category="printing")
    later = datetime.now(UTC) + timedelta(minutes=1)
    desk.landing.land_labels([Label("access", None, later, "ben", a, None)])

    look(desk)

    assert labels(desk) == {a: ("access", None)}


def test_a_zammad_that_is_away_is_told_and_its_changes_come_later(desk, zammad):
    (a,) = land(desk.landing, "a")
    zammad.set_fields(
        ticket=zammad.new_ticket(message_id="<a@example.org>"), user=ANNA, category="printing"
    )
    zammad.fail(kind="drop")
    away = look(desk)
    zammad.fail(kind="nonsense", text="<html>")
    nonsense = look(desk)

    assert "Zammad at" in away.error
    assert "something else than JSON: '<html>'" in nonsense.error
    assert (look(desk).error, labels(desk)) == (None, {a: ("printing", None)})


def test_a_refused_token_is_not_insisted_on(desk, zammad, tmp_path):
    (tmp_path / "token").write_text("wr0ng-and-secret")

    refused = look(desk)
    (waiting,) = poll_sources(desk.sources, Poll(desk.landing, desk.cursors, desk.leases))
    requests = len(zammad.seen_requests())
    (tmp_path / "token").write_text(TOKEN)
    (again,) = poll_sources(desk.sources, Poll(desk.landing, desk.cursors, desk.leases))

    assert "refuses the token" in refused.error
    assert "wr0ng" not in refused.error
    assert waiting.waits_for == refused.error
    assert requests == 1
    assert (again.error, again.waits_for) == (None, None)


@pytest.mark.slow
def test_a_run_tells_it_once_and_leaves_what_people_have_said(desk, zammad):
    a, b = land(desk.landing, "a", "b")
    first, second = (zammad.new_ticket(message_id=f"<{name}@example.org>") for name in "ab")
    rows = [
        ticket(0, ticket_id=ticket_id, queue="infrastructure", priority_decision="auto")
        for ticket_id in (a, b)
    ]
    decided_desk(desk.settings, rows)
    mails = [(a, "a@example.org"), (b, "b@example.org")]
    append_rows(
        desk.settings,
        "raw_tickets",
        [{"ticket_id": one, "message_id": name, "received_at": now()} for one, name in mails],
    )
    zammad.set_fields(ticket=second, user=ANNA, category="printing")

    told = hand_over(desk)
    look(desk)
    again = hand_over(desk)

    assert told["zammad"].outcomes == {"delivered": 1, "taken": 1}
    assert not again["zammad"].outcomes
    assert zammad.fields(ticket=first)["category"] == "network"
    assert zammad.fields(ticket=second)["category"] == "printing"
    assert labels(desk) == {b: ("printing", None)}


def test_an_address_without_a_token_is_refused(tmp_path):
    settings = Settings(data_dir=tmp_path, zammad_url="https://zammad.example.org")

    with pytest.raises(SettingsError, match="Set both TICKETS_ZAMMAD_URL and"):
        _ = Desk(settings).sources


def test_a_broken_routing_file_is_the_fault_of_the_system_alone(desk, zammad):
    (a,) = land(desk.landing, "a")
    zammad.set_fields(
        ticket=zammad.new_ticket(message_id="<a@example.org>"), user=ANNA, category="printing"
    )
    path = desk.settings.routing
    content = path.read_text()
    path.write_text("categories: [")
    poll = Poll(desk.landing, desk.cursors, desk.leases)

    (broken,) = poll_sources(desk.sources, poll)
    (waiting,) = poll_sources(desk.sources, poll)
    path.write_text(content)
    (mended,) = poll_sources(desk.sources, poll)

    assert broken.name == waiting.name == mended.name == "what people change in zammad"
    assert broken.error.startswith(f"The routing file {path} is not valid YAML: ")
    assert "\n" not in broken.error
    assert waiting.waits_for == broken.error
    assert (mended.error, labels(desk)) == (None, {a: ("printing", None)})


def test_a_process_that_may_not_read_the_token_knows_the_source_all_the_same(desk, tmp_path):
    (tmp_path / "token").unlink()

    assert [source.name for source in desk.sources] == ["what people change in zammad"]
    assert "Cannot read TICKETS_ZAMMAD_TOKEN_FILE" in look(desk).error


def test_without_a_system_there_is_nothing_to_read(tmp_path):
    assert Desk(Settings(data_dir=tmp_path)).sources == ()
