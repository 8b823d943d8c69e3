"""An address that each decision is posted to, signed as https://www.standardwebhooks.com says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from http.client import responses
from typing import TYPE_CHECKING, Any

from ticket_assets.delivery.http_answers import cause, retry_after
from ticket_assets.delivery.receivers import Finished, Outcome, Receipt, Receiver, ReceiverError
from ticket_assets.delivery.told import told, utc
from ticket_assets.server_replies import cleansed
from ticket_assets.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from ticket_assets.delivery.decisions import Intent
    from ticket_assets.desk import Desk

PREFIX = "whsec_"
IN_FLIGHT = 8
TRIES = 4
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
TIMEOUT_SECONDS = 15.0
"""From the beginning of a request to what is read of its answer."""
_REPLY_BYTES = 2048
_TEMPORARY = {408, 409, 425, 429}
"""And all from 500 on. 409: the receiver is at work on the same key."""
_OF_THE_RECEIVER = {401, 403, 404, 405, 407, 410}
"""Answers that say nothing of a decision, but of the address or the secret."""


@dataclass(frozen=True)
class Answer:
    """What came of posting something, tries included."""

    status: int | None
    """None: there was no answer."""
    reason: str = ""
    retry_after: timedelta | None = None

    @property
    def is_temporary(self) -> bool:
        return self.status is None or self.status in _TEMPORARY or self.status >= 500

    @property
    def is_tried_again_soon(self) -> bool:
        return self.is_temporary and self.retry_after is None


class Webhook(Receiver):
    """Posts `ticket.decided` for each decision, and `delivery.done` when a run has ended."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        secret: str,
        ca_file: Path | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """
        Args:
            secret: `whsec_` and the key in Base64.

        Raises:
            SettingsError: the secret is no such, or the file of the authority cannot be read.
        """
        from ticket_assets.delivery.timely_http import timely_pools

        self._url = url
        self._secret = secret
        self._key = _key(secret)
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise SettingsError(
                f"Cannot read TICKETS_DELIVERY_WEBHOOK_CA_FILE={ca_file}: {error.strerror}."
            ) from None
        self._pool = timely_pools(timeout, maxsize=IN_FLIGHT, block=True, ssl_context=context)

    @property
    def configuration(self) -> bytes:
        return f"{self._url} {self._secret}".encode()

    def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
        with ThreadPoolExecutor(IN_FLIGHT) as threads:
            flying: dict[Future[Answer], str] = {}
            for intent in intents:
                event = {
                    "type": "ticket.decided",
                    "timestamp": utc(intent.intended_at),
                    "data": told(intent),
                }
                posted = threads.submit(self._post, intent.key, event)
                flying[posted] = intent.decision.ticket_id
                if len(flying) >= IN_FLIGHT:
                    yield from self._receipts(flying)
            while flying:
                yield from self._receipts(flying)

    def _receipts(self, flying: dict[Future[Answer], str]) -> Iterator[Receipt]:
        """The receipts of those that have come back, which is at least one."""
        for posted in wait(flying, return_when=FIRST_COMPLETED).done:
            yield _receipt(flying.pop(posted), posted.result())

    def finish(self, finished: Finished) -> None:
        moment = finished.finished_at.isoformat(timespec="seconds")
        event = {
            "type": "delivery.done",
            "timestamp": moment,
            "data": {"run": finished.run, "outcomes": finished.outcomes},
        }
        answer = self._post(finished.run, event)
        if not (answer.status and 200 <= answer.status < 300):
            raise ReceiverError(answer.reason, retry_after=answer.retry_after)

    def close(self) -> None:
        self._pool.clear()

    def _post(self, key: str, event: Mapping[str, Any]) -> Answer:
        from tenacity import (
            RetryCallState,
            Retrying,
            retry_if_result,
            stop_after_attempt,
            wait_random_exponential,
        )

        def last(state: RetryCallState) -> Any:
            return state.outcome.result() if state.outcome else None

        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
            retry=retry_if_result(lambda answer: answer.is_tried_again_soon),
            retry_error_callback=last,
        )
        answer: Answer = tries(self._post_once, key, event)
        return answer

    def _post_once(self, key: str, event: Mapping[str, Any]) -> Answer:
        import urllib3

        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(time.time()))
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers={
                    "Content-Type": "application/json",
                    "User-Agent": "ticket-assets",
                    "Idempotency-Key": key,
                    "webhook-id": key,
                    "webhook-timestamp": timestamp,
                    "webhook-signature": signature(self._key, key, timestamp, body),
                },
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return Answer(None, self._cleansed(f"No answer: {cause(error).rstrip('.')}."))
        try:
            # What comes at once: a server could take for ever over the rest.
            reply = response.read1(_REPLY_BYTES) or b""
        except urllib3.exceptions.HTTPError:
            reply = b""
        if response.length_remaining == 0:
            response.release_conn()
        else:
            response.close()
        words = reply.decode("utf-8", "replace")
        words = f"{response.status} {responses.get(response.status, '')}".rstrip() + f": {words}"
        return Answer(
            response.status,
            f"It answers {self._cleansed(words).rstrip(': .')}.",
            retry_after(response.headers.get("Retry-After")),
        )

    def _cleansed(self, words: str) -> str:
        # Who knows the address may post to it too: it often holds a token.
        path = self._url.partition("//")[2].partition("/")[2]
        return cleansed(words, [path, self._secret.removeprefix(PREFIX)])


def configured(desk: Desk) -> Webhook | None:
    settings = desk.settings
    secret = settings.secret("delivery_webhook_secret")
    if settings.delivery_webhook is None:
        return None
    if not secret:
        raise SettingsError(
            "TICKETS_DELIVERY_WEBHOOK needs TICKETS_DELIVERY_WEBHOOK_SECRET_FILE, so that its"
            " receiver knows who posts."
        )
    return Webhook(settings.delivery_webhook, secret, settings.delivery_webhook_ca_file)


def signature(key: bytes, message: str, timestamp: str, body: bytes) -> str:
    """The header `webhook-signature`: HMAC-SHA256 over id, time and body, by Standard Webhooks."""
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise SettingsError(
            "The secret in TICKETS_DELIVERY_WEBHOOK_SECRET_FILE has to be whsec_ and 24 to 64 bytes"
            " in Base64, as of: echo whsec_$(openssl rand -base64 32)"
        )
    return key


def _receipt(ticket_id: str, answer: Answer) -> Receipt:
    """
    Raises:
        ReceiverError: the answer says nothing of this decision, but of all.
    """
    status = answer.status
    if answer.is_temporary:
        if answer.retry_after:
            raise ReceiverError(answer.reason, retry_after=answer.retry_after)
        return Receipt(ticket_id, Outcome.FAILED, answer.reason)
    assert status is not None  # noqa: S101  # for the type: without one it is temporary
    if status == 208:
        return Receipt(ticket_id, Outcome.ALREADY_THERE)
    if 200 <= status < 300:
        return Receipt(ticket_id, Outcome.DELIVERED)
    # A redirected POST would become a GET, and the page that answers it look like success.
    if status < 400 or status in _OF_THE_RECEIVER:
        raise ReceiverError(answer.reason, is_refusal=True)
    return Receipt(ticket_id, Outcome.REFUSED, answer.reason)
