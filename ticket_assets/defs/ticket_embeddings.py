"""ticket_embeddings: one vector per clean ticket, looked up before it is computed."""

from collections.abc import Sequence
from datetime import date

import dagster as dg
import pyarrow as pa

from ticket_assets.defs.encoder_conversion import report_conversion
from ticket_assets.defs.io_managers import inherit_origins
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    days_of_run,
    one_row_per_ticket,
    record_each_day,
)
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import TEXT
from ticket_assets.planning.recipe import CODE_VERSIONS, recipe
from ticket_assets.progress import ProgressLog
from ticket_assets.storage.day_origins import read_origins

UNIT_LENGTH_TOLERANCE = 1e-3
"""Vectors are stored in float32; a length further from 1 than this is a fault, not rounding."""


@dg.asset(
    deps=["clean_tickets"],
    description="The encoder's vector of every clean ticket. A text that the same encoder has seen"
    " before is not encoded again.",
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=TEXT,
    kinds={"duckdb", "openvino", "huggingface"},
    code_version=CODE_VERSIONS["ticket_embeddings"],
    pool=WAREHOUSE_POOL,
)
def ticket_embeddings(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> pa.RecordBatchReader:
    from ticket_assets.embedding.lookup import embed_tickets, former_vectors

    days = days_of_run(context)
    origins = read_origins(desk.warehouse, "clean_tickets")
    inherit_origins(context, "ticket_embeddings", origins, recipe(desk))
    warehouse = desk.warehouse
    if desk.secrets_in_context is not None:
        # Texts are clean and checked, and the weights of two encoders take memory.
        desk.secrets_in_context.unload()
    configured = desk.encoder
    if configured.needs_conversion:
        report_conversion(context, configured.model.name)
    desk.record_precision()
    for former, tickets in former_vectors(warehouse, days, configured.model_id):
        context.instance.report_engine_event(
            f"Encodes {tickets:,} tickets anew: their vectors are of {former}, and those of"
            f" {configured.model_id} are computed otherwise",
            context.run,
        )
    made = embed_tickets(
        warehouse,
        days[0],
        days[-1],
        configured,
        on_progress=ProgressLog(context.log.info, "texts"),
    )
    received = warehouse.frame(
        "select received_at from clean_tickets where received_at::date between ? and ?",
        [days[0], days[-1]],
    )
    record_each_day(
        context,
        received,
        days,
        "ticket_embeddings",
        lambda day, rows: {
            "vectors_made": made.made[day],
            "vectors_looked_up": len(rows) - made.made[day],
        },
    )
    figures: dict[str, str | int | float] = {
        "encoder": configured.model_id,
        "precision": configured.precision,
        "dimension": configured.model.dimension,
        "run_texts_encoded": made.texts_encoded,
        "run_encoding_seconds": round(made.encoding_seconds, 3),
        "run_texts_per_second": round(made.texts_per_second, 1),
    }
    if configured.is_loaded:
        encoder = configured.encoder
        figures |= {
            "forward_pass": encoder.path,
            "streams": encoder.streams,
            "run_load_seconds": round(encoder.load_seconds, 2),
        }
        context.log.info(f"{configured.model_id}: {encoder.streams} streams, {encoder.path}")
        # Training comes next in this process, and needs memory of its own.
        del encoder
        configured.unload()
    context.add_asset_metadata(figures)
    return made.rows


@daily_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every clean ticket has one vector, made of its present text; there is no other.",
)
def every_clean_ticket_has_one_vector(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    return one_row_per_ticket(
        desk.warehouse, days, "ticket_embeddings", "vectors", same=("ticket_id", "text_hash")
    )


@daily_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="All vectors come from one encoder, so that they can be compared.",
)
def vectors_come_from_one_encoder(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date as day, model, count(*) from ticket_embeddings"
        " where day between ? and ? group by all order by 1, 3",
        [days[0], days[-1]],
    )
    encoders: dict[date, dict[str, int]] = {}
    for day, model, vectors in rows:
        encoders.setdefault(day, {})[model] = vectors
    return {
        # Days of another encoder than the latest one's are those to be made again.
        day: dg.AssetCheckResult(passed=True, metadata={"encoders": of_day})
        if of_day.keys() == {rows[-1][1]}
        else dg.AssetCheckResult(
            passed=False,
            description="Materialise ticket_embeddings for all days with the present encoder.",
            metadata={"encoders": of_day},
        )
        for day, of_day in encoders.items()
    }


@daily_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Vectors have as many numbers as the encoder gives.",
)
def vectors_have_the_encoders_dimension(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    expected = desk.encoder.model.dimension
    rows = desk.warehouse.rows(
        "select received_at::date as day, list(distinct array_length(vector))"
        " from ticket_embeddings where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=dimensions == [expected],
            metadata={"expected": expected, "stored": dimensions},
        )
        for day, dimensions in rows
    }


@daily_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Vectors hold finite numbers and have unit length.",
)
def vectors_are_finite_and_of_unit_length(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    # list_* take DuckDB's fixed-size arrays as lists; NaN makes the length NaN and a missing vector
    # null, neither of which is within the tolerance.
    rows = desk.warehouse.rows(
        "with lengths as (select received_at::date as day,"
        " sqrt(list_sum(list_transform(vector::float[], x -> x::double * x))) as length"
        " from ticket_embeddings where day between ? and ?)"
        " select day, count(*), count(*) filter ((length between ? and ?) is not true),"
        " min(length), max(length) from lengths group by all",
        [days[0], days[-1], 1 - UNIT_LENGTH_TOLERANCE, 1 + UNIT_LENGTH_TOLERANCE],
    )
    return {
        day: dg.AssetCheckResult(
            passed=wrong == 0,
            metadata={"vectors": vectors, "wrong": wrong, "shortest": shortest, "longest": longest},
        )
        for day, vectors, wrong, shortest, longest in rows
    }
