"""What stands before a server that speaks HTTP, and refuses some requests when it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.loopback import LoopbackServer

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Refusal:
    """The answer of an object store to requests of this method."""

    method: str
    code: int
    reason: str
    message: str

    @property
    def body(self) -> bytes:
        return (
            f"<?xml version='1.0'?><Error><Code>{self.reason}</Code>"
            f"<Message>{self.message}</Message></Error>"
        ).encode()


class Gate(LoopbackServer):
    """Passes requests on to a server on the loopback, unless `refusal` is set."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.refusal: Refusal | None = None
        super().__init__(_handler(self))


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing: the server behind keeps a log."""

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            refusal = gate.refusal
            if refusal is not None and refusal.method == self.command:
                self._answer(refusal.code, {"Content-Type": "application/xml"}, refusal.body)
                return
            server = HTTPConnection(gate.target, timeout=60)
            server.request(self.command, self.path, body, dict(self.headers.items()))
            answer = server.getresponse()
            content = answer.read()
            headers = {
                name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP
            }
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, headers, content, length)
            server.close()

        def _answer(
            self, code: int, headers: dict[str, str], content: bytes, length: str | None = None
        ) -> None:
            self.send_response_only(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _do  # noqa: N815

    return Handler
