from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.days import days_ago, now
from tests.delivery.decided import (
    decided_desk,
    let_time_pass,
    outcomes,
    stored,
    ticket,
    ticket_id,
)
from tests.warehouse_rows import append_rows
from ticket_assets.delivery.decisions import Intent
from ticket_assets.delivery.handover import FAILURES_IN_A_ROW, hand_over
from ticket_assets.delivery.receivers import Finished, Outcome, Receipt, Receiver, ReceiverError
from ticket_assets.delivery.state import change_state, read_state
from ticket_assets.desk import Desk
from ticket_assets.mail.back_off import BackOff, write_back_off
from ticket_assets.mail.landing import Label
from ticket_assets.settings import Settings


class Notebook(Receiver):
    """Writes down what it is told; answers as it was told to."""

    name = "webhook"
    batch_size = 3

    def __init__(self, answers: dict[int, Outcome] | None = None, account: str = "") -> None:
        self.answers = answers or {}
        self.account = account
        self.told: list[int] = []
        self.keys: dict[int, set[str]] = {}
        self.finished: list[Finished] = []
        self.refuses_all = False

    @property
    def configuration(self) -> bytes:
        return self.account.encode()

    def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
        for intent in intents:
            if self.refuses_all:
                raise ReceiverError("It answers 401.", is_refusal=True)
            number = int(intent.decision.ticket_id)
            self.told.append(number)
            self.keys.setdefault(number, set()).add(intent.key)
            answer = self.answers.get(number, Outcome.DELIVERED)
            yield Receipt(intent.decision.ticket_id, answer, reason=f"{answer.value}.")

    def finish(self, finished: Finished) -> None:
        self.finished.append(finished)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.mark.slow
def test_each_decision_is_told_once_whatever_model_comes_later(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(number) for number in range(1, 9)])
    notebook = Notebook()

    told = hand_over(desk, [notebook])
    with desk.warehouse.transaction() as connection:
        connection.execute("update tickets.ticket_predictions set category = 'printing'")
    hand_over(desk, [notebook])

    assert notebook.told == list(range(1, 9))
    assert told["webhook"].outcomes == {"delivered": 8}
    # The second run had nothing to tell, so nothing has ended.
    assert [finished.outcomes for finished in notebook.finished] == [{"delivered": 8}]


def test_tickets_from_before_the_first_day_are_not_told(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(1, received_at=now() - timedelta(days=1)), ticket(2)])
    notebook = Notebook()

    hand_over(desk, [notebook])

    assert notebook.told == [2]


def test_without_receivers_nothing_is_written(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(1)])

    assert hand_over(desk) == {}
    assert "delivered_tickets" not in desk.warehouse.tables()
    assert read_state(desk.cursors) is None


def test_a_receiver_that_is_set_again_begins_with_that_day(settings: Settings) -> None:
    desk = decided_desk(settings)
    yesterday = days_ago(1).isoformat()
    hand_over(desk, [Notebook()])
    change_state(desk.cursors, lambda state: replace(state, first_days={"webhook": yesterday}))

    hand_over(desk, [])
    hand_over(desk, [Notebook()])

    state = read_state(desk.cursors)
    assert state is not None
    assert state.first_days == {"webhook": datetime.now(UTC).date().isoformat()}


@pytest.mark.slow
def test_in_shadow_mode_nothing_is_told_nor_after_it_what_was_decided_in_it(
    settings: Settings,
) -> None:
    yesterday = days_ago(1).isoformat()
    desk = decided_desk(settings, [ticket(1, received_at=now() - timedelta(days=1))])
    hand_over(desk, [Notebook()])
    change_state(desk.cursors, lambda state: replace(state, first_days={"webhook": yesterday}))
    shadow = Desk(settings.model_copy(update={"shadow_mode": True}))
    notebook = Notebook()

    assert hand_over(shadow, [notebook]) == {}
    hand_over(desk, [notebook])

    assert notebook.told == []


@pytest.mark.slow
def test_one_switch_stops_all_and_what_was_not_told_waits(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(number) for number in range(1, 6)])
    notebook = Notebook()
    change_state(desk.cursors, lambda state: replace(state, stopped_at="2026-11-20T08:00"))

    stopped = hand_over(desk, [notebook])
    change_state(desk.cursors, lambda state: replace(state, stopped_at=None))
    hand_over(desk, [notebook])

    assert stopped["webhook"].problem == "Delivery is stopped: `tickets delivery start`."
    assert notebook.told == [1, 2, 3, 4, 5]


def test_a_label_that_has_landed_and_is_not_in_the_table_yet_holds(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(1), ticket(2)])
    desk.landing.land_labels([label_of(1)])
    notebook = Notebook()

    hand_over(desk, [notebook])

    assert notebook.told == [2]


