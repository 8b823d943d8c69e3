"""ticket_embeddings: one vector per clean ticket, looked up before it is computed."""

import dagster as dg
import pyarrow as pa

from ticket_assets.defs.conventions import WAREHOUSE_POOL
from ticket_assets.defs.partitions import DAILY, SINGLE_RUN, days
from ticket_assets.defs.previews import record_rows_per_day
from ticket_assets.desk import Desk
from ticket_assets.progress import ProgressLog

UNIT_LENGTH_TOLERANCE = 1e-3
"""Vectors are stored in float32; a length further from 1 than this is a fault, not rounding."""


@dg.asset(
    deps=["clean_tickets"],
    description="The encoder's vector of every clean ticket. A text that the same encoder has seen"
    " before is not encoded again.",
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    group_name="text",
    kinds={"duckdb", "pytorch", "huggingface"},
    code_version="1",
    pool=WAREHOUSE_POOL,
)
def ticket_embeddings(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> pa.RecordBatchReader:
    from ticket_assets.embedding.lookup import embed_tickets

    wanted = days(context)
    warehouse = desk.warehouse
    desk.record_precision()
    configured = desk.encoder
    if configured.needs_comparison:
        context.log.info(
            f"{configured.model_id} is not known to agree with transformers on this CPU: loading it"
            " takes up to half a minute, for a comparison"
        )
    made = embed_tickets(
        warehouse,
        wanted[0],
        wanted[-1],
        configured,
        on_progress=ProgressLog(context.log.info, "texts"),
    )
    received = warehouse.frame(
        "select received_at from clean_tickets where received_at::date between ? and ?",
        [wanted[0], wanted[-1]],
    )
    record_rows_per_day(context, received["received_at"], wanted, "ticket_embeddings")
    figures: dict[str, str | int | float] = {
        "encoder": configured.model_id,
        "precision": configured.precision,
        "dimension": configured.model.dimension,
        "texts_encoded": made.texts_encoded,
        "vectors_looked_up": made.tickets - made.texts_encoded,
        "encoding_seconds": round(made.encoding_seconds, 3),
        "texts_per_second": round(made.texts_per_second, 1),
    }
    if configured.is_loaded:
        encoder = configured.encoder
        figures |= {
            "forward_pass": encoder.path,
            "streams": encoder.streams,
            "load_seconds": round(encoder.load_seconds, 2),
        }
        context.log.info(f"{configured.model_id}: {encoder.streams} streams, {encoder.path}")
    context.add_asset_metadata(figures)
    return made.rows


@dg.asset_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every clean ticket has one vector, made of its present text; there is no other.",
)
def every_clean_ticket_has_one_vector(
    desk: dg.ResourceParam[Desk],
) -> dg.AssetCheckResult:
    tickets, vectors, paired = desk.warehouse.row(
        "select (select count(*) from clean_tickets), (select count(*) from ticket_embeddings),"
        " (select count(*) from clean_tickets join ticket_embeddings using (ticket_id, text_hash))"
    )
    return dg.AssetCheckResult(
        passed=tickets == vectors == paired,
        metadata={"clean_tickets": tickets, "vectors": vectors, "paired": paired},
    )


@dg.asset_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="All vectors come from one encoder, so that they can be compared.",
)
def vectors_come_from_one_encoder(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    found = desk.warehouse.rows(
        "select model, count(*) from ticket_embeddings group by all order by 2 desc"
    )
    return dg.AssetCheckResult(
        passed=len(found) <= 1,
        description=None
        if len(found) <= 1
        else "Materialise ticket_embeddings for all days with the present encoder.",
        metadata={"encoders": dict(found)},
    )


@dg.asset_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Vectors have as many numbers as the encoder gives.",
)
def vectors_have_the_encoders_dimension(
    desk: dg.ResourceParam[Desk],
) -> dg.AssetCheckResult:

    expected = desk.encoder.model.dimension
    found = desk.warehouse.rows("select distinct array_length(vector) from ticket_embeddings")
    dimensions = [dimension for (dimension,) in found]
    return dg.AssetCheckResult(
        passed=all(dimension == expected for dimension in dimensions),
        metadata={"expected": expected, "found": dimensions},
    )


@dg.asset_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Vectors hold finite numbers and have unit length.",
)
def vectors_are_finite_and_of_unit_length(
    desk: dg.ResourceParam[Desk],
) -> dg.AssetCheckResult:
    # list_* take DuckDB's fixed-size arrays as lists; NaN makes the length NaN and a missing vector
    # null, neither of which is within the tolerance.
    vectors, wrong, shortest, longest = desk.warehouse.row(
        "with lengths as (select"
        " sqrt(list_sum(list_transform(vector::float[], x -> x::double * x))) as length"
        " from ticket_embeddings)"
        " select count(*), count(*) filter ((length between ? and ?) is not true),"
        " min(length), max(length) from lengths",
        [1 - UNIT_LENGTH_TOLERANCE, 1 + UNIT_LENGTH_TOLERANCE],
    )
    return dg.AssetCheckResult(
        passed=wrong == 0,
        metadata={"vectors": vectors, "wrong": wrong, "shortest": shortest, "longest": longest},
    )
