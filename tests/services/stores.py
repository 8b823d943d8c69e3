"""Desks on the files of one machine and on shared stores, and the command on them."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.services import skip_without
from tests.services.chroma import COMMAND, ChromaServer
from tests.services.s3 import KEY_ID, SECRET
from tests.services.warm_processes import WarmProcess, warm_processes
from tests.warehouse_rows import table_rows
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings, child_environment

SETTINGS = {
    "encoder": "all-minilm-l6-v2",
    "encoder_precision": "fp32",
    "encoder_max_tokens": "64",
    "min_class_tickets": "5",
    "macro_f1_floor": "0",
}
"""Small and quick; every model passes."""


class Stores:
    """A desk with these settings, in a folder of its own."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        folder.mkdir()
        self.settings = {"data_dir": str(folder / "data"), **SETTINGS, **(settings or {})}
        self.environment = child_environment(self.settings)

    def tickets(self, *arguments: object, status: int = 0, **changes: str) -> str:
        """What the command says; it has to end with this status."""
        done = warm_processes().run(
            ["tickets", *map(str, arguments)], {**self.environment, **changes}, self.folder
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: object, folder: Path | None = None, **changes: str) -> WarmProcess:
        """The command, at work in this folder, or in the desk's own."""
        folder = folder or self.folder
        return warm_processes().start(
            ["tickets", *map(str, arguments)],
            {**self.environment, **changes},
            folder,
            folder / f"{uuid4()}.log",
        )

    def desk(self) -> Desk:
        return Desk(Settings(_env_file=None, **self.settings))

    def tables(self) -> dict[str, list[str]]:
        """The rows of each table, in an order of their own."""
        rows = table_rows(self.desk().warehouse)
        # A lake makes a table before it has a row for it.
        return {name: sorted(map(repr, of_table)) for name, of_table in rows.items() if of_table}


class SharedStores(Stores):
    """A desk on DuckLake with its catalogue in Postgres, a bucket, and a Chroma server."""

    def __init__(self, folder: Path, postgres, s3, chroma: ChromaServer) -> None:
        self.database, self.bucket = postgres.database(), s3.bucket()
        self.postgres, self.s3, self.chroma = postgres, s3, chroma
        password = folder.with_name(f"{folder.name}.password")
        password.write_text(self.database["password"])
        catalogue = " ".join(
            f"{key}={self.database[key]}" for key in ("host", "port", "dbname", "user")
        )
        super().__init__(
            folder,
            {
                "warehouse": f"ducklake:postgres:{catalogue}",
                "warehouse_password_file": str(password),
                "warehouse_data": f"{self.bucket}/lake",
                "files": f"{self.bucket}/desk",
                "s3_endpoint": s3.endpoint,
                "s3_region": "eu-west-3",
                "s3_key_id": KEY_ID,
                "s3_secret": SECRET,
                "chroma_url": chroma.url,
            },
        )


@pytest.fixture(scope="session")
def shared_stores(postgres, s3, tmp_path_factory):
    """Makes desks on shared stores, each with a catalogue, a bucket and a server of its own."""
    skip_without(COMMAND.exists(), "Chroma's server")
    servers = []

    def make() -> SharedStores:
        folder = tmp_path_factory.mktemp("shared")
        servers.append(ChromaServer(folder))
        return SharedStores(folder / "desk", postgres, s3, servers[-1])

    yield make
    for server in servers:
        server.stop()
