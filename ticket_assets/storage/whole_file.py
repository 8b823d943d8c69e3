"""Files that are replaced whole: a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

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
    with _temporary(str(path)) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def replace_files(files: Iterable[tuple[str, bytes]]) -> None:
    """`replace_file` for each; when one fails, the groups of FILES_AT_ONCE before it are replaced.

    All files of a group are written before the first is synced: the file system then commits them
    together, in half the time of threads that write and sync one file after the other.
    """
    remaining = iter(files)
    with ThreadPoolExecutor(SYNCS_AT_ONCE) as threads:
        while group := list(islice(remaining, FILES_AT_ONCE)):
            with ExitStack() as opened:
                temporaries = [opened.enter_context(_temporary(path)) for path, _ in group]
                for file, (_, content) in zip(temporaries, group, strict=True):
                    file.write(content)
                    file.flush()
                if len(group) == 1:
                    os.fsync(temporaries[0])
                else:
                    list(threads.map(os.fsync, temporaries))
            for file, (path, _) in zip(temporaries, group, strict=True):
                os.replace(file.name, path)


def _temporary(path: str) -> BinaryIO:
    """An open file beside `path`, of a name that no other writer of it has."""
    folder, name = os.path.split(path)
    return open(os.path.join(folder, f".{name}.{uuid4().hex}.tmp"), "xb")
