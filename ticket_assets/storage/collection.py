"""The Chroma collection of the tickets; what differs from the warehouse is sent to it."""

from __future__ import annotations

import hashlib
import re
import socket
import sqlite3
import ssl
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from ticket_assets.errors import TicketAssetsError, system_advice
from ticket_assets.server_replies import cleansed
from ticket_assets.settings import Settings, SettingsError
from ticket_assets.storage.neighbours import Neighbour
from ticket_assets.storage.unused_index_space import cleared_after_use
from ticket_assets.storage.vectors import Matrix
from ticket_assets.storage.whole_folder import finish_replacing, replacing_folder

Metadata = dict[str, str | int | bool]

CONNECT_SECONDS = 10.0
QUERY_BATCH = 256
"""Vectors per query: enough to amortise the call, few enough to keep the answer small."""
LABELS = ("category", "priority")


class CollectionError(TicketAssetsError):
    """The vector collection cannot be reached or opened."""


@dataclass(frozen=True)
class ChromaServer:
    """A Chroma server, and how it is reached."""

    url: str
    token: str | None = field(default=None, repr=False)
    """Sent with each request as `Authorization: Bearer`. Chroma's own server looks at none: what
    checks it, and speaks TLS, stands in front."""
    ca_file: Path | None = None
    """PEM file with the authority of its certificate; None is those that the system trusts."""
    database: str = "default_database"
    """The desk's own, created when absent: collections of two desks would have the same names."""


def chroma_server(settings: Settings) -> ChromaServer | None:
    """The server that the settings name; None where Chroma is embedded.

    Raises:
        SettingsError: a file of the settings cannot be read, or they do not fit together.
    """
    url, token, ca_file = (
        settings.chroma_url,
        settings.secret("chroma_token"),
        settings.chroma_ca_file,
    )
    if url is None and (token or ca_file):
        raise SettingsError(
            "TICKETS_CHROMA_TOKEN and TICKETS_CHROMA_CA_FILE are for the server that"
            " TICKETS_CHROMA_URL names: set it as well."
        )
    if ca_file:
        try:
            ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise SettingsError(
                f"Cannot read TICKETS_CHROMA_CA_FILE={ca_file}: {error}. Name a PEM file with the"
                " authority of the Chroma server's certificate."
            ) from None
    return ChromaServer(url, token, ca_file, settings.chroma_database) if url else None


@dataclass(frozen=True)
class SyncCounts:
    """The numbers of tickets that a synchronisation changed."""

    upserted: int
    relabelled: int
    deleted: int
    unchanged: int

    def __add__(self, more: SyncCounts) -> SyncCounts:
        return SyncCounts(
            self.upserted + more.upserted,
            self.relabelled + more.relabelled,
            self.deleted + more.deleted,
            self.unchanged + more.unchanged,
        )


def day_number(day: date) -> int:
    """A day as a number that Chroma can compare: 2026-11-20 becomes 20261120."""
    return day.year * 10_000 + day.month * 100 + day.day


def collection_name(model: str) -> str:
    """Name of the collection that holds the vectors of `model`, within Chroma's rules.

    The digest distinguishes models whose names differ in punctuation alone, or far into a path.
    """
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", f"tickets-{model}")[:100].strip("-")
    return f"{readable}-{hashlib.sha256(model.encode()).hexdigest()[:10]}"


def expected_metadata(rows: pd.DataFrame) -> list[Metadata]:
    """Metadata of each ticket: day, language, text hash, and its labels where a person gave them.

    Args:
        rows: received_at, language, text_hash, category and priority (None where unlabelled).
    """
    records: list[Metadata] = []
    for row in rows.to_dict("records"):
        metadata: Metadata = {
            "day": day_number(row["received_at"].date()),
            "language": row["language"],
            "text_hash": row["text_hash"],
            "labelled": isinstance(row["category"], str),
        }
        for label in LABELS:
            if isinstance(row[label], str):
                metadata[label] = row[label]
        records.append(metadata)
    return records


