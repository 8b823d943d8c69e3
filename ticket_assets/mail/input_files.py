"""Files that somebody else may have placed: only regular files are opened, links not followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ticket_assets.errors import TicketAssetsError

MAX_MAIL_BYTES = 160 << 20
"""More than the largest mail servers accept; one message, or one row, is held in memory."""
MAX_ROW_CHARACTERS = 32 << 20
"""Many times the longest thread; a row is held in memory several times over."""
MAX_FOLDERS_DEEP = 100
"""Below a named folder. Each is opened from the one above it, so that deep ones cost most."""

NO_FILES = "links, pipes, sockets and devices"
"""Their name where they are counted."""

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class ExportError(TicketAssetsError):
    """A file to import cannot be read as what it claims to be."""


class NoFileError(OSError):
    """A link, a pipe, a device, a socket or a folder stands where a file should."""


@dataclass(frozen=True)
class InputFile:
    """A file to read, opened anew for each reading."""

    path: Path
    folder: Path | None = None
    """The folder above it that a person named, in which no link is followed. None: they named the
    file itself, and mean what a link there leads to."""

    @property
    def suffix(self) -> str:
        """In lower case, with its dot."""
        return self.path.suffix.lower()

    def open(self) -> BinaryIO:
        """The file's bytes from the first on.

        Raises:
            NoFileError: it is no regular file, by its open handle; another OSError: it cannot be
                read.
        """
        # A pipe that nobody writes to is otherwise waited for.
        flags = os.O_RDONLY | os.O_NONBLOCK
        if self.folder is None:
            descriptor = os.open(self.path, flags)
        else:
            descriptor = _opened(self.folder, self.path.relative_to(self.folder), flags)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise no_file(self.path, mode)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def size(self) -> int:
        """In bytes."""
        return self._status().st_size

    def written_at(self) -> datetime:
        """When the file was last written, in UTC."""
        moment = self._status().st_mtime
        # A file system keeps any time, also one of no calendar.
        return datetime.fromtimestamp(moment if 0 <= moment < 1 << 32 else 0, UTC)

    def _status(self) -> os.stat_result:
        with self.open() as file:
            return os.fstat(file.fileno())

    def read(self) -> bytes:
        """The whole of a small file, as long as it was when it was opened.

        Raises:
            OSError: as `open`, or it is larger than any mail.
        """
        with self.open() as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_MAIL_BYTES:
                raise OSError(errno.EFBIG, f"it exceeds {MAX_MAIL_BYTES >> 20} MB, as no mail does")
            return file.read(size)


def no_file(path: Path, mode: int) -> NoFileError:
    """The error that says what stands at a path in place of a file."""
    kind = _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")
    return NoFileError(errno.EINVAL, f"it is {kind}, not a file", str(path))


@contextmanager
def scanned(folder: Path, name: Path = Path()) -> Iterator[list[os.DirEntry[str]]]:
    """What lies directly in the folder `name` below `folder`, by name; no link is followed.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    if len(name.parts) > MAX_FOLDERS_DEEP:
        raise OSError(errno.ENAMETOOLONG, f"it lies over {MAX_FOLDERS_DEEP} folders deep")
    descriptor = _opened(folder, name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            yield sorted(entries, key=lambda entry: entry.name)
    finally:
        os.close(descriptor)


def _opened(folder: Path, name: Path, flags: int) -> int:
    """A descriptor of what lies at `name` below `folder`, each part opened from the one above it:
    whatever is replaced meanwhile, nothing outside the folder is reached."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for number, part in enumerate(name.parts, 1):
        above = descriptor
        wanted = flags if number == len(name.parts) else os.O_RDONLY | os.O_DIRECTORY
        try:
            descriptor = os.open(part, wanted | os.O_NOFOLLOW, dir_fd=above)
        except OSError as error:
            path = folder.joinpath(*name.parts[:number])
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise no_file(path, stat.S_IFLNK) from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(above)
    return descriptor
