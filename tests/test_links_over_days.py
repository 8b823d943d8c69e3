"""Days in any order, and then the days that are named, give the links of days in order."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticket_assets.links_over_days import (
    described,
    earlier_messages,
    earlier_tickets,
    later_days_with_other_conversations,
    later_days_with_other_duplicates,
)
from ticket_assets.mail.conversations import link_conversations
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table
from ticket_assets.text.duplicates import link_duplicates
from ticket_assets.text.tokens import tokens

START = datetime(2026, 3, 2)
DESK, JEAN, MARIE = "desk@x.fr", "jean@x.fr", "marie@x.fr"
LONG = (
    "Le VPN ne se connecte plus depuis ce matin sur mon poste, j'ai redémarré deux fois, rien ne"
    " change, et toute mon équipe attend les plans du chantier pour midi, merci de votre aide"
)
TEXTS = ("Écran noir", "écran NOIR", "Écran noir [EMAIL]", LONG, LONG.replace("matin", "matn"))


def message(day, number, *, sender=JEAN, to=DESK, subject="VPN", own=None, answers=None,
            refs=None, text=TEXTS[0]):  # fmt: skip
    row = dict.fromkeys(TABLES["raw_tickets"].column_names)
    return row | {
        "ticket_id": f"t{number}",
        "message_id": own,
        "in_reply_to": answers,
        "reference": refs or answers or own,
        "received_at": START + timedelta(days=day, minutes=number),
        "sender": sender,
        "recipients": json.dumps([to]),
        "subject": subject,
        "body_text": text,
        "attachments": "[]",
        "size_bytes": 1,
    }


class MemoryWarehouse(DuckDBFile):
    """A warehouse in memory: hundreds of days are processed here, and opening a file costs most."""

    def __init__(self, folder):
        super().__init__(folder)
        self._database = duckdb.connect()

    @contextmanager
    def connect(self):
        with self._database.cursor() as connection:
            yield connection

    transaction = connect


class Tables:
    """Both tables of a warehouse, processed by days as the assets do."""

    def __init__(self, folder, messages):
        self.warehouse = MemoryWarehouse(folder)
        self.messages = messages
        with self.warehouse.transaction() as connection:
            for name in ("raw_tickets", "clean_tickets"):
                ensure_table(connection, TABLES[name])

    def process(self, days, landed=None):
        """The later days to process after `days`, which follow one another."""
        days = [(START + timedelta(days=day)).date() for day in days]
        rows = [
            row
            for row in (self.messages if landed is None else landed)
            if days[0] <= row["received_at"].date() <= days[-1]
        ]
        raw = TABLES["raw_tickets"].frame(rows).assign(thread_id=lambda raw: raw["reference"])
        raw = link_conversations(raw, earlier_messages(self.warehouse, days[0], raw))
        conversations = later_days_with_other_conversations(self.warehouse, days, raw)
        self.write("raw_tickets", raw, days)
        clean = raw[["ticket_id", "received_at"]].assign(
            text=raw["body_text"],
            token_count=[len(tokens(text, "fr")) for text in raw["body_text"]],
        )
        compared = described(clean, raw)
        links = link_duplicates(compared, earlier_tickets(self.warehouse, days[0], compared))
        firsts = pd.Series([link and link.of for link in links], clean.index, dtype="object")
        compared, clean = (frame.assign(duplicate_of=firsts) for frame in (compared, clean))
        duplicates = later_days_with_other_duplicates(self.warehouse, days, compared)
        self.write("clean_tickets", clean, days)
        return {(day - START.date()).days for day in (*conversations, *duplicates)}

    def write(self, name, frame, days):
        with self.warehouse.transaction() as connection:
            connection.execute(f"set schema = '{SCHEMA}'")
            connection.execute(
                f"delete from {name} where received_at::date between ? and ?",  # noqa: S608
                [days[0], days[-1]],
            )
            connection.from_df(frame.reindex(columns=TABLES[name].column_names)).insert_into(name)

    def settle(self, pending):
        """Process the pending days, in the order of time, until none is named any more."""
        for _ in range(100):
            if not pending:
                return
            day = min(pending)
            pending = pending - {day} | self.process([day])
        pytest.fail("the days that are named never end")

    def links(self):
        threads = dict(self.warehouse.rows("select ticket_id, thread_id from raw_tickets"))
        return threads, dict(
            self.warehouse.rows("select ticket_id, duplicate_of from clean_tickets")
        )


def in_order(folder, messages):
    tables = Tables(folder, messages)
    tables.process([0, 100])
    return tables.links()


IDS = st.sampled_from([None, "a@x", "b@x", "c@x"])
SUBJECTS = ("VPN", "RE: VPN", "Re: VPN [#123]", "[#123] Compte", "RE: Compte")
DRAWN = st.builds(
    dict,
    day=st.sampled_from([0, 1, 3, 31, 33]),
    sender=st.sampled_from([JEAN, MARIE, DESK]),
    to=st.sampled_from([JEAN, MARIE, DESK]),
    subject=st.sampled_from(SUBJECTS),
    own=IDS,
    answers=IDS,
    refs=IDS,
    text=st.sampled_from(TEXTS),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(DRAWN, min_size=2, max_size=8), data=st.data())
def test_days_in_any_order_end_with_the_links_of_days_in_order(folder, drawn, data):
    messages = [message(number=number, **values) for number, values in enumerate(drawn)]
    tables = Tables(folder, messages)
    days = sorted({values["day"] for values in drawn})
    # Some messages land after their day was processed once.
    on_time = [row for row in messages if data.draw(st.booleans())]
    pending = set()
    for day in data.draw(st.permutations(days)):
        pending = pending - {day} | tables.process([day], on_time)
    for day in data.draw(st.permutations(days)):
        pending = pending - {day} | tables.process([day])
    tables.settle(pending)

    assert tables.links() == in_order(folder, messages)


@pytest.fixture
def tables(tmp_path):
    messages = [
        message(0, 0, own="0@x", refs="root@x", text="Écran noir"),
        message(5, 1, sender=DESK, to=JEAN, subject="RE: VPN", text="Lequel ?"),
        message(6, 2, sender=MARIE, subject="Compte", text="Écran noir"),
        message(7, 3, sender=MARIE, subject="RE: VPN", text="Le même"),
        message(8, 4, text="Écran noir"),
        message(70, 5, subject="Toujours", answers="0@x", text="Autre chose"),
    ]
    return Tables(tmp_path, messages)


@pytest.mark.slow
def test_late_mail_names_the_later_days_whose_links_change_and_no_other(tables):
    for day in (5, 6, 7, 8, 70):
        assert tables.process([day]) == set()

    assert tables.process([0]) == {5, 8, 70}
    assert list(chain(*(tables.process([day]) for day in (5, 8, 70)))) == []


@pytest.mark.slow
def test_days_processed_again_without_a_change_name_none(tables):
    tables.process([0, 70])

    assert [tables.process([day]) for day in (0, 5, 8)] == [set(), set(), set()]


@pytest.mark.slow
def test_purged_mail_is_no_reason_to_process_a_later_day_again(tables):
    tables.process([0, 70])
    with tables.warehouse.transaction() as connection:
        connection.execute(
            f"update {SCHEMA}.raw_tickets set sender = null, recipients = null,"  # noqa: S608
            " subject = null, attachments = null where ticket_id = 't0'"
        )
    tables.messages.append(message(4, 9, sender=MARIE, subject="Badge", text="Badge perdu"))

    assert tables.process([4]) == set()


def test_a_warehouse_written_before_there_was_a_reference_is_read(tables):
    tables.process([5, 70])
    with tables.warehouse.transaction() as connection:
        connection.execute(f"alter table {SCHEMA}.raw_tickets drop column reference")
        connection.execute(f"alter table {SCHEMA}.clean_tickets drop column duplicate_of")

    raw = TABLES["raw_tickets"].frame([row for row in tables.messages if row["ticket_id"] == "t0"])
    raw = raw.assign(thread_id="root@x")

    days = later_days_with_other_conversations(tables.warehouse, [START.date()], raw)
    assert [(day - START.date()).days for day in days] == [5, 70]