class TicketCollection:
    """A Chroma collection of ticket vectors; its ids are the ticket ids."""

    def __init__(self, model: str, client: Any, collection: Any) -> None:
        self.model = model
        self._client = client
        self._collection = collection
        self._batch = client.get_max_batch_size()

    @classmethod
    @contextmanager
    def open(
        cls, model: str, *, folder: Path, server: ChromaServer | None = None
    ) -> Iterator[TicketCollection]:
        """The collection of `model`, created when absent; in `folder`, or on the server.

        Raises:
            CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
        """
        with ExitStack() as stack:
            with _explaining(folder, server):
                client = stack.enter_context(_client(folder, server))
                collection = client.get_or_create_collection(
                    collection_name(model),
                    configuration={"hnsw": {"space": "cosine"}},
                    embedding_function=None,
                    metadata={"model": model},
                )
                opened = cls(model, client, collection)
            with _explaining(folder, server, opened=True):
                yield opened

    def count(self) -> int:
        return int(self._collection.count())

    def remove_former(self) -> list[str]:
        """Remove the collections of other encoders; returns the names of these encoders.

        Call it when this collection holds every ticket. Collections of other products stay.
        """
        former = [
            collection
            for collection in self._client.list_collections()
            if collection.name != self._collection.name
            and (model := (collection.metadata or {}).get("model"))
            and collection.name == collection_name(model)
        ]
        for collection in former:
            self._client.delete_collection(collection.name)
        return sorted(str(collection.metadata["model"]) for collection in former)

    def ids(self) -> set[str]:
        """All ticket ids in the collection."""
        return {ticket_id for page in self._pages(None, []) for ticket_id in page["ids"]}

    def days_of_ids(self, first_day: date, last_day: date) -> dict[str, date]:
        """The ids of the tickets received from `first_day` to `last_day`, each with its day."""
        metadata = self._metadata(_between(first_day, last_day))
        return {ticket_id: _day(entry["day"]) for ticket_id, entry in metadata.items()}

    def sync(
        self,
        rows: pd.DataFrame,
        vectors: Matrix,
        first_day: date,
        last_day: date,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> SyncCounts:
        """Make the collection's tickets from `first_day` to `last_day` (inclusive) equal `rows`.

        Sends new and re-written texts with their vectors, and changed labels as metadata alone.
        Deletes the tickets that `rows` lack.

        Args:
            rows: ticket_id, received_at, language, text_hash, category, priority.
            vectors: float32 of shape (len(rows), dimension), aligned with `rows`.
        """
        stored = self._metadata(_between(first_day, last_day))
        ids, expected = rows["ticket_id"].tolist(), expected_metadata(rows)
        updates = [
            _update(stored.get(ticket_id), metadata)
            for ticket_id, metadata in zip(ids, expected, strict=True)
        ]
        deleted = sorted(stored.keys() - set(ids))
        upserted, relabelled = [], []
        for index, (ticket_id, metadata) in enumerate(zip(ids, expected, strict=True)):
            if stored.get(ticket_id, {}).get("text_hash") != metadata["text_hash"]:
                upserted.append(index)
            elif stored[ticket_id] != metadata:
                relabelled.append(index)
        for batch in _batches(deleted, self._batch):
            self._collection.delete(ids=list(batch))
        sent = 0
        for batch in _batches(upserted, self._batch):
            self._collection.upsert(
                ids=[ids[index] for index in batch],
                embeddings=vectors[list(batch)],
                metadatas=[updates[index] for index in batch],
            )
            sent += len(batch)
            if on_progress:
                on_progress(sent, len(upserted))
        for batch in _batches(relabelled, self._batch):
            self._collection.update(
                ids=[ids[index] for index in batch], metadatas=[updates[index] for index in batch]
            )
        return SyncCounts(
            upserted=len(upserted),
            relabelled=len(relabelled),
            deleted=len(deleted),
            unchanged=len(ids) - len(upserted) - len(relabelled),
        )

    def nearest(
        self,
        vectors: Matrix,
        count: int,
        *,
        labelled_only: bool = False,
    ) -> list[list[Neighbour]]:
        """For each vector the `count` nearest tickets, nearest first.

        Args:
            vectors: float32 of shape (n, dimension).
            labelled_only: only tickets to which a person gave a category.
        """
        if not len(vectors) or not self.count():
            return [[] for _ in range(len(vectors))]
        neighbours: list[list[Neighbour]] = []
        for start in range(0, len(vectors), QUERY_BATCH):
            answer = self._collection.query(
                query_embeddings=np.ascontiguousarray(vectors[start : start + QUERY_BATCH]),
                n_results=count,
                where={"labelled": True} if labelled_only else None,
                include=["distances", "metadatas"],
            )
            columns = answer["ids"], answer["distances"], answer["metadatas"]
            for of_vector in zip(*columns, strict=True):
                neighbours.append([_neighbour(*row) for row in zip(*of_vector, strict=True)])
        return neighbours

    def _metadata(self, where: dict[str, Any]) -> dict[str, Metadata]:
        return {
            ticket_id: metadata
            for page in self._pages(where, ["metadatas"])
            for ticket_id, metadata in zip(page["ids"], page["metadatas"], strict=True)
        }

    def _pages(self, where: dict[str, Any] | None, include: list[str]) -> Iterator[Any]:
        offset = 0
        while True:
            page = self._collection.get(
                where=where, include=include, limit=self._batch, offset=offset
            )
            yield page
            if len(page["ids"]) < self._batch:
                return
            offset += self._batch


def missing_tickets(model: str, count: int, *, folder: Path, server: ChromaServer | None) -> int:
    """How many of `count` tickets the collection of `model` lacks at least.

    Raises:
        CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
    """
    name = collection_name(model)
    if server is None:
        if not folder.exists():
            return count
        if _rows_in_folder(folder, name) >= count:
            return 0
    with _explaining(folder, server), _client(folder, server) as client:
        collections = {collection.name: collection for collection in client.list_collections()}
        return max(0, count - (collections[name].count() if name in collections else 0))


def _rows_in_folder(folder: Path, name: str) -> int:
    """The tickets of a collection as Chroma's database has them, which may lag behind.

    A command that has nothing to do looks at it, and Chroma's client takes more than a second to
    load. Of a database that looks otherwise, the client says more.
    """
    with (
        suppress(sqlite3.Error),
        closing(
            sqlite3.connect(f"{(folder / 'chroma.sqlite3').absolute().as_uri()}?mode=ro", uri=True)
        ) as connection,
    ):
        (rows,) = connection.execute(
            "select count(*) from embeddings join segments on segments.id = embeddings.segment_id"
            " join collections on collections.id = segments.collection where collections.name = ?",
            [name],
        ).fetchone()
        return int(rows)
    return 0


def require_usable(folder: Path, server: ChromaServer | None) -> None:
    """Pass when the collections can be listed.

    Raises:
        CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
    """
    with _explaining(folder, server), _client(folder, server) as client:
        client.list_collections()


def remove_collection(model: str, server: ChromaServer) -> None:
    """Remove the collection of `model` from the server, if it is there.

    Raises:
        CollectionError: the server does not answer or refuses.
    """
    name = collection_name(model)
    with _explaining(Path(), server), _client(Path(), server) as client:
        if name in {collection.name for collection in client.list_collections()}:
            client.delete_collection(name)


def erase_tickets(
    ticket_ids: Collection[str],
    *,
    folder: Path,
    server: ChromaServer | None = None,
    dry_run: bool = False,
) -> int:
    """Remove the tickets from every collection; returns how many of them were there.

    Chroma leaves the ids and vectors of deleted tickets in its files, so an embedded collection is
    written anew without them and replaces the old one whole. A server gets a request to delete;
    its files stay its own matter.

    Raises:
        CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
    """
    if server is None:
        finish_replacing(folder)
        if not folder.exists():
            return 0
    with _explaining(folder, server), _client(folder, server) as client:
        batch = client.get_max_batch_size()
        stored = {
            collection.name: [
                ticket_id
                for ids in _batches(sorted(ticket_ids), batch)
                for ticket_id in collection.get(ids=list(ids), include=[])["ids"]
            ]
            for collection in client.list_collections()
        }
        erased: set[str] = set().union(*stored.values())
        if erased and server is None and not dry_run:
            with replacing_folder(folder) as draft, _client(draft, None) as target:
                for collection in client.list_collections():
                    _copy_without(collection, target, erased, batch)
        elif not dry_run:
            for name, ids in stored.items():
                for part in _batches(ids, batch):
                    client.get_collection(name, embedding_function=None).delete(ids=list(part))
    return len(erased)


def _copy_without(source: Any, target: Any, ticket_ids: set[str], batch: int) -> None:
    copy = target.create_collection(
        source.name,
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
        metadata=source.metadata,
    )
    for offset in range(0, source.count(), batch):
        page = source.get(include=["embeddings", "metadatas"], limit=batch, offset=offset)
        rows = [row for row, name in enumerate(page["ids"]) if name not in ticket_ids]
        if rows:
            copy.add(
                ids=[page["ids"][row] for row in rows],
                embeddings=page["embeddings"][rows],
                metadatas=[page["metadatas"][row] for row in rows],
            )


def _update(stored: Metadata | None, expected: Metadata) -> dict[str, str | int | bool | None]:
    """The metadata to send, so that `expected` and nothing else is stored.

    Chroma merges metadata, also in an upsert: a key that goes has to be set to None. The labels
    always are, since a ticket may be stored under another day than those of the synchronisation.
    """
    return {key: expected.get(key) for key in (*(stored or ()), *LABELS, *expected)}


def _day(number: str | int | bool) -> date:
    return date(int(number) // 10_000, int(number) // 100 % 100, int(number) % 100)


def _between(first_day: date, last_day: date) -> dict[str, Any]:
    """The condition that selects the tickets of the days from `first_day` to `last_day`."""
    return {
        "$and": [
            {"day": {"$gte": day_number(first_day)}},
            {"day": {"$lte": day_number(last_day)}},
        ]
    }


def _neighbour(ticket_id: str, distance: float, metadata: Metadata) -> Neighbour:
    category, priority = metadata.get("category"), metadata.get("priority")
    return Neighbour(
        ticket_id=ticket_id,
        similarity=1.0 - float(distance),
        category=None if category is None else str(category),
        priority=None if priority is None else str(priority),
        day=_day(metadata["day"]),
        text_hash=str(metadata["text_hash"]),
    )


@contextmanager
def _client(folder: Path, server: ChromaServer | None) -> Iterator[Any]:
    # Chroma keeps one system per folder alive; without the close, a later open in this process
    # would see files that another process has changed since.
    if server is None:
        refuse_file(folder)
        with cleared_after_use(folder), closing(_embedded(folder)) as client:
            yield client
    else:
        with closing(_connected(server)) as client:
            yield client


def _embedded(folder: Path) -> Any:
    import chromadb
    from chromadb.config import Settings as ChromaSettings

    folder.mkdir(parents=True, exist_ok=True)
    quiet = ChromaSettings(anonymized_telemetry=False)
    return chromadb.PersistentClient(str(folder), settings=quiet)


def _connected(server: ChromaServer) -> Any:
    import chromadb
    from chromadb.config import Settings as ChromaSettings
    from chromadb.errors import NotFoundError

    parts = urlsplit(server.url)
    is_tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_tls else 8000)
    # Chroma's client would wait for ever where nothing answers.
    socket.create_connection((host, port), CONNECT_SECONDS).close()
    settings = ChromaSettings(
        anonymized_telemetry=False,
        chroma_server_ssl_verify=str(server.ca_file) if server.ca_file else None,
    )
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else None
    connect = partial(chromadb.HttpClient, host, port, is_tls, headers, settings)
    try:
        return connect(database=server.database)
    except NotFoundError:  # the client has put the address in the settings
        chromadb.AdminClient(settings).create_database(server.database)
        return connect(database=server.database)


def refuse_file(folder: Path) -> None:
    """Refuse a file in the place of the embedded collection: a person has put it there."""
    if folder.is_file():
        raise CollectionError(f"The Chroma folder {folder} is a file. Move it away.")


@contextmanager
def _explaining(
    folder: Path, server: ChromaServer | None, *, opened: bool = False
) -> Iterator[None]:
    """Makes one line of any error, of a collection that is `opened` of Chroma's errors alone."""
    try:
        yield
    except CollectionError:
        raise
    except Exception as error:
        if opened and not _is_chroma_error(error):
            raise
        causes = list(_causes(error))
        place = f"the Chroma server at {server.url}" if server else f"the Chroma folder {folder}"
        # It may be the page of a proxy.
        words = cleansed(str(error), [server.token if server else None])
        reason = words.rstrip(".!") or type(error).__name__
        advice = system_advice(error) or "Make it anew: tickets collection rebuild."
        if server:
            advice = "Check TICKETS_CHROMA_URL and that the server runs."
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            reason = "its certificate is not trusted"
            advice = "Name the file of its authority with TICKETS_CHROMA_CA_FILE."
        elif any(map(_is_refusal, causes)):
            reason = "it refuses the token" if server and server.token else "it wants a token"
            advice = "Set the right one with TICKETS_CHROMA_TOKEN_FILE."
        raise CollectionError(
            f"Cannot use {place}: {reason or type(error).__name__}. {advice}"
        ) from (None if server else error)  # a server's own words stay out of logs


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_chroma_error(error: Exception) -> bool:
    import httpx
    from chromadb.errors import ChromaError

    # What the client cannot read from the server's answer it raises as a bare exception.
    return isinstance(error, (ChromaError, httpx.HTTPError)) or type(error) is Exception


def _is_refusal(error: BaseException) -> bool:
    import httpx
    from chromadb.errors import ChromaAuthError

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {401, 403}
    return isinstance(error, ChromaAuthError)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
