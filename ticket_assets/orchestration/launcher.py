"""How the instance starts runs: as processes of this machine, or elsewhere."""

from __future__ import annotations

import dagster as dg
from dagster._core.instance.ref import InstanceRef


def starts_runs_elsewhere(instance: dg.DagsterInstance) -> bool:
    """Whether a launcher starts the runs that the daemon requests on other machines or in pods.

    It knows by itself which of them live, and Dagster's run monitoring asks it. The launcher itself
    is not made: where a run is at work, it often cannot be.
    """
    return not instance.is_ephemeral and _launcher(instance.get_ref()) != "DefaultRunLauncher"


def _launcher(ref: InstanceRef) -> str:
    return ref.run_launcher_data.class_name if ref.run_launcher_data else "DefaultRunLauncher"
