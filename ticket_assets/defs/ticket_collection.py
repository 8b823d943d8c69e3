"""ticket_collection: the Chroma collection, kept equal to the table by difference."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ticket_assets.defs.conventions import COLLECTION_POOL
from ticket_assets.defs.partitions import DAILY, SINGLE_RUN, days
from ticket_assets.desk import Desk
from ticket_assets.progress import ProgressLog
from ticket_assets.storage.collection import TicketCollection
from ticket_assets.storage.vectors import to_matrix
from ticket_assets.storage.warehouse import Warehouse

SELF_QUERIES = 50
"""Vectors that the check looks up in the collection."""

SAME_VECTOR = 1 - 1e-4
"""Chroma computes in float32; a smaller similarity is another vector, not rounding."""


@dg.asset(
    deps=["ticket_embeddings", "clean_tickets", "ticket_labels"],
    description="Vectors of all tickets, searchable; day, language, text hash and labels as"
    " metadata. Only what differs from the tables is sent.",
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    group_name="text",
    kinds={"chroma"},
    code_version="1",
    pool=COLLECTION_POOL,
)
def ticket_collection(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.MaterializeResult[None]:
    wanted = days(context)
    warehouse = desk.warehouse
    rows = warehouse.arrow(
        "select e.ticket_id, e.received_at, c.language, e.text_hash, l.category, l.priority,"
        " e.vector from ticket_embeddings e"
        " join clean_tickets c using (ticket_id) left join ticket_labels l using (ticket_id)"
        " where e.received_at::date between ? and ? order by e.received_at, e.ticket_id",
        [wanted[0], wanted[-1]],
    )
    with _collection(desk, warehouse) as collection:
        if collection is None:
            return dg.MaterializeResult(metadata={"tickets_in_collection": 0})
        started = time.monotonic()
        counts = collection.sync(
            rows.drop_columns(["vector"]).to_pandas(),
            to_matrix(rows["vector"]),
            wanted[0],
            wanted[-1],
            ProgressLog(context.log.info, "vectors sent"),
        )
        seconds = time.monotonic() - started
        total = collection.count()
        # While days are still to be encoded anew, the champion's neighbours are in the former one.
        (embedded,) = warehouse.row(
            "select case when count(distinct model) = 1 then count(*) end from ticket_embeddings"
        )
        former = collection.remove_former() if total == embedded else []
    return dg.MaterializeResult(
        metadata={
            "upserted": counts.upserted,
            "relabelled": counts.relabelled,
            "deleted": counts.deleted,
            "unchanged": counts.unchanged,
            "tickets_in_collection": total,
            "indexing_seconds": round(seconds, 3),
            "former_encoders_removed": former,
        }
    )


@dg.asset_check(
    asset="ticket_collection",
    blocking=True,
    pool=COLLECTION_POOL,
    description="The collection holds the ids of ticket_embeddings, no more and no fewer.",
)
def collection_has_the_ids_of_the_table(
    desk: dg.ResourceParam[Desk],
) -> dg.AssetCheckResult:
    warehouse = desk.warehouse
    table = set(warehouse.frame("select ticket_id from ticket_embeddings")["ticket_id"])
    with _collection(desk, warehouse) as collection:
        stored = collection.ids() if collection else set()
    return dg.AssetCheckResult(
        passed=table == stored,
        metadata={
            "table": len(table),
            "collection": len(stored),
            "missing": len(table - stored),
            "left_over": len(stored - table),
        },
    )


@dg.asset_check(
    asset="ticket_collection",
    blocking=True,
    pool=COLLECTION_POOL,
    description="A vector of the table finds itself in the collection: its nearest neighbour has"
    " the same text and the same vector.",
)
def a_vector_finds_itself(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    warehouse = desk.warehouse
    sample = warehouse.arrow(
        "select text_hash, vector from ticket_embeddings order by hash(ticket_id, ?) limit ?",
        [desk.settings.seed, SELF_QUERIES],
    )
    with _collection(desk, warehouse) as collection:
        found = collection.nearest(to_matrix(sample["vector"]), 1) if collection else []
    nearest = [neighbours[0] for neighbours in found if neighbours]
    lost = sample.num_rows - sum(
        neighbour.text_hash == text_hash and neighbour.similarity >= SAME_VECTOR
        for neighbour, text_hash in zip(nearest, sample["text_hash"].to_pylist(), strict=False)
    )
    return dg.AssetCheckResult(
        passed=lost == 0,
        metadata={
            "queries": sample.num_rows,
            "not_found": lost,
            "least_similarity": min((neighbour.similarity for neighbour in nearest), default=1.0),
        },
    )


@contextmanager
def _collection(desk: Desk, warehouse: Warehouse) -> Iterator[TicketCollection | None]:
    """The collection of the encoder whose vectors the table holds; None while it holds none."""
    models = warehouse.rows(
        "select model from ticket_embeddings order by received_at desc, ticket_id limit 1"
    )
    if not models:
        yield None
        return
    with desk.collection(models[0][0]) as collection:
        yield collection
