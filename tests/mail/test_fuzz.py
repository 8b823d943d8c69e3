"""Mail damaged in every way that transport and bad programs know becomes a ticket or a reason."""

import json
import signal
from collections import Counter
from datetime import date
from pathlib import Path
from random import Random

import pytest
import yaml

from ticket_assets.mail.parsing import UnreadableMessage, parse_message
from ticket_assets.sample.mailbox import generate
from ticket_assets.text.cleaning import clean_text

MAILS = 10_000
CPU_SECONDS = 2
"""A thousand times what a mail takes: whoever uses it up is in a loop."""

CHARSETS = [
    b"utf-16",
    b"utf-7",
    b"idna",
    b"punycode",
    b"hex",
    b"rot13",
    b"x-unknown",
    b"",
    b"cp037",
]
WEDGES = [
    b"\x00",
    b"\x00" * 40,
    b"\r\n\r\n",
    b"\n",
    b"--",
    b"=?utf-8?B?",
    b"=?utf-8?Q?=E9?=",
    b"Content-Type:\r\n",
    b"Subject:\r\n",
    b"From:\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-16''%00; filename*2=x\r\n",
    "\u202e\u200b\u2066\ufeff".encode(),
    b"\xed\xa0\x80\xff\xfe",
    b"<div>" * 400,
    b"> " * 2_000,
    b"=3D" * 500,
    b"(" * 3_000,
    b"0612345678" * 200,
]


class TooSlow(BaseException):
    """Not an Exception: the parsers' errors are caught on the way, this must not be."""


def flip_bytes(mail, rng):
    for _ in range(rng.randint(1, 30)):
        mail[rng.randrange(len(mail))] = rng.randrange(256)


def cut(mail, rng):
    start = rng.randrange(len(mail))
    del mail[start : start + rng.randint(1, len(mail))]


def truncate(mail, rng):
    del mail[rng.randrange(len(mail)) :]


def shuffle_header_lines(mail, rng):
    head, separator, body = bytes(mail).partition(b"\n\n")
    lines = head.split(b"\n")
    for _ in range(rng.randint(1, 6)):
        first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[first], lines[second] = lines[second], lines[first]
        lines.insert(first, rng.choice(lines))
    mail[:] = b"\n".join(lines) + separator + body


def empty_a_header(mail, rng):
    head, separator, body = bytes(mail).partition(b"\n\n")
    lines = head.split(b"\n")
    chosen = rng.randrange(len(lines))
    lines[chosen] = lines[chosen].partition(b":")[0] + b":"
    mail[:] = b"\n".join(lines) + separator + body


def change_charset(mail, rng):
    charset = rng.choice(CHARSETS)
    for known in (b"utf-8", b"UTF-8", b"iso-8859-1", b"windows-1252", b"us-ascii"):
        mail[:] = mail.replace(known, charset)


def change_transfer_encoding(mail, rng):
    for known in (b"quoted-printable", b"base64", b"8bit", b"7bit"):
        mail[:] = mail.replace(known, rng.choice([b"base64", b"quoted-printable", b"x-uue", b"?"]))


def damage_boundaries(mail, rng):
    at = mail.find(b"boundary=")
    if at >= 0:
        at += rng.randint(9, 20)
        mail[at : at + rng.randint(0, 3)] = rng.choice([b"", b'"', b"\n", b";", b"--", b"\x00"])


def wedge(mail, rng):
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(mail))
        mail[at:at] = rng.choice(WEDGES)


def add_huge_header(mail, rng):
    name = rng.choice([b"Subject", b"From", b"To", b"References", b"Content-Type", b"Received"])
    unit = rng.choice([b"a", b"<a@b>, ", b"=?utf-8?Q?=C3=A9?= ", b'"', b"(", b"a;b=c;", b"\n "])
    mail[:0] = name + b": " + unit * rng.randint(100, rng.choice([500, 500, 500, 20_000])) + b"\n"


def nest(mail, rng):
    for depth in range(rng.randint(1, 60)):
        kind = rng.choice([b"multipart/mixed", b"multipart/alternative", b"message/rfc822"])
        boundary = b"n%d" % (depth % rng.randint(1, 60))
        mail[:] = (
            b"From: a@b.fr\nSubject: x\nContent-Type: %s; boundary=%s\n\n--%s\n"
            % (kind, boundary, boundary)
        ) + mail


MUTATIONS = [
    *(flip_bytes, cut, truncate, shuffle_header_lines, empty_a_header, change_charset),
    *(change_transfer_encoding, damage_boundaries, wedge, add_huge_header, nest),
]


def originals():
    """Sample mails of every format, and replies as mail programs write them, in their charsets."""
    mails = [mail.content for mail in generate(messages=400, days=60, until=date(2026, 3, 1))]
    replies = yaml.safe_load(
        (Path(__file__).parents[1] / "text" / "replies.yaml").read_text("utf-8")
    )
    for number, text in enumerate(strings(replies)):
        charset = ("utf-8", "windows-1252", "iso-8859-1")[number % 3]
        headers = f"From: a@b.fr\nSubject: x\nContent-Type: text/plain; charset={charset}\n\n"
        mails.append(headers.encode() + text.encode(charset, "replace"))
    return mails


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def damaged(count, seed):
    rng = Random(seed)  # noqa: S311
    mails = originals()
    for _ in range(count):
        mail = bytearray(rng.choice(mails))
        for mutate in rng.choices(MUTATIONS, k=rng.randint(1, 4)):
            mutate(mail, rng)
            if not mail:
                break
        yield bytes(mail)


@pytest.fixture
def stopwatch():
    """Has whatever takes too much processor time raise; the load of the machine does not count."""

    def stop(_signal, _frame):
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, stop)
    yield lambda seconds: signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.slow
def test_every_damaged_mail_is_a_ticket_or_a_reason_in_bounded_time(stopwatch):
    outcomes: Counter[str] = Counter()
    for content in damaged(MAILS, seed=7):
        stopwatch(CPU_SECONDS)
        try:
            message = parse_message(content, "eml")
        except UnreadableMessage as error:
            outcomes[error.reason] += 1
            continue
        clean = clean_text(
            message.subject,
            message.body_text,
            message.body_html,
            languages=["fr", "en"],
            phone_regions=["FR", "GB"],
            sender_name=message.sender_name,
        )
        json.dumps([vars(message), clean], ensure_ascii=False).encode("utf-8")
        outcomes["ticket"] += 1

    assert outcomes.total() == MAILS
    assert outcomes["ticket"] > MAILS * 0.9
    # Nothing else is refused: no mail in which there is something to read.
    assert outcomes.keys() == {
        "ticket",
        "the message is empty",
        "no header lines: this is not an e-mail",
        "no subject, sender or text",
    }
