"""Speed of parsing and cleaning the sample mailbox, and memory of importing a large one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from email.message import EmailMessage
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ticket_assets.mail.importing import import_path
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.routing import load_routing
from ticket_assets.sample.mailbox import generate
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.text.cleaning import clean_tickets

UNTIL = date(2026, 3, 1)
DAYS = 60
ROUNDS = 3
ATTACHMENT_BYTES = 10_000_000
MAILS_PER_ATTACHMENT = 500
_SUBJECT = re.compile(rb"^subject:[ \t]*", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^(message-id:\s*<)", re.IGNORECASE | re.MULTILINE)


class ParseAndClean(NamedTuple):
    """Mails per second of processor time on one core, the best of three rounds."""

    messages: int
    parse_mails_per_second: float
    clean_mails_per_second: float
    together_mails_per_second: float


class ImportMemory(NamedTuple):
    """The import of one mbox file by a process of its own."""

    mailbox_gigabytes: float
    messages: int
    peak_megabytes: float
    """Largest resident memory of the importing process."""
    seconds: float


def parse_and_clean(messages: int = 3000) -> ParseAndClean:
    """The speed of `raw_tickets` and `clean_tickets` over every day of a landed sample mailbox."""
    with TemporaryDirectory() as folder:
        landing = LandingZone(FolderBlobs(Path(folder)))
        mails = generate(messages=messages, days=min(DAYS, messages - 4), until=UNTIL)
        landing.land(mail_message(mail.content, "sample") for mail in mails)
        days = landing.days()

        def parse() -> None:
            raw_tickets(landing, days, max_message_bytes=ATTACHMENT_BYTES, cores=1)

        tickets = raw_tickets(landing, days, max_message_bytes=ATTACHMENT_BYTES).tickets

        def clean() -> None:
            clean_tickets(tickets, languages=["fr", "en"], phone_regions=["FR", "GB"], cores=1)

        parse_seconds, clean_seconds = _least_seconds(parse), _least_seconds(clean)
    return ParseAndClean(
        messages=messages,
        parse_mails_per_second=messages / parse_seconds,
        clean_mails_per_second=messages / clean_seconds,
        together_mails_per_second=messages / (parse_seconds + clean_seconds),
    )


def import_memory(gigabytes: float = 2.0) -> ImportMemory:
    """The peak memory of importing an mbox of that size, some of whose mails carry 10 MB.

    Needs twice that space in the temporary folder. Linux only.

    Raises:
        subprocess.CalledProcessError: the import failed; its own message is on standard error.
    """
    with TemporaryDirectory() as folder:
        mailbox = Path(folder) / "large.mbox"
        with mailbox.open("wb") as file:
            for entry in _mailbox_entries(int(gigabytes * 1e9)):
                file.write(entry)
        done = subprocess.run(  # noqa: S603  this module and a path of our own
            [sys.executable, __file__, mailbox, Path(folder) / "landing"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        messages, peak_megabytes, seconds = done.stdout.split()
        return ImportMemory(
            mailbox_gigabytes=mailbox.stat().st_size / 1e9,
            messages=int(messages),
            peak_megabytes=float(peak_megabytes),
            seconds=float(seconds),
        )


def _least_seconds(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _mailbox_entries(size_bytes: int) -> Iterator[bytes]:
    """Sample mails again and again under new ids and subjects, until they fill the size."""
    sample = [mail.content for mail in generate(messages=1000, days=DAYS, until=UNTIL)]
    sample = [mail for mail in sample if _MESSAGE_ID.search(mail)]
    written = 0
    for number in count():
        content = _SUBJECT.sub(b"Subject: %d " % number, sample[number % len(sample)], count=1)
        content = _MESSAGE_ID.sub(rb"\g<1>%d." % number, content, count=1)
        if number % MAILS_PER_ATTACHMENT == MAILS_PER_ATTACHMENT - 1:
            content = _large_mail(number)
        quoted = re.sub(rb"^(>*From )", rb">\1", content, flags=re.MULTILINE)
        entry = b"From desk@example.org Sun Mar  1 08:00:00 2026\n%b\n\n" % quoted
        written += len(entry)
        yield entry
        if written >= size_bytes:
            return


def _large_mail(number: int) -> bytes:
    mail = EmailMessage()
    mail["From"] = "Jean Martin <jean.martin@example.org>"
    mail["Subject"] = f"Capture {number}"
    mail["Date"] = f"{UNTIL:%a, %d %b %Y} 08:00:00 +0000"
    mail["Message-ID"] = f"<{number}@example.org>"
    mail.set_content("Le journal est joint.")
    mail.add_attachment(
        Random(number).randbytes(ATTACHMENT_BYTES),  # noqa: S311
        maintype="application",
        subtype="octet-stream",
        filename="journal.bin",
    )
    return mail.as_bytes()


def _peak_megabytes() -> float:
    # getrusage would answer with the memory of the parent, of which this process was a copy.
    status = Path("/proc/self/status").read_text("ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    if not peak:
        raise RuntimeError("the kernel does not tell this process its peak memory")
    return int(peak[1]) / 1000


def _import(mailbox: Path, landing: Path) -> None:
    routing = load_routing(None)
    start = time.perf_counter()
    report = import_path(
        LandingZone(FolderBlobs(landing)),
        mailbox,
        categories=routing.queues,
        priorities=routing.priorities,
    )
    print(report.landed, _peak_megabytes(), time.perf_counter() - start)


if __name__ == "__main__":
    _import(*map(Path, sys.argv[1:]))
