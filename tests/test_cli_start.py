"""What stops every command before it has done anything."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ticket_assets.cli import app
from ticket_assets.routing import RoutingError
from ticket_assets.settings import load_settings

ARGUMENTS = {
    "sample": ("--messages", "50", "--days", "14"),
    "import": ("past.csv",),
    "fetch": (),
    "redate": (),
    "run": (),
    "classify": ("Le VPN est coupé",),
    "review": (),
    "correct": ("0" * 20, "--category", "network"),
    "breaker show": (),
    "breaker reset": ("network",),
    "status": (),
    "dev": (),
    "evaluate": ("past.csv",),
    "simulate": (),
    "evidently": (),
    "checks": (),
    "exporter": (),
    "erase": ("--ticket", "0" * 20, "--yes"),
    "purge": (),
    "prune": (),
    "model list": (),
    "model show": (),
    "model rollback": (),
    "categories list": (),
    "categories rename": ("network", "net"),
    "categories merge": ("printing", "hardware"),
    "delivery status": (),
    "delivery start": (),
    "delivery stop": (),
    "delivery retry": (),
    "alerts test": (),
    "backup": ("folder",),
    "restore": ("folder",),
    "collection rebuild": (),
    "dagster migrate": (),
    "doctor": (),
}


def commands(group: typer.core.TyperGroup, outer: str = "") -> list[str]:
    names = []
    for name, command in group.commands.items():
        inner = isinstance(command, typer.core.TyperGroup)
        names += commands(command, f"{name} ") if inner else [f"{outer}{name}"]
    return names


def test_the_commands_below_are_all_there_are() -> None:
    assert sorted(commands(typer.main.get_group(app))) == sorted(ARGUMENTS)


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BaseException]:
    """Gives a command and a wrong routing file; what the command raises."""
    (tmp_path / "past.csv").write_text("subject,category\nVPN,network\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_DROP_FOLDER", str(tmp_path))
    monkeypatch.setenv("TICKETS_RAW_MAIL_DAYS", "30")
    monkeypatch.setenv("TICKETS_ROUTING", "routing.yaml")

    def run(command: str) -> BaseException:
        load_settings.cache_clear()
        done = CliRunner().invoke(app, [*command.split(), *ARGUMENTS[command]])
        assert (done.exit_code, done.output) == (1, "")
        assert done.exception is not None
        return done.exception

    yield run
    load_settings.cache_clear()


@pytest.mark.parametrize("command", ARGUMENTS)
@pytest.mark.parametrize("content", [None, "categories: {network: it}\n"])
def test_a_routing_file_that_cannot_be_used_stops_a_command_before_anything_is_written(
    refusal: Callable[[str], BaseException], tmp_path: Path, command: str, content: str | None
) -> None:
    if content:
        (tmp_path / "routing.yaml").write_text(content)

    error = refusal(command)

    assert isinstance(error, RoutingError)
    assert "routing.yaml" in str(error)
    assert not (tmp_path / "data").exists()


def test_the_file_may_be_named_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_ROUTING", "routing.yaml")
    (tmp_path / "past.csv").write_text("subject,category\nVPN,network\nBadge,access\n")
    load_settings.cache_clear()

    done = CliRunner().invoke(app, ["import", "past.csv", "--write-routing", "routing.yaml"])

    load_settings.cache_clear()
    assert done.exit_code == 0
    assert "network" in (tmp_path / "routing.yaml").read_text()
