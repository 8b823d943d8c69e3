"""The shared warehouse keeps the promises of the file, forgets what is erased, and says in one line
what it lacks."""

import multiprocessing
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pyarrow as pa
import pytest
from psycopg2.extensions import make_dsn

from tests.services.postgres import PASSWORD
from tests.services.s3 import KEY_ID, SECRET
from tests.slow_cases import slow
from ticket_assets.classification.decisions import follow_labels
from ticket_assets.routing import Routing
from ticket_assets.settings import LAKE, Settings, SettingsError
from ticket_assets.storage import ducklake
from ticket_assets.storage.day_origins import (
    Origin,
    read_links,
    read_origins,
    replace_origins,
    require_new_links,
)
from ticket_assets.storage.ducklake import DuckLake, lake_access
from ticket_assets.storage.tables import TABLES, Change
from ticket_assets.storage.vectors import to_arrow, to_matrix
from ticket_assets.storage.warehouse import WarehouseError, ensure_table

pytestmark = pytest.mark.slow

DAY = date(2025, 3, 3)


def lake(parameters, tmp_path, data=None, patience=5.0, **settings):
    # Of this process: another must not read it while it is written.
    password = tmp_path / f"password-{os.getpid()}"
    password.write_text(f"{parameters.get('password', '')}\n", encoding="utf-8")
    address = make_dsn(**{key: value for key, value in parameters.items() if key != "password"})
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "desk",
        warehouse=f"{LAKE}{address}",
        warehouse_password_file=password,
        warehouse_data=data or str(tmp_path / "rows"),
        **settings,
    )
    return DuckLake(lake_access(settings), patience)


@pytest.fixture
def database(postgres):
    return postgres.database()


@pytest.fixture(params=["folder", *slow("bucket")])
def warehouse(request, database, tmp_path):
    """An empty lake, its rows in a folder or in a bucket."""
    if request.param == "folder":
        return lake(database, tmp_path)
    s3 = request.getfixturevalue("s3")
    return lake(
        database,
        tmp_path,
        s3.bucket(),
        s3_endpoint=s3.endpoint,
        s3_region="eu-west-3",
        s3_key_id=KEY_ID,
        s3_secret=SECRET,
    )


def add_labels(warehouse, *categories):
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES["ticket_labels"])
        rows = pd.DataFrame({"ticket_id": categories, "category": categories})
        connection.register("rows", rows)
        connection.execute("insert into tickets.ticket_labels by name from rows")


def categories(warehouse):
    rows = warehouse.rows("select category from ticket_labels order by all")
    return [category for (category,) in rows]


