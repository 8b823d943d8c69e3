"""Conversations and duplicates reach over days, whichever way the days are run."""

from datetime import UTC, datetime

import dagster as dg
import duckdb
import pytest

from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.storage.day_origins import read_links, read_origins
from ticket_assets.storage.tables import SCHEMA
from ticket_assets.storage.warehouse import DuckDBFile

pytestmark = pytest.mark.slow

DAYS = ["2025-06-01", "2025-06-02", "2025-06-03", "2025-06-04", "2025-06-05"]
"""The last is without mail."""
MAILS = [
    (1, "jean@x.fr", "desk@x.fr", "Message-ID: <1@x>\n", "Problème", "Écran noir"),
    (1, "marie@x.fr", "desk@x.fr", "Message-ID: <2@x>\n", "Problème", "Écran noir"),
    (2, "desk@x.fr", "jean@x.fr", "", "RE: Problème", "Lequel ?"),
    (2, "jean@x.fr", "desk@x.fr", "Message-ID: <1@x>\nReceived: b\n", "Problème", "Écran noir"),
    (2, "jean@x.fr", "desk@x.fr", "Auto-Submitted: auto-replied\n", "Absent", "Je reviens lundi."),
    (2, "postmaster@x.fr", "desk@x.fr", "X-Failed-Recipients: z@x.fr\n", "Échec", "z@x.fr ?"),
    (2, "news@x.fr", "desk@x.fr", "List-Id: <n.x.fr>\n", "Annonce", "Du neuf"),
    (3, "marie@x.fr", "desk@x.fr", "References: <2@x>\n", "Re: Problème", "Toujours noir"),
    (4, "jean@x.fr", "desk@x.fr", "", "Problème", "Écran noir !"),
    (4, "marie@x.fr", "desk@x.fr", "", "Compte", "Créer un compte pour a@b.fr"),
    (4, "marie@x.fr", "desk@x.fr", "", "Compte", "Créer un compte pour c@d.fr"),
]


@pytest.fixture
def desk(settings):
    Desk(settings).landing.land(
        IncomingMessage(
            f"From: {sender}\nTo: {to}\n{ids}Subject: {subject}\n\n{body}\n".encode(),
            "eml",
            "mbox:a",
            datetime(2025, 6, day, 9, number, tzinfo=UTC),
            "date",
            None,
        )
        for number, (day, sender, to, ids, subject, body) in enumerate(MAILS)
    )
    return settings


def run(product, settings, first, last):
    warehouse = WarehouseIOManager(DuckDBFile(settings.warehouse_path))
    assets = [
        asset
        for asset in product.assets
        if isinstance(asset, dg.AssetsDefinition)
        and {key.to_user_string() for key in asset.keys} & {"raw_tickets", "clean_tickets"}
    ]
    done = dg.materialize(
        assets,
        resources={"desk": Desk(settings), "io_manager": warehouse},
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    )
    assert done.success


def stored(settings):
    warehouse = DuckDBFile(settings.warehouse_path)
    order = dict(warehouse.rows("select ticket_id, minute(received_at) from raw_tickets"))
    name = {**order, **{"1@x": 0, "2@x": 1}}
    threads = warehouse.rows("select ticket_id, thread_id from raw_tickets")
    duplicates = warehouse.rows("select ticket_id, duplicate_of from clean_tickets")
    return (
        {order[ticket]: name[thread] for ticket, thread in threads},
        {order[ticket]: order.get(first) for ticket, first in duplicates},
    )


def days_with_old_links(settings):
    warehouse = DuckDBFile(settings.warehouse_path)
    made_anew, changes = read_origins(warehouse, "clean_tickets"), read_links(warehouse)
    return [day.isoformat() for day in sorted(changes) if made_anew[day].links != changes[day]]


THREADS = {0: 0, 1: 1, 2: 0, 3: 0, 4: 4, 5: 5, 6: 6, 7: 1, 8: 8, 9: 9, 10: 10}
DUPLICATES = {0: None, 1: None, 2: None, 3: 0, 7: None, 8: 0, 9: None, 10: None}


def test_days_together_link_messages_and_tickets(product, desk):
    run(product, desk, DAYS[0], DAYS[-1])

    assert stored(desk) == (THREADS, DUPLICATES)


def test_days_one_by_one_and_again_link_them_alike(product, desk):
    for day in (*DAYS, DAYS[1], DAYS[3]):
        run(product, desk, day, day)

    assert stored(desk) == (THREADS, DUPLICATES)


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (3, 1, 0, 2, 4)])
def test_days_out_of_order_name_the_days_whose_links_have_to_be_made_anew(product, desk, order):
    for number in order:
        run(product, desk, DAYS[number], DAYS[number])
    again = []
    while days := days_with_old_links(desk):
        again.append(days[0])
        run(product, desk, days[0], days[0])

    assert stored(desk) == (THREADS, DUPLICATES)
    assert set(again) <= set(DAYS[1:4])
    assert len(again) == len(set(again))


def test_a_warehouse_from_before_there_were_links_gains_them(product, desk):
    run(product, desk, DAYS[0], DAYS[0])
    with duckdb.connect(str(desk.warehouse_path)) as connection:
        connection.execute(f"alter table {SCHEMA}.clean_tickets drop column duplicate_of")
        connection.execute(f"drop table {SCHEMA}.schema_version")
    run(product, desk, DAYS[1], DAYS[-1])

    assert stored(desk) == (THREADS, DUPLICATES)


def test_machines_mail_is_kept_and_is_no_ticket(product, desk):
    run(product, desk, DAYS[0], DAYS[-1])

    assert DuckDBFile(desk.warehouse_path).rows(
        "select kind, minute(received_at) from raw_tickets anti join clean_tickets"
        " using (ticket_id) order by 2"
    ) == [("auto_reply", 4), ("bounce", 5), ("list", 6)]
