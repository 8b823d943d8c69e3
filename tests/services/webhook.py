"""A receiver of webhooks in a process of its own, which fails as real ones do.

It keeps what it has accepted in a SQLite database, one row for each key, and says by the answer
what it has seen of the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
FAULTS = ("refusal", "late", "lost", "nonsense", "slow")
"""500 before anything is kept; kept, but answered after the client has given up; kept, and the
connection cut without an answer; kept, and answered with something that is no HTTP; kept, and
answered after some time."""


@dataclass(frozen=True)
class WebhookServer:
    """The server's address and what it has got."""

    url: str
    database: Path

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database, timeout=60)) as connection:
            return connection.execute(query).fetchall()

    def accepted(self) -> dict[str, dict[str, Any]]:
        """The first event that was kept under each key."""
        return {key: json.loads(body) for key, body in self._rows("select key, body from accepted")}

    def repeats(self) -> int:
        """How often a key came that was there already."""
        return int(self._rows("select coalesce(sum(times - 1), 0) from accepted")[0][0])

    def changed(self) -> list[str]:
        """Keys that came with another body than the first time."""
        return [key for (key,) in self._rows("select key from accepted where changed")]

    def requests(self) -> list[tuple[str, str]]:
        """Problems of requests that were not accepted: what was wrong, and the key."""
        return self._rows("select problem, key from problems")

    def answer(self, *answers: dict[str, Any]) -> None:
        """Give these answers to the next requests: status, headers, body and wait."""
        with closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            connection.executemany(
                "insert into answers (answer) values (?)", [(json.dumps(one),) for one in answers]
            )


@contextmanager
def webhook_server(
    folder: Path,
    fault_share: float = 0.0,
    seed: int = 0,
    late_seconds: float = 3.0,
    certificate: Path | None = None,
) -> Iterator[WebhookServer]:
    """Runs the server; so many of its answers are one of `FAULTS`.

    Args:
        certificate: PEM file with certificate and key, to speak TLS.
    """
    database = folder / "webhook.sqlite"
    process = subprocess.Popen(
        [
            *(sys.executable, __file__, database, str(fault_share), str(seed), str(late_seconds)),
            *([certificate] if certificate else []),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        scheme = "https" if certificate else "http"
        yield WebhookServer(f"{scheme}://127.0.0.1:{port}/hook", database)
    finally:
        process.kill()
        process.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(database: Path, fault_share: float, seed: int, late: float) -> type:
    choice = random.Random(seed)  # noqa: S311
    lock = threading.Lock()
    store = sqlite3.connect(database, check_same_thread=False, isolation_level=None, timeout=60)
    store.executescript(
        "pragma journal_mode = wal; pragma synchronous = off;"
        "create table accepted (key text primary key, body text, times int, changed int);"
        "create table problems (problem text, key text);"
        "create table answers (id integer primary key, answer text);"
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # its sender has died
                self.close_connection = True
                return
            with lock:
                problem = _problem(self.headers, body)
                fault = choice.choice(FAULTS) if choice.random() < fault_share else ""
                planned = store.execute("select id, answer from answers order by id").fetchone()
                answer = json.loads(planned[1]) if planned else {"status": 200}
                if planned:
                    store.execute("delete from answers where id = ?", planned[:1])
                if problem:
                    store.execute(
                        "insert into problems values (?, ?)", (problem, self.headers["webhook-id"])
                    )
                    answer = {"status": 401, "body": problem}
                elif fault == "refusal":
                    answer = {"status": 500}
                elif 200 <= answer["status"] < 300:
                    _accept(self.headers["webhook-id"], body)
            time.sleep(answer.get("wait", 0))
            if fault in {"late", "slow"}:
                time.sleep(late if fault == "late" else late / 20)
            if fault == "lost":
                self.close_connection = True
                return
            if fault == "nonsense":
                self.wfile.write(b"\xff\x00 certainly no HTTP\n\n")
                self.close_connection = True
                return
            try:
                self._answer(answer)
            except OSError:
                self.close_connection = True

        def _answer(self, answer: dict[str, Any]) -> None:
            content = answer.get("body", "").encode()
            self.send_response(answer["status"])
            for name, value in answer.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    def _accept(key: str, body: bytes) -> None:
        store.execute(
            "insert into accepted values (?, ?, 1, 0) on conflict (key) do update set"
            " times = times + 1, changed = changed or body <> excluded.body",
            (key, body.decode()),
        )

    return Handler


def _problem(headers: Any, body: bytes) -> str:
    """What is wrong with a request, by the words of Standard Webhooks."""
    key, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        return "timestamp is too old"
    expected = hmac.new(
        base64.b64decode(SECRET.removeprefix("whsec_")),
        f"{key}.{timestamp}.".encode() + body,
        hashlib.sha256,
    ).digest()
    signatures = [
        base64.b64decode(one.partition(",")[2]) for one in headers["webhook-signature"].split()
    ]
    if not any(hmac.compare_digest(expected, one) for one in signatures):
        return "no matching signature found"
    if headers["Idempotency-Key"] != key:
        return "another idempotency key"
    return ""


if __name__ == "__main__":
    _, database, fault_share, seed, late_seconds, *certificate = sys.argv
    handler = _handler(Path(database), float(fault_share), int(seed), float(late_seconds))
    server = _Server(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate[0])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()
