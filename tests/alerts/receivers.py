"""A webhook's server on the loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebhookServer(ThreadingHTTPServer):
    """Keeps the texts that it is sent; answers with `status`, or not at all when it is None."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status: int | None = 200
        self.phrase: str | None = None
        """Its own words beside the status."""
        self.texts: list[str] = []
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/services/secret"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        if self.server.status is None:
            self.server.released.wait()
            return
        if self.server.status == 200:
            assert list(body) == ["text"]
            self.server.texts.append(body["text"])
        self.send_response(self.server.status, self.server.phrase)
        self.send_header("Location", self.server.url)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...
