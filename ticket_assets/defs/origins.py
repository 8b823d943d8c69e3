"""Records with each day's materialisation which landed mail its rows were made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import dagster as dg
import duckdb

from ticket_assets.mail.landed_days import LANDED_FINGERPRINT
from ticket_assets.storage.day_origins import UNPARTITIONED, Origin, write_origins

ORIGINS = "origins"
"""Attribute of a frame that was read from the warehouse: the origins of its days."""
RECIPE = "recipe"
MODEL_VERSION = "model_version"
LINKS = "links_made_anew_by"


def record_origins(
    context: dg.AssetExecutionContext, asset: str, origins: Mapping[date, Origin]
) -> None:
    """Give each day's materialisation the origin of its rows; the IO manager keeps it beside them.

    A day that is missing from `origins` has rows of unknown origin.
    """
    for day, origin in origins.items():
        metadata = {LANDED_FINGERPRINT: origin.landed, RECIPE: origin.recipe}
        if origin.model_version is not None:
            metadata[MODEL_VERSION] = origin.model_version
        if origin.links:
            metadata[LINKS] = origin.links
        partition = None if day == UNPARTITIONED else day.isoformat()
        context.add_asset_metadata(metadata, asset_key=asset, partition_key=partition)


def inherit_origins(
    context: dg.AssetExecutionContext,
    asset: str,
    origins: Mapping[date, Origin],
    recipe: str,
    model_version: str | None = None,
) -> dict[date, Origin]:
    """Record that `recipe` made the rows of this run's days from rows of these origins.

    `origins` has to be read before the rows, or with them: what is written in between is then
    taken for older than it is, and its day runs once more.
    """
    days = map(date.fromisoformat, context.partition_keys)
    inherited = {day: origins[day].by(recipe, model_version) for day in days if day in origins}
    record_origins(context, asset, inherited)
    return inherited


def keep_origins(context: dg.OutputContext, connection: duckdb.DuckDBPyConnection) -> None:
    """Write the recorded origins of an output in the transaction of its rows."""
    partitions: Iterable[str | None] = (
        context.asset_partition_keys if context.has_asset_partitions else [None]
    )
    origins = {
        date.fromisoformat(partition)
        if partition
        else UNPARTITIONED: context.step_context.get_asset_metadata(context.asset_key, partition)
        or {}
        for partition in partitions
    }
    write_origins(
        connection,
        context.asset_key.path[-1],
        origins.keys(),
        {
            day: Origin(
                metadata[LANDED_FINGERPRINT],
                metadata[RECIPE],
                metadata.get(MODEL_VERSION),
                metadata.get(LINKS, ""),
            )
            for day, metadata in origins.items()
            if LANDED_FINGERPRINT in metadata
        },
    )
