"""What the receivers of decisions have been told, as the latest run has recorded it."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from ticket_assets.defs.delivered_tickets import DELIVERIES
from ticket_assets.orchestration.observation.latest_metadata import latest_json


def recorded_deliveries(instance: dg.DagsterInstance) -> Mapping[str, Mapping[str, float]]:
    """The numbers of decisions by receiver and by what came of them; empty before the first run."""
    return latest_json(instance, "delivered_tickets", DELIVERIES) or {}
