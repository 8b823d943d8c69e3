"""Files that are replaced whole: a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ticket_assets.storage.unfinished import unfinished_file

FILES_AT_ONCE = 100
"""Files open at a time; macOS allows a process 256."""
SYNCS_AT_ONCE = 8


def replace_file(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) in place of what `path` held, if it existed.

    The bytes are on disk before the file is renamed; the new name survives a power cut once the
    folder is synced.
    """
    with temporary_file(path, content.encode() if isinstance(content, str) else content) as file:
        file.replace(path)


@contextmanager
def temporary_file(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside `path` with this content, on disk; it is removed if it was not renamed."""
    with unfinished_file(str(path)) as file:
        file.write(content)
        file.flush()
        os.fsync(file)
        yield Path(file.name)


def replace_files(files: Iterable[tuple[str, bytes]]) -> None:
    """`replace_file` for each; when one fails, groups of FILES_AT_ONCE before it are replaced."""
    _put(files, os.replace)


def create_files(files: Iterable[tuple[str, bytes]]) -> set[str]:
    """The same, but for those that there are; returns the paths that were written."""
    created = set()

    def link(temporary: str, path: str) -> None:
        with suppress(FileExistsError):
            os.link(temporary, path)
            created.add(path)

    _put(files, link)
    return created


def _put(files: Iterable[tuple[str, bytes]], name: Callable[[str, str], None]) -> None:
    """Write each file beside its path, on disk, and `name` it so.

    All files of a group are written before the first is synced: the file system then commits them
    together, in half the time of threads that write and sync one file after the other.
    """
    remaining = iter(files)
    with ThreadPoolExecutor(SYNCS_AT_ONCE) as threads:
        while group := list(islice(remaining, FILES_AT_ONCE)):
            with ExitStack() as opened:
                temporaries: list[BinaryIO] = []
                for path, content in group:
                    temporaries.append(opened.enter_context(unfinished_file(path)))
                    temporaries[-1].write(content)
                    temporaries[-1].flush()
                if len(group) == 1:
                    os.fsync(temporaries[0])
                else:
                    list(threads.map(os.fsync, temporaries))
                for file, (path, _) in zip(temporaries, group, strict=True):
                    name(file.name, path)
