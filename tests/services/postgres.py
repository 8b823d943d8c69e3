"""A Postgres server: the catalogue of a DuckLake, Dagster's storage, leases."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from tests.loopback import free_port
from tests.services import skip_without

# Debian keeps the programs of each version off the path.
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
INITDB = shutil.which("initdb", path=":".join(map(str, [*_FOLDERS, os.environ["PATH"]])))
USER = "desk"
PASSWORD = "p'a ss\\wörd"  # noqa: S105 - whatever people choose
# Nothing of a test outlives it: the server need not wait for the disk.
OPTIONS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


class PostgresServer:
    """A server on the loopback whose user `desk` may do everything, with a password."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "data", free_port()
        self._programs = Path(str(INITDB)).parent
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:  # Postgres refuses to run as root
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            *("initdb", "--pgdata", self.folder, "--username", USER, "--pwfile", password),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k '' {OPTIONS}"
        log = self.folder.parent / "log"
        self._run("pg_ctl", "start", "-w", "-D", self.folder, "-l", log, "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.folder)

    def database(self) -> dict[str, str]:
        """The connection parameters (libpq) of a new, empty database."""
        name = f"d{uuid4().hex[:12]}"
        connection = psycopg2.connect(**self.parameters("postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        connection.close()
        return self.parameters(name)

    def parameters(self, database: str) -> dict[str, str]:
        return {
            "host": "127.0.0.1",
            "port": str(self.port),
            "dbname": database,
            "user": USER,
            "password": PASSWORD,
        }

    def _run(self, program: str, *arguments: object) -> None:
        # Its output would keep a pipe open: the server inherits it.
        subprocess.run(
            [self._programs / program, *map(str, arguments)],
            check=True,
            user=self._user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def postgres():
    """The server; `database()` makes a new one on it."""
    skip_without(INITDB is not None, "Postgres (Debian: postgresql)")
    # Not below pytest's own folder: the server's user cannot look into it.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        server = PostgresServer(folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def dagster_in_postgres(postgres, monkeypatch):
    """Opens a desk's instance on a new database, given the data folder."""
    from ticket_assets.orchestration.instance import desk_instance
    from ticket_assets.settings import load_settings

    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("TICKETS_DAGSTER_POSTGRES", make_dsn(**postgres.database()))
    load_settings.cache_clear()
    yield desk_instance
    load_settings.cache_clear()
