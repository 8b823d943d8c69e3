"""The base class of every error whose message is written for users, and the lines on all others."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from ticket_assets.text.characters import visible

_ADVICE = {
    errno.ENOSPC: "The disk is full: make room on it, then do the same again.",
    errno.EDQUOT: "The user's share of the disk is full: make room, then do the same again.",
    errno.EFBIG: "A file may not grow so large here: raise the limit (`ulimit -f`), or make room.",
    errno.EROFS: "The file system is read-only: mount it for writing. Linux does that to a disk"
    " with errors; `dmesg` says so.",
    errno.EMFILE: "This process may not open more files: raise the limit (`ulimit -n 4096`), then"
    " do the same again.",
    errno.ENFILE: "The system may not open more files: end what holds many, or raise fs.file-max.",
    errno.EACCES: "Give this user the right to it (`chown`, `chmod`), then do the same again.",
    errno.EPERM: "Give this user the right to it (`chown`, `chmod`), then do the same again.",
    errno.EIO: "The disk has errors: `dmesg` says which. Bring the desk to another disk, from a"
    " backup if it can no longer be read.",
    errno.ENOTDIR: "A file stands where a folder belongs: `tickets doctor --repair` moves it away.",
    errno.EEXIST: "A file stands where a folder belongs: `tickets doctor --repair` moves it away.",
    errno.EISDIR: "A folder stands where a file belongs: `tickets doctor --repair` moves it away.",
    errno.ENOMEM: "Memory is used up: end other programs, or allow more.",
    errno.ENAMETOOLONG: "Choose a shorter name or folder.",
}
_CHECK = "Check the path, then do the same again."
_WORDS = {
    **{os.strerror(number): number for number in _ADVICE},
    "database or disk is full": errno.ENOSPC,
    "No usable temporary directory": errno.ENOSPC,
    "readonly database": errno.EROFS,
    "Out of Memory": errno.ENOMEM,
}
"""What libraries write of an error of the system in their own messages."""


class TicketAssetsError(Exception):
    """Its message is one line: what went wrong, where, and what to do about it.

    Each concern raises its own subclass; the command line prints the message without a traceback.
    Names in it may come from mail and files: wherever it is shown, also in Dagster's log, they are
    text.
    """

    def __str__(self) -> str:
        return visible(super().__str__(), keep="\n")


def system_advice(error: BaseException | str) -> str | None:
    """What to do about an error of the system, by its number or by its words in a library's
    message; None where it is no such error."""
    if isinstance(error, OSError) and error.errno in _ADVICE:
        return _ADVICE[error.errno]
    text = str(error)
    number = next((number for words, number in _WORDS.items() if words in text), None)
    return _ADVICE[number] if number else None


def explained(error: BaseException) -> str:
    """One line on any error: what went wrong, where, and what to do about it.

    What an error was made of says more than the error of a library around it.
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, TicketAssetsError):
            return str(cause)
    for cause in chain:
        if isinstance(cause, MemoryError):
            return f"There is not enough memory. {_ADVICE[errno.ENOMEM]}"
        if isinstance(cause, OSError) and cause.strerror:
            place = f": {os.fsdecode(cause.filename)}" if cause.filename else ""
            return f"{cause.strerror}{place}. {system_advice(cause) or _CHECK}"
    for cause in chain:
        if advice := system_advice(cause):
            return f"{_first_line(cause)}. {advice}"
    return _unexpected(chain[-1])


def interruption(error: BaseException) -> BaseException | None:
    """What a signal has raised, where a library has made an error of its own of it; else None.

    DuckDB makes "Query interrupted" of Ctrl-C and of SIGTERM during a query.
    """
    return next((cause for cause in _causes(error) if not isinstance(cause, Exception)), None)


def _unexpected(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return (
        f"{type(error).__name__}: {_first_line(error)}{place}. Nobody has foreseen this: `tickets"
        " doctor` looks for what is damaged. If it finds nothing, report the traceback that `python"
        " -X dev -m ticket_assets` shows with the same arguments."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or "no message").rstrip(".")
