"""What the collection holds of the tables: it is filled from them, and a loss is noticed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path

from ticket_assets.storage.collection import (
    ChromaServer,
    SyncCounts,
    TicketCollection,
    missing_tickets,
    refuse_file,
    remove_collection,
)
from ticket_assets.storage.day_origins import read_origins
from ticket_assets.storage.day_parts import day_parts
from ticket_assets.storage.vectors import to_matrix
from ticket_assets.storage.warehouse import Warehouse
from ticket_assets.storage.whole_folder import replacing_folder

ASKED_FOR = 100
"""Tickets of the collection that are asked for by their vector, spread over all days."""
SAME = 0.999
"""Similarity of a vector to itself, and room for the index's numbers."""
Progress = Callable[[int, int], None]
"""Called with the number of tickets done and of all."""


def collected_tickets(warehouse: Warehouse) -> dict[str, int]:
    """How many tickets the collection of each encoder holds at least, the newest encoder first.

    These are the tickets of the days whose vectors have not been made anew since the collection
    got them.
    """
    collected = read_origins(warehouse, "ticket_collection")
    embedded = read_origins(warehouse, "ticket_embeddings")
    days = [day for day, origin in collected.items() if embedded.get(day) == origin]
    if not days:
        return {}
    return dict(
        warehouse.rows(
            "select model, count(*) from ticket_embeddings"
            " where received_at::date in (select unnest(?::date[]))"
            " group by model order by max(received_at) desc, model",
            [days],
        )
    )


def lost_tickets(warehouse: Warehouse, *, folder: Path, server: ChromaServer | None) -> int:
    """How many tickets of the newest encoder the collection lacks that it has held.

    Raises:
        CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
        WarehouseError: the warehouse stays locked, or is not readable.
    """
    for model, count in collected_tickets(warehouse).items():
        return missing_tickets(model, count, folder=folder, server=server)
    return 0


def unequal_tickets(warehouse: Warehouse, *, folder: Path, server: ChromaServer | None) -> int:
    """How many tickets of the newest encoder the collection lacks, holds too many, or does not find
    by their vector, of which some are asked for; on the days that it has had.

    Raises:
        CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
        WarehouseError: the warehouse stays locked, or is not readable.
    """
    embedded = read_origins(warehouse, "ticket_embeddings")
    collected = read_origins(warehouse, "ticket_collection")
    days = {day for day, origin in collected.items() if embedded.get(day) == origin}
    model = next(iter(collected_tickets(warehouse)), None)
    if model is None:
        return 0
    rows = warehouse.arrow(
        "select ticket_id, received_at::date as day, vector from ticket_embeddings"
        " where model = ? and day in (select unnest(?::date[])) order by all",
        [model, sorted(days)],
    )
    expected = dict(zip(rows["ticket_id"].to_pylist(), rows["day"].to_pylist(), strict=True))
    if server is None and not folder.exists():
        return len(expected)
    with TicketCollection.open(model, folder=folder, server=server) as collection:
        stored = collection.days_of_ids(min(days), max(days))
        stored = {ticket_id: day for ticket_id, day in stored.items() if day in days}
        different = {ticket_id for ticket_id, _ in expected.items() ^ stored.items()}
        if different:
            return len(different)
        some = rows.take(list(range(0, len(rows), max(len(rows) // ASKED_FOR, 1))))
        nearest = collection.nearest(to_matrix(some["vector"]), 1)
    return sum(not near or near[0].similarity < SAME for near in nearest)


def fill(
    collection: TicketCollection,
    warehouse: Warehouse,
    first_day: date = date.min,
    last_day: date = date.max,
    on_progress: Progress | None = None,
) -> SyncCounts:
    """Make the collection's tickets of these days equal the tables, a part of them at a time."""
    counts = SyncCounts(0, 0, 0, 0)
    for first, last in day_parts(warehouse, collection.model, first_day, last_day):
        rows = warehouse.arrow(
            "select e.ticket_id, e.received_at, c.language, e.text_hash, l.category, l.priority,"
            " e.vector from ticket_embeddings e"
            " join clean_tickets c using (ticket_id) left join ticket_labels l using (ticket_id)"
            " where e.received_at::date between ? and ? and e.model = ?"
            " order by e.received_at, e.ticket_id",
            [first, last, collection.model],
        )
        tickets, vectors = rows.drop_columns(["vector"]).to_pandas(), to_matrix(rows["vector"])
        progress = on_progress and _later(on_progress, counts.upserted)
        counts += collection.sync(tickets, vectors, first, last, progress)
    return counts


def _later(on_progress: Progress, before: int) -> Progress:
    """Progress of a part, before which so many tickets were done."""
    return lambda done, total: on_progress(before + done, before + total)


def rebuild(
    warehouse: Warehouse,
    *,
    folder: Path,
    server: ChromaServer | None,
    on_progress: Progress | None = None,
) -> int:
    """Clear the collections of the encoders whose vectors the warehouse holds, and fill them from
    it; the number of tickets.

    An embedded one is replaced whole when its successor is complete. One on a server that was
    interrupted is filled by the next run.

    Raises:
        CollectionError: the server does not answer or refuses, or the folder is a file.
        WarehouseError: there are no vectors yet, or the warehouse stays locked.
    """
    if server is None:
        refuse_file(folder)
    counts = warehouse.rows("select model, count(*) from ticket_embeddings group by all order by 1")
    total, done = sum(count for _, count in counts), 0
    with nullcontext(folder) if server else replacing_folder(folder) as place:
        for model, _ in counts:
            if server:
                remove_collection(model, server)
            with TicketCollection.open(model, folder=place, server=server) as collection:
                progress = on_progress and _of_all(on_progress, done, total)
                done += fill(collection, warehouse, on_progress=progress).upserted
    return done


def _of_all(on_progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: on_progress(before + done, total)
