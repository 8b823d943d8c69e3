"""A believable support mailbox, the same bytes for the same arguments, with people's labels."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

from ticket_assets.errors import TicketAssetsError
from ticket_assets.sample.attachments import attachment
from ticket_assets.sample.clients import CLIENTS, DESK, received_lines, sent
from ticket_assets.sample.impact import draw
from ticket_assets.sample.letters import (
    Request,
    desk_answer,
    follow_up,
    forwarded,
    new_request,
    out_of_office,
)
from ticket_assets.sample.material import LANGUAGES, VAGUE, Material, Situation, material
from ticket_assets.sample.people import Person, staff
from ticket_assets.sample.timeline import arrival_days, moment_on
from ticket_assets.sample.wording import Pen

DRIFT_DAYS = 7
"""Days at the end of the mailbox in which the new products, languages and categories show."""


@dataclass(frozen=True)
class Mix:
    """What comes in on an average day of a period, as shares of its tickets."""

    languages: dict[str, float]
    categories: dict[str, float]
    rollout: float
    """Tickets about the new products."""


QUIET = Mix(
    languages={"fr": 0.68, "en": 0.32},
    categories={
        "access": 0.17,
        "network": 0.12,
        "hardware": 0.13,
        "printing": 0.11,
        "email": 0.13,
        "applications": 0.16,
        "security": 0.07,
        "onboarding": 0.11,
    },
    rollout=0.0,
)
DRIFTED = Mix(
    languages={"fr": 0.39, "en": 0.61},
    categories={
        "access": 0.27,
        "network": 0.09,
        "hardware": 0.04,
        "printing": 0.02,
        "email": 0.10,
        "applications": 0.36,
        "security": 0.05,
        "onboarding": 0.07,
    },
    rollout=0.46,
)

_STAFF = {"fr": 160, "en": 90}
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
    automatic = max(1, messages // 400)
    unusual = rng.sample(range(len(arrivals)), 3 + automatic)
    garbage, empty, twice, *auto_replies = unusual
    first_drifted = until - timedelta(days=DRIFT_DAYS - 1)
    tickets = [
        position
        for position in range(len(arrivals))
        if position not in (garbage, empty) and position not in auto_replies
    ]
    labelled = _labelled(
        [position for position in tickets if arrivals[position] < first_drifted],
        [position for position in tickets if arrivals[position] >= first_drifted],
        round(labelled_share * messages),
        rng,
    )
    desk = _Correspondence(rng)
    moments = _moments(arrivals, first_drifted, rng)
    for position, (language, moment) in enumerate(moments):
        mix = QUIET if arrivals[position] < first_drifted else DRIFTED
        received_at = moment.astimezone(UTC)
        if position in (garbage, empty):
            content = _garbage(rng) if position == garbage else _empty(moment, rng)
            yield SampleMail(content, None, received_at, None, None, False, language, "broken")
            continue
        if position in auto_replies:
            message_id, content = desk.automatic_reply(language, moment)
            category = priority = None
            group = "auto_reply"
        else:
            message_id, content, request = desk.ticket(language, moment, mix)
            category, priority = request.category, request.priority
            group = "ticket"
        mail = SampleMail(
            content=received_lines(moment, rng) + content,
            message_id=message_id,
            received_at=received_at,
            category=category,
            priority=priority,
            labelled=position in labelled,
            language=language,
            group=group,
        )
        yield mail
        if position == twice:
            again = received_lines(moment + timedelta(minutes=3), rng) + content
            yield SampleMail(
                again, message_id, received_at, category, priority, False, language, "duplicate"
            )


class _Correspondence:
    """Who writes what to the desk, remembering the recent threads and the texts in use."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._staff = {
            language: staff(material(language), _STAFF[language], rng) for language in LANGUAGES
        }
        self._recent = {language: deque[tuple[str, Request]](maxlen=60) for language in LANGUAGES}
        self._texts: set[tuple[str, ...]] = set()

    def ticket(self, language: str, moment: datetime, mix: Mix) -> tuple[str, bytes, Request]:
        """A message id, the message and the request in it."""
        rng = self._rng
        text = material(language)
        pen = Pen(text, moment, rng)
        references: tuple[str, ...] = ()
        if rng.random() < _REPLIES and (threads := self._open_threads(language, moment)):
            first_id, first = rng.choice(threads)
            answered = first.letter.moment + (moment - first.letter.moment) / 3
            references = (first_id,)
            agent = None
            if rng.random() < _ANSWERED:
                agent = desk_answer(Pen(text, answered, rng), first, DESK)
                references = (first_id, f"{rng.getrandbits(48):x}@desk.example.org")
            request = follow_up(pen, first, agent)
        else:
            request = self._first_mail(pen, mix)
        message_id = self._message_id(request.letter.author)
        if not references:
            self._recent[language].append((message_id, request))
        files = (attachment(language, moment, rng),) if rng.random() < _ATTACHMENTS else ()
        content = sent(
            request.letter,
            message_id,
            rng,
            copied=rng.choice(self._staff[language]) if rng.random() < _COPIES else None,
            references=references,
            attachments=files,
            urgent=rng.random() < (0.3 if request.priority == "urgent" else 0.02),
        )
        return message_id, content, request

    def automatic_reply(self, language: str, moment: datetime) -> tuple[str, bytes]:
        author = self._rng.choice(self._staff[language])
        letter = out_of_office(Pen(material(language), moment, self._rng), author)
        message_id = self._message_id(author)
        return message_id, sent(letter, message_id, self._rng, automatic=True)

    def _open_threads(self, language: str, moment: datetime) -> list[tuple[str, Request]]:
        return [
            (message_id, request)
            for message_id, request in self._recent[language]
            if timedelta(hours=1) < moment - request.letter.moment < timedelta(days=4)
        ]

    def _first_mail(self, pen: Pen, mix: Mix) -> Request:
        rng = self._rng
        category = draw(mix.categories, rng)
        situation = self._situation(pen.material, category, mix)
        second = None
        if situation.category != VAGUE and rng.random() < _TWO_PROBLEMS:
            second = self._situation(pen.material, draw(mix.categories, rng), mix)
        label = category
        if situation.neighbour and rng.random() < _NEIGHBOUR_LABELS:
            label = situation.neighbour
        elif rng.random() < _WRONG_LABELS:
            label = rng.choice(list(mix.categories))
        people = self._staff[pen.material.language]
        # Who happens to write the very words of an earlier mail is asked to try again.
        for _ in range(4):
            request = new_request(pen, rng.choice(people), situation, second, label)
            if request.letter.paragraphs not in self._texts:
                break
        self._texts.add(request.letter.paragraphs)
        if rng.random() < _FORWARDS:
            return forwarded(pen, request, rng.choice(people))
        return request

    def _situation(self, text: Material, category: str, mix: Mix) -> Situation:
        rng = self._rng
        if rng.random() < _VAGUE:
            return rng.choice(text.everyday[VAGUE])
        source = text.rollout if rng.random() < mix.rollout else text.everyday
        return rng.choice(source[category])

    def _message_id(self, author: Person) -> str:
        return CLIENTS[author.client].message_id(self._rng)


