"""What `tickets doctor` looks at in a desk's Dagster instance."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ticket_assets.desk import Desk
from ticket_assets.doctor.findings import REPAIR, Finding, first_of
from ticket_assets.orchestration.instance import (
    InstanceError,
    desk_instance,
    instance_ref,
    refusal_of_sqlite,
)
from ticket_assets.orchestration.living_runs import (
    dead_runs,
    end_dead_runs,
    ended_holders,
    living_runs,
)
from ticket_assets.plural import counted
from ticket_assets.storage.set_aside import SET_ASIDE, set_aside


def examine_instance(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Its configuration and databases can be read, and no run is taken for alive that is dead."""
    home = desk.folder / "dagster"
    if not (home.is_dir() or os.environ.get("DAGSTER_HOME")):
        return
    found = [*_configuration(desk, home, repair), *_databases(desk, home, repair)]
    yield from found
    if not all(finding.is_repaired for finding in found):
        return
    with desk_instance(desk.folder) as instance:
        dead = [run.run_id for run, _ in dead_runs(instance)]
        holders = ended_holders(instance)
        if repair:
            end_dead_runs(instance)
    if dead or holders:
        yield Finding(
            f"{counted(len(dead), 'run')} without a process, {counted(len(holders), 'ended run')}"
            " with a slot of a pool",
            f"run {first_of([*dead, *holders])}",
            "marked as failed, the slots are free"
            if repair
            else f"{REPAIR} marks it as failed and frees the slots, as does `tickets run`",
            repair,
        )


def runs_at_work(desk: Desk) -> list[str]:
    """The descriptions of the runs that are at work; those that are dead are ended."""
    if not (desk.folder / "dagster").is_dir() and not os.environ.get("DAGSTER_HOME"):
        return []
    with desk_instance(desk.folder) as instance:
        return list(living_runs(instance).values())


def _configuration(desk: Desk, home: Path, repair: bool) -> Iterator[Finding]:
    try:
        instance_ref(desk.folder)
    except InstanceError as error:
        path = home / "dagster.yaml"
        own = path.exists() and not os.environ.get("DAGSTER_HOME")
        if repair and own:
            set_aside(desk.folder, path)
        yield Finding(
            "dagster.yaml cannot be used",
            str(path),
            f"moved to {desk.folder / SET_ASIDE}; the packaged one takes its place"
            if repair and own
            else str(error),
            repair and own,
        )


def _databases(desk: Desk, home: Path, repair: bool) -> Iterator[Finding]:
    for path in sorted(home.rglob("*.db")):
        if _is_sound(home, path):
            continue
        if repair:
            beside = (path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))
            set_aside(desk.folder, path, *beside)
        yield Finding(
            "a database of Dagster is damaged: its runs and verdicts are no longer shown",
            str(path),
            f"moved to {desk.folder / SET_ASIDE}; Dagster begins a new one. Mail, tables and models"
            " are not in it"
            if repair
            else f"{REPAIR} moves it away; mail, tables and models are not in it",
            repair,
        )


def _is_sound(home: Path, path: Path) -> bool:
    if not path.stat().st_size:
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return _is_whole(database)
    except sqlite3.OperationalError as error:
        # The disk may be full or read-only, or the file was cut: its bytes alone tell which.
        content = bytearray(path.read_bytes())
        content[18:20] = b"\1\1"  # without a write-ahead log
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(":memory:")) as copy:
            copy.deserialize(content)
            if _is_whole(copy):
                raise refusal_of_sqlite(home, error) from None
        return False
    except sqlite3.DatabaseError:
        return False


def _is_whole(database: sqlite3.Connection) -> bool:
    return database.execute("pragma quick_check").fetchall() == [("ok",)]
