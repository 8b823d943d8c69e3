"""Files inside ZIP and tar archives, streamed one after the other and never unpacked by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from ticket_assets.mail.exports import ExportError
from ticket_assets.mail.mailboxes import MAX_MAIL_BYTES
from ticket_assets.storage.unfinished import scratch_folder

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
MAX_MEMBERS = 1_000_000
"""Files in one archive: the mails of a large desk's ten years, and 1 GB of ZIP directory."""
MAX_UNPACKED_BYTES = 64 << 30
"""The most that is read from one archive: an import of more fits no afternoon and no disk."""
MAX_TABLE_BYTES = 4 << 30
"""A table is read several times and so is copied to the temporary folder, which is often small."""
MAX_RATIO = 200
"""Uncompressed to compressed size: mail reaches 10, exports of repetitive tickets 50; the bombs
that deflate can make start at 1,000."""
RATIO_FREE_BYTES = 16 << 20
"""Read before the ratio counts: a small file may well be one letter over and over."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DECOMPRESSORS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_TAR_MAGIC = slice(257, 262)

_CHUNK_BYTES = 1 << 20
_DAMAGES = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, NotImplementedError, RuntimeError),
)


class Member(NamedTuple):
    """A regular file in an archive; its stream is good until the next member is asked for."""

    name: str
    """The last part of its path in the archive."""
    folder: str
    """The name of the folder it lies in, or nothing."""
    suffix: str
    """In lower case, with its dot."""
    where: str
    """The member and its archive, for messages."""
    written_at: float
    """Seconds since 1970, as an unpacked file would carry them."""
    stream: io.BufferedReader


def is_archive(start: bytes, path: Path) -> bool:
    """Whether a file that starts with these bytes is a ZIP or a tar archive, compressed or not."""
    if start.startswith(_ZIP):
        return not _is_document(path)
    if start[_TAR_MAGIC] == b"ustar":
        return True
    for magic, decompressor in _DECOMPRESSORS.items():
        if start.startswith(magic):
            with suppress(*_DAMAGES), decompressor(path) as file:
                return bool(file.read(tarfile.BLOCKSIZE)[_TAR_MAGIC] == b"ustar")
            # It cannot be decompressed: reading it raises the error that says so.
            return ".t" in path.name.lower()
    return False


def members(path: Path, ignored: Counter[str]) -> Iterator[Member]:
    """The files in an archive, in its order; `ignored` counts links and devices.

    Raises:
        ExportError: the archive is damaged, has a password, or unpacks to more than any mailbox.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) in _ZIP
    return _zip_members(path, ignored) if is_zip else _tar_members(path, ignored)


@contextmanager
def spooled(member: Member) -> Iterator[Path]:
    """The member as a temporary file of the same kind and time, under a name of our own."""
    with scratch_folder() as folder:
        path = folder / f"table{member.suffix}"
        size = 0
        with path.open("wb") as file:
            while chunk := member.stream.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_TABLE_BYTES:
                    raise ExportError(
                        f"{member.where} is larger than {_gb(MAX_TABLE_BYTES)}: unpack it and"
                        " import it by itself."
                    )
                file.write(chunk)
        # An archive may hold any time, also one that no file system knows.
        written_at = member.written_at if 0 <= member.written_at < 1 << 32 else 0
        os.utime(path, (written_at, written_at))
        yield path


