"""The machine's own address, on which the tests' servers listen."""

import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer


def free_port() -> int:
    """A port on which nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LoopbackServer:
    """A server that speaks what its handler does, with a thread for each connection."""

    def __init__(self, handler: type[StreamRequestHandler]) -> None:
        self._server = ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
