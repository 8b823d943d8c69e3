"""`tickets alerts test` says what became of a message, way by way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.alerts.receivers import WebhookServer
from ticket_assets.cli import app
from ticket_assets.cli.console import messages, output
from ticket_assets.settings import SettingsError, load_settings


@pytest.fixture
def webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    """A server whose address is set."""
    server = WebhookServer()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_ALERT_WEBHOOK", server.url)
    load_settings.cache_clear()
    yield server
    load_settings.cache_clear()
    server.stop()


def run() -> tuple[int, str]:
    with output.capture() as shown, messages.capture() as errors:
        done = CliRunner().invoke(app, ["alerts", "test"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, shown.get() + errors.get()


def test_a_message_that_arrives(webhook: WebhookServer) -> None:
    assert run() == (0, "log: sent\nwebhook: sent\n")
    assert webhook.texts == ["A test of ticket-assets: alerts arrive here. Nothing is wrong."]


def test_a_message_that_does_not(webhook: WebhookServer) -> None:
    webhook.status = 404

    assert run() == (1, "log: sent\nError: webhook: It answers 404 Not Found.\n")


def test_nothing_is_set(webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKETS_ALERT_WEBHOOK")

    code, shown = run()

    assert code == 0
    assert shown.startswith("log: sent\nNote: Alerts go to the log alone. ")
    assert webhook.texts == []


def test_an_address_that_is_none_is_refused_without_showing_it(
    webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETS_ALERT_WEBHOOK", "hooks.example.org/secret")

    with pytest.raises(SettingsError, match="TICKETS_ALERT_WEBHOOK") as refusal:
        run()

    assert "secret" not in str(refusal.value)