class _Budget:
    """How much of an archive has been read, against what a mailbox may hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members = 0
        self.unpacked = 0

    def add_member(self) -> None:
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise self._refused(f"holds more than {MAX_MEMBERS:,} files")

    def add(self, read: int, stream_total: int, compressed: int) -> None:
        self.unpacked += read
        if self.unpacked > MAX_UNPACKED_BYTES:
            raise self._refused(f"unpacks to more than {_gb(MAX_UNPACKED_BYTES)}")
        if stream_total > max(RATIO_FREE_BYTES, MAX_RATIO * compressed):
            raise self._refused(f"unpacks to more than {MAX_RATIO} times its size")

    def _refused(self, excess: str) -> ExportError:
        return ExportError(
            f"{self.path} {excess}, which no mailbox does: unpack it yourself if you trust it, and"
            " import it in parts."
        )


class _Counted(io.RawIOBase):
    """A stream out of an archive whose bytes count and whose failures are explained."""

    def __init__(self, stream: IO[bytes], where: str, compressed: int, budget: _Budget) -> None:
        self._stream = stream
        self._where = where
        self._compressed = compressed
        self._budget = budget
        self._total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._stream.read(len(buffer))
        except _DAMAGES as error:
            raise _damaged(self._where, error) from None
        buffer[: len(chunk)] = chunk
        self._total += len(chunk)
        self._budget.add(len(chunk), self._total, self._compressed)
        return len(chunk)


class _Lines(io.BufferedReader):
    """Lines of bounded length: a hostile file may be a single one."""

    def __next__(self) -> bytes:
        line = self.readline(MAX_MAIL_BYTES + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_MAIL_BYTES:
            raise ExportError(
                f"A mailbox in the archive holds a line of over {_gb(MAX_MAIL_BYTES)}, which no"
                " mail does: take that file out of it."
            )
        return line


class _StrictTarInfo(tarfile.TarInfo):
    """A tar header that is broken is an error, not the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictTarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f"broken header ({error})") from None


def _zip_members(path: Path, ignored: Counter[str]) -> Iterator[Member]:
    budget = _Budget(path)
    with _explained(str(path)), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            budget.add_member()
            if info.is_dir():
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                ignored["links and devices"] += 1
                continue
            where = _where(info.filename, path)
            if info.flag_bits & 0x1:
                raise ExportError(
                    f"{where} is protected by a password: unpack the archive, then import its"
                    " folder."
                )
            with _explained(where):
                stream = archive.open(info)
            counted = _Counted(stream, where, info.compress_size, budget)
            with stream, _Lines(counted) as lines:
                yield _member(info.filename, where, _zip_time(info), lines)


def _tar_members(path: Path, ignored: Counter[str]) -> Iterator[Member]:
    budget = _Budget(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        openers = [opener for magic, opener in _DECOMPRESSORS.items() if start.startswith(magic)]
        # The whole stream counts, so that no bomb hides in a skipped member.
        whole = io.BufferedReader(
            _Counted(openers[0](file) if openers else file, str(path), size, budget)
        )
        with (
            _explained(str(path)),
            tarfile.open(fileobj=whole, mode="r|", tarinfo=_StrictTarInfo) as archive,
        ):
            known: list[tarfile.TarInfo] = vars(archive)["members"]
            while (info := archive.next()) is not None:
                known.clear()  # or a tar of a million files would keep them all
                budget.add_member()
                if info.isdir():
                    continue
                stream = archive.extractfile(info) if info.isreg() else None
                if stream is None:
                    ignored["links and devices"] += 1
                    continue
                where = _where(info.name, path)
                with _Lines(_Counted(stream, where, size, _Budget(path))) as lines:
                    yield _member(info.name, where, float(info.mtime), lines)
        while whole.read(_CHUNK_BYTES):  # the checksum comes last
            pass


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise _damaged(where, error) from None


def _zip_time(info: zipfile.ZipInfo) -> float:
    """When a member was written; the format names no zone and programs unpack it as local time."""
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0


def _member(name: str, where: str, written_at: float, stream: io.BufferedReader) -> Member:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return Member(
        name=parts[-1] if parts else "",
        folder=parts[-2] if len(parts) > 1 else "",
        suffix=PurePosixPath(name).suffix.lower(),
        where=where,
        written_at=written_at,
        stream=stream,
    )


def _is_document(path: Path) -> bool:
    """Whether a ZIP is a workbook or a text document in disguise."""
    with suppress(*_DAMAGES), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        return "[Content_Types].xml" in names or names[:1] == ["mimetype"]
    return path.suffix.lower() in {".xlsx", ".xlsm", ".docx", ".ods"}


def _where(name: str, path: Path) -> str:
    # A name from an archive may hold anything, a line break or a terminal's commands included.
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return f"{shown} in {path}"


def _damaged(where: str, error: BaseException) -> ExportError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ExportError(f"{where} cannot be read ({reason}): get the archive again, or unpack it.")


def _gb(size: int) -> str:
    return f"{size / (1 << 30):.3g} GB"
