"""Entry point for Dagster: everything in `defs/`, and what applies to all of it."""

import warnings
from pathlib import Path

import dagster as dg

from ticket_assets.defs.conventions import with_conventions
from ticket_assets.defs.event_log import hold_event_log_open
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.partitions import DESK
from ticket_assets.orchestration.executor import patient_executor
from ticket_assets.storage.tables import SCHEMA

# Parts of Dagster that we use are marked beta or preview; the pinned version is known to work.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

# A code location, and each run, that would write with other labels or vectors does not load.
DESK.require_same_settings()
hold_event_log_open()

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent).map_resolved_asset_specs(
        func=with_conventions
    ),
    dg.Definitions(
        resources={
            "desk": DESK,
            "io_manager": WarehouseIOManager(
                database=str(DESK.settings.warehouse_path), schema=SCHEMA
            ),
        },
        executor=patient_executor,
    ),
)
