"""A believable support mailbox, the same bytes for the same arguments, with people's labels."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

from ticket_assets.errors import TicketAssetsError
from ticket_assets.sample.attachments import attachment
from ticket_assets.sample.clients import identifier, received_lines, sent
from ticket_assets.sample.letters import (
    DESK,
    Request,
    desk_answer,
    follow_up,
    forwarded,
    new_request,
    out_of_office,
)
from ticket_assets.sample.material import VAGUE, Mix, Situation, draw, languages, shares
from ticket_assets.sample.people import staff
from ticket_assets.sample.timeline import arrival_days, moment_on
from ticket_assets.sample.wording import Pen

DRIFT_DAYS = 7
"""Days at the end of the mailbox in which the new products, languages and categories show."""

_VAGUE = 0.025
_REPLIES = 0.125
_ANSWERED = 0.7
"""Replies below which the desk's answer is quoted, not only the first mail."""
_FORWARDS = 0.05
_COPIES = 0.1
_TWO_PROBLEMS = 0.05
_ATTACHMENTS = 0.16
_NEIGHBOUR_LABELS = 0.08
"""Tickets between two categories that people file under the second one."""
_WRONG_LABELS = 0.006
_LATE_LABELS = 0.25
"""Tickets of the drifted days that somebody has labelled so far."""


class SampleError(TicketAssetsError):
    """The sample mailbox cannot be made as asked."""


@dataclass(frozen=True)
class SampleMail:
    """One message and what people know about it."""

    content: bytes
    """The message, with LF line ends."""
    message_id: str | None
    """Without angle brackets."""
    received_at: datetime
    """Instant of the Date header, in UTC."""
    category: str | None
    """The label that a person gives, which now and then is a neighbour of the right one."""
    priority: str | None
    labelled: bool
    language: str
    group: str
    """"ticket", "auto_reply", "duplicate" or "broken"."""
    situation: str | None = None
    """The name of what has happened, of requests."""


@dataclass(frozen=True)
class MailboxFiles:
    """What `write_mailbox` has written."""

    mailbox: Path
    labels: Path
    messages: int
    labelled: int


def generate(
    *,
    messages: int = 3000,
    days: int = 60,
    until: date,
    seed: int = 7,
    labelled_share: float = 0.7,
) -> Iterator[SampleMail]:
    """`messages` mails over `days` UTC days in the order of their arrival, the last on `until`.

    Among them are two broken messages, one second delivery and some automatic replies. Exactly
    `labelled_share` of all messages is labelled where there are enough tickets, people being late
    with the last `DRIFT_DAYS` days.

    Raises:
        SampleError: a share outside 0 to 1, no day, or too few messages for a mail on every day.
    """
    if days < 1 or messages < days + 4:
        raise SampleError(
            f"{messages} messages cannot fill {days} days: ask for at least one day and for four "
            "messages more than there are days."
        )
    if not 0 <= labelled_share <= 1:
        raise SampleError(f"The labelled share is {labelled_share}: give a number from 0 to 1.")
    return _mails(messages, days, until, Random(seed), labelled_share)  # noqa: S311


