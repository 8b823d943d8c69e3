"""What people write to the desk, before any mail client has wrapped it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ticket_assets.sample.material import VAGUE, Situation, draw
from ticket_assets.sample.people import Person
from ticket_assets.sample.urgency import as_judged, priority_and_phrases
from ticket_assets.sample.wording import (
    Details,
    Pen,
    as_text_message,
    with_typos,
    without_accents,
)

DESK = "support@example.org"

_REGISTERS = {"terse": 0.17, "plain": 0.56, "rambling": 0.2, "phone": 0.07}
_SHORT = ("terse", "phone")
"""Registers without courtesy."""
_CRIES_WOLF = {"low": 0.02, "normal": 0.04, "high": 0.18, "urgent": 0.32}
"""Share of tickets with URGENT in the subject, by how urgent they are."""
_EMPTY_SUBJECTS = 0.06
"""Share of tickets whose subject says nothing, such as "Problem"."""


@dataclass(frozen=True)
class Quoted:
    """An earlier message below the new text."""

    name: str
    address: str
    recipient: str
    """As it stands in the To line."""
    moment: datetime
    subject: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Letter:
    """One message as its author sees it."""

    author: Person
    moment: datetime
    subject: str
    paragraphs: tuple[str, ...]
    sign_off: tuple[str, ...]
    quoted: tuple[Quoted, ...] = ()
    """Earlier messages, the latest first."""
    forwarded: bool = False


@dataclass(frozen=True)
class Request:
    """A letter together with what it is about and how urgent that is."""

    letter: Letter
    situation: Situation
    category: str
    priority: str
    """As a person would judge it."""
    details: Details


def new_request(
    pen: Pen, author: Person, situation: Situation, second: Situation | None, category: str
) -> Request:
    """A first mail about `situation`, with a `second` problem thrown in when there is one."""
    register = draw(_REGISTERS, pen.rng)
    priority, kinds = priority_and_phrases(pen.rng)
    details: Details = {}
    problem = pen.any_of(situation.problems, details)
    before, after = _around(pen, register, [pen.phrase(kind) for kind in kinds])
    topic = _topic(pen, situation, 0.12 if register in _SHORT else 0.5)
    paragraphs = _in_paragraphs(pen, [*topic, *before, problem], after)
    if second is not None:
        paragraphs.append(f"{pen.phrase('second')} {pen.any_of(second.problems)}")
    if register not in _SHORT:
        paragraphs = _with_courtesy(pen, paragraphs)
    letter = Letter(
        author=author,
        moment=pen.moment,
        subject=_subject(pen, situation, details, priority),
        paragraphs=_as_typed(pen, paragraphs, register),
        sign_off=_sign_off(pen, author, register),
    )
    return Request(letter, situation, category, as_judged(priority, pen.rng), details)


def follow_up(pen: Pen, request: Request, answer: Quoted | None) -> Request:
    """The author of `request` writes again, above the desk's answer or their own first mail."""
    first = request.letter
    priority, kinds = priority_and_phrases(pen.rng)
    sentences = [pen.phrase("followup"), *_topic(pen, request.situation, 0.5)]
    if pen.rng.random() < 0.8:
        sentences.append(pen.any_of(request.situation.problems, request.details))
    paragraphs = _in_paragraphs(pen, sentences, [pen.phrase(kind) for kind in kinds])
    if pen.rng.random() < 0.6:
        paragraphs = _with_courtesy(pen, paragraphs)
    earlier = _quoted(first, DESK, first.paragraphs)
    letter = Letter(
        author=first.author,
        moment=pen.moment,
        subject=pen.rng.choice(("RE: ", "Re: ", "RE : ")) + first.subject,
        paragraphs=_as_typed(pen, paragraphs, "plain"),
        sign_off=_sign_off(pen, first.author, "plain"),
        quoted=(answer, earlier) if answer else (earlier,),
    )
    return replace(request, letter=letter, priority=as_judged(priority, pen.rng))


def forwarded(pen: Pen, request: Request, sender: Person) -> Request:
    """`sender` passes somebody else's `request` on to the desk with a line or two above it."""
    original = request.letter
    lines = [pen.any_of(pen.language.phrases["forward"], {("person", 0): original.author.name})]
    lines += _topic(pen, request.situation, 0.4)
    if pen.rng.random() < 0.75:
        lines.append(pen.any_of(request.situation.problems, request.details))
    subject = pen.rng.choice(pen.language.forms.forwarded_subjects).format(original.subject)
    letter = Letter(
        author=sender,
        moment=original.moment,
        subject=subject,
        paragraphs=tuple(_with_courtesy(pen, [" ".join(lines)])),
        sign_off=_sign_off(pen, sender, "plain"),
        quoted=(_quoted(original, sender.mailbox, original.paragraphs + original.sign_off),),
        forwarded=True,
    )
    return replace(request, letter=letter)


