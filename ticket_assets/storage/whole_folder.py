"""Folders replaced whole: after a crash there is the old one or the new one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ticket_assets.storage.leases import file_lock


def only_writer(folder: Path) -> AbstractContextManager[None]:
    """Lets one process at a time replace `folder`; the others wait, and then see the result."""
    return file_lock(folder.with_name(f".{folder.name}.lock"), wait=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that replaces it on leaving, unless there is an error.

    Processes that may replace the same folder at once hold `only_writer`.
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
    """Complete a replacement that a dead process left, or undo it if it was not complete."""
    draft, complete, former = _names(folder)
    if complete.exists():
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
            folder.rename(former)
        complete.rename(folder)
    for remains in (draft, former):
        shutil.rmtree(remains, ignore_errors=True)


def _names(folder: Path) -> tuple[Path, Path, Path]:
    """The folder while it is written, the same when complete, and the replaced one."""
    draft, complete, former = (
        folder.with_name(f".{folder.name}.{state}") for state in ("draft", "complete", "former")
    )
    return draft, complete, former
