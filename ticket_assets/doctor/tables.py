"""The warehouse: every row of every table is read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ticket_assets.doctor.findings import REPAIR, Finding
from ticket_assets.storage.set_aside import SET_ASIDE, set_aside
from ticket_assets.storage.warehouse import DamagedWarehouseError, DuckDBFile

if TYPE_CHECKING:
    from ticket_assets.desk import Desk


def examine_tables(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """The tables can be read to their last row."""
    warehouse = desk.warehouse
    try:
        for table in sorted(warehouse.tables()):
            # DuckDB compares each block that it reads with its checksum.
            warehouse.row(f"select bit_xor(hash({table})) from {table}")  # noqa: S608
    except DamagedWarehouseError as error:
        if not isinstance(warehouse, DuckDBFile):
            raise
        purged = desk.landing.purged_until()
        if purged:
            yield Finding(
                str(error).partition(". ")[0],
                str(warehouse.path),
                f"restore a backup: rows of days until {purged}, whose mail is purged, are in it"
                " alone. Without one, move the file away: `tickets run` makes the later days anew",
            )
            return
        if repair:
            path = warehouse.path
            set_aside(desk.folder, path, path.with_name(f"{path.name}.wal"))
        done = f"moved to {desk.folder / SET_ASIDE}; " if repair else f"{REPAIR}, then "
        yield Finding(
            "a block of the tables is damaged",
            str(warehouse.path),
            f"{done}`tickets run` makes all tables anew from the mail",
            repair,
        )
