"""Files and folders that are there only while a process writes.

They hold what is being written, whole mails among it, so what the dead have left has to go. It is
told by a lock, which the living hold on theirs.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from ticket_assets.storage.leases import is_at

_UNFINISHED_FILE = re.compile(r"\..+\.[0-9a-f]{32}\.tmp", re.DOTALL)
_SCRATCH = "ticket-assets-scratch-"
"""Beginning of the names of folders in the system's temporary folder."""


@contextmanager
def unfinished_file(path: str) -> Iterator[BinaryIO]:
    """An open file beside `path`, of a name that no other writer of it has. On leaving it is
    removed, unless it was renamed, and closed."""
    folder, name = os.path.split(path)
    with _locked_file(folder, name) as file:
        try:
            yield file
        finally:
            with suppress(FileNotFoundError):
                os.unlink(file.name)


def _locked_file(folder: str, name: str) -> BinaryIO:
    while True:
        file = open(os.path.join(folder, f".{name}.{uuid4().hex}.tmp"), "xb")  # noqa: SIM115
        if _is_kept(file.name, file.fileno()):
            return file
        file.close()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the system's temporary folder, removed on leaving."""
    while True:
        folder = tempfile.mkdtemp(prefix=_SCRATCH)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # Taken for that of a dead process before it was held.
        if _is_kept(folder, descriptor):
            break
        os.close(descriptor)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_unfinished(folder: Path, *, dry_run: bool = False) -> list[Path]:
    """Remove the unfinished files of dead writers, at any depth; returns them (of a dry run, those
    that would be removed). Links to other folders are followed directly in `folder` alone, where
    a person has put a part of the desk on another disk."""
    places = [folder, *(entry for entry in _children(folder) if entry.is_symlink())]
    paths = [
        Path(root, name)
        for place in places
        for root, _, names in os.walk(place)
        for name in names
        if _UNFINISHED_FILE.fullmatch(name)
    ]
    return [path for path in paths if _removed(path, os.O_RDWR, os.unlink, dry_run)]


def remove_scratch(*, dry_run: bool = False) -> list[Path]:
    """Remove the scratch folders of dead processes, of this desk or another; returns them."""
    paths = Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*")
    return [path for path in paths if _removed(path, os.O_DIRECTORY, shutil.rmtree, dry_run)]


def _is_kept(path: str, descriptor: int) -> bool:
    """Lock the open file or folder. Returns False when a sweep has removed it before that."""
    # A file system without locks lets no sweep lock it either.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return is_at(Path(path), descriptor)


def _removed(path: Path, flags: int, remove: Callable[[Path], object], dry_run: bool) -> bool:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # it has gone, or is not of this user
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # its writer lives
        return False
    else:
        if not dry_run:
            with suppress(FileNotFoundError):
                remove(path)
        return True
    finally:
        os.close(descriptor)


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
