"""A message joins the conversation it continues, and no stranger's with the same subject."""

import json
from datetime import datetime, timedelta

import pandas as pd
import pytest

from ticket_assets.mail.conversations import (
    EARLIER_COLUMNS,
    SUBJECT_DAYS,
    first_earlier_day,
    link_conversations,
)

START = datetime(2026, 3, 2, 9)
NOTHING = pd.DataFrame(columns=list(EARLIER_COLUMNS))
DESK, JEAN, MARIE, PAUL = "desk@x.fr", "jean@x.fr", "marie@x.fr", "paul@x.fr"


def mail(subject, sender=JEAN, to=(DESK,), *, day=0.0, own=None, refs=None, answers=None):
    """A row as the parser gives it; `day` counts from START."""
    return {
        "message_id": own,
        "in_reply_to": answers,
        "thread_id": refs or answers or own,
        "received_at": START + timedelta(days=day),
        "sender": sender,
        "recipients": json.dumps(list(to)),
        "subject": subject,
    }


def table(*mails):
    rows = [{"ticket_id": f"t{number}", **mail} for number, mail in enumerate(mails)]
    frame = pd.DataFrame(rows, columns=list(EARLIER_COLUMNS))
    return frame.astype({"received_at": "datetime64[us]"})


def threads(*mails):
    return link_conversations(table(*mails), NOTHING)["thread_id"].tolist()


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("VPN coupé", "RE: VPN coupé"),
        ("VPN coupé", "Re : TR : vpn  COUPÉ"),
        ("VPN coupé", "[EXTERNE] RE: VPN coupé"),
        ("VPN down", "Fwd: Re: VPN down"),
        ("VPN gestört", "AW: WG: VPN gestört"),
        ("VPN caída", "RV: VPN caída"),
        ("VPN em baixo", "RES: ENC: VPN em baixo"),
        ("Drucker", "Antwort: Drucker"),
        ("Imprimante", "Réf. : Imprimante"),
        ("Pantalla", "{EXT} Respuesta: Pantalla"),
        ("Impressora", "*EXTERNO* RES: Impressora"),
        ("*EXT* Drucker", "AW: Drucker"),
        ("Drucker", "EXTERN: AW: Drucker"),
        ("VPN", "RE: [#4711] VPN"),
        ("VPN", "[Ticket#4711] VPN"),
    ],
)
def test_an_answer_without_ids_joins_the_mail_with_its_subject(subject, reply):
    answer = mail(reply, DESK, [JEAN], day=1, own="2")

    assert threads(mail(subject, own="1"), answer) == ["1", "1"]


@pytest.mark.parametrize(
    "second",
    [
        mail("Problème", MARIE, day=1, own="2"),
        mail("RE: Problème", MARIE, day=1, own="2"),
        mail("RE: Problème", DESK, [MARIE], day=1, own="2"),
        mail("RE: Problème", MARIE, [DESK, "all@x.fr"], day=1, own="2"),
        mail("Problème", day=1, own="2"),
        mail("[EXTERNE] Problème", day=1, own="2"),
        mail("*EXT* Problème", day=1, own="2"),
        mail("{EXTERN} Problème", day=1, own="2"),
        mail("Réponse du serveur : Problème", day=1, own="2"),
        mail("RE: Problème 2", day=1, own="2"),
        mail("RE:", day=1, own="2"),
        mail("RE: Problème", day=SUBJECT_DAYS + 1, own="2"),
    ],
)
def test_an_equal_subject_alone_joins_nothing(second):
    assert threads(mail("Problème", own="1"), second) == ["1", "2"]


def test_answers_to_two_people_with_one_subject_stay_apart_whoever_is_in_copy():
    conversations = threads(
        mail("RE: Urgent", DESK, [JEAN, "archive@x.fr"], own="1"),
        mail("RE: Urgent", DESK, [MARIE, "archive@x.fr"], day=1, own="2"),
        mail("RE: Urgent", DESK, [JEAN, "archive@x.fr"], day=2, own="3"),
        mail("RE: Urgent", MARIE, [DESK], day=3, own="4"),
    )

    assert conversations == ["1", "2", "1", "2"]