def desk_answer(pen: Pen, request: Request) -> Quoted:
    """What the desk wrote back, to be quoted below the next mail."""
    hello, name = pen.language.forms.answer
    paragraphs = (hello, pen.phrase("agent"), name)
    recipient, subject = request.letter.author.mailbox, f"RE: {request.letter.subject}"
    return Quoted(name, DESK, recipient, pen.moment, subject, paragraphs)


def out_of_office(pen: Pen, author: Person) -> Letter:
    """An automatic reply, which is no request."""
    about = pen.any_of(pen.language.everyday["network"][0].subjects)
    subject = pen.language.forms.automatic_subject.format(about)
    return Letter(author, pen.moment, subject, (pen.phrase("away"),), (author.name,))


def _quoted(letter: Letter, recipient: str, paragraphs: tuple[str, ...]) -> Quoted:
    name, address = letter.author.name, letter.author.address
    return Quoted(name, address, recipient, letter.moment, letter.subject, paragraphs)


def _subject(pen: Pen, situation: Situation, details: Details, priority: str) -> str:
    if pen.rng.random() < _EMPTY_SUBJECTS:
        situation = pen.language.everyday[VAGUE][0]
    subject = pen.any_of(situation.subjects, details)
    if pen.rng.random() < _CRIES_WOLF[priority]:
        return pen.rng.choice(("URGENT - ", "[URGENT] ", "URGENT : ", "Urgent: ")) + subject
    return subject


def _around(pen: Pen, register: str, urgency: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after the problem itself."""
    rng = pen.rng
    before, after = list[str](), urgency
    if register == "rambling":
        before = pen.phrases("context", rng.randrange(1, 4))
        after = pen.phrases("tried", rng.randrange(1, 3)) + urgency
    elif register == "plain":
        before = pen.phrases("context", int(rng.random() < 0.35))
        after = pen.phrases("tried", int(rng.random() < 0.4)) + urgency
    if rng.random() < 0.25:
        rng.shuffle(after)
    if rng.random() < 0.08:
        return after[:1] + before, after[1:]
    return before, after


def _topic(pen: Pen, situation: Situation, share: float) -> list[str]:
    """A sentence that names the field, in `share` of the mails; vague mails never have one."""
    named = pen.rng.random() < share and situation.category != VAGUE
    return [pen.any_of(pen.language.topics[situation.category])] if named else []


def _in_paragraphs(pen: Pen, before: list[str], after: list[str]) -> list[str]:
    if pen.rng.random() < 0.5 or not after:
        return [" ".join([*before, *after])]
    return [" ".join(before), " ".join(after)]


def _with_courtesy(pen: Pen, paragraphs: list[str]) -> list[str]:
    greeting = [pen.phrase("greeting")] if pen.rng.random() < 0.93 else []
    closing = [pen.phrase("closing")] if pen.rng.random() < 0.7 else []
    return [*greeting, *paragraphs, *closing]


def _sign_off(pen: Pen, author: Person, register: str) -> tuple[str, ...]:
    if register in _SHORT:
        return (author.name.split()[0],) if pen.rng.random() < 0.4 else ()
    named = not author.signature or pen.rng.random() < 0.25
    return (pen.phrase("regards"), author.name) if named else (pen.phrase("regards"),)


def _as_typed(pen: Pen, paragraphs: list[str], register: str) -> tuple[str, ...]:
    """The text as it left the keyboard: some people make typos, drop accents or shout."""
    rng, language = pen.rng, pen.language
    hurried = rng.random() < 0.12
    unaccented = language.forms.accents and rng.random() < (0.6 if register == "phone" else 0.08)
    shouting = register == "terse" and rng.random() < 0.12

    def typed(text: str) -> str:
        if register == "phone":
            text = as_text_message(text, language)
        if hurried:
            text = with_typos(text, rng)
        if unaccented:
            text = without_accents(text)
        return text.upper() if shouting else text

    return tuple(typed(text) for text in paragraphs)
