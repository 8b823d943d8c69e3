"""What other tests run beside the product, as the official images do it."""

from __future__ import annotations

import pytest

from tests.services import wait_until
from tests.services.containers import HARDENED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]


def test_postgres_starts_as_the_official_image_does(containers, postgres_image, tmp_path) -> None:
    (tmp_path / "password").write_text("p'a ss")
    (tmp_path / "second.sql").write_text("create database tickets;\n")
    tmp_path.chmod(0o755)
    server = containers.start(
        postgres_image,
        options=(
            *HARDENED, "--network", "none",
            *("--tmpfs", "/var/lib/postgresql/data:rw,mode=1777"),
            *("--tmpfs", "/var/run/postgresql:rw,mode=1777"),
            *("--volume", f"{tmp_path}/password:/run/secrets/password:ro"),
            *("--volume", f"{tmp_path}/second.sql:/docker-entrypoint-initdb.d/second.sql:ro"),
            *("--env", "PGDATA=/var/lib/postgresql/data/pgdata"),
            *("--env", "POSTGRES_USER=desk", "--env", "POSTGRES_DB=dagster"),
            *("--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password"),
        ),
    )  # fmt: skip
    address = "host=127.0.0.1 user=desk dbname=tickets"

    def answers() -> bool:
        assert server.state["Running"], server.log()
        ready = ("pg_isready", "-h", "127.0.0.1", "-U", "desk", "-d", "dagster")
        return server.run(*ready, check=False).returncode == 0

    wait_until(answers, "Postgres")
    asked = server.run(
        "env", "PGPASSWORD=p'a ss", "psql", "--dbname", address, "-Atc", "select current_database()"
    )
    refused = server.run(
        "env", "PGPASSWORD=other", "psql", "--dbname", address, "-Atc", "select 1", check=False
    )

    assert asked.stdout == "tickets\n"
    assert "password authentication failed" in refused.stderr
    assert server.stop() == 0
