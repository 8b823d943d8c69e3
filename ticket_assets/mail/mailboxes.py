"""Messages read from mail files: mbox, Maildir, folders of `.eml`, and single `.eml` files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from ticket_assets.mail.headers import header_fields, message_id, split_message
from ticket_assets.mail.input_files import MAX_MAIL_BYTES, NO_FILES, ExportError, InputFile, scanned
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.mail.received import believable, mail_date, received_by

_PIECE_BYTES = 1 << 20
# The line that starts a message in an mbox: an address, then a date. Sentences of a body that
# merely begin with "From " hold no weekday with a time after it.
_DATED_FROM = re.compile(
    rb"From (?:\S+ +)?(?P<date>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .*\d\d?:\d\d.*)$"
)
# Newer Thunderbirds write nothing behind it, or a dash.
_BARE_FROM = re.compile(rb"From (?:- *)?$")
_ANY_FROM = re.compile(rb"From ")
_HEADER_LINE = re.compile(rb"[!-9;-~]{1,100}:|[ \t]+\S|>From ")
_USUAL_HEADER = re.compile(
    rb"(?:from|to|subject|date|message-id|received|return-path|delivered-to|content-type):", re.I
)
_QUOTED_FROM = re.compile(rb">+From ")


@dataclass
class _UndatedStart:
    """An undated "From " line inside a message: where it stands, and whether the lines below it,
    all of them header lines so far, are those of a mail. If so, another message starts there."""

    start: int
    end: int
    has_usual_header: bool = False

    def add(self, line: bytes) -> bool:
        """Whether the line is another of the header."""
        self.has_usual_header = self.has_usual_header or bool(_USUAL_HEADER.match(line))
        return bool(_HEADER_LINE.match(line))


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
    # Where programs date their "From " lines, or leave them bare, another text behind "From " is
    # a sentence.
    is_plain = _DATED_FROM.match(first.rstrip()) or _BARE_FROM.match(first.rstrip(b"\r\n"))
    undated_from = _BARE_FROM if is_plain else _ANY_FROM
    delivered_at = _delivery_date(first)
    body = bytearray()  # a list of lines would take ten times the memory of the shortest ones
    undated: _UndatedStart | None = None
    for line in chain(lines, [b""]):
        begins_line = _begins_line(body)
        if undated and begins_line and not undated.add(line):
            if undated.has_usual_header and not line.strip(b"\r\n"):
                yield mail_message(_message(body[: undated.start]), source, delivered_at)
                del body[: undated.end]
                delivered_at = None
            undated = None
        may_start = begins_line and line.startswith(b"From ")
        if may_start and _DATED_FROM.match(line.rstrip()):
            yield mail_message(_message(body), source, delivered_at)
            body, delivered_at, undated = bytearray(), _delivery_date(line), None
            continue
        if may_start and undated_from.match(line.rstrip(b"\r\n")):
            undated = _UndatedStart(len(body), len(body) + len(line))
        if len(body) + len(line) > MAX_MAIL_BYTES:
            raise ExportError(
                f"A message of {source} exceeds {MAX_MAIL_BYTES >> 20} MB, which no mail does:"
                " check that the file is an mbox."
            )
        is_quoted = line.startswith(b">") and begins_line and _QUOTED_FROM.match(line)
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
