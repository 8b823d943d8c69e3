"""What other target precisions would do, as the latest simulation has recorded it."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from ticket_assets.simulation_view import BY_TARGET

SIMULATION = dg.AssetKey("threshold_simulation")


def simulated_targets(instance: dg.DagsterInstance) -> Mapping[str, Mapping[str, float]]:
    """The forecasts of all labels together, by target precision; empty before the first."""
    latest = instance.get_latest_materialization_event(SIMULATION)
    made = latest.asset_materialization if latest else None
    by_target = made.metadata.get(BY_TARGET) if made else None
    return by_target.value if isinstance(by_target, dg.JsonMetadataValue) else {}  # type: ignore[return-value]
