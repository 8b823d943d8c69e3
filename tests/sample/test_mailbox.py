"""The mailbox as a whole: how many messages, when, with which labels, in which files."""

import csv
import hashlib
import mailbox
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from ticket_assets.routing import load_routing
from ticket_assets.sample.mailbox import SampleError, SampleMail, generate, write_mailbox

UNTIL = date(2025, 11, 20)


def header(mail: SampleMail, name: str) -> str | None:
    """A header that stands on one line; parsing 3,000 messages for it takes a second."""
    head = mail.content.partition(b"\n\n")[0].decode("latin-1")
    match = re.search(rf"^{name}: (.*)$", head, re.MULTILINE)
    return match[1] if match else None


@pytest.mark.slow
def test_same_arguments_give_the_same_bytes_in_another_process() -> None:
    program = (
        "import hashlib; from datetime import date; from ticket_assets.sample.mailbox import *;"
        f"mails = generate(messages=500, until=date.fromisoformat('{UNTIL}'));"
        "print(hashlib.sha256(b''.join(mail.content for mail in mails)).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )

    here = b"".join(mail.content for mail in generate(messages=500, until=UNTIL))
    assert other.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_another_seed_gives_another_mailbox() -> None:
    mails, others = (
        {mail.content for mail in generate(messages=500, until=UNTIL, seed=seed)} for seed in (7, 8)
    )

    assert mails & others == set()


@pytest.mark.parametrize(("messages", "days"), [(777, 60), (200, 14), (40, 30), (5, 1)])
def test_exactly_as_many_messages_as_asked_for(messages: int, days: int) -> None:
    groups = Counter(
        mail.group for mail in generate(messages=messages, days=days, until=UNTIL, seed=3)
    )

    assert groups.total() == messages
    assert groups["broken"] == 2
    assert groups["duplicate"] == 1
    assert groups["auto_reply"] >= 1


def test_mail_arrives_in_order_and_on_every_utc_day_and_no_other(mails: list[SampleMail]) -> None:
    received = [mail.received_at for mail in mails]

    assert received == sorted(received)
    assert all(moment.tzinfo is UTC for moment in received)
    assert {moment.date() for moment in received} == {
        UNTIL - timedelta(days=back) for back in range(60)
    }


def test_days_of_a_change_of_the_clocks_have_their_mail_too() -> None:
    mails = generate(messages=500, days=4, until=date(2025, 10, 27))

    assert {mail.received_at.date() for mail in mails} == {
        date(2025, 10, day) for day in (24, 25, 26, 27)
    }


def test_the_date_header_is_the_instant_of_receipt_in_local_time(mails: list[SampleMail]) -> None:
    dates = {
        mail: parsedate_to_datetime(date_header)
        for mail in mails
        if (date_header := header(mail, "Date"))
    }

    assert len(dates) == len(mails) - 1  # all but the binary garbage
    assert all(written == mail.received_at for mail, written in dates.items())
    offsets = Counter(written.utcoffset() for written in dates.values())
    assert offsets[timedelta(hours=1)] > 300
    assert offsets[timedelta(hours=2)] > 300
    other_day = [
        mail for mail, written in dates.items() if written.date() != mail.received_at.date()
    ]
    assert len(other_day) >= 5


def test_offices_are_quiet_at_weekends_and_at_night(mails: list[SampleMail]) -> None:
    per_day = Counter(mail.received_at.date() for mail in mails)
    weekend = [count for day, count in per_day.items() if day.weekday() >= 5]
    week = [count for day, count in per_day.items() if day.weekday() < 5]
    by_hour = Counter(mail.received_at.hour for mail in mails)

    ratio = (sum(weekend) / len(weekend)) / (sum(week) / len(week))

    assert 0.2 < ratio < 0.35
    assert sum(by_hour[hour] for hour in (1, 2, 3)) < by_hour[9] / 4


def test_labels_are_the_desks_own(mails: list[SampleMail]) -> None:
    routing = load_routing(None)

    tickets = [mail for mail in mails if mail.group == "ticket"]

    assert {mail.category for mail in tickets} == set(routing.categories)
    assert {mail.priority for mail in tickets} == set(routing.priorities)


def test_seventy_percent_of_all_messages_are_labelled_and_few_of_the_latest(
    mails: list[SampleMail],
) -> None:
    late = [
        mail
        for mail in mails
        if mail.group == "ticket" and mail.received_at.date() > UNTIL - timedelta(days=7)
    ]

    assert sum(mail.labelled for mail in mails) == 2100
    assert all(mail.group == "ticket" for mail in mails if mail.labelled)
    assert sum(mail.labelled for mail in late) / len(late) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("share", "labelled"), [(0.0, 0), (0.5, 100), (1.0, 196)])
