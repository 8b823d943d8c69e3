"""What other target precisions would do, as the latest simulation has recorded it."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from ticket_assets.orchestration.observation.latest_metadata import latest_json
from ticket_assets.simulation_view import BY_TARGET


def simulated_targets(instance: dg.DagsterInstance) -> Mapping[str, Mapping[str, float]]:
    """The forecasts of all labels together, by target precision; empty before the first."""
    return latest_json(instance, "threshold_simulation", BY_TARGET) or {}
