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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, NamedTuple

from ticket_assets.mail.input_files import NO_FILES, ExportError, InputFile
from ticket_assets.storage.unfinished import scratch_folder

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
MAX_MEMBERS = 1_000_000
"""Files in one archive: the mails of a large desk's ten years."""
MAX_DIRECTORY_BYTES = 32 << 20
"""The list of a ZIP's files, which is held in memory: some 200,000 mails, in 160 MB."""
MAX_UNPACKED_BYTES = 64 << 30
"""The most that is read from one archive: an import of more fits no afternoon and no disk."""
MAX_TABLE_BYTES = 4 << 30
"""A table is read several times and so is copied to the temporary folder, which is often small."""
MAX_RATIO = 200
"""What is read from an archive to its size: mail reaches 10, exports of repetitive tickets 50; the
bombs that deflate can make start at 1,000, whether in one large file or in many small ones."""
LEAST_BYTES = 4096
"""Counted of a smaller archive: it takes a block of the disk as well."""
MAX_TAR_HEADER_BYTES = 1 << 20
"""Long names and the like before a file in a tar, which are read into memory."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DECOMPRESSORS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_TAR_MAGIC = slice(257, 262)
_TAR_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)

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
    size: int
    """Bytes, unpacked; the stream has no more."""
    written_at: float
    """Seconds since 1970, as an unpacked file would carry them."""
    stream: io.BufferedReader[Any]


def is_archive(start: bytes, file: InputFile) -> bool:
    """Whether a file that starts with these bytes is a ZIP or a tar archive, compressed or not.

    Raises:
        ExportError: a ZIP holds too many files to be looked at.
    """
    if start.startswith(_ZIP):
        return not _is_document(file)
    if start[_TAR_MAGIC] == b"ustar":
        return True
    for magic, decompressor in _DECOMPRESSORS.items():
        if start.startswith(magic):
            with suppress(*_DAMAGES), file.open() as packed, decompressor(packed) as unpacked:
                return bool(unpacked.read(tarfile.BLOCKSIZE)[_TAR_MAGIC] == b"ustar")
            # It cannot be decompressed: reading it raises the error that says so.
            return ".t" in file.path.name.lower()
    return False


def members(file: InputFile, ignored: Counter[str]) -> Iterator[Member]:
    """The files in an archive, in its order; `ignored` counts what is no file.

    Raises:
        ExportError: the archive is damaged, has a password, or unpacks to more than any mailbox.
    """
    with file.open() as opened:
        is_zip = opened.read(4) in _ZIP
        opened.seek(0)
        yield from (_zip_members if is_zip else _tar_members)(opened, file.path, ignored)


@contextmanager
def spooled(member: Member) -> Iterator[Path]:
    """The member as a temporary file of the same kind and time, under a name of our own.

    Raises:
        ExportError: it is larger than any table, or cannot be read.
        OSError: the system's temporary folder has no room for it.
    """
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
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    reason = f"{error.strerror} where {member.where} is unpacked"
                    raise OSError(error.errno, reason, str(folder.parent)) from None
        # An archive may hold any time, also one that no file system knows.
        written_at = member.written_at if 0 <= member.written_at < 1 << 32 else 0
        os.utime(path, (written_at, written_at))
        yield path


class _Budget:
    """How much of an archive may be read, all its files together: as much as a mailbox can hold."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._allowed = min(MAX_UNPACKED_BYTES, MAX_RATIO * max(size, LEAST_BYTES))
        self._members = 0
        self._unpacked = 0

    def add_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _refused(self.path, f"holds more than {MAX_MEMBERS:,} files")

    def add(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > self._allowed:
            is_ratio = self._allowed < MAX_UNPACKED_BYTES
            most = f"{MAX_RATIO} times its size" if is_ratio else _gb(MAX_UNPACKED_BYTES)
            raise _refused(self.path, f"unpacks to more than {most}")


class _Counted(io.RawIOBase):
    """A stream out of an archive whose bytes count and whose failures are explained."""

    def __init__(self, stream: IO[bytes], where: str, budget: _Budget) -> None:
        self._stream = stream
        self._where = where
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._stream.read(min(len(buffer), _CHUNK_BYTES))
        except _DAMAGES as error:
            raise _damaged(self._where, error) from None
        buffer[: len(chunk)] = chunk
        self._budget.add(len(chunk))
        return len(chunk)


class _StrictTarInfo(tarfile.TarInfo):
    """A tar header that is broken is an error, not the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictTarInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _TAR_HEADERS and info.size > MAX_TAR_HEADER_BYTES:
            raise tarfile.InvalidHeaderError("over 1 MB")  # type: ignore[attr-defined]
        return info

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictTarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f"broken header ({error})") from None


def _zip_members(file: BinaryIO, path: Path, ignored: Counter[str]) -> Iterator[Member]:
    budget = _Budget(path, os.fstat(file.fileno()).st_size)
    with _explained(str(path)), opened_zip(file, path) as archive:
        entries = archive.infolist()
        # The directory of a ZIP that is cut off may be that of another ZIP inside it.
        if entries and min(info.header_offset for info in entries) > 0:
            raise zipfile.BadZipFile("its end is missing")
        for info in entries:
            budget.add_member()
            if info.is_dir():
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                ignored[NO_FILES] += 1
                continue
            where = _where(info.filename, path)
            if info.flag_bits & 0x1:
                raise ExportError(
                    f"{where} is protected by a password: unpack the archive, then import its"
                    " folder."
                )
            with _explained(where):
                stream = archive.open(info)
            with stream, io.BufferedReader(_Counted(stream, where, budget)) as content:
                yield _member(info.filename, where, info.file_size, _zip_time(info), content)


def opened_zip(
    file: BinaryIO, path: Path, opener: Callable[[BinaryIO], zipfile.ZipFile] = zipfile.ZipFile
) -> zipfile.ZipFile:
    """An opened ZIP, unless its directory is too large to be read into memory.

    Raises:
        ExportError: it is; zipfile.BadZipFile: it is no ZIP.
    """
    with suppress(OSError):
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if end and end[zipfile._ECD_SIZE] > MAX_DIRECTORY_BYTES:  # type: ignore[attr-defined]
            raise _refused(path, "lists too many files")
    return opener(file)


def _tar_members(file: BinaryIO, path: Path, ignored: Counter[str]) -> Iterator[Member]:
    start, size = file.read(8), os.fstat(file.fileno()).st_size
    file.seek(0)
    openers = [opener for magic, opener in _DECOMPRESSORS.items() if start.startswith(magic)]
    # The whole stream counts, so that no bomb hides in a skipped member; and the members do, since
    # one with holes is longer than its part of the stream.
    stream = openers[0](file) if openers else file
    whole = io.BufferedReader(_Counted(stream, str(path), _Budget(path, size)))
    budget = _Budget(path, size)
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
            content = archive.extractfile(info) if info.isreg() else None
            if content is None:
                ignored[NO_FILES] += 1
                continue
            where = _where(info.name, path)
            with io.BufferedReader(_Counted(content, where, budget)) as counted:
                yield _member(info.name, where, info.size, float(info.mtime), counted)
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


def _member(
    name: str, where: str, size: int, written_at: float, stream: io.BufferedReader[Any]
) -> Member:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return Member(
        name=parts[-1] if parts else "",
        folder=parts[-2] if len(parts) > 1 else "",
        suffix=PurePosixPath(name).suffix.lower(),
        where=where,
        size=size,
        written_at=written_at,
        stream=stream,
    )


def _is_document(file: InputFile) -> bool:
    """Whether a ZIP is a workbook or a text document in disguise."""
    with suppress(*_DAMAGES), file.open() as opened, opened_zip(opened, file.path) as archive:
        names = archive.namelist()
        return "[Content_Types].xml" in names or names[:1] == ["mimetype"]
    return file.suffix in {".docx", ".ods"}


def _where(name: str, path: Path) -> str:
    # A name from an archive may hold anything, a line break or a terminal's commands included.
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return f"{shown} in {path}"


def _refused(path: Path, excess: str) -> ExportError:
    return ExportError(
        f"{path} {excess}, which no mailbox does: unpack it yourself if you trust it, and import"
        " it in parts."
    )


def _damaged(where: str, error: BaseException) -> ExportError:
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    reason = " ".join(text.split()) or type(error).__name__
    return ExportError(f"{where} cannot be read ({reason}): get the archive again, or unpack it.")


def _gb(size: int) -> str:
    return f"{size / (1 << 30):.3g} GB"
