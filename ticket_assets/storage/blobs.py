"""Files by name, in a folder or in a bucket: whoever keeps one need not know which."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from uuid import uuid4

from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.whole_file import replace_files

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config, S3Store

    from ticket_assets.storage.s3_access import S3Access

Item = TypeVar("Item")
Result = TypeVar("Result")

STALE_SECONDS = 3600
"""A temporary file this old was left by a process that died."""
REQUESTS_AT_ONCE = 32
LISTED_INSTEAD = 8
"""From so many names of one folder on, listing it is cheaper than to ask for each."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")


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

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs, and the folders they were the last of; absent ones are fine."""

    def changed_at(self, folder: str) -> int | None:
        """When a name directly in the folder last came or went, in nanoseconds; 0 for an absent
        folder. None: the store does not tell, of any folder."""

    def under(self, prefix: str) -> Blobs:
        """The same store, seen from one of its folders."""


def blobs_at(location: str | Path, access: S3Access) -> Blobs:
    """The blobs in a folder, or in a bucket given as `s3://bucket/prefix`.

    Raises:
        BlobStoreError: the package for buckets is not installed.
    """
    if str(location).startswith("s3://"):
        if find_spec("obstore") is None:
            raise BlobStoreError(
                f"{location} needs the package obstore: install ticket-assets[shared]."
            )
        return BucketBlobs(str(location), access)
    return FolderBlobs(Path(location))


class FolderBlobs:
    """Blobs as the files of a folder, which is made when something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._start = f"{folder}/"
        self._swept_at: dict[Path, float] = {}

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
            with _whole(path, content) as temporary:
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
            with _whole(path, content) as temporary, _locked(path.parent):
                if version is not None and version != _present_version(path):
                    raise _changed(name, self.location)
                replacement = _version(temporary.stat())
                temporary.replace(path)
            _sync({path.parent, *new_folders})
        return replacement

    def write(self, blobs: Iterable[tuple[str, bytes]]) -> None:
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
            replace_files(files())
            _sync(new_folders.union(folders.values()))

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

    def under(self, prefix: str) -> FolderBlobs:
        return FolderBlobs(Path(self._path(prefix)))

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
        # Remove what dead writers left, once in a while.
        now = time.time()
        if self._swept_at.get(folder, 0.0) < now - STALE_SECONDS:
            self._swept_at[folder] = now
            for entry in _entries(folder):
                if entry.name[0] == "." and entry.name.endswith(".tmp"):
                    with suppress(FileNotFoundError):  # its writer is alive, or another removed it
                        if entry.stat().st_mtime < now - STALE_SECONDS:
                            os.unlink(entry)
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
        return BlobStoreError(
            f"Cannot {what} {self.location}: {error.strerror}. Check its space and permissions,"
            " then do the same again."
        )


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
def _whole(path: Path, content: bytes) -> Iterator[Path]:
    """A temporary file with the content, on disk; what is left of it is removed afterwards."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time compare and replace a file of the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class BucketBlobs:
    """Blobs as the objects of a bucket that speaks S3."""

    def __init__(self, url: str, access: S3Access) -> None:
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._access = access

    @property
    def location(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[Blob]:
        with self._explained():
            pages = self._store.list(
                self._prefix + prefix or None,
                offset=None if after is None else self._prefix + after,
                chunk_size=1000,
            )
            for page in pages:
                yield from map(self._blob, page)

    def names(self, prefix: str = "") -> Iterator[str]:
        with self._explained():
            listing = self._store.list_with_delimiter(self._prefix + prefix or None)
        for entry in listing["objects"]:
            yield entry["path"].rpartition("/")[2]

    def names_in(self, folders: Iterable[str]) -> Iterator[tuple[str, Iterable[str]]]:
        return _at_once(lambda folder: (folder, list(self.names(folder))), folders)

    def folders(self, prefix: str = "") -> Sequence[str]:
        with self._explained():
            listing = self._store.list_with_delimiter(self._prefix + prefix or None)
        return sorted(path.rpartition("/")[2] for path in listing["common_prefixes"])

    def read(self, name: str) -> bytes:
        return self.read_version(name)[0]

    def read_version(self, name: str) -> tuple[bytes, str]:
        with self._explained(name):
            answer = self._store.get(self._prefix + name)
            return bytes(answer.bytes()), answer.meta["e_tag"] or ""

    def read_many(
        self, names: Iterable[str], first_bytes: int | None = None
    ) -> Iterator[tuple[str, bytes]]:
        def read(name: str) -> tuple[str, bytes] | None:
            with suppress(BlobNotFoundError), self._explained(name):
                if first_bytes is None:
                    return name, bytes(self._store.get(self._prefix + name).bytes())
                key = self._prefix + name
                return name, bytes(self._store.get_range(key, start=0, length=first_bytes))
            return None

        yield from filter(None, _at_once(read, names))

    def entry(self, name: str) -> Blob | None:
        with suppress(BlobNotFoundError), self._explained(name):
            return self._blob(self._store.head(self._prefix + name))
        return None

    def exists(self, name: str) -> bool:
        return self.entry(name) is not None

    def present(self, names: Iterable[str]) -> set[str]:
        by_folder: dict[str, set[str]] = {}
        for name in names:
            by_folder.setdefault(name.rpartition("/")[0], set()).add(name)

        many = [folder for folder, names in by_folder.items() if len(names) >= LISTED_INSTEAD]
        few = [name for folder, names in by_folder.items() if folder not in many for name in names]
        present = {
            name for name, there in zip(few, _at_once(self.exists, few), strict=True) if there
        }
        for folder, listed in self.names_in(many):
            start = f"{folder}/" if folder else ""
            present |= by_folder[folder] & {start + name for name in listed}
        return present

    def create(self, name: str, content: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            self._put(name, content, "create")
        except AlreadyExistsError:
            return False
        return True

    def replace(self, name: str, content: bytes, version: str | None = None) -> str:
        from obstore.exceptions import PreconditionError

        try:
            return self._put(name, content, {"e_tag": version} if version else "overwrite")
        except PreconditionError:
            raise _changed(name, self.location) from None

    def write(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        for _ in _at_once(lambda blob: self._put(*blob), blobs):
            pass

    def delete(self, names: Iterable[str]) -> None:
        with self._explained():
            if keys := [self._prefix + name for name in names]:
                self._store.delete(keys)

    def changed_at(self, folder: str) -> int | None:
        return None

    def under(self, prefix: str) -> BucketBlobs:
        return BucketBlobs(f"s3://{self._bucket}/{self._prefix}{prefix}", self._access)

    @property
    def _store(self) -> S3Store:
        return _connected(self._bucket, self._access)

    def _blob(self, entry: ObjectMeta) -> Blob:
        return Blob(
            entry["path"].removeprefix(self._prefix),
            entry["size"],
            entry["e_tag"] or "",
            entry["last_modified"],
        )

    def _put(self, name: str, content: bytes, mode: Any = "overwrite") -> str:
        with self._explained(name):
            # In one request: what is left of an interrupted one of several parts is not listed.
            answer = self._store.put(self._prefix + name, content, mode=mode, use_multipart=False)
            return answer["e_tag"] or ""

    @contextmanager
    def _explained(self, name: str = "") -> Iterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, OSError, ValueError) as error:
            text = str(error)
            code = match[1] if (match := _CODE.search(text)) else ""
            if isinstance(error, FileNotFoundError) and name and code != "NoSuchBucket":
                raise BlobNotFoundError(f"There is no {name} in {self.location}.") from None
            raise BlobStoreError(self._reason(text, code)) from None

    def _reason(self, text: str, code: str) -> str:
        server = self._access.endpoint or "Amazon S3"
        if code == "NoSuchBucket":
            return (
                f"There is no bucket {self._bucket} at {server}. Create it, or mend the URL"
                f" {self.location} (TICKETS_FILES)."
            )
        if "error sending request" in text or "timed out" in text:
            return (
                f"{server} does not answer for {self.location}. Check TICKETS_S3_ENDPOINT and the"
                " network, then do the same again."
            )
        message = match[1] if (match := _MESSAGE.search(text)) else text.partition("\n")[0]
        return (
            f"{server} refuses {self.location}: {code} {message.rstrip('.')}. Check"
            " TICKETS_S3_KEY_ID, its secret and rights, and TICKETS_S3_REGION."
        )


@cache
def _connected(bucket: str, access: S3Access) -> S3Store:
    """One client for each bucket in a process, since it keeps its connections."""
    from obstore.store import S3Store

    keys = {
        "endpoint": access.endpoint,
        "region": access.region,
        "access_key_id": access.key_id,
        "secret_access_key": access.secret,
    }
    return S3Store(
        bucket,
        config=cast("S3Config", {name: key for name, key in keys.items() if key}),
        client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "60s"},
        retry_config={
            "max_retries": 5,
            "retry_timeout": timedelta(seconds=60),
            "backoff": {"max_backoff": timedelta(seconds=3)},
        },
    )


def _at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results in order, of REQUESTS_AT_ONCE items at a time."""
    remaining = iter(items)
    group = list(islice(remaining, REQUESTS_AT_ONCE))
    if len(group) < 2:
        yield from map(work, group)
        return
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        while group:
            yield from threads.map(work, group)
            group = list(islice(remaining, REQUESTS_AT_ONCE))


def _changed(name: str, location: str) -> BlobChangedError:
    return BlobChangedError(
        f"Another process has changed {name} in {location} meanwhile. Do the same again."
    )
