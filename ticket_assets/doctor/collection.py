"""The vector collection: its tickets are those of the tables, and its index finds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ticket_assets.doctor.findings import Finding
from ticket_assets.errors import explained, system_advice
from ticket_assets.parallel import ProcessError, run_alone
from ticket_assets.plural import counted
from ticket_assets.storage.collection import CollectionError, chroma_server

if TYPE_CHECKING:
    from ticket_assets.desk import Desk
    from ticket_assets.settings import Settings


def examine_collection(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """The collection holds what the tables say that it holds."""
    if not desk.warehouse.exists or "ticket_embeddings" not in desk.warehouse.tables():
        return
    server = chroma_server(desk.settings)
    where = server.url if server else str(desk.settings.collection_dir)
    try:
        # Alone: a damaged index has ended the process that opened it.
        difference = run_alone(_difference, desk.settings)
        what = f"{counted(difference, 'ticket')} missing, too many or not found by their vector"
    except (CollectionError, ProcessError) as error:
        if server or system_advice(error):
            raise
        what, difference = f"cannot be used: {explained(error)}", 1
    if not difference:
        return
    if repair:
        from ticket_assets.storage.collected_tickets import rebuild

        rebuild(desk.warehouse, folder=desk.settings.collection_dir, server=server)
    yield Finding(
        f"the collection: {what}",
        where,
        "made anew from the tables" if repair else "`tickets collection rebuild`",
        repair,
    )


def _difference(settings: Settings) -> int:
    from ticket_assets.desk import Desk
    from ticket_assets.storage.collected_tickets import unequal_tickets

    return unequal_tickets(
        Desk(settings).warehouse, folder=settings.collection_dir, server=chroma_server(settings)
    )