def test_any_share_may_be_labelled_as_far_as_there_are_tickets(share: float, labelled: int) -> None:
    mails = list(generate(messages=200, days=14, until=UNTIL, labelled_share=share))

    assert sum(mail.labelled for mail in mails) == labelled


def test_message_ids_are_unique_but_for_the_duplicate(mails: list[SampleMail]) -> None:
    ids = Counter(mail.message_id for mail in mails if mail.message_id)

    (twice,) = [message_id for message_id, count in ids.items() if count > 1]
    first, second = [mail for mail in mails if mail.message_id == twice]

    assert (first.group, second.group) == ("ticket", "duplicate")
    assert first.content != second.content
    assert first.content.split(b"From:", 1)[1] == second.content.split(b"From:", 1)[1]


def test_a_request_names_its_situation_alike_in_each_language(mails: list[SampleMail]) -> None:
    by_language = {
        code: {mail.situation for mail in mails if mail.language == code and mail.group == "ticket"}
        for code in ("fr", "en")
    }

    assert None not in by_language["fr"] | by_language["en"]
    assert len(by_language["fr"] & by_language["en"]) > 50
    assert {mail.situation for mail in mails if mail.group in {"broken", "auto_reply"}} == {None}


def test_broken_messages_hold_nothing_to_sort(mails: list[SampleMail]) -> None:
    parsed = [
        message_from_bytes(mail.content, policy=default) for mail in mails if mail.group == "broken"
    ]

    garbage, empty = sorted(parsed, key=lambda message: len(message.keys()))

    assert garbage.keys() == []
    assert empty["From"] is None
    assert empty["Subject"] is None
    assert empty.get_content().strip() == ""


def test_automatic_replies_say_so(mails: list[SampleMail]) -> None:
    headers = {
        (mail.group, header(mail, "Auto-Submitted")) for mail in mails if mail.group != "broken"
    }

    assert headers == {("ticket", None), ("duplicate", None), ("auto_reply", "auto-replied")}


def test_the_mbox_reads_back_byte_for_byte(mails: list[SampleMail], tmp_path: Path) -> None:
    seen = []

    files = write_mailbox(tmp_path / "new", mails, on_message=lambda: seen.append(1))

    box = mailbox.mbox(files.mailbox, create=False)
    entries = [
        # The standard library leaves the mboxrd quoting to its caller.
        re.sub(rb"^>(>*From )", rb"\1", box.get_bytes(key), flags=re.MULTILINE)
        for key in box.keys()  # noqa: SIM118  a mailbox iterates over its messages
    ]
    assert entries == [mail.content for mail in mails]
    assert files.messages == len(mails) == len(seen)
    assert files.labelled == 2100
    assert sorted(path.name for path in files.mailbox.parent.iterdir()) == [
        "labels.csv",
        "mailbox.mbox",
    ]


def test_lines_that_look_like_a_new_message_are_quoted(tmp_path: Path) -> None:
    content = b"Subject: a\n\nFrom here on\n>From there on\n\nFrom the end"
    moment = datetime(2025, 11, 3, 9, 12, tzinfo=UTC)
    mail = SampleMail(content, "a@example.org", moment, None, None, False, "en", "ticket")

    files = write_mailbox(tmp_path, [mail, mail])

    assert files.mailbox.read_bytes() == 2 * (
        b"From MAILER-DAEMON Mon Nov  3 09:12:00 2025\n"
        b"Subject: a\n\n>From here on\n>>From there on\n\n>From the end\n\n"
    )


def test_the_label_file_says_who_is_what_and_when(mails: list[SampleMail], tmp_path: Path) -> None:
    files = write_mailbox(tmp_path, mails)

    with files.labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labelled = [mail for mail in mails if mail.labelled]
    assert [(row["message_id"], row["category"], row["priority"]) for row in rows] == [
        (mail.message_id, mail.category, mail.priority) for mail in labelled
    ]
    delays = [
        datetime.fromisoformat(row["labelled_at"]) - mail.received_at
        for row, mail in zip(rows, labelled, strict=True)
    ]
    assert min(delays) >= timedelta(minutes=29)
    assert max(delays) <= timedelta(days=10)


def test_a_failure_half_way_leaves_the_earlier_files_alone(
    mails: list[SampleMail], tmp_path: Path
) -> None:
    before = write_mailbox(tmp_path, mails[:50]).mailbox.read_bytes()

    def failing() -> Iterator[SampleMail]:
        yield from mails[:10]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_mailbox(tmp_path, failing())

    assert (tmp_path / "mailbox.mbox").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "mailbox.mbox"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"messages": 20, "days": 17}, "20 messages cannot fill 17 days"),
        ({"messages": 20, "days": 0}, "at least one day"),
        ({"labelled_share": 1.2}, r"labelled share is 1\.2"),
    ],
)
def test_impossible_wishes_are_refused_at_once(arguments: dict[str, float], reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        generate(until=UNTIL, **arguments)  # type: ignore[arg-type]