def everything(warehouse, database):
    """All that is stored: the names and rows of every file, and a dump of the catalogue."""
    dump = subprocess.run(
        ["/usr/bin/env", "pg_dump", "--dbname", make_dsn(**database)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with warehouse.connect() as connection:
        pattern = f"{warehouse.access.data}/**"
        files = [name for (name,) in connection.execute(f"from glob('{pattern}')").fetchall()]
        rows = [
            str(connection.execute(f"from read_parquet('{name}')").fetchall()) for name in files
        ]
    return "\n".join([dump, *files, *rows])


def test_what_is_written_is_read_and_nothing_is_kept_of_a_transaction_that_fails(warehouse):
    assert warehouse.tables() == set()
    before = warehouse.revision
    add_labels(warehouse, "mail", "vpn")

    def fail():
        with warehouse.transaction() as connection:
            connection.execute("delete from tickets.ticket_labels")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert categories(warehouse) == ["mail", "vpn"]
    assert warehouse.revision > before
    assert "ticket_labels" in warehouse.tables()
    assert warehouse.columns("ticket_labels") == set(TABLES["ticket_labels"].column_names)
    with pytest.raises(WarehouseError, match="clean_tickets does not exist"):
        warehouse.frame("from clean_tickets")


def test_what_people_say_holds_in_the_lake_too(warehouse):
    routing = Routing({"mail": "messaging", "vpn": "network"}, ("low",), "triage")
    answer = {"category": "mail", "model_category": "mail", "model_decision": "auto"}
    predicted = {"ticket_id": "a", "received_at": datetime(2025, 3, 3), **answer}
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES["ticket_predictions"])
        connection.register("rows", pd.DataFrame([predicted]))
        connection.execute("insert into tickets.ticket_predictions by name from rows")
        ensure_table(connection, TABLES["raw_tickets"])
    said = pd.DataFrame({"ticket_id": ["a"], "category": ["vpn"], "priority": [None]})

    assert follow_labels(warehouse, said, routing) == {DAY}

    decided = warehouse.row(
        "select category, decision, priority, queue, decided_by, model_category"
        " from ticket_predictions"
    )
    assert decided == ("vpn", "labelled", None, "network", "person", "mail")
    assert follow_labels(warehouse, said, routing) == set()


def test_vectors_and_origins_pass_through_unchanged(warehouse):
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES["ticket_embeddings"], vector_length=3)
        rows = pa.table({"ticket_id": ["a", "b"], "vector": to_arrow(vectors)})
        connection.register("rows", rows)
        connection.execute("insert into tickets.ticket_embeddings by name from rows")
    origins = {
        DAY: Origin("mail", "recipe", None, "links"),
        date(2025, 3, 4): Origin("m", "r", "v"),
    }
    replace_origins(warehouse, "clean_tickets", origins, origins)
    replace_origins(warehouse, "clean_tickets", [DAY], {DAY: origins[DAY]})
    require_new_links(warehouse, [DAY, date(2025, 3, 5)], "first")
    require_new_links(warehouse, [DAY], "second")

    stored = warehouse.arrow("select vector from ticket_embeddings order by ticket_id")

    np.testing.assert_array_equal(to_matrix(stored["vector"]), vectors)
    assert read_origins(warehouse, "clean_tickets") == origins
    assert read_links(warehouse) == {DAY: "second", date(2025, 3, 5): "first"}


def test_what_is_erased_is_in_no_file_and_not_in_the_catalogue(warehouse, database):
    # The least and the greatest value of a file, one of a file of its own, one of an earlier state.
    add_labels(warehouse, "AAA-secret", "mail", "vpn", "zzz-secret-1")
    add_labels(warehouse, "zzzz-secret-2")
    add_labels(warehouse, "former-secret")
    with warehouse.transaction() as connection:
        connection.execute(
            "update tickets.ticket_labels set category = 'now', ticket_id = 'now'"
            " where category = 'former-secret'"
        )
    assert everything(warehouse, database).count("-secret") > 4

    erased = pd.DataFrame({"category": ["AAA-secret", "zzz-secret-1", "zzzz-secret-2"]})
    changes = Change("category in (from erased)", {"priority": "upper(category)"})
    warehouse.rewrite({"ticket_labels": changes}, {"erased": erased})

    assert "-secret" not in everything(warehouse, database)
    assert warehouse.rows("select category, priority from ticket_labels order by all") == [
        ("mail", "MAIL"),
        ("now", "NOW"),
        ("vpn", "VPN"),
    ]
    add_labels(warehouse, "zulu")
    assert warehouse.rows("select category from ticket_labels where category > 'w'") == [("zulu",)]


def test_an_erasure_that_was_interrupted_is_completed_by_the_next(warehouse, database, monkeypatch):
    add_labels(warehouse, "mail", "zz-secret")
    with monkeypatch.context() as power_cut:
        power_cut.setattr(DuckLake, "_call", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            warehouse.rewrite({"ticket_labels": Change("category = 'zz-secret'")})
    assert "zz-secret" in everything(warehouse, database)

    assert warehouse.keeps_former_rows  # so an erasure repeats this although no row is left
    warehouse.rewrite({})

    assert "zz-secret" not in everything(warehouse, database)
    assert categories(warehouse) == ["mail"]


def write_days(arguments):
    (parameters, folder), number = arguments
    warehouse = lake(parameters, Path(folder), patience=30)
    for day in range(3):
        received = datetime(2025, 1 + number, 1 + day)
        with warehouse.transaction() as connection:
            ensure_table(connection, TABLES["clean_tickets"])
            connection.execute(
                "delete from tickets.clean_tickets where received_at = ?", [received]
            )
            connection.execute(
                "insert into tickets.clean_tickets (ticket_id, received_at)"
                " select range, ? from range(50)",
                [received],
            )
        replace_origins(
            warehouse, "clean_tickets", [received.date()], {received.date(): Origin("m", "r")}
        )


def test_four_processes_write_at_once_and_no_row_is_lost(database, tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        jobs = [((database, str(tmp_path)), number) for number in range(4)]
        for _ in range(2):
            pool.map(write_days, jobs, chunksize=1)

    warehouse = lake(database, tmp_path)
    assert warehouse.row("select count(*), count(distinct received_at) from clean_tickets") == (
        600,
        12,
    )
    assert len(read_origins(warehouse, "clean_tickets")) == 12


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"port": "1"}, "Connection refused"),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_a_catalogue_that_does_not_answer_is_named_in_one_line(database, tmp_path, changed, reason):
    with pytest.raises(WarehouseError) as error:
        lake(database | changed, tmp_path).tables()

    message = str(error.value)
    assert reason in message
    assert "Check TICKETS_WAREHOUSE" in message
    assert "\n" not in message
    assert PASSWORD not in message


