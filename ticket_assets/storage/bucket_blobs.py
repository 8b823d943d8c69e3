"""Blobs in a bucket that speaks S3."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ticket_assets.server_replies import cleansed
from ticket_assets.storage.blobs import (
    Blob,
    BlobNotFoundError,
    BlobStoreError,
    changed_meanwhile,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config, S3Store

    from ticket_assets.storage.s3_access import S3Access

Item = TypeVar("Item")
Result = TypeVar("Result")

REQUESTS_AT_ONCE = 32
LISTED_INSTEAD = 8
"""From so many names of one folder on, listing it is cheaper than to ask for each."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")


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
            raise changed_meanwhile(name, self.location) from None

    def write(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        for _ in _at_once(lambda blob: self._put(*blob), blobs):
            pass

    def create_many(self, blobs: Iterable[tuple[str, bytes]]) -> set[str]:
        created = _at_once(lambda blob: self.create(*blob) and blob[0], blobs)
        return {name for name in created if name}

    def delete(self, names: Iterable[str]) -> None:
        with self._explained():
            if keys := [self._prefix + name for name in names]:
                self._store.delete(keys)

    def changed_at(self, folder: str) -> int | None:
        return None

    def remove_unfinished(self, *, dry_run: bool = False) -> Sequence[str]:
        return []

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
        words = cleansed(message, [self._access.secret]).rstrip(".")
        return (
            f"{server} refuses {self.location}: {code} {words}. Check"
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
