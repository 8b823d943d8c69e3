"""The Dagster instance of a desk: runs, cursors and events in the desk's own data folder."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

from ticket_assets.errors import TicketAssetsError, system_advice
from ticket_assets.orchestration.event_log import OpenSqliteStorage
from ticket_assets.orchestration.launcher import refuse_local_stores
from ticket_assets.settings import load_settings
from ticket_assets.storage.whole_file import replace_file

TEMPLATE = Path(__file__).with_name("dagster.yaml")
POSTGRES = b"""
# Runs, events and schedules are in the database that TICKETS_DAGSTER_POSTGRES names.
storage:
  custom:
    module: ticket_assets.orchestration.postgres
    class: PooledPostgresStorage
"""
"""What the template is followed by where that setting is."""
WORKSPACE = Path(__file__).with_name("workspace.yaml")
STAMP = (
    "# Replaced by newer versions of ticket-assets until somebody changes it. Made from SHA-256 "
)
"""Beginning of a written dagster.yaml's first line; the SHA-256 is the template's."""

logger = logging.getLogger(__name__)


class InstanceError(TicketAssetsError):
    """There is no Dagster instance to record runs on."""


def dagster_home(data_dir: Path) -> Path:
    """The folder of the desk's Dagster instance: DAGSTER_HOME where it is set, else `dagster` in
    the data folder, with the dagster.yaml of this version unless a person has changed it.

    Raises:
        InstanceError: there is no dagster.yaml in DAGSTER_HOME, or one that a person has changed
            keeps Dagster's storage elsewhere than TICKETS_DAGSTER_POSTGRES says.
    """
    home = _home(data_dir)
    configuration = home / "dagster.yaml"
    if (
        load_settings().dagster_postgres
        and b"PooledPostgresStorage" not in configuration.read_bytes()
    ):
        raise InstanceError(
            f"TICKETS_DAGSTER_POSTGRES is set, and {configuration}, which a person has written,"
            " does not use it. Unset it, or add this line to the file: storage: {custom: {module:"
            " ticket_assets.orchestration.postgres, class: PooledPostgresStorage}}"
        )
    return home


def _home(data_dir: Path) -> Path:
    if chosen := os.environ.get("DAGSTER_HOME"):
        home = Path(chosen).absolute()
        if not (home / "dagster.yaml").is_file():
            raise InstanceError(
                f"There is no dagster.yaml in {home}. Copy {TEMPLATE} there, or unset DAGSTER_HOME:"
                " the data folder then holds the Dagster home as well."
            )
        return home
    home = data_dir.absolute() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    _keep_up_with_template(home / "dagster.yaml")
    return home


def _keep_up_with_template(path: Path) -> None:
    template = TEMPLATE.read_bytes() + (POSTGRES if load_settings().dagster_postgres else b"")
    newest = _stamped(template)
    present = path.read_bytes() if path.is_file() else template
    stamp, _, rest = present.partition(b"\n")
    if present in {template, _stamped(rest)} - {newest}:
        replace_file(path, newest)
    elif not newest.startswith(stamp + b"\n"):
        _warn_of_newer_template(path, newest.partition(b"\n")[0].decode())


def _stamped(template: bytes) -> bytes:
    return f"{STAMP}{hashlib.sha256(template).hexdigest()}\n".encode() + template


@functools.cache  # once in a process
def _warn_of_newer_template(path: Path, stamp: str) -> None:
    logger.warning(
        "%s was changed by hand and stays as it is. It was made from another template than the"
        " present %s: take over what you want from that, and make this the first line: %s",
        *(path, TEMPLATE, stamp),
    )


@contextmanager
def desk_instance(data_dir: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the desk with this data folder.

    Raises:
        InstanceError: as for `instance_ref`, or a database of it cannot be used.
        LauncherError: runs start in pods, which do not share the desk's stores.
        PostgresError: the storage's database cannot be used.
    """
    ref = instance_ref(data_dir)
    refuse_local_stores(ref, load_settings())
    if ref.storage_data and ref.storage_data.class_name == "DagsterSqliteStorage":
        open_storage = ConfigurableClassData(
            OpenSqliteStorage.__module__, OpenSqliteStorage.__name__, ref.storage_data.config_yaml
        )
        ref = ref._replace(storage_data=open_storage)
    with _databases_explained(data_dir), dg.DagsterInstance.from_ref(ref) as instance:
        yield instance


def instance_ref(data_dir: Path) -> InstanceRef:
    """What the desk's dagster.yaml says.

    Raises:
        InstanceError: as for `dagster_home`, or it cannot be used.
    """
    home = dagster_home(data_dir)
    try:
        return InstanceRef.from_dir(str(home))
    except (yaml.YAMLError, UnicodeError, dg.DagsterError) as error:
        raise InstanceError(
            f"{home / 'dagster.yaml'} cannot be used: {' '.join(str(error).split())[:200]}. Mend"
            " it, or remove it to take the packaged one."
        ) from None


SQLITE_CANNOT_OPEN = "unable to open database file"
_FILES_OF_DATABASES = 16
"""Open at once, a few more than Dagster's three databases with a log, its index and the folder."""


@contextmanager
def _databases_explained(data_dir: Path) -> Iterator[None]:
    """What SQLite refuses, as one line."""
    try:
        yield
    except (sqlalchemy.exc.DatabaseError, sqlite3.DatabaseError) as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, sqlite3.DatabaseError):
            raise
        raise refusal_of_sqlite(data_dir / "dagster", cause) from None


def refusal_of_sqlite(home: Path, error: sqlite3.Error | str) -> InstanceError:
    """One line on what SQLite refuses of the databases in `home`."""
    advice = system_advice(error)
    if advice is None:
        # SQLite's "disk I/O error" and "unable to open" may be anything: the system knows more.
        try:
            with ExitStack() as opened:
                for _ in range(_FILES_OF_DATABASES):
                    file = opened.enter_context(tempfile.TemporaryFile(dir=home))
                    file.write(bytes(100_000))
        except OSError as reason:
            advice = system_advice(reason)
    advice = advice or (
        "If the file is damaged or cut, `tickets doctor --repair` moves it away: mail, tables and"
        " models are not in it."
    )
    return InstanceError(f"Dagster's database in {home} cannot be used: {error}. {advice}")


def migrate(data_dir: Path, on_step: Callable[[str], None]) -> None:
    """Bring the storage of the desk's Dagster instance up to the installed version of Dagster.

    Nothing changes when it is up to date.

    Args:
        on_step: called with a sentence about each step.
    """
    with desk_instance(data_dir) as instance:
        instance.upgrade(on_step)
