"""The Chroma collection of the tickets, kept equal to the warehouse by difference."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pandas as pd

from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.vectors import Matrix
from ticket_assets.storage.whole_folder import finish_replacing, replacing_folder

Metadata = dict[str, str | int | bool]

QUERY_BATCH = 256
"""Vectors per query: enough to amortise the call, few enough to keep the answer small."""
QUERIED_DAYS = 2
"""Above so many days, vectors are compared with all labelled ones instead of asking the index.

Chroma evaluates the condition of a query on every ticket: for 20,000 tickets of 60 days that took
60 times as long as the comparison with all 14,000 labelled ones, which is exact besides.
"""
COMPARED_AT_ONCE = 1024
SEARCHED_TOGETHER = 64

LABELS = ("category", "priority")


class CollectionError(TicketAssetsError):
    """The vector collection cannot be reached or opened."""


@dataclass(frozen=True)
class SyncCounts:
    """What a synchronisation changed, in tickets."""

    upserted: int
    relabelled: int
    deleted: int
    unchanged: int


@dataclass(frozen=True)
class Neighbour:
    """A ticket near another one."""

    ticket_id: str
    similarity: float
    """Cosine similarity, 1 for the same direction."""
    category: str | None
    priority: str | None
    day: date
    text_hash: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "ticket_id": self.ticket_id,
            "similarity": round(self.similarity, 4),
            "category": self.category,
            "priority": self.priority,
            "day": self.day.isoformat(),
        }


def day_number(day: date) -> int:
    """A day as Chroma can compare it: 2026-11-20 becomes 20261120."""
    return day.year * 10_000 + day.month * 100 + day.day


def collection_name(model: str) -> str:
    """Name of the collection that holds the vectors of `model`, within Chroma's rules.

    The digest tells apart models whose names differ in punctuation alone, or far into a path.
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

    def __init__(self, client: Any, collection: Any) -> None:
        self._client = client
        self._collection = collection
        self._batch = client.get_max_batch_size()

    @classmethod
    @contextmanager
    def open(cls, model: str, *, folder: Path, url: str | None) -> Iterator[TicketCollection]:
        """The collection of `model`, created when absent; in `folder`, or on the server at `url`.

        Raises:
            CollectionError: the server does not answer, or the folder is not a Chroma folder.
        """
        with ExitStack() as stack:
            with _explaining(folder, url):
                client = _client(folder, url)
                # Chroma keeps one system per folder alive; a later open in this process would
                # see files that another process has changed since.
                stack.callback(client.close)
                collection = client.get_or_create_collection(
                    collection_name(model),
                    configuration={"hnsw": {"space": "cosine"}},
                    embedding_function=None,
                    metadata={"model": model},
                )
                opened = cls(client, collection)
            yield opened

    def count(self) -> int:
        return int(self._collection.count())

    def remove_former(self) -> list[str]:
        """Remove the collections of other encoders; returns the names of these encoders.

        Call it once this collection holds every ticket. Collections of other products on the same
        server stay.
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
        return {
            ticket_id: _day(metadata["day"])
            for page in self._pages(_between(first_day, last_day), ["metadatas"])
            for ticket_id, metadata in zip(page["ids"], page["metadatas"], strict=True)
        }

    def sync(
        self,
        rows: pd.DataFrame,
        vectors: Matrix,
        first_day: date,
        last_day: date,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> SyncCounts:
        """Make the collection's tickets from `first_day` to `last_day` (inclusive) equal `rows`.

        Only what differs is sent: new or re-written texts with their vectors, changed labels as
        metadata alone, and ids that are no longer in the table are deleted.

        Args:
            rows: ticket_id, received_at, language, text_hash, category, priority.
            vectors: float32 of shape (len(rows), dimension), aligned with `rows`.
        """
        window = _between(first_day, last_day)
        present: dict[str, Metadata] = {}
        for page in self._pages(window, ["metadatas"]):
            present.update(zip(page["ids"], page["metadatas"], strict=True))
        ids = rows["ticket_id"].tolist()
        wanted = expected_metadata(rows)
        gone = sorted(set(present) - set(ids))
        upsert, relabel = [], []
        for index, (ticket_id, metadata) in enumerate(zip(ids, wanted, strict=True)):
            stored = present.get(ticket_id)
            if stored is None or stored["text_hash"] != metadata["text_hash"]:
                upsert.append(index)
            elif stored != metadata:
                relabel.append(index)
        for batch in _batches(gone, self._batch):
            self._collection.delete(ids=list(batch))
        sent = 0
        for batch in _batches(upsert, self._batch):
            self._collection.upsert(
                ids=[ids[index] for index in batch],
                embeddings=vectors[list(batch)],
                metadatas=[_replacing(present.get(ids[index]), wanted[index]) for index in batch],
            )
            sent += len(batch)
            if on_progress:
                on_progress(sent, len(upsert))
        for batch in _batches(relabel, self._batch):
            self._collection.update(
                ids=[ids[index] for index in batch],
                metadatas=[_replacing(present[ids[index]], wanted[index]) for index in batch],
            )
        return SyncCounts(
            upserted=len(upsert),
            relabelled=len(relabel),
            deleted=len(gone),
            unchanged=len(ids) - len(upsert) - len(relabel),
        )

    def nearest(
        self,
        vectors: Matrix,
        count: int,
        *,
        labelled_only: bool = False,
        before: date | None = None,
    ) -> list[list[Neighbour]]:
        """For each vector the `count` nearest tickets, nearest first.

        Args:
            vectors: float32 of shape (n, dimension).
            labelled_only: only tickets to which a person gave a category.
            before: only tickets received on an earlier day than this one.
        """
        if not len(vectors) or not self.count():
            return [[] for _ in range(len(vectors))]
        conditions: list[dict[str, Any]] = []
        if labelled_only:
            conditions.append({"labelled": True})
        if before is not None:
            conditions.append({"day": {"$lt": day_number(before)}})
        where = {"$and": conditions} if len(conditions) > 1 else next(iter(conditions), None)
        neighbours: list[list[Neighbour]] = []
        for start in range(0, len(vectors), QUERY_BATCH):
            answer = self._collection.query(
                query_embeddings=np.ascontiguousarray(vectors[start : start + QUERY_BATCH]),
                n_results=count,
                where=where,
                include=["distances", "metadatas"],
            )
            for found in zip(answer["ids"], answer["distances"], answer["metadatas"], strict=True):
                neighbours.append([_neighbour(*one) for one in zip(*found, strict=True)])
        return neighbours

    def nearest_of_earlier_days(
        self, vectors: Matrix, days: Sequence[date], count: int
    ) -> list[list[Neighbour]]:
        """For each vector the `count` nearest labelled tickets of days before its own.

        Args:
            vectors: float32 of unit length, shape (n, dimension).
            days: the day of each vector's ticket.
        """
        if len(set(days)) > QUERIED_DAYS:
            return self._nearest_by_comparison(vectors, days, count)
        found: list[list[Neighbour]] = [[] for _ in days]
        for day in sorted(set(days)):
            rows = [row for row, each in enumerate(days) if each == day]
            nearest = self.nearest(vectors[rows], count, labelled_only=True, before=day)
            for row, neighbours in zip(rows, nearest, strict=True):
                found[row] = neighbours
        return found

    def _nearest_by_comparison(
        self, vectors: Matrix, days: Sequence[date], count: int
    ) -> list[list[Neighbour]]:
        ids: list[str] = []
        metadatas: list[Metadata] = []
        numbers = np.array([day_number(day) for day in days])
        # The best so far: similarity and place in `ids`, a page of labelled tickets at a time.
        similarity = np.full((len(vectors), count), -np.inf, dtype=np.float32)
        place = np.zeros((len(vectors), count), dtype=np.int64)
        for page in self._pages({"labelled": True}, ["metadatas", "embeddings"]):
            labelled_on = np.array([metadata["day"] for metadata in page["metadatas"]], np.int64)
            # By day: tickets in the order of their days are compared with the earlier ones alone.
            order = np.argsort(labelled_on, kind="stable")
            labelled_on = labelled_on[order]
            labelled = np.asarray(page["embeddings"], np.float32).reshape(-1, vectors.shape[1])
            labelled = labelled[order]
            for start in range(0, len(vectors), COMPARED_AT_ONCE):
                rows = slice(start, start + COMPARED_AT_ONCE)
                sure, earlier = np.searchsorted(
                    labelled_on, [numbers[rows].min(), numbers[rows].max()]
                )
                scores = vectors[rows] @ labelled[:earlier].T
                later = labelled_on[sure:earlier] >= numbers[rows, None]
                scores[:, sure:][later] = -np.inf
                scores, columns = _highest(scores, count)
                merged = np.hstack([similarity[rows], scores])
                places = np.hstack([place[rows], order[columns] + len(ids)])
                similarity[rows], chosen = _highest(merged, count)
                place[rows] = np.take_along_axis(places, chosen, axis=1)
            ids += page["ids"]
            metadatas += page["metadatas"]
        return [
            [
                _neighbour(ids[index], 1.0 - score, metadatas[index])
                for score, index in zip(scores, places, strict=True)
                if np.isfinite(score)
            ]
            for scores, places in zip(similarity.tolist(), place.tolist(), strict=True)
        ]

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


def erase_tickets(
    ticket_ids: Collection[str], *, folder: Path, url: str | None, dry_run: bool = False
) -> int:
    """Remove the tickets from every collection; returns how many of them were there.

    Chroma leaves the ids and vectors of what it deletes in its files, so an embedded collection is
    written anew without them, and takes the old one's place whole. A server deletes them, and its
    files are its own matter.

    Raises:
        CollectionError: the server does not answer, or the folder is not a Chroma folder.
    """
    if url is None:
        finish_replacing(folder)
        if not folder.exists():
            return 0
    wanted = sorted(ticket_ids)
    with _explaining(folder, url), closing(_client(folder, url)) as client:
        batch = client.get_max_batch_size()
        found = {
            collection.name: {
                ticket_id
                for ids in _batches(wanted, batch)
                for ticket_id in collection.get(ids=list(ids), include=[])["ids"]
            }
            for collection in client.list_collections()
        }
        present: set[str] = set().union(*found.values())
        if dry_run:
            return len(present)
        if present and url is None:
            with replacing_folder(folder) as draft, closing(_client(draft, None)) as fresh:
                for collection in client.list_collections():
                    _copy_without(collection, fresh, present, batch)
        elif present:
            for name, ids in found.items():
                for some in _batches(sorted(ids), batch):
                    client.get_collection(name, embedding_function=None).delete(ids=list(some))
    return len(present)


def _copy_without(source: Any, target: Any, ticket_ids: set[str], batch: int) -> None:
    copy = target.create_collection(
        source.name,
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
        metadata=source.metadata,
    )
    for offset in range(0, source.count(), batch):
        page = source.get(include=["embeddings", "metadatas"], limit=batch, offset=offset)
        stays = [place for place, found in enumerate(page["ids"]) if found not in ticket_ids]
        if stays:
            copy.add(
                ids=[page["ids"][place] for place in stays],
                embeddings=page["embeddings"][stays],
                metadatas=[page["metadatas"][place] for place in stays],
            )


def neighbours_json(neighbours: Iterable[Neighbour]) -> str:
    """Neighbours as the JSON list that the predictions table keeps."""
    return json.dumps([neighbour.as_dict() for neighbour in neighbours], ensure_ascii=False)


def _replacing(stored: Metadata | None, wanted: Metadata) -> dict[str, str | int | bool | None]:
    """What has to be sent to have exactly `wanted` stored.

    Chroma merges metadata, also in an upsert: a key that goes has to be set to None. The labels
    always are, since a ticket may be stored under another day than the ones looked at.
    """
    return {key: wanted.get(key) for key in (*(stored or ()), *LABELS, *wanted)}


def _highest(scores: Matrix, count: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """The `count` highest scores of each row, highest first, and their columns."""
    rows, width = scores.shape
    count = min(count, width)
    columns = np.broadcast_to(np.arange(width), scores.shape)
    if width > 4 * count * SEARCHED_TOGETHER:
        # They lie in the blocks with the highest maxima: a fifth of the time of partitioning all.
        blocks = -(-width // SEARCHED_TOGETHER)
        padded = np.full((rows, blocks * SEARCHED_TOGETHER), -np.inf, dtype=scores.dtype)
        padded[:, :width] = scores
        highest = padded.reshape(rows, blocks, SEARCHED_TOGETHER).max(axis=2)
        best = np.argpartition(-highest, count - 1, axis=1)[:, :count]
        within = best[:, :, None] * SEARCHED_TOGETHER + np.arange(SEARCHED_TOGETHER)
        columns = np.minimum(within.reshape(rows, -1), width - 1)
        scores = np.take_along_axis(padded, within.reshape(rows, -1), axis=1)
    if scores.shape[1] > count:
        kept = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        scores = np.take_along_axis(scores, kept, axis=1)
        columns = np.take_along_axis(columns, kept, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(columns, order, axis=1)


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
        category=str(category) if category is not None else None,
        priority=str(priority) if priority is not None else None,
        day=_day(metadata["day"]),
        text_hash=str(metadata["text_hash"]),
    )


def _client(folder: Path, url: str | None) -> Any:
    import chromadb
    from chromadb.config import Settings

    quiet = Settings(anonymized_telemetry=False)
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        return chromadb.PersistentClient(str(folder), settings=quiet)
    parts = urlsplit(url)
    ssl = parts.scheme == "https"
    return chromadb.HttpClient(
        host=parts.hostname or "",
        port=parts.port or (443 if ssl else 8000),
        ssl=ssl,
        settings=quiet,
    )


@contextmanager
def _explaining(folder: Path, url: str | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        where = f"the Chroma server at {url}" if url else f"the Chroma folder {folder}"
        advice = (
            "Check TICKETS_CHROMA_URL and that the server runs."
            if url
            else "Move the folder away and run `tickets run` to build it again."
        )
        reason = " ".join(str(error).split()).rstrip(".!")
        raise CollectionError(f"Cannot open {where}: {reason}. {advice}") from error


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
