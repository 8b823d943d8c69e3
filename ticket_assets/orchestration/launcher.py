"""How the instance starts runs: as processes of this machine, or elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import class_from_code_pointer

from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import Settings, variable_of

POD_STORES = ("warehouse", "files", "chroma_url", "dagster_postgres")
"""The settings of stores that pods can share. Without one of them its store is in the data folder,
and each pod has a folder of its own."""


class LauncherError(TicketAssetsError):
    """Runs cannot be started as dagster.yaml says."""


def starts_runs_elsewhere(instance: dg.DagsterInstance) -> bool:
    """Whether a launcher starts the runs that the daemon requests on other machines or in pods.

    It knows by itself which of them live, and Dagster's run monitoring asks it. The launcher itself
    is not made: where a run is at work, it often cannot be.
    """
    return not instance.is_ephemeral and _launcher(instance.get_ref()) != "DefaultRunLauncher"


def starts_pods(ref: InstanceRef) -> bool:
    """Whether each run gets a pod of its own, on Kubernetes."""
    data = ref.run_launcher_data
    if data is None or _launcher(ref) == "DefaultRunLauncher":
        return False
    from dagster_k8s import K8sRunLauncher  # takes a second

    return issubclass(class_from_code_pointer(data.module_name, data.class_name), K8sRunLauncher)


def process_instance() -> InstanceRef | None:
    """The instance of dagster.yaml in DAGSTER_HOME, as Dagster's own processes have it; None where
    there is none, as in the pod of a run, which gets it with its arguments."""
    home = os.environ.get("DAGSTER_HOME")
    if not home or not (Path(home) / "dagster.yaml").is_file():
        return None
    return InstanceRef.from_dir(str(Path(home).absolute()))


def refuse_local_stores(ref: InstanceRef, settings: Settings) -> None:
    """Refuse stores in the data folder where each run gets a pod of its own.

    Raises:
        LauncherError: there is such a store.
    """
    local = [variable_of(name) for name in POD_STORES if getattr(settings, name) is None]
    if local and starts_pods(ref):
        raise LauncherError(
            f"dagster.yaml starts each run in a pod of its own ({_launcher(ref)}), and pods share"
            f" no data folder. Set {', '.join(local)} (docs/shared-stores.md), or remove"
            " run_launcher from dagster.yaml."
        )


def _launcher(ref: InstanceRef) -> str:
    return ref.run_launcher_data.class_name if ref.run_launcher_data else "DefaultRunLauncher"