def label_of(number: int) -> Label:
    return Label(
        ticket_id=ticket_id(number),
        message_id=None,
        category="printing",
        priority=None,
        labelled_at=datetime.now(UTC),
        labelled_by="anne",
    )


@pytest.mark.slow
def test_what_the_receiver_does_not_take_for_good_is_told_again_when_its_settings_change(
    settings: Settings,
) -> None:
    desk = decided_desk(settings, [ticket(1), ticket(2)])
    hand_over(desk, [Notebook({1: Outcome.REFUSED, 2: Outcome.TAKEN}, account="old")])
    let_time_pass(desk)
    same, other = Notebook(account="old"), Notebook(account="new")

    hand_over(desk, [same])
    hand_over(desk, [other])

    assert same.told == []
    assert other.told == [1]
    assert outcomes(desk) == {1: "delivered", 2: "taken"}


@pytest.mark.slow
def test_a_receiver_that_refuses_the_secret_is_left_alone_until_it_changes(
    settings: Settings,
) -> None:
    desk = decided_desk(settings, [ticket(1)])
    refusing, patient, other = Notebook(), Notebook(), Notebook(account="new")
    refusing.refuses_all = True

    first = hand_over(desk, [refusing])
    second = hand_over(desk, [patient])
    hand_over(desk, [other])

    assert first["webhook"].problem == "It answers 401."
    assert second["webhook"].problem.startswith("It answers 401. The next try is at ")
    assert patient.told == []
    assert other.told == [1]


def test_a_receiver_that_failed_under_a_clock_that_was_ahead_is_told_when_it_is_right_again(
    settings: Settings,
) -> None:
    desk = decided_desk(settings, [ticket(1)])
    in_a_year = datetime.now(UTC) + timedelta(days=365)
    back_off = BackOff().failed(in_a_year, "outage", "It answers 503.", b"")
    write_back_off(desk.cursors, "delivery webhook", back_off)
    notebook = Notebook()

    hand_over(desk, [notebook])

    assert notebook.told == [1]


@pytest.mark.slow
def test_many_failures_in_a_row_are_an_outage(settings: Settings) -> None:
    count = 3 * FAILURES_IN_A_ROW
    desk = decided_desk(settings, [ticket(number) for number in range(1, count + 1)])
    failing = Notebook(dict.fromkeys(range(1, count + 1), Outcome.FAILED))

    told = hand_over(desk, [failing])

    assert len(failing.told) == FAILURES_IN_A_ROW
    assert told["webhook"].problem == "failed."
    assert failing.finished == []
    # What was not told is as if never intended: nothing holds it to the present model's answer.
    assert set(outcomes(desk)) == set(range(1, FAILURES_IN_A_ROW + 1))
    let_time_pass(desk)
    well = Notebook()
    hand_over(desk, [well])
    assert sorted(well.told) == list(range(1, count + 1))
    assert {number: keys for number, keys in well.keys.items() if number in failing.keys} == (
        failing.keys
    )


@pytest.mark.slow
def test_a_ticket_that_always_fails_keeps_no_other_back(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(number) for number in range(1, 31)])
    notebook = Notebook({1: Outcome.FAILED})

    hand_over(desk, [notebook])

    assert outcomes(desk) == {1: "failed"} | dict.fromkeys(range(2, 31), "delivered")


@pytest.mark.slow
def test_a_decision_of_a_ticket_that_a_person_labels_meanwhile_is_withdrawn(
    settings: Settings,
) -> None:
    desk = decided_desk(settings, [ticket(1)])
    hand_over(desk, [Notebook({1: Outcome.FAILED})])
    append_rows(settings, "ticket_labels", [{"ticket_id": ticket_id(1), "category": "printing"}])
    let_time_pass(desk)
    notebook = Notebook()

    hand_over(desk, [notebook])

    assert notebook.told == []
    assert outcomes(desk) == {1: "labelled"}


@pytest.mark.parametrize("reviews", [True, False])
def test_reviews_are_told_as_the_settings_say(settings: Settings, *, reviews: bool) -> None:
    decided_desk(settings, [ticket(1), ticket(2, decision="review")])
    desk = Desk(settings.model_copy(update={"delivery_reviews": reviews}))
    notebook = Notebook()

    hand_over(desk, [notebook])

    assert notebook.told == ([1, 2] if reviews else [1])


@pytest.mark.slow
def test_a_process_that_is_interrupted_writes_down_the_receipts_it_has(
    settings: Settings,
) -> None:
    class Interrupted(Notebook):
        def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
            for receipt in super().deliver(intents):
                yield receipt
                raise KeyboardInterrupt

    desk = decided_desk(settings, [ticket(1), ticket(2)])

    with pytest.raises(KeyboardInterrupt):
        hand_over(desk, [Interrupted()])

    assert stored(desk)[1]["outcome"] == "delivered"
    assert stored(desk)[2]["outcome"] == "sending"
