"""Erases tickets everywhere: landing zone, warehouse, collection, models, reports, deliveries."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.addresses import canonical_address, is_address
from ticket_assets.mail.back_off import forget_errors
from ticket_assets.mail.removal import (
    bury,
    landed_tickets,
    remove_labels,
    remove_messages,
    removing,
    tickets_sent_by,
)
from ticket_assets.storage.set_aside import remove_set_aside
from ticket_assets.storage.tables import TABLES, Change

if TYPE_CHECKING:
    import pandas as pd

    from ticket_assets.desk import Desk
    from ticket_assets.storage.warehouse import Warehouse

NEIGHBOUR_ID = r'"ticket_id": "([0-9a-f]{20})"'
"""A ticket's id in the column `nearest` of ticket_predictions."""


class ErasureError(TicketAssetsError):
    """There is no such ticket or sender."""


@dataclass(frozen=True)
class Erasure:
    """The numbers of removed things; of a dry run, those that would be removed."""

    tickets: int
    messages: int
    """Original messages in the landing zone, and their manifest lines."""
    manifest_lines: int
    label_lines: int
    rows: dict[str, int]
    """Rows removed, by table."""
    references: int
    """Rows of other tickets that named one of these as near or as their first copy; these names
    are removed."""
    vectors: int
    """Tickets removed from the vector collection."""
    reports: list[str]
    models: dict[str, int]
    """By model version, how many of the tickets it was trained on."""
    champion: str | None
    set_aside: int
    """How often damaged files had been set aside: nobody can search them, so all of them go."""
    unpublished: int
    """Files with decisions of these tickets that had not been handed over yet."""
    delivered: dict[str, int]
    """By receiver, of how many of the tickets it has, or may have, the decision: that stays
    there."""

    def __add__(self, later: Erasure) -> Erasure:
        """The sum of two erasures of the same tickets."""
        return Erasure(
            tickets=self.tickets,
            messages=self.messages + later.messages,
            manifest_lines=self.manifest_lines + later.manifest_lines,
            label_lines=self.label_lines + later.label_lines,
            rows={name: count + later.rows.get(name, 0) for name, count in self.rows.items()},
            references=self.references + later.references,
            vectors=self.vectors + later.vectors,
            reports=[*self.reports, *later.reports],
            models=self.models | later.models,
            champion=later.champion,
            set_aside=self.set_aside + later.set_aside,
            unpublished=self.unpublished + later.unpublished,
            delivered={
                name: self.delivered.get(name, 0) + later.delivered.get(name, 0)
                for name in sorted(self.delivered | later.delivered)
            },
        )


def find_tickets(
    desk: Desk,
    senders: Collection[str],
    ticket_ids: Collection[str],
    on_message: Callable[[int, int], None] | None = None,
    on_unknown: Callable[[str], None] | None = None,
) -> set[str]:
    """The tickets that were sent from these addresses, and those named.

    It searches the landing zone, which also holds mail that no run has read yet, and the table
    `raw_tickets`. It finds a named ticket again that is erased.

    Args:
        on_message: called with how many messages have been read, and how many there are.
        on_unknown: called with each address from which nothing is kept: there was never anything,
            or it is erased.

    Raises:
        ErasureError: there is no such ticket, or a sender is no address.
    """
    landing, warehouse = desk.landing, desk.warehouse
    if strange := [sender for sender in senders if not is_address(sender)]:
        raise ErasureError(f"{strange[0]!r} is no address of e-mail, like anne@example.org.")
    named = {ticket_id.strip().lower() for ticket_id in ticket_ids}
    tickets = landed_tickets(landing, named) | (landing.erased() & named)
    tickets |= _in_tables(warehouse, named)
    if unknown := sorted(named - tickets):
        raise ErasureError(
            f"There is no ticket {', '.join(unknown)}. Ids have 20 characters, as in the column"
            " ticket_id of the tables."
        )
    if not senders:
        return tickets
    sent = tickets_sent_by(landing, senders, on_message)
    if "raw_tickets" in warehouse.tables():
        rows = warehouse.rows("select sender, ticket_id from raw_tickets where sender is not null")
        for sender, ticket_id in rows:
            if (address := canonical_address(sender)) in sent:
                sent[address].add(ticket_id)
    for sender in senders:
        if not sent[canonical_address(sender)] and on_unknown:
            on_unknown(sender)
    return tickets.union(*sent.values())


def erase(desk: Desk, ticket_ids: Collection[str], *, dry_run: bool = False) -> Erasure:
    """Remove the tickets from everything that the product stores; `dry_run` only counts.

    It may be interrupted at any point and repeated. First the tickets are buried, so that they
    neither land nor are read again; the original bytes are removed last. With them goes whatever
    is left, or was written again, of tickets that are buried already.

    Raises:
        LandingError: another erasure or purge is under way.
        WarehouseError, CollectionError: a store cannot be opened; what came before is removed.
    """
    if dry_run:
        return _remove(desk, ticket_ids, dry_run=True)
    with removing(desk.landing, desk.leases):
        bury(desk.landing, ticket_ids)
        desk.remove_unfinished()
        return _remove(desk, ticket_ids, dry_run=False)


