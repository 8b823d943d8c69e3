"""Delivery to real servers on the loopback: by webhook and by mail."""

import base64
import logging
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from tests.alerts.receivers import WebhookServer
from ticket_assets.alerts.delivery import (
    DeliveryError,
    Log,
    Mail,
    Webhook,
    configured_channels,
    tell,
)
from ticket_assets.alerts.edges import Problem
from ticket_assets.alerts.memory import Memory
from ticket_assets.settings import Settings, SettingsError
from ticket_assets.storage.blobs import Blobs
from ticket_assets.storage.folder_blobs import FolderBlobs

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
SENTENCES = ["A run failed: été. Its page says why: http://ui/runs/1", "An asset is late: é."]


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    server = WebhookServer()
    yield server
    server.stop()


def test_the_log_has_a_line_for_each_sentence(caplog: pytest.LogCaptureFixture) -> None:
    Log().send(SENTENCES)

    assert caplog.messages == SENTENCES


def test_a_webhook_gets_one_message(webhook: WebhookServer) -> None:
    Webhook(webhook.url).send(SENTENCES)

    assert webhook.texts == ["\n".join(SENTENCES)]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "500 Internal Server Error"), (302, "302 Found"), (None, "timed out")],
)
def test_a_webhook_that_does_not_take_it_says_so_without_its_secret(
    webhook: WebhookServer, status: int | None, reason: str
) -> None:
    webhook.status = status

    with pytest.raises(DeliveryError, match=reason) as refusal:
        Webhook(webhook.url, timeout=0.3).send(SENTENCES)

    assert "secret" not in str(refusal.value)


def test_what_a_webhook_says_of_the_address_is_not_told(webhook: WebhookServer) -> None:
    webhook.phrase = "no such /services/secret"

    for status in (404, 799):
        webhook.status = status
        with pytest.raises(DeliveryError, match=rf"It answers {status}( Not Found)?\.") as refusal:
            Webhook(webhook.url).send(SENTENCES)
        assert "secret" not in str(refusal.value)


def test_a_webhook_that_is_not_there(closed_port: int) -> None:
    with pytest.raises(DeliveryError, match="refused"):
        Webhook(f"http://127.0.0.1:{closed_port}/").send(SENTENCES)


