"""The vector collection: its tickets are those of the tables, and its index finds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ticket_assets.doctor.findings import REPAIR, Finding
from ticket_assets.errors import explained, system_advice
from ticket_assets.parallel import ProcessError, run_alone
from ticket_assets.plural import counted
from ticket_assets.storage.collection import CollectionError, chroma_server, require_usable
from ticket_assets.storage.set_aside import set_aside

if TYPE_CHECKING:
    from ticket_assets.desk import Desk
    from ticket_assets.settings import Settings


def examine_collection(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """The collection holds what the tables say that it holds."""
    server, folder = chroma_server(desk.settings), desk.settings.collection_dir
    has_vectors = "ticket_embeddings" in desk.warehouse.tables()
    if not has_vectors and (server or not folder.exists()):
        return
    where = server.url if server else str(folder)
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
    if repair and has_vectors:
        from ticket_assets.storage.collected_tickets import rebuild

        rebuild(desk.warehouse, folder=folder, server=server)
    elif repair:
        set_aside(desk.folder, folder)
    done = "made anew from the tables" if has_vectors else "moved away; `tickets run` makes it anew"
    advice = "`tickets collection rebuild`" if has_vectors else REPAIR
    yield Finding(f"the collection: {what}", where, done if repair else advice, repair)


def _difference(settings: Settings) -> int:
    from ticket_assets.desk import Desk
    from ticket_assets.storage.collected_tickets import unequal_tickets

    folder, server = settings.collection_dir, chroma_server(settings)
    if server or folder.exists():
        require_usable(folder, server)
    return unequal_tickets(Desk(settings).warehouse, folder=folder, server=server)