def _remove(desk: Desk, ticket_ids: Collection[str], *, dry_run: bool) -> Erasure:
    from ticket_assets.storage.collection import chroma_server, erase_tickets

    erased = desk.landing.erased().union(ticket_ids)
    labels = remove_labels(desk.landing, erased, dry_run=dry_run)
    # Before the tables: they hold the words to remove beside the models.
    models, champion = _models(desk, erased, dry_run=dry_run)
    reports = desk.reports.remove_naming(erased, dry_run=dry_run)
    vectors = erase_tickets(
        erased,
        folder=desk.settings.collection_dir,
        server=chroma_server(desk.settings),
        dry_run=dry_run,
    )
    delivered, unpublished = _deliveries(desk, erased, dry_run=dry_run)
    if not dry_run:
        forget_errors(desk.cursors)
    rows, references = _tables(desk.warehouse, erased, dry_run=dry_run)
    mail = remove_messages(desk.landing, erased, dry_run=dry_run)
    return Erasure(
        tickets=len(set(ticket_ids)),
        messages=mail.messages,
        manifest_lines=mail.manifest_lines,
        label_lines=labels,
        rows=rows,
        references=references,
        vectors=vectors,
        reports=reports,
        models=models,
        champion=champion,
        set_aside=remove_set_aside(desk.folder, dry_run=dry_run),
        unpublished=unpublished,
        delivered=delivered,
    )


def _in_tables(warehouse: Warehouse, ticket_ids: set[str]) -> set[str]:
    """Those of the tickets that a table has, also when the landing zone no longer has them."""
    if "clean_tickets" not in warehouse.tables():
        return set()
    rows = warehouse.frame(
        "select distinct ticket_id from clean_tickets where ticket_id in (select * from named)",
        frames={"named": _ids(ticket_ids)},
    )
    return set(rows["ticket_id"])


def _models(desk: Desk, erased: set[str], *, dry_run: bool) -> tuple[dict[str, int], str | None]:
    """The numbers of tickets that the versions learnt from, and the champion's name."""
    if not desk.has_models:
        return {}, None
    from ticket_assets.classification.model_erasure import erase_from_models, learnt_from

    store = desk.models
    with desk.changing_models():
        learnt = learnt_from(store, erased)
        if learnt and not dry_run:
            tokens: dict[str, str] = {}
            if "clean_tickets" in desk.warehouse.tables():
                tokens = dict(desk.warehouse.rows("select ticket_id, tokens from clean_tickets"))
            erase_from_models(store, erased, tokens)
    return learnt, store.champion_name()


def _deliveries(desk: Desk, erased: set[str], *, dry_run: bool) -> tuple[dict[str, int], int]:
    """By receiver the number of the tickets that it was, or may have been, told of; and that of
    files that were about to be handed over, which are removed unless `dry_run`."""
    from ticket_assets.delivery.folder_receiver import configured

    folder = configured(desk)
    unpublished = folder.forget(erased, dry_run=dry_run) if folder else 0
    if "delivered_tickets" not in desk.warehouse.tables():
        return {}, unpublished
    told = desk.warehouse.frame(
        "select receiver, count(*) as tickets from delivered_tickets where outcome in"
        " ('delivered', 'already_there', 'sending', 'failed')"
        " and ticket_id in (select ticket_id from erased) group by receiver order by receiver",
        frames={"erased": _ids(erased)},
    )
    return dict(zip(told["receiver"], map(int, told["tickets"]), strict=True)), unpublished


def _tables(warehouse: Warehouse, erased: set[str], *, dry_run: bool) -> tuple[dict[str, int], int]:
    """Numbers of the tickets' rows by table, and of other rows that name them; removes both unless
    `dry_run`."""
    frames = {"erased": _ids(erased)}
    existing = warehouse.tables()
    if "ticket_predictions" in existing:
        frames["cleared"] = _cleared_neighbours(warehouse, erased)
    references = len(frames.get("cleared", ()))
    counts, changes = {}, {}
    for name in sorted(TABLES.keys() & existing):
        columns = TABLES[name].column_names
        keys = {"ticket_id": "ticket_id", "content_hash": "content_hash[:20]"}
        key = next((keys[column] for column in columns if column in keys), None)
        if key is None:
            continue
        # Names come from the declarations, not from outside.
        is_erased = f"{key} in (select ticket_id from erased)"  # noqa: S608
        rows = warehouse.arrow(f"select 1 from {name} where {is_erased}", frames=frames)  # noqa: S608
        counts[name] = rows.num_rows
        replaced = {}
        if "nearest" in columns:
            near = (
                "select nearest from cleared where cleared.ticket_id = ticket_predictions.ticket_id"
            )
            replaced["nearest"] = f"coalesce(({near}), nearest)"
        if "duplicate_of" in columns:
            is_copy = "duplicate_of in (select ticket_id from erased)"
            replaced["duplicate_of"] = f"case when {is_copy} then null else duplicate_of end"
            copies = f"select 1 from {name} where {is_copy} and not {is_erased}"  # noqa: S608
            references += warehouse.arrow(copies, frames=frames).num_rows
        changes[name] = Change(is_erased, replaced)
    if not dry_run and warehouse.exists and warehouse.keeps_former_rows:
        warehouse.rewrite(changes, frames)
    return counts, references


def _cleared_neighbours(warehouse: Warehouse, erased: set[str]) -> pd.DataFrame:
    """`ticket_id` and `nearest` of the predictions that name an erased ticket, without it."""
    naming = warehouse.frame(
        "select ticket_id, nearest from ticket_predictions where list_has_any("  # noqa: S608
        f"regexp_extract_all(nearest, '{NEIGHBOUR_ID}', 1), (select list(ticket_id) from erased))"
        " and ticket_id not in (select ticket_id from erased)",
        frames={"erased": _ids(erased)},
    )

    def cleared(nearest: str) -> str:
        neighbours = [near for near in json.loads(nearest) if near["ticket_id"] not in erased]
        return json.dumps(neighbours, ensure_ascii=False)

    return naming.assign(nearest=naming["nearest"].map(cleared).astype(str))


def _ids(ticket_ids: Collection[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"ticket_id": pd.Series(sorted(ticket_ids), dtype=str)})
