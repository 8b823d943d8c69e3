"""ticket_collection: the Chroma collection, kept equal to the table by difference."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import dagster as dg

from ticket_assets.defs.io_managers import inherit_origins
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    days_of_run,
    record_each_day,
)
from ticket_assets.defs.pools import COLLECTION_POOL
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import SORTING
from ticket_assets.planning.recipe import CODE_VERSIONS, recipe
from ticket_assets.progress import ProgressLog
from ticket_assets.storage.collected_tickets import collected_tickets, fill
from ticket_assets.storage.collection import TicketCollection
from ticket_assets.storage.day_origins import read_origins, replace_origins
from ticket_assets.storage.vectors import to_matrix

SELF_QUERIES = 50
"""Vectors that the check looks up in the collection."""

SAME_VECTOR = 1 - 1e-4
"""Chroma computes in float32; a smaller similarity is another vector, not rounding."""


@dg.asset(
    deps=["ticket_embeddings", "clean_tickets", "ticket_labels"],
    description="Vectors of all tickets, searchable; day, language, text hash and labels as"
    " metadata. Only what differs from the tables is sent.",
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=SORTING,
    kinds={"chroma"},
    code_version=CODE_VERSIONS["ticket_collection"],
    pool=COLLECTION_POOL,
)
def ticket_collection(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.MaterializeResult[None]:
    days = days_of_run(context)
    origins = read_origins(desk.warehouse, "ticket_embeddings")
    origins = inherit_origins(context, "ticket_collection", origins, recipe(desk))
    warehouse = desk.warehouse
    with _collection(desk, days) as collection:
        if collection is None:
            replace_origins(warehouse, "ticket_collection", days, origins)
            return dg.MaterializeResult(metadata={"tickets_in_collection": 0})
        started = time.monotonic()
        progress = ProgressLog(context.log.info, "vectors sent")
        lost = max(0, collected_tickets(warehouse).get(collection.model, 0) - collection.count())
        if lost:
            context.log.warning(f"The collection has lost {lost:,} tickets: all days are filled.")
            fill(collection, warehouse, on_progress=progress)
        counts = fill(collection, warehouse, days[0], days[-1], progress)
        seconds = time.monotonic() - started
        total = collection.count()
        # While days are still to be encoded anew, the champion's neighbours are in the former one.
        (embedded,) = warehouse.row(
            "select case when count(distinct model) = 1 then count(*) end from ticket_embeddings"
        )
        former = collection.remove_former() if total == embedded else []
    tickets = warehouse.frame(
        "select received_at from ticket_embeddings where received_at::date between ? and ?",
        [days[0], days[-1]],
    )
    record_each_day(context, tickets, days, "ticket_collection")
    replace_origins(warehouse, "ticket_collection", days, origins)
    return dg.MaterializeResult(
        metadata={
            "run_upserted": counts.upserted,
            "run_relabelled": counts.relabelled,
            "run_deleted": counts.deleted,
            "run_unchanged": counts.unchanged,
            "run_lost": lost,
            "run_indexing_seconds": round(seconds, 3),
            "tickets_in_collection": total,
            "former_encoders_removed": former,
        }
    )


@daily_check(
    asset="ticket_collection",
    blocking=True,
    pool=COLLECTION_POOL,
    description="The collection holds the ids of ticket_embeddings under the same days, no more and"
    " no fewer.",
)
def collection_has_the_ids_of_the_table(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    table = dict(
        desk.warehouse.rows(
            "select ticket_id, received_at::date as day from ticket_embeddings"
            " where day between ? and ?",
            [days[0], days[-1]],
        )
    )
    with _collection(desk, days) as collection:
        stored = collection.days_of_ids(days[0], days[-1]) if collection else {}
    in_table, in_collection = Counter(table.values()), Counter(stored.values())
    missing = Counter(day for _, day in table.items() - stored.items())
    left_over = Counter(day for _, day in stored.items() - table.items())
    return {
        day: dg.AssetCheckResult(
            passed=not missing[day] and not left_over[day],
            metadata={
                "table": in_table[day],
                "collection": in_collection[day],
                "missing": missing[day],
                "left_over": left_over[day],
            },
        )
        for day in in_table | in_collection
    }


@daily_check(
    asset="ticket_collection",
    blocking=True,
    pool=COLLECTION_POOL,
    description="A vector of the table finds itself in the collection: its nearest neighbour has"
    " the same text and the same vector.",
)
def a_vector_finds_itself(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    sample = desk.warehouse.arrow(
        "select received_at::date as day, text_hash, vector from ticket_embeddings"
        " where day between ? and ? qualify"
        " row_number() over (partition by day order by hash(ticket_id, ?)) <= ?",
        [days[0], days[-1], desk.settings.seed, max(1, SELF_QUERIES // len(days))],
    )
    with _collection(desk, days) as collection:
        nearest = collection.nearest(to_matrix(sample["vector"]), 1) if collection else []
    similarities: dict[date, list[float]] = {}
    for day, text_hash, neighbours in zip(
        sample["day"].to_pylist(), sample["text_hash"].to_pylist(), nearest, strict=True
    ):
        similarities.setdefault(day, []).append(
            max((near.similarity for near in neighbours if near.text_hash == text_hash), default=0)
        )
    return {
        day: dg.AssetCheckResult(
            passed=min(of_day) >= SAME_VECTOR,
            metadata={
                "queries": len(of_day),
                "not_found": sum(similarity < SAME_VECTOR for similarity in of_day),
                "least_similarity": min(of_day),
            },
        )
        for day, of_day in similarities.items()
    }


@contextmanager
def _collection(desk: Desk, days: Sequence[date]) -> Iterator[TicketCollection | None]:
    """The collection of the encoder that has made the vectors of the days, or the latest ones where
    these days have none; None while there is no vector."""
    models = desk.warehouse.rows(
        "select model from ticket_embeddings"
        " order by received_at::date between ? and ? desc, received_at desc, ticket_id limit 1",
        [days[0], days[-1]],
    )
    if not models:
        yield None
        return
    with desk.collection(models[0][0]) as collection:
        yield collection
