"""Clears what no vector uses in the files of an embedded Chroma collection.

Chroma's index (hnswlib) saves all the memory that it has allocated for vectors to come, as it was
given to it: with whatever the process had there before, such as words of mail that is erased by
now, or a password.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ticket_assets.storage.leases import file_lock

_HEADER = struct.Struct("<iQQQQ")
"""The start of an index's header: version, and then in bytes or elements where the links begin,
how many elements there is room for, how many there are, and the size of one."""
_VERSION = 1
_LENGTH_BYTES = 4
"""Of one element in the file of lengths, a float."""
_CHUNK = 1 << 20


@contextmanager
def cleared_after_use(folder: Path) -> Iterator[None]:
    """Clears the unused space of the indexes in `folder` on leaving; where several processes use
    the folder, the last one to leave does.

    Raises:
        OSError: the folder cannot be written.
    """
    lock = folder.with_name(f".{folder.name}.use")
    try:
        with file_lock(lock, wait=True, shared=True):
            yield
    finally:
        with suppress(BlockingIOError), file_lock(lock, wait=False):
            clear_unused(folder)


def clear_unused(folder: Path) -> None:
    """Fill the unused space of the indexes in `folder` with zeros. Nothing else may write there.

    Raises:
        OSError: a file cannot be read or written.
    """
    for header in folder.glob("*/header.bin"):
        with header.open("rb") as file:
            start = file.read(_HEADER.size)
        if len(start) < _HEADER.size:
            continue  # its process was killed while it wrote
        version, _, room, count, element_bytes = _HEADER.unpack(start)
        if version != _VERSION or count > room:
            continue
        for name, size in (("data_level0.bin", element_bytes), ("length.bin", _LENGTH_BYTES)):
            path = header.with_name(name)
            if path.is_file() and path.stat().st_size == room * size:
                _fill_with_zeros(path, count * size)


def _fill_with_zeros(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            if chunk.count(0) < len(chunk):
                file.seek(-len(chunk), 1)
                file.write(bytes(len(chunk)))
