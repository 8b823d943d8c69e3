"""Ways to tell a person: a line of the log always, a webhook and e-mail where they are set."""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException, responses
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ticket_assets.alerts.edges import Problem, edges
from ticket_assets.alerts.memory import Memory
from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.back_off import read_back_off, write_back_off
from ticket_assets.server_replies import cleansed
from ticket_assets.settings import Settings, SettingsError
from ticket_assets.storage.blobs import Blobs
from ticket_assets.text.characters import visible

TIMEOUT_SECONDS = 10.0
"""For each answer that is waited for."""
PORTS = {"tls": 465, "starttls": 587, "plain": 25}

logger = logging.getLogger(__name__)


class DeliveryError(TicketAssetsError):
    """A message could not be delivered."""


class Channel(Protocol):
    """A way to tell a person."""

    @property
    def name(self) -> str:
        """For people, and for the memory of what it has told."""

    def send(self, sentences: Sequence[str]) -> None:
        """Deliver them as one message.

        Raises:
            DeliveryError: nobody has got it, as far as is known.
        """


@dataclass(frozen=True)
class Log:
    """The log of the process, a line for each sentence."""

    name: str = "log"

    def send(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            logger.warning("%s", visible(sentence))


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would become a GET, and the page that answers it look like success."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Webhook:
    """An address that takes `{"text": …}`, as Slack's incoming webhooks do."""

    url: str
    timeout: float = TIMEOUT_SECONDS
    name: str = "webhook"

    def send(self, sentences: Sequence[str]) -> None:
        request = Request(  # noqa: S310  # the settings take http and https alone
            self.url,
            json.dumps({"text": "\n".join(sentences)}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            build_opener(_NoRedirect).open(request, timeout=self.timeout).close()
        # None of the server's own words: they may quote the address, and who knows it may write
        # where alerts go.
        except HTTPError as error:
            error.close()
            words = f"{error.code} {responses.get(error.code, '')}".rstrip()
            raise DeliveryError(f"It answers {words}.") from None
        except HTTPException as error:
            raise DeliveryError(f"Its answer is no HTTP ({type(error).__name__}).") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise DeliveryError(str(reason) or type(reason).__name__) from None


@dataclass(frozen=True)
class Mail:
    """E-mail by a mail server."""

    host: str
    recipients: tuple[str, ...]
    sender: str
    cursors: Blobs
    security: str = "tls"
    port: int | None = None
    ca_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    is_patient: bool = True
    timeout: float = TIMEOUT_SECONDS
    name: str = "mail"

    def send(self, sentences: Sequence[str]) -> None:
        message = EmailMessage()
        message["Subject"] = f"ticket-assets: {sentences[0].partition(':')[0].partition('. ')[0]}"
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="ticket-assets")
        message["Auto-Submitted"] = "auto-generated"  # no automatic reply, please
        message.set_content("\n\n".join(sentences))
        password = ""
        try:
            password = self._password()
            with self._connect() as server:
                if self.user:
                    self._login(server, self.user, password)
                refused = server.send_message(message)
        except UnicodeError:
            raise DeliveryError("An account or an address has characters beyond ASCII.") from None
        except (OSError, smtplib.SMTPException) as error:
            reason = cleansed(str(error), [password]) or type(error).__name__
            raise DeliveryError(reason) from None
        if refused:
            logger.warning("The mail server takes no alerts for %s.", ", ".join(refused))

    def _connect(self) -> smtplib.SMTP:
        port = self.port or PORTS[self.security]
        if self.security == "plain":
            return smtplib.SMTP(self.host, port, timeout=self.timeout)
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, port, timeout=self.timeout, context=context)
        server = smtplib.SMTP(self.host, port, timeout=self.timeout)
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _password(self) -> str:
        return self.password_file.read_text("utf-8").strip("\r\n") if self.password_file else ""

    def _login(self, server: smtplib.SMTP, user: str, password: str) -> None:
        """Log in, unless the server has refused the same secret not long ago: to insist would get
        the account locked."""
        secret = json.dumps([self.host, user, password]).encode()
        back_off, now = read_back_off(self.cursors, "alerts"), datetime.now(UTC)
        if self.is_patient and back_off.waits(now) and back_off.is_about(secret):
            raise DeliveryError(
                f"{back_off.error} The next login is tried at {back_off.next_try:%H:%M} UTC, or"
                " when the password is another."
            )
        try:
            server.login(user, password)
        except smtplib.SMTPAuthenticationError as error:
            refusal = f"{self.host} refuses the login ({error.smtp_code})."
            write_back_off(self.cursors, "alerts", back_off.failed(now, "login", refusal, secret))
            raise DeliveryError(refusal) from None
        if back_off.failures:
            write_back_off(self.cursors, "alerts", back_off.succeeded(now))


def configured_channels(
    settings: Settings, cursors: Blobs, *, is_patient: bool = True
) -> tuple[Channel, ...]:
    """The log, and what is set beside it.

    Args:
        cursors: remember refused logins.
        is_patient: wait some time after a refused login.

    Raises:
        SettingsError: mail is set in part.
    """
    channels: list[Channel] = [Log()]
    if settings.alert_webhook:
        channels.append(Webhook(settings.alert_webhook.get_secret_value()))
    if settings.smtp_host or settings.alert_mail_to:
        if not settings.smtp_host or not settings.alert_mail_to:
            raise SettingsError(
                "Alerts by mail need both TICKETS_SMTP_HOST and TICKETS_ALERT_MAIL_TO."
            )
        if bool(settings.smtp_user) != bool(settings.smtp_password_file):
            raise SettingsError("Set both TICKETS_SMTP_USER and TICKETS_SMTP_PASSWORD_FILE.")
        channels.append(
            Mail(
                host=settings.smtp_host,
                recipients=settings.alert_mail_to,
                sender=settings.alert_mail_from or settings.alert_mail_to[0],
                cursors=cursors,
                security=settings.smtp_security,
                port=settings.smtp_port,
                ca_file=settings.smtp_ca_file,
                user=settings.smtp_user,
                password_file=settings.smtp_password_file,
                is_patient=is_patient,
            )
        )
    return tuple(channels)


def tell(
    memory: Memory,
    present: Collection[Problem],
    channels: Sequence[Channel],
    ui_url: str,
    save: Callable[[], None],
) -> list[str]:
    """Tell by each channel what has changed since it told something last; why some could not.

    Each has a memory of its own: what one cannot deliver is told by that one alone, at the next
    look, as things are then.

    Args:
        save: keeps the memory. It is called after each delivery: a process that is killed between
            the two repeats one message and loses none.
    """
    failures = []
    memory.told = {name: memory.told.get(name, []) for name in (way.name for way in channels)}
    for channel in channels:
        sentences = edges(memory.told[channel.name], present, ui_url)
        try:
            if sentences:
                channel.send(sentences)
        except DeliveryError as error:
            failures.append(f"The {channel.name} has not taken an alert: {error}")
            logger.warning("%s The next look tries again.", visible(failures[-1]))
            continue
        if set(memory.told[channel.name]) != set(present):
            memory.told[channel.name] = sorted(present)
            save()
    return failures
