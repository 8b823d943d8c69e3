"""Dagster's storage in Postgres: its connections are kept, and no message holds the password."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import psycopg2
import pytest
import sqlalchemy as sql
import yaml
from dagster._serdes import ConfigurableClassData

from tests.loopback import free_port
from tests.services.postgres import PASSWORD, PostgresServer
from ticket_assets.orchestration.development import only_server, serve
from ticket_assets.orchestration.instance import InstanceError, desk_instance, migrate
from ticket_assets.orchestration.postgres import PooledEventLog, PostgresError
from ticket_assets.settings import load_settings

JOB = dg.GraphDefinition(name="any").to_job()
Parameters = dict[str, str]


@pytest.fixture
def database(postgres: PostgresServer) -> Parameters:
    return postgres.database()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Sets the database of Dagster's storage."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def set_database(text: str, password: str | None = PASSWORD) -> None:
        monkeypatch.setenv("TICKETS_DAGSTER_POSTGRES", text)
        if password is not None:
            (tmp_path / "password").write_text(f"{password}\n")
            monkeypatch.setenv("TICKETS_DAGSTER_POSTGRES_PASSWORD_FILE", str(tmp_path / "password"))
        load_settings.cache_clear()

    yield set_database
    load_settings.cache_clear()


def url(database: Parameters) -> str:
    return "postgresql://{user}@{host}:{port}/{dbname}".format(**database)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The databases of the connections that this process has opened."""
    opened: list[str] = []
    connect = psycopg2.connect

    def counted(*arguments: Any, **parameters: Any) -> Any:
        opened.append(parameters["dbname"])
        return connect(*arguments, **parameters)

    monkeypatch.setattr(psycopg2, "connect", counted)
    return opened