def _moments(arrivals: list[date], first_drifted: date, rng: Random) -> list[tuple[str, datetime]]:
    """The language and the local time of every arrival, in order."""
    drawn = []
    for day in arrivals:
        language = draw((QUIET if day < first_drifted else DRIFTED).languages, rng)
        drawn.append((language, moment_on(day, language, rng)))
    return sorted(drawn, key=lambda entry: entry[1].astimezone(UTC))


def _labelled(early: list[int], late: list[int], wanted: int, rng: Random) -> set[int]:
    """The tickets with a label: `wanted` if there are as many, few of the `late` ones."""
    from_late = min(round(_LATE_LABELS * len(late)), wanted)
    from_early = min(wanted - from_late, len(early))
    from_late = min(wanted - from_early, len(late))
    return {*rng.sample(early, from_early), *rng.sample(late, from_late)}


def _garbage(rng: Random) -> bytes:
    # A colon or a newline could make a header of it, "From " a new message of the mailbox.
    return bytes(rng.choice((0, 1, 7, *range(128, 256))) for _ in range(900)) + b"\n"


def _empty(moment: datetime, rng: Random) -> bytes:
    headers = f"To: {DESK}\nDate: {format_datetime(moment)}\nMIME-Version: 1.0\n"
    return received_lines(moment, rng) + headers.encode("ascii") + b"\n   \n\n"


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
