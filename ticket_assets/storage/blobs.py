"""Files by name, in a folder or in a bucket: whoever keeps one need not know which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ticket_assets.errors import TicketAssetsError


class BlobStoreError(TicketAssetsError):
    """The folder or bucket cannot be read or written."""


class BlobNotFoundError(BlobStoreError):
    """There is no blob of this name."""


class BlobChangedError(BlobStoreError):
    """The blob is no longer of the version that was to be replaced."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What a listing says of a blob."""

    name: str
    size: int
    """Bytes."""
    version: str
    """Other content, other version."""
    modified_at: datetime
    """Aware."""


class Blobs(Protocol):
    """Named bytes; each is replaced whole, so that a reader sees the old ones or the new ones.

    Names are relative and separated by `/`. In a folder, names with a part that starts with a dot
    are not listed: locks and unfinished files have such. Every method raises BlobStoreError where
    the store does not answer or refuses.
    """

    @property
    def location(self) -> str:
        """The folder or URL, for messages."""

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[Blob]:
        """The blobs under the folder `prefix`, at any depth, by name; `after`: greater ones only.

        A bucket answers a thousand with one request.
        """

    def names(self, prefix: str = "") -> Iterator[str]:
        """The last parts of the names directly in the folder `prefix`, in no order."""

    def names_in(self, folders: Iterable[str]) -> Iterator[tuple[str, Iterable[str]]]:
        """Each folder with its `names`, in order; a bucket is asked for several at once."""

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The last parts of the folders directly in the folder `prefix`, by name. In a bucket
        they are those that hold a blob."""

    def read(self, name: str) -> bytes:
        """The content; raises BlobNotFoundError."""

    def read_version(self, name: str) -> tuple[bytes, str]:
        """The content and its version, for `replace`; raises BlobNotFoundError."""

    def read_many(
        self, names: Iterable[str], first_bytes: int | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Each name with its content, or the beginning of it, in order; absent ones are left out.
        A bucket is asked for several at once."""

    def entry(self, name: str) -> Blob | None:
        """What a listing says of the blob; None: there is none."""

    def exists(self, name: str) -> bool:
        """Whether there is such a blob."""

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of the names that exist."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a blob unless there is one of that name: False, and nothing has changed."""

    def replace(self, name: str, content: bytes, version: str | None = None) -> str:
        """Write a blob, absent or not, and return its version. With a `version`, only in place of
        that one: else raises BlobChangedError."""

    def write(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        """`replace` for many: a folder syncs them together, a bucket gets several at once. After
        an error some of them are written, each whole."""

    def create_many(self, blobs: Iterable[tuple[str, bytes]]) -> set[str]:
        """`create` for many, as `write` is `replace` for many; returns the names of those that
        were written."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs, and the folders they were the last of; absent ones are fine."""

    def changed_at(self, folder: str) -> int | None:
        """When a name directly in the folder last came or went, in nanoseconds; 0 for an absent
        folder. None: the store does not tell, of any folder."""

    def remove_unfinished(self, *, dry_run: bool = False) -> Sequence[str]:
        """Remove what writers that died have left of blobs that they did not complete; returns the
        places. A bucket has none, since each blob is one request."""

    def under(self, prefix: str) -> Blobs:
        """The same store, seen from one of its folders."""


def changed_meanwhile(name: str, location: str) -> BlobChangedError:
    return BlobChangedError(
        f"Another process has changed {name} in {location} meanwhile. Do the same again."
    )
