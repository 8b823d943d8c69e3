"""ticket_embeddings: one vector per clean ticket, looked up before it is computed."""

import time

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from ticket_assets.defs.conventions import WAREHOUSE_POOL
from ticket_assets.defs.partitions import DAILY, SINGLE_RUN, days
from ticket_assets.defs.previews import record_rows_per_day
from ticket_assets.progress import ProgressLog
from ticket_assets.settings import Settings
from ticket_assets.storage.vectors import to_arrow, to_matrix
from ticket_assets.storage.warehouse import Warehouse

UNIT_LENGTH_TOLERANCE = 1e-3
"""Vectors are stored in float32; a length further from 1 than this is a fault, not rounding."""


@dg.asset(
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
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clean_tickets: pd.DataFrame,
) -> pa.Table:
    from ticket_assets.embedding.encoder import Encoder, choose_precision, model_id
    from ticket_assets.embedding.lookup import encode_missing
    from ticket_assets.embedding.presets import resolve_model

    model = resolve_model(
        settings.encoder,
        encoders_dir=settings.encoders_dir,
        allow_download=settings.allow_download,
    )
    precision = choose_precision(settings.encoder_precision)
    name = model_id(model, precision, settings.encoder_max_tokens)
    started = time.monotonic()
    vectors, encoded = encode_missing(
        clean_tickets["text_hash"].tolist(),
        clean_tickets["text"].tolist(),
        _known_vectors(Warehouse(settings.warehouse_path), name, clean_tickets),
        dimension=model.dimension,
        load_encoder=lambda: Encoder.load(
            model,
            precision=precision,
            max_tokens=settings.encoder_max_tokens,
            batch_tokens=settings.encoder_batch_tokens,
            threads=settings.encoder_threads,
        ),
        on_progress=ProgressLog(context.log.info, "texts"),
    )
    seconds = time.monotonic() - started
    record_rows_per_day(context, clean_tickets["received_at"], days(context), "ticket_embeddings")
    context.add_asset_metadata(
        {
            "encoder": name,
            "precision": precision,
            "dimension": model.dimension,
            "texts_encoded": encoded,
            "vectors_looked_up": len(clean_tickets) - encoded,
            "texts_per_second": round(encoded / seconds, 1) if encoded else 0.0,
        }
    )
    return pa.table(
        {
            "ticket_id": pa.array(clean_tickets["ticket_id"], pa.string()),
            "received_at": pa.array(clean_tickets["received_at"], pa.timestamp("us")),
            "text_hash": pa.array(clean_tickets["text_hash"], pa.string()),
            "model": pa.array([name] * len(clean_tickets), pa.string()),
            "vector": to_arrow(vectors),
        }
    )


def _known_vectors(
    warehouse: Warehouse, model: str, tickets: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Vectors that `model` has already made of these texts, by text hash, wherever they stand."""
    if "ticket_embeddings" not in warehouse.tables():
        return {}
    found = warehouse.arrow(
        "select text_hash, any_value(vector) as vector from ticket_embeddings"
        " where model = ? and text_hash in (select text_hash from wanted) group by text_hash",
        [model],
        {"wanted": tickets[["text_hash"]].drop_duplicates()},
    )
    return dict(zip(found["text_hash"].to_pylist(), to_matrix(found["vector"]), strict=True))


@dg.asset_check(
    asset="ticket_embeddings",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every clean ticket has one vector, made of its present text; there is no other.",
)
def every_clean_ticket_has_one_vector(
    settings: dg.ResourceParam[Settings],
) -> dg.AssetCheckResult:
    tickets, vectors, paired = Warehouse(settings.warehouse_path).row(
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
def vectors_come_from_one_encoder(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    found = Warehouse(settings.warehouse_path).rows(
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
    description="Vectors are as long as the encoder's hidden layer is wide.",
)
def vectors_have_the_encoders_dimension(
    settings: dg.ResourceParam[Settings],
) -> dg.AssetCheckResult:
    from ticket_assets.embedding.presets import resolve_model

    expected = resolve_model(
        settings.encoder,
        encoders_dir=settings.encoders_dir,
        allow_download=settings.allow_download,
    ).dimension
    found = Warehouse(settings.warehouse_path).rows(
        "select distinct array_length(vector) from ticket_embeddings"
    )
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
    settings: dg.ResourceParam[Settings],
) -> dg.AssetCheckResult:
    # list_* take DuckDB's fixed-size arrays as lists; NaN makes the length NaN and a missing vector
    # null, neither of which is within the tolerance.
    vectors, wrong, shortest, longest = Warehouse(settings.warehouse_path).row(
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
