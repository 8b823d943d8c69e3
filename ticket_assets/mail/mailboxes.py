"""Messages read from mail files: mbox, Maildir, folders of `.eml`, and single `.eml` files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ticket_assets.mail.exports import ExportError
from ticket_assets.mail.headers import header_fields, message_id, split_message
from ticket_assets.mail.input_files import MAX_MAIL_BYTES, NO_FILES, InputFile, scanned
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.mail.received import believable, mail_date, received_by

_PIECE_BYTES = 1 << 20
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


def eml_messages(files: Iterable[InputFile], source: str) -> Iterator[IncomingMessage]:
    """One message per file.

    Raises:
        ExportError: a file cannot be read, or a mail program moved it in the meantime.
    """
    for file in files:
        try:
            content = file.read()
        except FileNotFoundError:
            raise ExportError(f"{file.path} has gone while it was read. Import again.") from None
        except OSError as error:
            raise ExportError(f"Cannot read {file.path}: {error.strerror}.") from None
        yield mail_message(content, source)


def maildir_files(folder: Path, ignored: Counter[str]) -> list[InputFile]:
    """The delivered messages of a Maildir, read or not; those in `tmp` are still being written.

    `ignored` counts what lies there and is no file.
    """
    files = []
    for name in ("cur", "new"):
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            scanned(folder, Path(name)) as entries,
        ):
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_file(follow_symlinks=False):
                    files.append(InputFile(folder / name / entry.name, folder))
                else:
                    ignored[NO_FILES] += 1
    return sorted(files, key=lambda file: file.path)


def eml_files(folder: Path, ignored: Counter[str]) -> list[InputFile]:
    """Every `.eml` file below a folder, by path.

    `ignored` counts the links there, what else bears such a name and is no file, and the folders
    that cannot be read.
    """
    files = []
    names = [Path()]
    while names:
        name = names.pop()
        try:
            with scanned(folder, name) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        names.append(name / entry.name)
                    elif entry.is_symlink():
                        ignored[NO_FILES] += 1
                    elif entry.name.lower().endswith(".eml"):
                        if entry.is_file(follow_symlinks=False):
                            files.append(InputFile(folder / name / entry.name, folder))
                        else:
                            ignored[NO_FILES] += 1
        except OSError:
            ignored["folders that cannot be read"] += 1
    return sorted(files, key=lambda file: file.path)


def mbox_messages(file: InputFile, source: str) -> Iterator[IncomingMessage]:
    """The messages of an mbox file, one in memory at a time."""
    with file.open() as opened:
        yield from mbox_lines(opened, source)


def mbox_lines(stream: BinaryIO, source: str) -> Iterator[IncomingMessage]:
    """The messages of an mbox, one in memory at a time.

    `mailbox.mbox` first scans the whole file for its table of contents and does not unquote
    `>From ` (mboxo, mboxrd), which would make another message of the same mail fetched elsewhere.

    Raises:
        ExportError: a message is so large that the file is none of mail.
    """
    # Long lines come in pieces: a hostile file may be a single one.
    lines = iter(lambda: stream.readline(_PIECE_BYTES), b"")
    first = next(lines, b"")
    # Writers that do not date their "From " lines are rare: only then is an undated one, after
    # an empty line, taken as the start of a message.
    dated = _DATED_FROM.match(first.rstrip()) is not None
    delivered_at = _delivery_date(first)
    body = bytearray()  # a list of lines would take ten times the memory of the shortest ones
    after_blank = False
    for line in lines:
        if (
            line.startswith(b"From ")
            and _begins_line(body)
            and (_DATED_FROM.match(line.rstrip()) if dated else after_blank)
        ):
            yield mail_message(_message(body), source, delivered_at)
            body, delivered_at = bytearray(), _delivery_date(line)
            continue
        if not dated:
            after_blank = not line.strip(b"\r\n")
        if len(body) + len(line) > MAX_MAIL_BYTES:
            raise ExportError(
                f"A message of {source} exceeds {MAX_MAIL_BYTES >> 20} MB, which no mail does:"
                " check that the file is an mbox."
            )
        is_quoted = line.startswith(b">") and _begins_line(body) and _QUOTED_FROM.match(line)
        body += line[1:] if is_quoted else line
    if body.strip():
        yield mail_message(_message(body), source, delivered_at)


def _begins_line(body: bytearray) -> bool:
    return not body or body.endswith(b"\n")


def _message(body: bytearray) -> bytes:
    # The empty line before the next "From " line belongs to the mbox.
    last_line = body.rfind(b"\n", 0, max(len(body) - 1, 0)) + 1
    if not body[last_line:].strip(b"\r\n"):
        del body[last_line:]
    return bytes(body)


def _delivery_date(line: bytes) -> datetime | None:
    line_start = _DATED_FROM.match(line.rstrip())
    return mail_date(line_start["date"].decode("ascii", "replace")) if line_start else None
