"""Messages read from mail files: mbox, Maildir, folders of `.eml`, and single `.eml` files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from ticket_assets.mail.exports import ExportError
from ticket_assets.mail.headers import header_fields, message_id, split_message
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.mail.received import believable, mail_date, received_by

MAX_MAIL_BYTES = 512 << 20
"""More than three times what the largest mail servers accept; one message is held in memory."""

# The line that starts a message in an mbox: an address, then a date. Sentences of a body that
# merely begin with "From " hold no weekday with a time after it.
_DATED_FROM = re.compile(
    rb"From (?:\S+ +)?(?P<date>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .*\d\d?:\d\d.*)$"
)
_QUOTED_FROM = re.compile(rb">+From ")


def mail_message(
    content: bytes, source: str, delivered_at: datetime | None = None
) -> IncomingMessage:
    """One mail on its way to the landing zone, dated by its headers, else by its delivery."""
    head, _ = split_message(content)
    fields = header_fields(head)
    moment, moment_source = received_by(fields)
    if moment is None and (delivered_at := believable(delivered_at)):
        moment, moment_source = delivered_at, "received"
    return IncomingMessage(
        content=content,
        extension="eml",
        source=source,
        received_at=moment,
        received_at_source=moment_source,
        message_id=message_id(fields),
    )


def eml_messages(paths: Iterable[Path], source: str) -> Iterator[IncomingMessage]:
    """One message per file.

    Raises:
        ExportError: a file cannot be read, or a mail program moved it in the meantime.
    """
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ExportError(f"Cannot read {path}: {error.strerror}. Import again.") from None
        yield mail_message(content, source)


def maildir_paths(folder: Path) -> list[Path]:
    """The delivered messages of a Maildir, read or not; those in `tmp` are still being written."""
    return sorted(
        path
        for name in ("cur", "new")
        if (folder / name).is_dir()
        for path in (folder / name).iterdir()
        if path.is_file() and not path.name.startswith(".")
    )


def eml_paths(folder: Path) -> list[Path]:
    """Every `.eml` file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".eml")


def mbox_messages(path: Path, source: str) -> Iterator[IncomingMessage]:
    """The messages of an mbox file, one in memory at a time."""
    with path.open("rb") as lines:
        yield from mbox_lines(lines, source)


def mbox_lines(lines: Iterable[bytes], source: str) -> Iterator[IncomingMessage]:
    """The messages in the lines of an mbox, one in memory at a time.

    `mailbox.mbox` first scans the whole file for its table of contents and does not unquote
    `>From ` (mboxo, mboxrd), which would make another message of the same mail fetched elsewhere.

    Raises:
        ExportError: a message is so large that the file is none of mail.
    """
    remaining = iter(lines)
    first = next(remaining, b"")
    # Writers that do not date their "From " lines are rare: only then is an undated one, after
    # an empty line, taken as the start of a message.
    dated = _DATED_FROM.match(first.rstrip()) is not None
    delivered_at = _delivery_date(first)
    body: list[bytes] = []
    size = 0
    after_blank = False
    for line in remaining:
        if line.startswith(b"From ") and (
            _DATED_FROM.match(line.rstrip()) if dated else after_blank
        ):
            yield mail_message(_joined(body), source, delivered_at)
            body, size, delivered_at = [], 0, _delivery_date(line)
            continue
        if not dated:
            after_blank = not line.strip(b"\r\n")
        body.append(line[1:] if line.startswith(b">") and _QUOTED_FROM.match(line) else line)
        size += len(line)
        if size > MAX_MAIL_BYTES:
            raise ExportError(
                f"A message of {source} exceeds {MAX_MAIL_BYTES >> 20} MB, which no mail does:"
                " check that the file is an mbox."
            )
    if any(line.strip() for line in body):
        yield mail_message(_joined(body), source, delivered_at)


def _joined(lines: list[bytes]) -> bytes:
    # The empty line before the next "From " line belongs to the mbox.
    if lines and not lines[-1].strip(b"\r\n"):
        lines = lines[:-1]
    return b"".join(lines)


def _delivery_date(line: bytes) -> datetime | None:
    line_start = _DATED_FROM.match(line.rstrip())
    return mail_date(line_start["date"].decode("ascii", "replace")) if line_start else None
