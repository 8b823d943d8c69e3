"""The passwords of docker-compose.yml: made once, readable for containers, hidden from others."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from tests.compose.compose_file import PROJECT, configuration

NEW_SECRETS = PROJECT / "compose" / "new-secrets"


def new_secrets(folder: Path) -> dict[str, str]:
    """The secrets after a call in this folder."""
    subprocess.run([NEW_SECRETS, "./secrets"], cwd=folder, check=True)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def test_they_are_those_of_the_compose_file(tmp_path: Path) -> None:
    written = new_secrets(tmp_path)

    wanted = configuration("monitoring", "object-store", SECRETS=str(tmp_path / "secrets"))
    files = {Path(secret["file"]) for secret in wanted["secrets"].values()}
    assert files == {tmp_path / "secrets" / name for name in written}
    for name in ("postgres-password", "s3-secret", "grafana-password"):
        assert len(written[name]) == 48, name
    assert written["imap-password"] == written["smtp-password"] == ""


def test_containers_read_them_and_other_people_do_not(tmp_path: Path) -> None:
    new_secrets(tmp_path)

    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    for path in (tmp_path / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_second_call_changes_none(tmp_path: Path) -> None:
    first = new_secrets(tmp_path)
    (tmp_path / "secrets" / "imap-password").write_text("mine")

    assert new_secrets(tmp_path) == {**first, "imap-password": "mine"}
    assert (tmp_path / ".env").read_text() == "SECRETS=./secrets\n"


def test_two_desks_have_other_passwords(tmp_path: Path) -> None:
    for name in ("paris", "lyon"):
        (tmp_path / name).mkdir()
    paris, lyon = (new_secrets(tmp_path / name) for name in ("paris", "lyon"))

    assert paris["postgres-password"] != lyon["postgres-password"]


def test_the_settings_that_there_are_stay(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TICKETS_LANGUAGES=fr")

    new_secrets(tmp_path)

    assert (tmp_path / ".env").read_text() == "TICKETS_LANGUAGES=fr\nSECRETS=./secrets\n"
