"""Folders that are replaced whole, and are either the old one or the new one after a crash."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Held by the process that replaces `folder`: the others wait, and then see what it wrote."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(path, lock.fileno()):
                # The process before has removed the file that this one waited for.
                continue
            try:
                yield
            finally:
                path.unlink()
            return


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place on leaving, unless there is an error.

    Two processes that may replace the same folder at once hold `only_writer`.
    """
    finish_replacing(folder)
    draft, complete, _ = _names(folder)
    draft.mkdir()
    try:
        yield draft
        draft.rename(complete)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finish_replacing(folder)


def finish_replacing(folder: Path) -> None:
    """Complete a replacement that a dead process left, or take it back if it was not ready."""
    draft, complete, former = _names(folder)
    if complete.exists():
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
            folder.rename(former)
        complete.rename(folder)
    for left in (draft, former):
        shutil.rmtree(left, ignore_errors=True)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _names(folder: Path) -> tuple[Path, Path, Path]:
    """Where it is written, where it waits once it is complete, and where the old one goes."""
    return (
        folder.with_name(f".{folder.name}.draft"),
        folder.with_name(f".{folder.name}.complete"),
        folder.with_name(f".{folder.name}.former"),
    )
