"""The record of renamed and merged categories, in the landing zone beside the labels.

Landed labels stay as they came; whoever reads them gets the names that their categories have now. A
name may be given anew once its category has another, so each change holds for the labels that had
landed before it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

CHANGES = "category_changes"
PENDING = "category_change.json"
"""The change that is under way: written first, removed last."""


class CategoryChangeError(TicketAssetsError):
    """Categories cannot be renamed or merged so, or a change of them has not ended."""


@dataclass(frozen=True)
class CategoryChange:
    """Categories whose tickets have all become tickets of one."""

    number: int
    """1 for the first change of a desk."""
    former: tuple[str, ...]
    """Names that no category has any more."""
    name: str
    is_merge: bool
    """Whether there was a category of this name before."""
    queues: dict[str, str]
    """Queue of each category before."""
    label_files: frozenset[str]
    """The files of labels that had landed."""
    changed_at: str
    """ISO 8601, UTC."""

    def __call__(self, category: str | None) -> str | None:
        """The name after the change."""
        return self.name if category in self.former else category

    def __str__(self) -> str:
        verb = "merged into" if self.is_merge else "renamed to"
        return f"{', '.join(self.former)} {verb} {self.name}"

    @property
    def command(self) -> str:
        """The command that makes the change, and completes it."""
        verb = "merge" if self.is_merge else "rename"
        return shlex.join(["tickets", "categories", verb, *self.former, self.name])

    @property
    def new_queues(self) -> dict[str, str]:
        """Queue of each category after it, in the same order."""
        queues: dict[str, str] = {}
        for category, queue in self.queues.items():
            name = self.name if category in self.former else category
            queues[name] = self.queues.get(name, queue)
        return queues


class CategoryChanges:
    """The changes of a desk, and the one that has not ended."""

    def __init__(self, landing: Blobs) -> None:
        self._files = landing
        self._read: dict[str, CategoryChange] = {}

    def made(self) -> list[CategoryChange]:
        """All changes in their order, the one that has not ended among them."""
        # What was written there is never changed, so each is read once.
        names = {f"{CHANGES}/{name}" for name in self._files.names(CHANGES)}
        for name, content in self._files.read_many(names - self._read.keys()):
            self._read[name] = _change(content, f"{self._files.location}/{name}")
        return sorted(
            (self._read[name] for name in names & self._read.keys()),
            key=lambda change: change.number,
        )

    def pending(self) -> CategoryChange | None:
        """The change that has not ended."""
        try:
            content = self._files.read(PENDING)
        except BlobNotFoundError:
            return None
        return _change(content, f"{self._files.location}/{PENDING}")

    def refuse_pending(self) -> None:
        """Pass unless a change of categories was interrupted, or is under way.

        Raises:
            CategoryChangeError: it is; only the same command goes on.
        """
        if change := self.pending():
            raise CategoryChangeError(
                f"A change of categories has not ended: {change}. Complete it: {change.command}"
            )

    def begin(self, change: CategoryChange) -> None:
        """From now on labels are read with their new names, and nothing else may begin to work."""
        content = json.dumps(
            {**asdict(change), "label_files": sorted(change.label_files)}, ensure_ascii=False
        ).encode()
        self._files.replace(PENDING, content)
        self._files.create(f"{CHANGES}/{change.number:06}.json", content)

    def end(self) -> None:
        """The change that was begun is complete."""
        self._files.delete([PENDING])


def former_names(changes: Iterable[CategoryChange]) -> dict[str, str]:
    """By name that no change has given anew, the present one."""
    names: dict[str, str] = {}
    for change in changes:
        names = {former: change(name) or name for former, name in names.items()}
        names |= dict.fromkeys(change.former, change.name)
        names.pop(change.name, None)
    return names


def changes_of_file(
    changes: Iterable[CategoryChange], label_file: str
) -> Collection[CategoryChange]:
    """The changes since a file of labels has landed, in their order."""
    return [change for change in changes if label_file in change.label_files]


def _change(content: bytes, name: str) -> CategoryChange:
    try:
        fields = json.loads(content)
        datetime.fromisoformat(fields["changed_at"])
        return CategoryChange(
            **{
                **fields,
                "former": tuple(fields["former"]),
                "label_files": frozenset(fields["label_files"]),
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        raise CategoryChangeError(
            f"{name} says how a category is called now and cannot be read ({error}). Restore it"
            " from a backup."
        ) from None
