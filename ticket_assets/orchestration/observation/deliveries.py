"""What the receivers of decisions have been told, as the latest run has recorded it."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from ticket_assets.defs.delivered_tickets import DELIVERIES

DELIVERED = dg.AssetKey("delivered_tickets")


def recorded_deliveries(instance: dg.DagsterInstance) -> Mapping[str, Mapping[str, float]]:
    """The numbers of decisions by receiver and by what came of them; empty before the first run."""
    latest = instance.get_latest_materialization_event(DELIVERED)
    made = latest.asset_materialization if latest else None
    deliveries = made.metadata.get(DELIVERIES) if made else None
    return deliveries.value if isinstance(deliveries, dg.JsonMetadataValue) else {}  # type: ignore[return-value]
