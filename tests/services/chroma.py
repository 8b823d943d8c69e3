"""Chroma's own server."""

import subprocess
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.loopback import free_port
from tests.services import skip_without, wait_until
from tests.services.tls_proxy import TlsProxy

COMMAND = Path(sysconfig.get_path("scripts"), "chroma")


class ChromaServer:
    """A server on the loopback with its index in a folder; it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "index", free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self.start()

    def start(self) -> None:
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    *(COMMAND, "run", "--host", "127.0.0.1", "--port", str(self.port)),
                    *("--path", self.folder),
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "the Chroma server")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            address = f"{self.url}/api/v2/heartbeat"
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310
        except (urllib.error.URLError, ConnectionError):
            return False
        return True


@pytest.fixture
def chroma(tmp_path):
    """A server with an empty index."""
    skip_without(COMMAND.exists(), "Chroma's server")
    server = ChromaServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def tls_proxy(chroma, tmp_path):
    """A proxy in front of the server, which speaks TLS and checks a token."""
    proxy = TlsProxy(tmp_path, chroma.url)
    yield proxy
    proxy.stop()
