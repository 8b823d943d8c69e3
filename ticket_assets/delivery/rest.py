"""Requests to the REST API of a desk's own system: JSON in and out, bounded in size and time."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ticket_assets.delivery.http_answers import cause, retry_after
from ticket_assets.delivery.receivers import ReceiverError
from ticket_assets.errors import TicketAssetsError
from ticket_assets.server_replies import cleansed

if TYPE_CHECKING:
    import urllib3

TIMEOUT_SECONDS = 20.0
"""From the beginning of a request to the end of its answer."""
ANSWER_BYTES = 16 * 1024 * 1024
PIECE_BYTES = 1 << 16


class AnswerError(TicketAssetsError):
    """The system refuses one request, or answers it with nonsense."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class RestApi:
    """An API at an address, which every request tells the same secrets."""

    name: str
    """The system's name for people."""
    url: str
    variable: str
    """The variable of the address."""
    ca_file: Path | None = None
    credentials: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    """The headers that hold secrets, asked for at each first request: the files of secrets change,
    and not every process that knows of the system may read them."""
    timeout: float = TIMEOUT_SECONDS
    _credentials: Mapping[str, str] | None = field(default=None, init=False, repr=False)
    _pool: urllib3.PoolManager | None = field(default=None, init=False, repr=False)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """The JSON that answers a request, as `answer` takes it.

        Raises:
            as `answer`.
        """
        return self.answer(method, path, **request)[0]

    def answer(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str | int] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """The JSON that answers a request, and the answer's headers.

        Raises:
            AnswerError: the request is refused, or the answer is none that can be used.
            ReceiverError: the system is away, asks to be left alone for a while, or refuses the
                account.
        """
        import urllib3

        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            response = self._connected().request(
                method,
                f"{self.url.rstrip('/')}/{path}{query}",
                json=body,
                headers={"Accept": "application/json", **self._secret_headers, **(headers or {})},
                redirect=False,
                preload_content=False,
            )
            content = self._content(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = cleansed(cause(error), self.secrets)
            raise ReceiverError(
                f"{self.name} at {self.url} does not answer: {reason.rstrip('.')}. Check"
                f" {self.variable} and the network."
            ) from None
        self._require_success(response, content)
        if not content.strip():
            return None, response.headers
        try:
            return json.loads(content), response.headers
        except ValueError:
            raise AnswerError(
                f"{self.name} answers {path} with something else than JSON:"
                f" {self._words(content)!r}",
                response.status,
            ) from None

    def nonsense(self, path: str) -> AnswerError:
        """The error of an answer that is JSON, and not what the API's documentation says."""
        return AnswerError(f"{self.name} answers {path} with something else than documented", 200)

    @property
    def configuration(self) -> bytes:
        """The address with the present secrets, or why they cannot be had."""
        try:
            secrets = repr(sorted(self._secret_headers.items()))
        except TicketAssetsError as error:
            secrets = str(error)
        return f"{self.url} {secrets}".encode()

    @property
    def secrets(self) -> list[str]:
        """What must not be seen in messages: what stands in the headers, and its last word."""
        values = self._secret_headers.values()
        return [*values, *(value.replace("=", " ").split()[-1] for value in values if value)]

    @property
    def _secret_headers(self) -> Mapping[str, str]:
        if self._credentials is None:
            credentials = self.credentials()
            if not all(value.isascii() and value.isprintable() for value in credentials.values()):
                raise ReceiverError(
                    f"A token of {self.name} is none: it holds more than the letters, digits and"
                    " signs of ASCII. Its file has to hold the token alone, on one line.",
                    is_refusal=True,
                )
            self._credentials = credentials
        return self._credentials

    def close(self) -> None:
        if self._pool:
            self._pool.clear()
        self._pool = self._credentials = None

    def _connected(self) -> urllib3.PoolManager:
        from ticket_assets.delivery.timely_http import timely_pools

        if self._pool is None:
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
            except OSError as error:
                raise ReceiverError(
                    f"Cannot use {self.ca_file}: {error.strerror or error}. Name a PEM file with"
                    f" the authority of {self.name}'s certificate.",
                    is_refusal=True,
                ) from None
            self._pool = timely_pools(self.timeout, ssl_context=context)
        return self._pool

    def _content(self, response: urllib3.BaseHTTPResponse) -> bytes:
        content = bytearray()
        try:
            while piece := response.read1(PIECE_BYTES):
                content += piece
                if len(content) > ANSWER_BYTES:
                    raise AnswerError(f"{self.name} answers without end", response.status)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return bytes(content)

    def _require_success(self, response: urllib3.BaseHTTPResponse, content: bytes) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        words = self._words(content)
        if status in {429, 503}:
            raise ReceiverError(
                f"{self.name} asks for a pause ({status}).",
                retry_after=retry_after(response.headers.get("retry-after")),
            )
        if status == 401:
            raise ReceiverError(
                f"{self.name} refuses the token ({status}): {words}.", is_refusal=True
            )
        if 300 <= status < 400:
            raise ReceiverError(
                f"{self.name} sends requests elsewhere ({status}). Correct {self.variable}.",
                is_refusal=True,
            )
        raise AnswerError(f"{self.name} answers {status}: {words}", status)

    def _words(self, content: bytes) -> str:
        return cleansed(content[:2000].decode("utf-8", "replace"), self.secrets).rstrip(".")
