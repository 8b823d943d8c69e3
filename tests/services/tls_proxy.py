"""What stands in front of a Chroma server: it speaks TLS and checks the token."""

import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.loopback import free_port
from tests.services import wait_until

TOKEN = "t0ken+of/the=desk"  # noqa: S105


class TlsProxy:
    """A proxy of a process of its own, with a certificate that it has signed itself."""

    def __init__(self, folder: Path, target: str) -> None:
        self.ca_file, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ),
                *("-nodes", "-days", "2", "-subj", "/CN=chroma", "-addext"),
                *("subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.ca_file),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._port), target, self.ca_file, key]
        )
        wait_until(self._listens, "the proxy")

    def stop(self) -> None:
        self._process.kill()  # when asked to end, it would wait for the connections of clients
        self._process.wait(30)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False


def serve(port: str, target: str, certificate: str, key: str) -> None:
    """Pass on what carries the token."""
    client = httpx.AsyncClient(base_url=target, timeout=60)

    async def pass_on(request):
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return PlainTextResponse("Who are you?\n", 401)
        answer = await client.request(
            request.method,
            request.url.path,
            params=request.query_params,
            content=await request.body(),
            headers={"Content-Type": request.headers.get("Content-Type", "")},
        )
        return Response(answer.content, answer.status_code, {"Content-Type": "application/json"})

    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", pass_on, methods=every)])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_level="error",
    )


if __name__ == "__main__":
    serve(*sys.argv[1:])
