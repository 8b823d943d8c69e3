"""A desk's own system behind a REST API: a server in a process of its own, which a test controls.

`/control/NAME` calls a method of the system with JSON arguments: what people do there, and which of
the next answers go wrong.
"""

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.loopback import free_port
from tests.services import wait_until


class DeskSystem:
    """What the process holds; a subclass answers the requests of its API."""

    def __init__(self):
        self.faults = []
        self.before_write = []
        self.requests = []

    def fail(self, kind, times=1, part="", **answer):
        """The next answers to requests whose path holds `part` go wrong: `status` with headers,
        `nonsense`, `drop` (no answer), `slow` (after so many seconds), `late` (no answer, although
        it is done)."""
        self.faults += [{"kind": kind, "part": part, **answer}] * times

    def meanwhile(self, method, **arguments):
        """Somebody does this between the next write and the look before it."""
        self.before_write.append((method, arguments))

    def reset(self):
        """As it was at its start."""
        self.__init__()

    def seen_requests(self):
        return self.requests

    def fault(self, path):
        for index, fault in enumerate(self.faults):
            if fault["part"] in path:
                return self.faults.pop(index)
        return {"kind": "none"}

    def happens_before_write(self):
        todo, self.before_write = self.before_write, []
        for method, arguments in todo:
            getattr(self, method)(**arguments)

    def answer(self, method, path, query, headers, body):
        """Status, headers and content of the answer."""
        raise NotImplementedError


class DeskSystemServer:
    """The test's side: starts the process and calls methods of the system in it."""

    module: str

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._connection = None
        self._process = subprocess.Popen([sys.executable, "-m", self.module, str(self.port)])
        wait_until(self._answers, self.module)

    def __getattr__(self, name):
        return lambda **arguments: self.call(name, **arguments)

    def call(self, name, **arguments):
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        self._connection.request("POST", f"/control/{name}", json.dumps(arguments))
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)

    def stop(self):
        self._process.terminate()
        self._process.wait(30)

    def _answers(self):
        with suppress(OSError, RemoteDisconnected):
            self.call("seen_requests")
            return True
        self._connection = None
        return False


def serve(system, port):
    """Answer requests of the system's API and of the test until the process is ended."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_request(self):
            url = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if url.path.startswith("/control/"):
                with lock:
                    done = getattr(system, url.path.removeprefix("/control/"))(
                        **json.loads(content)
                    )
                return self.send(200, {}, done)
            with lock:
                system.requests.append(f"{self.command} {url.path}")
                fault = system.fault(url.path)
            if fault["kind"] == "drop":
                self.close_connection = True
                return None
            if fault["kind"] == "status":
                return self.send(fault["status"], fault.get("headers", {}), fault.get("text", {}))
            if fault["kind"] == "nonsense":
                return self.send(200, {}, fault["text"])
            with lock:
                query = parse_qsl(url.query, keep_blank_values=True)
                body = json.loads(content) if content else None
                answer = system.answer(self.command, url.path, query, self.headers, body)
            if fault["kind"] == "late":
                self.close_connection = True
                return None
            if fault["kind"] == "slow":
                time.sleep(fault["seconds"])
            return self.send(*answer)

        do_GET = do_PUT = do_POST = handle_request  # noqa: N815

        def send(self, status, headers, content):
            text = content if isinstance(content, str) else json.dumps(content)
            payload = text.encode()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        def log_message(self, *_): ...

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