def _mails(
    messages: int, days: int, until: date, rng: Random, labelled_share: float
) -> Iterator[SampleMail]:
    arrivals = arrival_days(messages - 1, days, until, rng)
    first_drifted = until - timedelta(days=DRIFT_DAYS - 1)
    mixes = [shares().quiet if day < first_drifted else shares().drifted for day in arrivals]
    unusual = rng.sample(range(len(arrivals)), 3 + max(1, messages // 400))
    garbage, empty, twice, *auto_replies = unusual
    tickets = sorted(set(range(len(arrivals))) - {garbage, empty, *auto_replies})
    labelled = _labelled(
        [position for position in tickets if arrivals[position] < first_drifted],
        [position for position in tickets if arrivals[position] >= first_drifted],
        round(labelled_share * messages),
        rng,
    )
    correspondence = _Correspondence(rng)
    for position, pen in enumerate(_pens(arrivals, mixes, rng)):
        if position == garbage:
            yield _broken(pen, _garbage(rng))
            continue
        if position == empty:
            headers = f"To: {DESK}\nDate: {format_datetime(pen.moment)}\nMIME-Version: 1.0\n"
            mail = _broken(pen, headers.encode("ascii") + b"\n   \n\n")
        elif position in auto_replies:
            mail = correspondence.automatic_reply(pen)
        else:
            mail = correspondence.ticket(pen, mixes[position], position in labelled)
        yield _delivered(mail, pen.moment, rng)
        if position == twice:
            again = _delivered(mail, pen.moment + timedelta(minutes=3), rng)
            yield replace(again, labelled=False, group="duplicate")


def request_texts(count: int, seed: int) -> list[str]:
    """Subject and text of that many first mails of average days, without what mail clients add."""
    rng, mix = Random(seed), shares().quiet  # noqa: S311
    arrivals = arrival_days(count, min(count, 60), date(2026, 3, 1), rng)
    correspondence = _Correspondence(rng)
    pens = _pens(arrivals, [mix] * count, rng)
    letters = [correspondence.first_mail(pen, mix).letter for pen in pens]
    return ["\n\n".join((letter.subject, *letter.paragraphs)) for letter in letters]


class _Correspondence:
    """Who writes what to the desk, remembering the recent threads and the texts in use."""

    def __init__(self, rng: Random) -> None:
        self._staff = {code: staff(language, rng) for code, language in languages().items()}
        self._recent = {code: deque[tuple[str, Request]](maxlen=60) for code in languages()}
        self._texts: set[tuple[str, ...]] = set()

    def ticket(self, pen: Pen, mix: Mix, labelled: bool) -> SampleMail:
        """A request to the desk, as it leaves its author."""
        rng, code = pen.rng, pen.language.code
        references: tuple[str, ...] = ()
        if rng.random() < _REPLIES and (threads := self._open_threads(pen)):
            request, references = _reply(pen, *rng.choice(threads))
        else:
            request = self.first_mail(pen, mix)
        message_id = identifier(request.letter.author.client.message_id, rng)
        if not references:
            self._recent[code].append((message_id, request))
        file = attachment(pen) if rng.random() < _ATTACHMENTS else None
        content = sent(
            request.letter,
            message_id,
            rng,
            copied=rng.choice(self._staff[code]) if rng.random() < _COPIES else None,
            references=references,
            file=file,
            urgent=rng.random() < (0.3 if request.priority == "urgent" else 0.02),
        )
        return SampleMail(
            content=content,
            message_id=message_id,
            received_at=pen.moment.astimezone(UTC),
            category=request.category,
            priority=request.priority,
            labelled=labelled,
            language=code,
            group="ticket",
            situation=request.situation.name,
        )

    def automatic_reply(self, pen: Pen) -> SampleMail:
        """A mail that a program writes for somebody who is away."""
        author = pen.rng.choice(self._staff[pen.language.code])
        letter = out_of_office(pen, author)
        message_id = identifier(author.client.message_id, pen.rng)
        mail = _broken(pen, sent(letter, message_id, pen.rng, automatic=True))
        return replace(mail, message_id=message_id, group="auto_reply")

    def _open_threads(self, pen: Pen) -> list[tuple[str, Request]]:
        """First mails that are some hours or days old, with their message ids."""
        return [
            (message_id, request)
            for message_id, request in self._recent[pen.language.code]
            if timedelta(hours=1) < pen.moment - request.letter.moment < timedelta(days=4)
        ]

    def first_mail(self, pen: Pen, mix: Mix) -> Request:
        """A request that begins a thread."""
        rng = pen.rng
        category = draw(mix.categories, rng)
        situation = _situation(pen, category, mix)
        second = None
        if situation.category != VAGUE and rng.random() < _TWO_PROBLEMS:
            second = _situation(pen, draw(mix.categories, rng), mix)
        label = _label(category, situation, mix, rng)
        people = self._staff[pen.language.code]
        # Who happens to write the very words of an earlier mail is asked to try again.
        for _ in range(4):
            request = new_request(pen, rng.choice(people), situation, second, label)
            if request.letter.paragraphs not in self._texts:
                break
        self._texts.add(request.letter.paragraphs)
        if rng.random() < _FORWARDS:
            return forwarded(pen, request, rng.choice(people))
        return request


def _reply(pen: Pen, first_id: str, first: Request) -> tuple[Request, tuple[str, ...]]:
    """A reply to the thread of `first`, and the message ids that it refers to."""
    references: tuple[str, ...] = (first_id,)
    answer = None
    if pen.rng.random() < _ANSWERED:
        answered_at = first.letter.moment + (pen.moment - first.letter.moment) / 3
        answer = desk_answer(replace(pen, moment=answered_at), first)
        references += (f"{pen.rng.getrandbits(48):x}@desk.example.org",)
    return follow_up(pen, first, answer), references


def _situation(pen: Pen, category: str, mix: Mix) -> Situation:
    if pen.rng.random() < _VAGUE:
        return pen.rng.choice(pen.language.everyday[VAGUE])
    is_rollout = pen.rng.random() < mix.rollout
    return pen.rng.choice((pen.language.rollout if is_rollout else pen.language.everyday)[category])


def _label(category: str, situation: Situation, mix: Mix, rng: Random) -> str:
    """The category that a person gives: now and then a neighbour's or a wrong one."""
    if situation.neighbour and rng.random() < _NEIGHBOUR_LABELS:
        return situation.neighbour
    return rng.choice(list(mix.categories)) if rng.random() < _WRONG_LABELS else category


def _pens(arrivals: list[date], mixes: list[Mix], rng: Random) -> list[Pen]:
    """The language and the local time of every arrival, in order."""
    pens = []
    for day, mix in zip(arrivals, mixes, strict=True):
        language = languages()[draw(mix.languages, rng)]
        pens.append(Pen(language, moment_on(day, language, rng), rng))
    return sorted(pens, key=lambda pen: pen.moment.astimezone(UTC))


def _labelled(early: list[int], late: list[int], count: int, rng: Random) -> set[int]:
    """The tickets with a label: `count` if there are as many, few of the `late` ones."""
    from_late = min(round(_LATE_LABELS * len(late)), count)
    from_early = min(count - from_late, len(early))
    from_late = min(count - from_early, len(late))
    return {*rng.sample(early, from_early), *rng.sample(late, from_late)}


def _delivered(mail: SampleMail, moment: datetime, rng: Random) -> SampleMail:
    return replace(mail, content=received_lines(moment, rng) + mail.content)


def _broken(pen: Pen, content: bytes) -> SampleMail:
    received_at = pen.moment.astimezone(UTC)
    return SampleMail(content, None, received_at, None, None, False, pen.language.code, "broken")


def _garbage(rng: Random) -> bytes:
    # A colon or a newline could make a header of it, "From " a new message of the mailbox.
    return bytes(rng.choice((0, 1, 7, *range(128, 256))) for _ in range(900)) + b"\n"


def write_mailbox(
    folder: Path, mails: Iterable[SampleMail], on_message: Callable[[], None] | None = None
) -> MailboxFiles:
    """Writes `mailbox.mbox` (mboxrd) and `labels.csv` into `folder`, which is made if missing.

    Both files appear at once when all is written; `on_message` is called after each message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mailbox, labels = folder / "mailbox.mbox", folder / "labels.csv"
    unfinished = [path.with_name(f"{path.name}.partial") for path in (mailbox, labels)]
    messages = labelled = 0
    try:
        with (
            unfinished[0].open("wb") as mailbox_file,
            unfinished[1].open("w", encoding="utf-8", newline="") as label_file,
        ):
            rows = csv.writer(label_file, lineterminator="\n")
            rows.writerow(("message_id", "category", "priority", "labelled_at"))
            for mail in mails:
                mailbox_file.write(_as_mailbox_entry(mail))
                messages += 1
                if mail.labelled:
                    labelled_at = _labelled_at(mail).strftime("%Y-%m-%dT%H:%M:%SZ")
                    rows.writerow((mail.message_id, mail.category, mail.priority, labelled_at))
                    labelled += 1
                if on_message:
                    on_message()
        for path, final in zip(unfinished, (mailbox, labels), strict=True):
            path.replace(final)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)
    return MailboxFiles(mailbox=mailbox, labels=labels, messages=messages, labelled=labelled)


def _as_mailbox_entry(mail: SampleMail) -> bytes:
    # mboxrd: one ">" more on every line that reads "From " after any number of them.
    content = re.sub(rb"^(>*From )", rb">\1", mail.content, flags=re.MULTILINE)
    if not content.endswith(b"\n"):
        content += b"\n"
    return f"From MAILER-DAEMON {mail.received_at.ctime()}\n".encode() + content + b"\n"


def _labelled_at(mail: SampleMail) -> datetime:
    """Some hours to days after receipt, the same for the same message."""
    hours = Random(mail.message_id).lognormvariate(2.5, 1.0)  # noqa: S311
    return mail.received_at + timedelta(hours=min(max(hours, 0.5), 240))
