"""The Dagster instance of a desk: runs, cursors and events in the desk's own data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.event_log import OpenSqliteStorage
from ticket_assets.storage.whole_file import replace_file

TEMPLATE = Path(__file__).with_name("dagster.yaml")
WORKSPACE = Path(__file__).with_name("workspace.yaml")


class InstanceError(TicketAssetsError):
    """There is no Dagster instance to record runs on."""


def dagster_home(data_dir: Path) -> Path:
    """The folder of the desk's Dagster instance: DAGSTER_HOME where it is set, else `dagster` in
    the data folder, which gets a dagster.yaml when it has none.

    Raises:
        InstanceError: there is no dagster.yaml in DAGSTER_HOME.
    """
    if chosen := os.environ.get("DAGSTER_HOME"):
        home = Path(chosen).absolute()
        if not (home / "dagster.yaml").is_file():
            raise InstanceError(
                f"There is no dagster.yaml in {home}. Copy {TEMPLATE} there, or unset DAGSTER_HOME:"
                " the data folder then holds the Dagster home as well."
            )
        return home
    home = data_dir.absolute() / "dagster"
    if not (home / "dagster.yaml").is_file():
        home.mkdir(parents=True, exist_ok=True)
        replace_file(home / "dagster.yaml", TEMPLATE.read_bytes())
    return home


@contextmanager
def desk_instance(data_dir: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the desk with this data folder.

    Raises:
        InstanceError: as for `dagster_home`.
    """
    ref = InstanceRef.from_dir(str(dagster_home(data_dir)))
    if ref.storage_data and ref.storage_data.class_name == "DagsterSqliteStorage":
        open_storage = ConfigurableClassData(
            OpenSqliteStorage.__module__, OpenSqliteStorage.__name__, ref.storage_data.config_yaml
        )
        ref = ref._replace(storage_data=open_storage)
    with dg.DagsterInstance.from_ref(ref) as instance:
        yield instance