class Inbox:
    """What a mail server has taken."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.passwords: list[bytes] = []
        """With which somebody tried to log in."""

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def mail(tmp_path: Path, closed_port: int, certificate: Path) -> Iterator[Callable[..., Mail]]:
    """Starts a mail server with this security; the way to it."""
    started = []
    (tmp_path / "password").write_text("right\n")

    def start(inbox: Inbox, security: str = "plain") -> Mail:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

        def accepts(*arguments: Any) -> AuthResult:
            secret = arguments[-1]
            assert isinstance(secret, LoginPassword)
            inbox.passwords.append(secret.password)
            accepted = secret == LoginPassword(b"desk", b"right")
            return AuthResult(success=accepted, handled=accepted)

        controller = Controller(
            inbox,
            hostname="127.0.0.1",
            port=closed_port,
            ssl_context=context if security == "tls" else None,
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=accepts,
            auth_required=True,
            auth_require_tls=False,
        )
        controller.start()
        started.append(controller)
        return Mail(
            host="127.0.0.1",
            port=closed_port,
            recipients=("desk@example.org", "boss@example.org"),
            sender="alerts@example.org",
            cursors=FolderBlobs(tmp_path),
            security=security,
            ca_file=certificate,
            user="desk",
            password_file=tmp_path / "password",
        )

    yield start
    for controller in started:
        controller.stop()


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
def test_mail_goes_to_all_recipients_in_one_message(
    mail: Callable[..., Mail], security: str
) -> None:
    inbox = Inbox()

    mail(inbox, security).send(SENTENCES)

    (received,) = inbox.mails
    assert inbox.recipients == [["desk@example.org", "boss@example.org"]]
    assert received["Subject"] == "ticket-assets: A run failed"
    assert received["Auto-Submitted"] == "auto-generated"
    assert received.get_content().split("\r\n\r\n") == [SENTENCES[0], SENTENCES[1] + "\r\n"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_with_another_certificate_gets_no_mail(
    mail: Callable[..., Mail], security: str
) -> None:
    inbox = Inbox()

    with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
        replace(mail(inbox, security), ca_file=None).send(SENTENCES)

    assert not inbox.mails


def test_a_refused_login_is_not_repeated_before_the_password_changes(
    mail: Callable[..., Mail], tmp_path: Path
) -> None:
    inbox = Inbox()
    way = mail(inbox)
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(DeliveryError, match="refuses the login"):
        way.send(SENTENCES)
    tries = list(inbox.passwords)

    with pytest.raises(DeliveryError, match="next login is tried"):
        way.send(SENTENCES)
    assert inbox.passwords == tries
    with pytest.raises(DeliveryError, match=r"refuses the login \(535\)\.$"):
        replace(way, is_patient=False).send(SENTENCES)

    (tmp_path / "password").write_text("right")
    way.send(SENTENCES)
    assert len(inbox.mails) == 1


def test_what_a_mail_server_quotes_of_the_login_is_not_told(
    mail: Callable[..., Mail], tmp_path: Path
) -> None:
    class Quoting(Inbox):
        async def handle_RCPT(self, *_: Any) -> str:  # noqa: N802  # aiosmtpd's name
            code = base64.b64encode(b"\0desk\0" + self.passwords[-1]).decode()
            return f"550 Not for {self.passwords[-1].decode()} nor {code}"

    way = mail(Quoting())

    with pytest.raises(DeliveryError, match="Not for … nor …"):
        way.send(SENTENCES)


def test_a_mail_server_that_is_not_there(tmp_path: Path, closed_port: int) -> None:
    way = Mail(
        "127.0.0.1",
        ("a@example.org",),
        "a@example.org",
        FolderBlobs(tmp_path),
        "plain",
        closed_port,
    )

    with pytest.raises(DeliveryError, match="refused"):
        way.send(SENTENCES)


CURSORS = FolderBlobs(Path("cursors"))


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **changes)  # type: ignore[call-arg]


def test_nothing_but_the_log_unless_it_is_set() -> None:
    assert configured_channels(settings(), CURSORS) == (Log(),)


def test_what_is_set_is_used() -> None:
    channels = configured_channels(
        settings(
            alert_webhook="https://hooks.example.org/a",
            alert_mail_to="a@example.org, b@example.org",
            smtp_host="smtp.example.org",
        ),
        CURSORS,
    )

    _, webhook, mail = channels
    assert webhook == Webhook("https://hooks.example.org/a")
    assert isinstance(mail, Mail)
    assert (mail.recipients, mail.sender) == (("a@example.org", "b@example.org"), "a@example.org")


@pytest.mark.parametrize(
    "part",
    [
        {"smtp_host": "smtp.example.org"},
        {"alert_mail_to": "a@example.org"},
        {"smtp_host": "smtp.example.org", "alert_mail_to": "a@example.org", "smtp_user": "a"},
    ],
)
def test_mail_that_is_set_in_part_is_refused(part: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="TICKETS_SMTP_"):
        configured_channels(settings(**part), CURSORS)


class Receiver:
    """A way that fails as often as it is told to."""

    name = "receiver"

    def __init__(self, failures: int) -> None:
        self.failures, self.messages = failures, list[list[str]]()

    def send(self, sentences: list[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise DeliveryError("it is away.")
        self.messages.append(sentences)


def test_what_could_not_be_told_is_told_at_the_next_look_by_that_way_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory, receiver = Memory(), Receiver(failures=2)
    problems = [Problem("late", "raw_tickets")]

    looks = [tell(memory, problems, [receiver, Log()], "http://ui", lambda: None) for _ in range(5)]

    assert [len(failures) for failures in looks] == [1, 1, 0, 0, 0]
    assert len(receiver.messages) == 1
    assert sum(record.message.startswith("An asset is late") for record in caplog.records) == 1
    assert sum("it is away" in record.message for record in caplog.records) == 2
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_what_came_and_went_while_a_way_was_out_is_not_told_there() -> None:
    memory, receiver = Memory(), Receiver(failures=1)

    for problems in ([Problem("late", "raw_tickets")], [], []):
        tell(memory, problems, [receiver], "http://ui", lambda: None)

    assert receiver.messages == []


def test_a_process_killed_after_a_delivery_repeats_that_message_and_no_other(
    file_store: Blobs,
) -> None:
    class KilledError(Exception):
        pass

    first, second = Receiver(0), Receiver(0)
    second.name = "second"
    problems = [Problem("late", "raw_tickets")]

    def look(killed_at: int | None = None) -> None:
        memory = Memory.read(file_store)
        saves = 0

        def save() -> None:
            nonlocal saves
            saves += 1
            if saves == killed_at:
                raise KilledError
            memory.write(file_store)

        tell(memory, problems, [first, second], "http://ui", save)

    with pytest.raises(KilledError):
        look(killed_at=2)
    look()
    look()

    assert (len(first.messages), len(second.messages)) == (1, 2)
