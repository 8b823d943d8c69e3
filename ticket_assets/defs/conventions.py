"""What all assets have in common: owner, tags, and the declaration of their table."""

from __future__ import annotations

import dagster as dg

from ticket_assets.storage.tables import SCHEMA, TABLES

# In the order in which mail passes through them, which is the order of the alphabet as well. No
# arrow of the lineage leads back to an earlier group.
MAIL = "1_mail"
TEXT = "2_text"
LEARNING = "3_learning"
SORTING = "4_sorting"
DRIFT = "5_drift"

OWNERS = ["team:support-data"]
TAGS = {"domain": "it-support"}

WAREHOUSE_POOL = "warehouse"
"""Claimed by every asset and check that opens the DuckDB file, which takes one writer."""

COLLECTION_POOL = "collection"
"""Claimed by what uses Chroma's embedded client, which takes one process. A step can claim one
pool: these also open the DuckDB file, for a statement at a time, and wait for its lock."""


def with_conventions(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec with the owner, the tags and, where it is a table, the table's declaration."""
    metadata = dict(spec.metadata)
    table = TABLES.get(spec.key.path[-1])
    if table is not None:
        metadata["dagster/table_name"] = f"{SCHEMA}.{table.name}"
        metadata["dagster/column_schema"] = dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type, description=column.description)
                for column in table.columns
            ]
        )
        if table.partition_column is not None:
            metadata["partition_expr"] = table.partition_column
    return spec.replace_attributes(
        owners=[*spec.owners, *OWNERS], tags={**spec.tags, **TAGS}, metadata=metadata
    )