def test_the_author_and_a_colleague_in_copy_continue_the_conversation():
    conversations = threads(
        mail("Badge", own="1", to=[DESK, PAUL]),
        mail("TR : Badge", day=1, own="2"),
        mail("RE: Badge", PAUL, [JEAN, DESK], day=2, own="3"),
    )

    assert conversations == ["1", "1", "1"]


def test_of_two_with_the_subject_the_latest_is_answered():
    conversations = threads(
        mail("Badge", own="1"), mail("Badge", day=1, own="2"), mail("RE: Badge", day=2, own="3")
    )

    assert conversations == ["1", "2", "2"]


def test_a_ticket_number_joins_what_its_subject_does_not():
    conversations = threads(
        mail("[#4711] Imprimante", DESK, [JEAN], own="1"),
        mail("[#4712] Imprimante", DESK, [JEAN], day=1, own="2"),
        mail("Toner commandé [#4711]", PAUL, [DESK], day=2, own="3"),
        mail("RE: [#4712] autre chose", day=3, own="4"),
        mail("[#4711] ailleurs", "x@other.org", ["y@other.org"], day=4, own="5"),
    )

    assert conversations == ["1", "2", "1", "2", "5"]


def test_ids_lead_to_the_thread_that_their_message_has_joined():
    conversations = threads(
        mail("VPN", own="1"),
        mail("RE: VPN", DESK, [JEAN], day=1, own="2"),
        mail("autre sujet", day=2, own="3", refs="2", answers="2"),
        mail("encore autre", PAUL, day=3, own="4", refs="unknown", answers="3"),
        mail("Re: x", MARIE, day=90, own="5", refs="2"),
    )

    assert conversations == ["1", "1", "1", "1", "1"]


def test_answers_to_a_mail_that_never_came_share_its_thread_and_so_does_that_mail():
    conversations = threads(
        mail("Re: a", own="1", answers="lost"),
        mail("Re: b", MARIE, day=1, own="2", answers="lost"),
        mail("a", PAUL, day=2, own="lost"),
    )

    assert conversations == ["lost", "lost", "lost"]


def test_a_mail_without_any_id_is_named_after_its_ticket():
    rows = [mail("Problème"), mail("Problème", MARIE, day=1), mail("RE: Problème", day=2)]

    assert threads(*rows) == ["t0", "t1", "t0"]


def test_rows_of_an_export_with_an_author_alone_are_told_by_the_author():
    rows = [
        mail("Badge", to=(), own="1"),
        mail("RE: Badge", MARIE, (), day=1, own="2"),
        mail("RE: Badge", to=(), day=2, own="3"),
        mail("RE: Badge", None, (), day=3, own="4"),
    ]

    assert threads(*rows) == ["1", "2", "1", "4"]


@pytest.mark.slow
def test_days_one_by_one_give_what_one_run_gives_and_so_does_a_day_again():
    mails = []
    for day in range(70):
        person = f"p{day % 3}@x.fr"
        mails += [
            mail("Problème", person, day=day, own=f"a{day}"),
            mail("RE: Problème", DESK, [person], day=day + 0.1, own=f"b{day}"),
            mail("RE: Problème", person, day=day + 0.2, own=f"c{day}", answers=f"b{day - 40}"),
            mail(f"[#100{day % 7}] suivi", DESK, [person], day=day + 0.3, own=f"d{day}"),
        ]
    whole = table(*mails)
    at_once = link_conversations(whole.sample(frac=1, random_state=1), NOTHING).sort_index()

    stored = NOTHING
    for day, rows in whole.groupby(whole["received_at"].dt.date):
        ids = set(rows[["message_id", "in_reply_to", "thread_id"]].stack())
        within = stored["received_at"] >= pd.Timestamp(first_earlier_day(day))
        named = stored[["message_id", "in_reply_to", "thread_id"]].isin(ids).any(axis=1)
        linked = link_conversations(rows, stored[within | named])
        assert linked.equals(link_conversations(rows, stored[within | named]))
        stored = linked if stored.empty else pd.concat([stored, linked])

    assert stored["thread_id"].tolist() == at_once["thread_id"].tolist()
    assert 1 < at_once["thread_id"].nunique() < len(mails)
