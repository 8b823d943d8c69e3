"""An S3 server (moto), whose buckets are in memory."""

import importlib.util
import socket
import subprocess
import sys
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import pytest

from tests.loopback import free_port
from tests.services import skip_without, wait_until
from tests.slow_cases import slow
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.s3_access import S3Access

KEY_ID = "AKIDESK"
SECRET = "s3cret/with+signs="  # noqa: S105
SERVER = """
import sys
from threading import Lock
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication, MotoRequestHandler, create_backend_app
)
from werkzeug.serving import run_simple

# moto looks whether there is an object and writes it later; S3 does both at once.
one_write = Lock()
moto = DomainDispatcherApplication(create_backend_app)

def application(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("PUT", "DELETE", "POST"):
        return moto(environ, start_response)
    with one_write:
        return moto(environ, start_response)

run_simple(
    sys.argv[1], int(sys.argv[2]), application, threaded=True, request_handler=MotoRequestHandler
)
"""


class S3Server:
    """A server on the loopback; `requests()` are the lines of its log."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER, "127.0.0.1", str(self.port)],
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "the S3 server")

    def bucket(self) -> str:
        """The URL of a new, empty bucket."""
        name = f"b{uuid4().hex[:12]}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == 200
        connection.close()
        return f"s3://{name}"

    def requests(self) -> list[str]:
        """The requests so far, as in `GET /bucket/name?query HTTP/1.1`."""
        return [line.split('"')[1] for line in self._log.read_text().splitlines() if '"' in line]

    @property
    def access(self) -> S3Access:
        return S3Access(self.endpoint, "eu-west-1", KEY_ID, SECRET)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


@pytest.fixture(params=["folder", *slow("bucket")])
def file_store(request, tmp_path):
    """Blobs in a folder, and the same in a bucket."""
    if request.param == "folder":
        return FolderBlobs(tmp_path / "files")
    server = request.getfixturevalue("s3")
    return BucketBlobs(f"{server.bucket()}/desk", server.access)


def settings_of(blobs):
    """The settings, by variable, of a desk whose files are these."""
    if isinstance(blobs, FolderBlobs):
        return {"TICKETS_DATA_DIR": blobs.location}
    access = blobs._access
    return {
        "TICKETS_FILES": blobs.location,
        "TICKETS_S3_ENDPOINT": access.endpoint,
        "TICKETS_S3_REGION": access.region,
        "TICKETS_S3_KEY_ID": access.key_id,
        "TICKETS_S3_SECRET": access.secret,
    }


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """The server; `bucket()` makes a new one on it."""
    skip_without(importlib.util.find_spec("moto") is not None, "moto[server]")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()