def test_rows_that_cannot_be_written_leave_nothing_behind(database, tmp_path, s3):
    absent = lake(
        database,
        tmp_path,
        "s3://nowhere-at-all",
        s3_endpoint=s3.endpoint,
        s3_key_id=KEY_ID,
        s3_secret=SECRET,
    )

    with pytest.raises(
        WarehouseError, match=r"rows in s3://nowhere-at-all cannot be .*NoSuchBucket|404"
    ):
        add_labels(absent, "mail")

    assert "ticket_labels" not in absent.tables()


def test_other_rows_than_those_of_the_catalogue_are_refused(database, tmp_path):
    add_labels(lake(database, tmp_path), "mail")

    with pytest.raises(WarehouseError, match="Set TICKETS_WAREHOUSE_DATA to the folder"):
        lake(database, tmp_path, str(tmp_path / "elsewhere")).tables()


def test_without_the_extensions_it_says_what_to_install(database, tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(ducklake.importlib.resources, "files", absent)

    with pytest.raises(WarehouseError, match=r"pip install ticket-assets\[shared\]$"):
        lake(database | {"application_name": "other"}, tmp_path).tables()


def test_a_server_that_restarts_is_waited_for(postgres, database, tmp_path):
    warehouse = lake(database, tmp_path, patience=60.0)
    add_labels(warehouse, "mail")
    with closing(psycopg2.connect(**database)) as connection, connection.cursor() as cursor:
        cursor.execute("checkpoint")  # the tests' server does not wait for its disk

    postgres.stop()
    with ThreadPoolExecutor() as threads:
        read = threads.submit(categories, warehouse)
        written = threads.submit(add_labels, warehouse, "vpn")
        assert not wait([read, written], timeout=1).done
        postgres.start()
        assert read.result(timeout=60)[0] == "mail"
        written.result(timeout=60)

    assert categories(warehouse) == ["mail", "vpn"]


def test_a_restarted_server_is_used_again(postgres, database, tmp_path):
    warehouse = lake(database, tmp_path, patience=0.0)
    add_labels(warehouse, "mail")
    with closing(psycopg2.connect(**database)) as connection, connection.cursor() as cursor:
        cursor.execute("checkpoint")  # the tests' server does not wait for its disk

    postgres.stop()
    with pytest.raises(WarehouseError, match="does not answer"):
        categories(warehouse)
    postgres.start()

    assert categories(warehouse) == ["mail"]


def test_the_password_stands_in_no_text(database, tmp_path):
    warehouse = lake(database, tmp_path)

    with warehouse.connect() as connection:
        shown = connection.execute("from duckdb_databases()").fetchall()
        secrets = connection.execute("from duckdb_secrets()").fetchall()

    assert PASSWORD not in f"{shown}{secrets}{warehouse.access!r}"


def test_half_an_address_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="TICKETS_WAREHOUSE needs TICKETS_WAREHOUSE_DATA"):
        lake_access(Settings(_env_file=None, warehouse=f"{LAKE}dbname=x"))
    with pytest.raises(SettingsError, match="no address of Postgres") as error:
        lake_access(Settings(_env_file=None, warehouse=f"{LAKE}pass word", warehouse_data="x"))
    assert "pass word" not in str(error.value)
    with pytest.raises(ValueError, match="not like ducklake:postgres"):
        Settings(_env_file=None, warehouse="mysql:")
