"""threshold_simulation: what other target precisions would do with mail like the recent."""

import dagster as dg
import pandas as pd

from ticket_assets.defs.partitions import shown
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import SORTING
from ticket_assets.storage.tables import TABLES


@dg.asset(
    deps=["ticket_predictions", "ticket_classifier", "ticket_labels"],
    description="What target precisions from 0.80 to 0.99 would do: the automatic share and"
    " precision of the next 30 days, by label and of all, estimated on the tickets of the last"
    " TICKETS_SIMULATION_DAYS days, and how many of these would have been decided otherwise."
    " It changes nothing.",
    group_name=SORTING,
    kinds={"duckdb", "scikitlearn"},
    code_version="1",
    pool=WAREHOUSE_POOL,
    # Before the drift, which comes last: a run that dies in between is made up for.
    op_tags={"dagster/priority": "1"},
)
def threshold_simulation(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> pd.DataFrame:
    from ticket_assets.simulation import SimulationError, simulate
    from ticket_assets.simulation_view import simulation_metadata

    try:
        simulation = simulate(desk)
    except SimulationError as error:
        # Of a champion of an earlier release the desk is sorted as ever.
        context.log.warning(str(error))
        context.add_asset_metadata({"not_simulated": str(error)})
        return TABLES["threshold_simulation"].frame([])
    context.add_asset_metadata(shown(simulation_metadata(simulation)))
    return TABLES["threshold_simulation"].frame(simulation.rows())
