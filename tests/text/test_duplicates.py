"""What says the same is linked to the first; what differs in a number or a name is not."""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ticket_assets.text.duplicates import (
    COLUMNS,
    DUPLICATE_DAYS,
    EARLIER_COLUMNS,
    Duplicate,
    body_hash,
    first_earlier_day,
    link_duplicates,
)
from ticket_assets.text.tokens import tokens

START = datetime(2026, 3, 2, 9)
PAIRS = yaml.safe_load(Path(__file__).with_name("duplicates.yaml").read_text("utf-8"))
LONG = PAIRS[0]["first"]


def ticket(text, sender="jean@x.fr", *, day=0.0, message_id=None, attachments="[]", body="b"):
    return {
        "received_at": START + timedelta(days=day),
        "text": text,
        "token_count": len(tokens(text, "fr")),
        "sender": sender,
        "message_id": message_id,
        "attachments": attachments,
        "body_hash": body,
    }


def table(*tickets):
    rows = [{"ticket_id": f"t{number}", **ticket} for number, ticket in enumerate(tickets)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def linked(*tickets):
    return [link and link.of for link in link_duplicates(table(*tickets), [])]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["first"][:30])
def test_a_pair_is_told(pair):
    senders = ("jean@x.fr", "jean@x.fr" if pair["one_sender"] else "marie@x.fr")
    rows = [ticket(pair[name], who) for name, who in zip(("first", "then"), senders, strict=True)]

    (_, found) = link_duplicates(table(*rows), [])

    assert (found.rule if found else None) == pair["rule"]


def test_the_pairs_are_of_every_language_and_of_both_kinds():
    kinds = [(pair["language"], pair["rule"] is not None) for pair in PAIRS]

    assert len(kinds) >= 40
    assert set(kinds) == {
        (lang, wording) for lang in ("fr", "en", "de", "es", "pt") for wording in (0, 1)
    }


def test_one_message_delivered_twice_is_a_duplicate_whatever_was_added_to_it():
    first = ticket("Écran noir", message_id="1@x")
    again = ticket("Écran noir\nMessage externe", message_id="1@x", day=1)
    others = ticket("Autre chose", "marie@x.fr", message_id="1@x", day=2)

    links = link_duplicates(table(first, again, others), [])

    assert links == [None, Duplicate("t0", "same message"), None]


def test_an_id_of_an_export_tells_nothing():
    rows = [ticket("Écran noir", message_id="12"), ticket("Clavier", message_id="12", day=1)]

    assert linked(*rows) == [None, None]


def test_attachments_tell_equal_texts_apart():
    texts = [ticket("Voir pièce jointe", attachments=f'["{name}.pdf"]') for name in ("a", "b", "a")]

    assert linked(*texts) == [None, None, "t0"]


def test_behind_a_placeholder_the_whole_message_decides():
    texts = [ticket("Créer un compte pour [EMAIL]", body=body_hash("s", who)) for who in "aba"]

    assert linked(*texts) == [None, None, "t0"]


def test_a_duplicate_of_a_duplicate_is_one_of_the_first_also_after_the_window():
    days = (0, DUPLICATE_DAYS - 1, 2 * DUPLICATE_DAYS - 2, 4 * DUPLICATE_DAYS)
    rows = [ticket("Écran noir", day=day) for day in days]

    assert linked(*rows) == [None, "t0", "t0", None]


def test_tickets_without_a_sender_are_told_by_long_texts_alone():
    rows = [ticket(text, None) for text in ("Écran noir", "Écran noir", LONG, LONG)]

    assert linked(*rows) == [None, None, None, "t2"]


def test_texts_of_signs_alone_are_not_all_the_same():
    assert linked(ticket("???"), ticket("!!!"), ticket("???")) == [None, None, "t0"]


def test_days_one_by_one_give_what_one_run_gives():
    rows = []
    for day in range(80):
        text = LONG.replace("matin", ("matin", "matn", "soir")[day % 3])
        rows += [
            ticket(text, f"p{day % 4}@x.fr", day=day),
            ticket("Écran noir", f"p{day % 37}@x.fr", day=day + 0.1),
            ticket(f"Alerte srv-{day % 9}", "nagios@x.fr", day=day + 0.2),
        ]
    whole = table(*rows)
    at_once = link_duplicates(whole.sample(frac=1, random_state=1), [])
    at_once = pd.Series(at_once, index=whole.sample(frac=1, random_state=1).index).sort_index()

    stored = whole.iloc[:0].assign(duplicate_of=None)
    for day, new in whole.groupby(whole["received_at"].dt.date):
        within = stored[stored["received_at"] >= pd.Timestamp(first_earlier_day(day))]
        links = link_duplicates(new, [within.iloc[::2], within.iloc[1::2]])
        done = new.assign(duplicate_of=[link and link.of for link in links])
        stored = done if stored.empty else pd.concat([stored, done])

    assert stored["duplicate_of"].tolist() == [link and link.of for link in at_once]
    assert tuple(stored.columns) == EARLIER_COLUMNS
    assert stored["duplicate_of"].nunique() > 10
