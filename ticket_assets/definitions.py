"""Entry point for Dagster: everything in `defs/`, and what applies to all of it."""

import warnings
from pathlib import Path

import dagster as dg

from ticket_assets.defs.automation import CONDITIONS, FRESHNESS
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.partitions import DESK
from ticket_assets.orchestration.executor import patient_executor
from ticket_assets.orchestration.launcher import process_instance, refuse_local_stores
from ticket_assets.storage.tables import SCHEMA, TABLES

OWNERS = ["team:support-data"]
TAGS = {"domain": "it-support"}

# Parts of Dagster that we use are marked beta or preview; the pinned version is known to work.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

# A code location whose runs would not find its stores does not load.
if (instance := process_instance()) is not None:
    refuse_local_stores(instance, DESK.settings)
# Nor does one, nor a run, that would write with other labels or vectors.
DESK.require_same_settings()


def with_conventions(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec with the owner, the tags, what makes it anew by itself, how old it may become and,
    where it is a table, the table's declaration."""
    name = spec.key.path[-1]
    metadata = dict(spec.metadata)
    table = TABLES.get(name)
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
        owners=[*spec.owners, *OWNERS],
        tags={**spec.tags, **TAGS},
        metadata=metadata,
        automation_condition=CONDITIONS.get(name),
        freshness_policy=FRESHNESS.get(name),
    )


defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent).map_resolved_asset_specs(
        func=with_conventions
    ),
    dg.Definitions(
        resources={
            "desk": DESK,
            "io_manager": WarehouseIOManager(DESK.warehouse),
        },
        executor=patient_executor,
    ),
)