def work(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(JOB)
    for number in range(30):
        instance.report_engine_event(f"event {number}", run)
        instance.get_run_ids()
        instance.all_instigator_state()
    assert len(instance.all_logs(run.run_id)) == 30


@pytest.mark.slow
def test_runs_events_and_schedules_are_in_the_database_over_one_connection(
    database: Parameters, use: Callable[..., None], tmp_path: Path, connections: list[str]
) -> None:
    use(url(database))
    with desk_instance(tmp_path):  # makes the tables
        connections.clear()
    with desk_instance(tmp_path) as instance:
        work(instance)
    pooled = len(connections)

    ref = instance.get_ref()
    address = url(database).replace("desk@", f"desk:{quote(PASSWORD)}@")
    own = ConfigurableClassData(
        "dagster_postgres",
        "DagsterPostgresStorage",
        yaml.dump({"postgres_url": address.replace("://", "+psycopg2://")}),
    )
    connections.clear()
    with dg.DagsterInstance.from_ref(ref._replace(storage_data=own)) as instance:
        work(instance)

    assert (pooled, len(connections) > 100) == (1, True)
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.slow
def test_a_connection_that_the_server_has_closed_is_replaced(
    database: Parameters, use: Callable[..., None], tmp_path: Path
) -> None:
    use(url(database))
    with desk_instance(tmp_path) as instance:
        run_id = instance.create_run_for_job(JOB).run_id
        with psycopg2.connect(**database) as server, server.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            assert cursor.rowcount > 0

        assert instance.get_run_ids() == [run_id]


@pytest.mark.slow
def test_a_server_that_restarts_is_waited_for(
    postgres: PostgresServer, database: Parameters, use: Callable[..., None], tmp_path: Path
) -> None:
    """For longer than Dagster does, which gives up after six seconds."""
    use(url(database))
    with desk_instance(tmp_path) as instance, ThreadPoolExecutor() as threads:
        run_id = instance.create_run_for_job(JOB).run_id
        with psycopg2.connect(**database) as server, server.cursor() as cursor:
            cursor.execute("checkpoint")  # the tests' server does not wait for its disk

        postgres.stop()
        asked = threads.submit(instance.get_run_ids)
        assert not wait([asked], timeout=12).done
        postgres.start()

        assert asked.result(timeout=60) == [run_id]


@pytest.mark.slow
def test_what_a_run_is_started_with_names_the_storage_and_not_the_password(
    database: Parameters, use: Callable[..., None], tmp_path: Path
) -> None:
    use("user={user} host={host} port={port} dbname={dbname}".format(**database))
    with desk_instance(tmp_path) as instance:
        handed_on = instance.get_ref()
        with dg.DagsterInstance.from_ref(handed_on) as of_run:
            assert isinstance(of_run.event_log_storage, PooledEventLog)
    home = yaml.safe_load((tmp_path / "dagster" / "dagster.yaml").read_text())

    assert PASSWORD not in f"{handed_on!r} {handed_on.to_dict()}"
    assert home["storage"]["custom"]["class"] == "PooledPostgresStorage"


@pytest.mark.slow
def test_a_desk_that_goes_back_to_its_folder_finds_its_former_runs(
    database: Parameters, use: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with desk_instance(tmp_path) as instance:
        run_id = instance.create_run_for_job(JOB).run_id
    use(url(database))
    with desk_instance(tmp_path) as instance:
        assert instance.get_run_ids() == []
    use("", None)
    monkeypatch.delenv("TICKETS_DAGSTER_POSTGRES_PASSWORD_FILE")
    load_settings.cache_clear()

    with desk_instance(tmp_path) as instance:
        assert instance.get_run_ids() == [run_id]


@pytest.mark.parametrize(
    "refused",
    [
        ({}, "wrong", "password authentication failed"),
        ({"port": "1"}, PASSWORD, "Connection refused"),
        ({"dbname": "absent"}, PASSWORD, 'database "absent" does not exist'),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    database: Parameters, use: Callable[..., None], tmp_path: Path, refused: tuple[Parameters, str]
) -> None:
    change, password, reason = refused
    use(url(database | change), password)

    with pytest.raises(PostgresError) as refusal, desk_instance(tmp_path):
        pass

    message = str(refusal.value)
    assert message.startswith("Cannot use the Postgres database ")
    assert reason in message
    assert message.endswith(
        " Check TICKETS_DAGSTER_POSTGRES, its password and that the server runs."
    )
    assert "\n" not in message
    assert password not in message


def test_the_ui_is_not_started_on_a_database_that_cannot_be_used(
    use: Callable[..., None], tmp_path: Path
) -> None:
    use("postgresql://desk@127.0.0.1:1/desk")

    with (
        only_server(tmp_path, port := free_port()) as lock,
        pytest.raises(PostgresError, match="Connection refused"),
    ):
        serve(tmp_path, port, lock)


def test_a_text_that_names_no_database_is_not_repeated(
    use: Callable[..., None], tmp_path: Path
) -> None:
    use("desk:s3cret/db", None)

    with pytest.raises(PostgresError) as refusal, desk_instance(tmp_path):
        pass

    assert str(refusal.value).startswith("TICKETS_DAGSTER_POSTGRES does not name a database")
    assert "s3cret" not in str(refusal.value)


def test_a_configuration_that_a_person_has_changed_has_to_name_the_storage(
    database: Parameters, use: Callable[..., None], tmp_path: Path
) -> None:
    home = tmp_path / "dagster" / "dagster.yaml"
    home.parent.mkdir()
    home.write_text("# mine\ntelemetry:\n  enabled: false\n")
    use(url(database))

    with pytest.raises(InstanceError) as refusal, desk_instance(tmp_path):
        pass
    assert str(home) in str(refusal.value)
    assert "class: PooledPostgresStorage" in str(refusal.value)


def make_older(execute: Callable[[str], object]) -> None:
    """As a version of Dagster before migration 048 has left it."""
    execute("alter table concurrency_limits drop column using_default_limit")
    execute("update alembic_version set version_num = '6b7fb194ff9c'")


@pytest.mark.slow
@pytest.mark.parametrize("is_postgres", [False, True], ids=["sqlite", "postgres"])
def test_a_storage_of_an_older_dagster_is_brought_up_to_date(
    database: Parameters, use: Callable[..., None], tmp_path: Path, is_postgres: bool
) -> None:
    if is_postgres:
        use(url(database))
    with desk_instance(tmp_path) as instance:
        run_id = instance.create_run_for_job(JOB).run_id
    if is_postgres:
        with psycopg2.connect(**database) as server, server.cursor() as cursor:
            make_older(cursor.execute)
    else:
        (path,) = tmp_path.rglob("index.db")
        with sqlite3.connect(path) as file:
            make_older(file.execute)

    with desk_instance(tmp_path) as instance:
        assert len(set(instance.event_log_storage.alembic_version())) == 2

    steps: list[str] = []
    for _ in range(2):
        migrate(tmp_path, steps.append)
        with desk_instance(tmp_path) as instance:
            log = instance.event_log_storage
            assert len(set(log.alembic_version())) == 1
            with log.index_connection() as connection:
                columns = sql.inspect(connection).get_columns("concurrency_limits")
            assert "using_default_limit" in {column["name"] for column in columns}
            assert instance.get_run_ids() == [run_id]
    assert "Updating event storage..." in steps
