"""The graph on the shared warehouse gives the same tables, also from four processes at once."""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from psycopg2.extensions import make_dsn

from tests.services.s3 import KEY_ID, SECRET
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.desk import Desk
from ticket_assets.mail.importing import import_path
from ticket_assets.routing import load_routing
from ticket_assets.sample.mailbox import generate, write_mailbox
from ticket_assets.settings import LAKE, Settings

pytestmark = pytest.mark.slow

FIRST = date(2025, 6, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(16)]
MESSAGES = 120
RANGES = [(DAYS[start], DAYS[start + 3]) for start in range(0, 16, 4)]
GATE = {"macro_f1_floor": 0.0}
"""So few labels give no good model; every step still has to run."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    mails = generate(messages=MESSAGES, days=len(DAYS), until=DAYS[-1])
    return write_mailbox(tmp_path_factory.mktemp("sample"), list(mails))


def desk_with(settings: Settings, sample) -> Desk:
    """A desk whose mail and labels have landed."""
    routing = load_routing(None)
    desk = Desk(settings)
    import_path(
        desk.landing,
        sample.mailbox,
        categories=routing.categories,
        priorities=routing.priorities,
        labels_path=sample.labels,
    )
    return desk


def graph(product: dg.Definitions, desk: Desk, *names: str) -> dg.Definitions:
    """The product's assets, or those of these names, and their checks over this desk."""
    selection = dg.AssetSelection.assets(*names) if names else dg.AssetSelection.all()
    return dg.Definitions(
        assets=product.assets,
        asset_checks=product.asset_checks,
        jobs=[dg.define_asset_job("graph", selection)],
        resources={"desk": desk, "io_manager": WarehouseIOManager(desk.warehouse)},
    )


def run(product: dg.Definitions, desk: Desk, first: date, last: date, *names: str) -> bool:
    desk.folder.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            graph(product, desk, *names)
            .resolve_job_def("graph")
            .execute_in_process(
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": first.isoformat(),
                    "dagster/asset_partition_range_end": last.isoformat(),
                },
                raise_on_error=False,
            )
        )
    return result.success


def tables(desk: Desk) -> dict[str, list[str]]:
    """The rows of each table, to the last decimal."""
    return {
        name: sorted(map(str, desk.warehouse.arrow(f"from {name}").to_pylist()))
        for name in desk.warehouse.tables() - {"day_links"}
    }


def shared(settings: Settings, database: dict[str, str], data: str, **changes: object) -> Settings:
    return settings.model_copy(
        update={
            "warehouse": Settings(warehouse=f"{LAKE}{make_dsn(**database)}").warehouse,
            "warehouse_data": data,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def of_the_file(product, product_settings, sample, tmp_path_factory):
    settings = product_settings.model_copy(
        update={"data_dir": tmp_path_factory.mktemp("file"), **GATE}
    )
    desk = desk_with(settings, sample)
    assert run(product, desk, DAYS[0], DAYS[-1])
    return tables(desk)


@pytest.fixture
def shared_stores(postgres, s3):
    """A new database, a new bucket, and the settings of its access."""
    secret = Settings(s3_secret=SECRET).s3_secret
    access = {"s3_endpoint": s3.endpoint, "s3_key_id": KEY_ID, "s3_secret": secret}
    return postgres.database(), s3.bucket(), access


def test_the_graph_gives_the_same_tables(product, settings, sample, shared_stores, of_the_file):
    desk = desk_with(shared(settings, *shared_stores[:2], **shared_stores[2], **GATE), sample)

    assert run(product, desk, DAYS[0], DAYS[-1])

    stored = tables(desk)
    assert stored.keys() == of_the_file.keys()
    for name, rows in stored.items():
        assert rows == of_the_file[name], name


AT_ONCE = """
import sys
from datetime import date
from tests.defs import conftest
from tests.defs.test_shared_warehouse import run
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings
settings = Settings(_env_file=None)
days = map(date.fromisoformat, sys.argv[1:3])
names = ["raw_tickets", "rejected_messages", "clean_tickets"]
sys.exit(not run(conftest.definitions.defs, Desk(settings), *days, *names))
"""


def test_four_processes_materialise_four_ranges_of_days_at_once(
    settings, sample, postgres, tmp_path
):
    data = shared(settings, postgres.database(), str(tmp_path / "rows"))
    desk = desk_with(data, sample)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TICKETS_")},
        "TICKETS_DATA_DIR": str(data.data_dir),
        "TICKETS_WAREHOUSE": data.warehouse.get_secret_value(),
        "TICKETS_WAREHOUSE_DATA": data.warehouse_data,
        "TICKETS_FIRST_DAY": FIRST.isoformat(),
    }

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, first.isoformat(), last.isoformat()],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first, last in RANGES
    ]
    logs = [process.communicate(timeout=300)[1] for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, logs
    (read,) = desk.warehouse.row(
        "select (select count(*) from raw_tickets) + (select count(*) from rejected_messages)"
    )
    assert read == MESSAGES
    assert desk.warehouse.rows("select ticket_id from clean_tickets order by all") == (
        desk.warehouse.rows("select ticket_id from raw_tickets where kind = 'request' order by all")
    )
