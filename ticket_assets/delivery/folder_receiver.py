"""A folder into which each run puts a file; who reads the files may remove them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.delivery.receivers import Outcome, Receipt, Receiver, ReceiverError
from ticket_assets.delivery.state import read_state
from ticket_assets.delivery.told import told
from ticket_assets.routing import FORMULA_SIGNS
from ticket_assets.storage.whole_file import replace_file

if TYPE_CHECKING:
    from ticket_assets.delivery.decisions import Intent
    from ticket_assets.desk import Desk

_OWNER = "desk"
_TICKET_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")


class Folder(Receiver):
    """Files of decisions, whole from the moment on in which they have their name.

    A file is written in a hidden folder and renamed. Before that a mark beside it says that it is
    about to be: if a process is killed then, whether the hidden file is still there tells the next
    one if it was renamed, also when somebody has read and removed it since.
    """

    name = "folder"
    batch_size = 100_000

    def __init__(
        self, folder: Path, file_format: str, desk: Callable[[], str | None] = lambda: None
    ) -> None:
        """
        Args:
            desk: the desk's own UUID, where it has one.
        """
        self._folder = folder
        self._desk = desk
        self._format = file_format
        self._hidden = folder / ".ticket-assets"

    @property
    def configuration(self) -> bytes:
        return f"{self._folder} {self._format}".encode()

    def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
        batch = list(intents)
        if not batch:
            return
        try:
            self._publish(batch)
        except OSError as error:
            raise ReceiverError(f"Cannot write in {self._folder}: {error.strerror}.") from None
        for intent in batch:
            yield Receipt(intent.decision.ticket_id, Outcome.DELIVERED)

    def forget(self, ticket_ids: Collection[str], *, dry_run: bool = False) -> int:
        """Remove files that name one of the tickets and were not handed over yet; returns their
        number. What else they hold is told by the next run.

        What was handed over belongs to whoever reads it.
        """
        sought = {ticket_id.encode() for ticket_id in ticket_ids}
        naming = [
            path
            for path in (self._hidden.iterdir() if self._hidden.is_dir() else ())
            if path.is_file() and not sought.isdisjoint(_TICKET_ID.findall(path.read_bytes()))
        ]
        for path in () if dry_run else naming:
            # The mark first: without its file it would say that all of them were handed over.
            path.with_suffix(".published").unlink(missing_ok=True)
            path.unlink()
        return len(naming)

    def _publish(self, batch: Sequence[Intent]) -> None:
        name = batch[0].batch
        if not self._folder.is_dir():
            raise ReceiverError(f"There is no folder {self._folder}.")
        self._hidden.mkdir(exist_ok=True)
        self._require_own()
        file, mark = self._hidden / f"{name}.{self._format}", self._hidden / f"{name}.published"
        self._forget_others(name)
        if mark.exists() and not file.exists():
            return
        replace_file(file, _csv(batch) if self._format == "csv" else _jsonl(batch))
        mark.touch()
        _sync(self._hidden)
        file.replace(self._folder / f"decisions-{name}.{self._format}")
        _sync(self._folder)

    def _require_own(self) -> None:
        """Two desks would take each other's marks away, by which each knows what it has told."""
        desk, owner = self._desk(), self._hidden / _OWNER
        if desk is None:
            return
        if not owner.exists():
            replace_file(owner, desk)
        if owner.read_text("utf-8", "replace").strip() != desk:
            raise ReceiverError(
                f"The folder {self._folder} belongs to another desk. Name a folder of this desk's"
                f" own in TICKETS_DELIVERY_FOLDER; or remove {owner} if that desk is gone."
            )

    def _forget_others(self, name: str) -> None:
        """Remove what is left of former batches, whose receipts are in the ledger by now."""
        for path in self._hidden.iterdir():
            if path.is_file() and path.name.partition(".")[0] not in {name, _OWNER}:
                path.unlink()


def configured(desk: Desk) -> Folder | None:
    settings = desk.settings

    def desk_id() -> str | None:
        state = read_state(desk.cursors)
        return state.desk if state else None

    return (
        Folder(settings.delivery_folder, settings.delivery_format, desk_id)
        if settings.delivery_folder
        else None
    )


def _jsonl(batch: Sequence[Intent]) -> str:
    return "".join(f"{json.dumps(told(intent), ensure_ascii=False)}\n" for intent in batch)


def _csv(batch: Sequence[Intent]) -> str:
    rows = [
        told(intent)
        | {
            "message_id": _not_a_formula(intent.decision.message_id),
            "likely": json.dumps(intent.decision.likely, ensure_ascii=False),
        }
        for intent in batch
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _not_a_formula(message_id: str | None) -> str | None:
    """The id, which whoever sends a mail can choose, as a cell that no spreadsheet computes."""
    if message_id and message_id.startswith(FORMULA_SIGNS):
        return f"'{message_id}"
    return message_id


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
