"""Blobs in a folder: whole files, on disk before they are seen."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from ticket_assets.errors import system_advice
from ticket_assets.storage.blobs import (
    Blob,
    BlobNotFoundError,
    BlobStoreError,
    changed_meanwhile,
)
from ticket_assets.storage.unfinished import remove_unfinished
from ticket_assets.storage.whole_file import create_files, replace_files, temporary_file

Written = TypeVar("Written")


class FolderBlobs:
    """Blobs as the files of a folder, which is made when something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._start = f"{folder}/"

    @property
    def location(self) -> str:
        return str(self.folder.absolute())

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[Blob]:
        with self._explained("read"):
            yield from _files(self._path(prefix), f"{prefix}/" if prefix else "", after or "")

    def names(self, prefix: str = "") -> Iterator[str]:
        try:
            for entry in _entries(self._path(prefix)):
                if entry.name[0] != "." and not entry.is_dir():
                    yield entry.name
        except OSError as error:
            raise self._refused("read", error) from error

    def names_in(self, folders: Iterable[str]) -> Iterator[tuple[str, Iterable[str]]]:
        for folder in folders:
            yield folder, self.names(folder)

    def folders(self, prefix: str = "") -> Sequence[str]:
        with self._explained("read"):
            return sorted(
                entry.name
                for entry in _entries(self._path(prefix))
                if entry.name[0] != "." and entry.is_dir()
            )

    def read(self, name: str) -> bytes:
        with self._explained("read", name), open(self._path(name), "rb") as file:
            return file.read()

    def read_version(self, name: str) -> tuple[bytes, str]:
        with self._explained("read", name), open(self._path(name), "rb") as file:
            return file.read(), _version(os.fstat(file.fileno()))

    def read_many(
        self, names: Iterable[str], first_bytes: int | None = None
    ) -> Iterator[tuple[str, bytes]]:
        for name in names:
            try:
                with open(self._path(name), "rb") as file:
                    content = file.read(-1 if first_bytes is None else first_bytes)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._refused("read", error) from error
            yield name, content

    def entry(self, name: str) -> Blob | None:
        with self._explained("read", name):
            try:
                return _blob(name, os.stat(self._path(name)))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def exists(self, name: str) -> bool:
        return os.path.exists(self._path(name))

    def present(self, names: Iterable[str]) -> set[str]:
        return set(filter(self.exists, names))

    def create(self, name: str, content: bytes) -> bool:
        path = Path(self._path(name))
        with self._explained("write"):
            new_folders = self._make(path.parent)
            with temporary_file(path, content) as temporary:
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    return False
            _sync({path.parent, *new_folders})
        return True

    def replace(self, name: str, content: bytes, version: str | None = None) -> str:
        path = Path(self._path(name))
        with self._explained("write"):
            new_folders = self._make(path.parent)
            with temporary_file(path, content) as temporary, _locked(path.parent):
                if version is not None and version != _present_version(path):
                    raise changed_meanwhile(name, self.location)
                replacement = _version(temporary.stat())
                temporary.replace(path)
            _sync({path.parent, *new_folders})
        return replacement

    def write(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        self._put(blobs, replace_files)

    def create_many(self, blobs: Iterable[tuple[str, bytes]]) -> set[str]:
        created = self._put(blobs, create_files)
        return {path.removeprefix(self._start) for path in created}

    def delete(self, names: Iterable[str]) -> None:
        folders: set[Path] = set()
        with self._explained("write"):
            for name in names:
                path = Path(self._path(name))
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    folders.add(path.parent)
            # The deepest first: those above are empty then. One that was left may go with a later.
            left = {self._left(folder) for folder in sorted(folders, reverse=True)}
            _sync(filter(Path.is_dir, left))

    def changed_at(self, folder: str) -> int | None:
        try:
            return os.stat(self._path(folder)).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def remove_unfinished(self, *, dry_run: bool = False) -> Sequence[str]:
        with self._explained("write"):
            return list(map(str, remove_unfinished(self.folder, dry_run=dry_run)))

    def under(self, prefix: str) -> FolderBlobs:
        return FolderBlobs(Path(self._path(prefix)))

    def _put(
        self,
        blobs: Iterable[tuple[str, bytes]],
        write: Callable[[Iterable[tuple[str, bytes]]], Written],
    ) -> Written:
        folders: dict[str, Path] = {}
        new_folders: set[Path] = set()

        def files() -> Iterator[tuple[str, bytes]]:
            for name, content in blobs:
                path = self._path(name)
                if (folder := path.rpartition("/")[0]) not in folders:
                    folders[folder] = Path(folder)
                    new_folders.update(self._make(folders[folder]))
                yield path, content

        with self._explained("write"):
            written = write(files())
            _sync(new_folders.union(folders.values()))
        return written

    def _left(self, folder: Path) -> Path:
        """The folder, or the nearest one above it that is not empty: those below are removed."""
        with suppress(OSError):
            while folder != self.folder:
                folder.rmdir()
                folder = folder.parent
        return folder

    # Text, and os in place of pathlib: of the time that looking for a file takes, a Path is half.
    def _path(self, name: str) -> str:
        if name[:1] == "/" or (".." in name and ".." in name.split("/")):
            raise ValueError(f"{name!r} is no name of a blob")
        return self._start + name

    def _make(self, folder: Path) -> set[Path]:
        """Make the folder; returns those that have a new name in them."""
        if not folder.is_dir():
            former = next(parent for parent in folder.parents if parent.is_dir())
            folder.mkdir(parents=True, exist_ok=True)
            return {parent for parent in folder.parents if former in (parent, *parent.parents)}
        return set()

    @contextmanager
    def _explained(self, what: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            if what == "write":
                raise self._refused(what, error) from error
            raise BlobNotFoundError(f"There is no {name} in {self.location}.") from None
        except OSError as error:
            raise self._refused(what, error) from error

    def _refused(self, what: str, error: OSError) -> BlobStoreError:
        # A temporary file is told by the name that it was to have.
        name = re.sub(r"/\.([^/]+)\.[0-9a-f]{32}\.tmp$", r"/\1", str(error.filename or ""))
        advice = system_advice(error) or "Check it, then do the same again."
        return BlobStoreError(f"Cannot {what} {name or self.location}: {error.strerror}. {advice}")


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        yield from entries


def _files(folder: str, start: str, after: str) -> Iterator[Blob]:
    # A folder sorts as its blobs do, whose names continue with a slash.
    names = sorted(
        (f"{start}{entry.name}{'/' if entry.is_dir() else ''}", entry)
        for entry in _entries(folder)
        if entry.name[0] != "."
    )
    for name, entry in names:
        if name[-1] == "/":
            if name > after or after.startswith(name):
                yield from _files(entry.path, name, after)
        elif name > after:
            with suppress(FileNotFoundError):  # it was removed meanwhile
                yield _blob(name, entry.stat())


def _blob(name: str, status: os.stat_result) -> Blob:
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return Blob(name, status.st_size, _version(status), modified_at)


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _present_version(path: Path) -> str | None:
    try:
        return _version(path.stat())
    except FileNotFoundError:
        return None


def _sync(folders: Iterable[Path]) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time compare and replace a file of the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
