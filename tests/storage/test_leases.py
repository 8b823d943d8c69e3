"""One process at a time, on a folder and on Postgres alike; a killed holder keeps nobody out."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from tests.loopback import free_port
from ticket_assets.storage.leases import FileLeases, LeaseError, LeaseHeldError, PostgresLeases

NAME = "landing/.removing"
HOLD = """
import sys, time
from pathlib import Path
from ticket_assets.storage.leases import FileLeases, PostgresLeases

with eval(sys.argv[1]).hold(sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["folder", "postgres"])
def leases(request, tmp_path):
    if request.param == "folder":
        return FileLeases(tmp_path)
    return PostgresLeases(make_dsn(**request.getfixturevalue("postgres").database()))


def constructor(leases):
    if isinstance(leases, FileLeases):
        return f"FileLeases(Path({str(leases.folder)!r}))"
    return f"PostgresLeases({leases.dsn!r})"


def test_a_held_lease_is_refused_and_others_are_not(leases):
    with leases.hold(NAME):
        with pytest.raises(LeaseHeldError), leases.hold(NAME):
            pytest.fail("two hold it")
        with leases.hold("cursors/poll.lock"):
            pass

    with leases.hold(NAME):
        pass


def test_a_shared_lease_keeps_out_those_who_want_it_alone_and_no_others(leases):
    with leases.hold(NAME, shared=True):
        with (
            leases.hold(NAME, shared=True),
            pytest.raises(LeaseHeldError),
            leases.hold(NAME),
        ):
            pytest.fail("it is shared")
        with pytest.raises(LeaseHeldError), leases.hold(NAME):
            pytest.fail("one of the two still holds it")

    with leases.hold(NAME), pytest.raises(LeaseHeldError), leases.hold(NAME, shared=True):
        pytest.fail("it is held alone")
    with leases.hold(NAME, shared=True):
        pass


def test_an_error_of_the_holder_frees_the_lease(leases):
    with pytest.raises(psycopg2.DataError), leases.hold(NAME):
        raise psycopg2.DataError("not the lease's")

    with leases.hold(NAME):
        pass


@pytest.mark.slow
def test_a_lease_is_free_as_soon_as_its_holder_has_left_it(leases):
    for _ in range(200):
        with leases.hold(NAME):
            pass


def test_those_who_wait_work_one_after_the_other(leases):
    at_work = []

    def work(number):
        with leases.hold(NAME, wait=True):
            at_work.append(number)
            assert at_work == [number]
            at_work.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(40)))


def test_a_killed_holder_keeps_nobody_out(leases):
    command = [sys.executable, "-c", HOLD, constructor(leases), NAME]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LeaseHeldError), leases.hold(NAME):
            pytest.fail("two hold it")
        holder.kill()
        holder.wait()

        with leases.hold(NAME, wait=True):
            pass


def test_no_file_stays_behind(tmp_path):
    with FileLeases(tmp_path).hold(NAME):
        assert [path.name for path in (tmp_path / "landing").iterdir()] == [".removing"]

    with FileLeases(tmp_path).hold(NAME, shared=True), FileLeases(tmp_path).hold(NAME, shared=True):
        pass

    assert list((tmp_path / "landing").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "landing").write_text("a file")

    with pytest.raises(LeaseError) as error, FileLeases(tmp_path).hold(NAME):
        pass

    assert str(error.value) == (
        f"Cannot lock {tmp_path / NAME}: File exists. A file stands where a folder belongs:"
        " `tickets doctor --repair` moves it away."
    )


def test_a_lease_that_was_lost_is_no_success(postgres):
    parameters = postgres.database()
    leases = PostgresLeases(make_dsn(**parameters))
    other = psycopg2.connect(**parameters)

    with pytest.raises(LeaseError) as error, leases.hold(NAME), other.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
    other.close()

    assert str(error.value).startswith(f"The lock {NAME} was lost: ")
    assert "give the command again" in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"port": str(free_port())}, "Connection refused"),
        ({"dbname": "none"}, 'database "none" does not exist'),
    ],
)
def test_a_server_that_refuses_is_named_in_one_line(postgres, change, reason):
    parameters = postgres.database() | change

    with pytest.raises(LeaseError) as error, PostgresLeases(make_dsn(**parameters)).hold(NAME):
        pass

    message = str(error.value)
    assert message.startswith("Cannot lock in Postgres: ")
    assert reason in message
    assert message.endswith(". Check TICKETS_WAREHOUSE, and that the server runs.")
    assert "\n" not in message
    assert parameters["password"] not in message.replace("password authentication", "")


def test_a_string_that_is_none_of_postgres_is_not_shown():
    leases = PostgresLeases("host=h password=s ecret=x y")

    with pytest.raises(LeaseError, match="no connection string") as error, leases.hold(NAME):
        pass

    assert "ecret" not in str(error.value)
    assert "ecret" not in repr(leases)
